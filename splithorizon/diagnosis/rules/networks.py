"""How istiod learns of networks and their gateways: labels, addresses, meshNetworks, and what pods say."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network

from splithorizon.base.addresses import host_of, host_port
from splithorizon.diagnosis import causes, root_causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import (
    CLIENT,
    Cluster,
    Object,
    Proxy,
    Reading,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.diagnosis.rules.follows import UNREACHED
from splithorizon.istio.gateway_services import external_hosts
from splithorizon.istio.names import (
    GATEWAY_PORT,
    GATEWAY_PORT_LABEL,
    INJECTOR_VALUES,
    NETWORK_LABEL,
    PROXY_CONFIG_ANNOTATION,
    injector_config_map_of,
)

_NETWORK_IN_PATH = re.compile(r"/net/([^/?]+)")
_LABEL = f"metadata.labels {NETWORK_LABEL}"


def _by_labels(reading: Reading, cluster: Cluster) -> bool:
    """Whether a cluster's network is set by labels and not by meshNetworks, of any primary."""
    return not any(cluster.network in state.mesh_networks(reading, plane) for plane in reading.config_clusters)


def _unknown(reading: Reading, cluster: Cluster) -> str:
    """A sentence on an istiod that knows no gateway of a cluster's network; empty where it does."""
    if ignorant := state.without_gateway(reading, cluster):
        return f"istiod of {ignorant} knows no gateway of {cluster.network} (/debug/networkz)"
    return state.direct(reading, cluster)


def _is_hidden(case: Case, cluster: Cluster, services: Iterable[Object]) -> str:
    """A sentence on the failed check that ends the watch of a cluster, whose gateway hid that this one is not known."""
    beside = [one for one in state.sharing(case.reading, cluster) if one.name != cluster.name]
    return case.failed("keeps_other_gateways") if beside and any(services) else ""


@rule
def system_namespace(case: Case) -> Iterator[Finding]:
    """The system namespace lacks the network's label, or has another's."""
    reading = case.reading
    for cluster in reading.clusters:
        found = cluster.get("Namespace", cluster.system_namespace)
        if found is None or not cluster.network or not _by_labels(reading, cluster):
            continue
        if (label := labels_of(found).get(NETWORK_LABEL)) != cluster.network:
            yield Finding(
                causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK,
                Layer.NETWORK,
                (Fact(of(cluster, found), _LABEL, f"{shown(label)}; the network is {cluster.network}"),),
                f"kubectl <{cluster.name}> label --overwrite namespace {cluster.system_namespace} "
                f"{NETWORK_LABEL}={cluster.network}",
                case.suspected(causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK),
                UNREACHED - {causes.GATEWAY_SERVICE_WITHOUT_NETWORK.id},
            )


@rule
def gateway_service(case: Case) -> Iterator[Finding]:
    """The gateway's Service lacks the network's label, the port for other networks, or an address."""
    reading = case.reading
    for cluster in reading.clusters:
        if not cluster.read("Service") or not cluster.network or not _by_labels(reading, cluster):
            continue
        if state.gateway_elsewhere(reading, cluster):
            continue
        services = state.gateway_services(cluster)
        labelled = [one for one in services if labels_of(one).get(NETWORK_LABEL) == cluster.network]
        serving = [
            one for one in labelled if any(port.get("port") == state.gateway_port(one) for port in scope.ports(one))
        ]
        if not serving and (mislabelled := [one for one in labelled if GATEWAY_PORT_LABEL in labels_of(one)]):
            yield _without_named_port(reading, cluster, mislabelled[0])
        elif not serving:
            facts = [_without(cluster, one) for one in services] or [
                Fact(f"Services {cluster.name}", _LABEL, f"none is {cluster.network}")
            ]
            yield Finding(
                causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
                Layer.NETWORK,
                tuple(facts),
                f"give port {GATEWAY_PORT} to Service {name_of(labelled[0])} of {cluster.name}"
                if labelled
                else f"kubectl <{cluster.name}> -n {cluster.system_namespace} label --overwrite service "
                f"{name_of(services[0]) if services else 'istio-eastwestgateway'} {NETWORK_LABEL}={cluster.network}",
                _unknown(reading, cluster) or _is_hidden(case, cluster, services),
                UNREACHED,
            )
        elif not any(external_hosts(one) for one in serving):
            yield Finding(
                causes.GATEWAY_SERVICE_WITHOUT_ADDRESS,
                Layer.NETWORK,
                tuple(
                    Fact(
                        of(cluster, one),
                        "status.loadBalancer.ingress",
                        f"none; spec.type is {spec_of(one).get('type')}",
                    )
                    for one in serving
                ),
                f"give the gateway's Service of {cluster.name} an external address",
                _unknown(reading, cluster),
                UNREACHED,
            )
        else:
            yield from _addresses(case, cluster, serving)


def _without_named_port(reading: Reading, cluster: Cluster, service: Object) -> Finding:
    """A gateway's Service whose label names a port that it does not have, so that istiod takes it for no gateway."""
    return Finding(
        root_causes.GATEWAY_PORT_LABEL_WRONG,
        Layer.NETWORK,
        (
            Fact(of(cluster, service), f"metadata.labels {GATEWAY_PORT_LABEL}", labels_of(service)[GATEWAY_PORT_LABEL]),
            Fact(of(cluster, service), "spec.ports", shown([port.get("port") for port in scope.ports(service)])),
        ),
        f"kubectl <{cluster.name}> -n {namespace_of(service)} label service {name_of(service)} {GATEWAY_PORT_LABEL}-",
        _unknown(reading, cluster),
        UNREACHED,
    )


def _without(cluster: Cluster, service: Object) -> Fact:
    label = labels_of(service).get(NETWORK_LABEL)
    if label == cluster.network:
        ports = [port.get("port") for port in scope.ports(service)]
        return Fact(of(cluster, service), "spec.ports", f"{shown(ports)}, without {state.gateway_port(service)}")
    return Fact(of(cluster, service), _LABEL, f"{shown(label)}; the network is {cluster.network}")


def _addresses(case: Case, cluster: Cluster, services: list[Object]) -> Iterator[Finding]:
    reading = case.reading
    if not cluster.gateways:
        return
    if any(state.refusing(reading, cluster)):
        # The others serve: that is another cause, and says more.
        return
    for service in services:
        given = frozenset(host_port(host, state.gateway_port(service)) for host in external_hosts(service))
        right = {*cluster.gateways, *state.serving(reading, given)}
        wrong = [host for host in external_hosts(service) if host_port(host, state.gateway_port(service)) not in right]
        if wrong:
            addresses = frozenset(host_port(host, state.gateway_port(service)) for host in wrong)
            known = state.networks_known(reading, cluster) or frozenset()
            took = (
                f"istiod of {cluster.control_plane} has {', '.join(sorted(addresses & known))}"
                if addresses & known
                else ""
            )
            yield Finding(
                causes.GATEWAY_ADDRESS_WRONG,
                Layer.NETWORK,
                (
                    Fact(of(cluster, service), "status.loadBalancer.ingress", shown(wrong)),
                    Fact(f"the gateway of {cluster.name}", "addresses before", shown(cluster.gateways)),
                ),
                f"let the gateway's Service of {cluster.name} have the address at which the gateway is",
                state.trouble(reading, addresses, flags=("UF", "UH", "URX", "UT")) or took,
                UNREACHED,
            )


@rule
def named_twice(case: Case) -> Iterator[Finding]:
    """More than the gateway's own Service tells istiod of a gateway in a network."""
    for cluster in case.reading.clusters:
        services = [
            one for one in state.gateway_services(cluster) if labels_of(one).get(NETWORK_LABEL) == cluster.network
        ]
        extra = [one for one in services if labels_of(one).get("istio") != "eastwestgateway"]
        if not extra or len(state.gateway_services(cluster)) < 2:
            continue
        yield Finding(
            causes.GATEWAY_ADDRESS_NAMED_TWICE,
            Layer.NETWORK,
            tuple(fact for one in extra for fact in _tells(cluster, one)),
            f"take the label {NETWORK_LABEL} from the Service that is not the gateway's",
            case.suspected(causes.GATEWAY_ADDRESS_NAMED_TWICE),
            UNREACHED,
        )


def _tells(cluster: Cluster, service: Object) -> Iterator[Fact]:
    yield Fact(of(cluster, service, "Service"), _LABEL, str(labels_of(service).get(NETWORK_LABEL)))
    if outside := spec_of(service).get("externalIPs"):
        yield Fact(of(cluster, service, "Service"), "spec.externalIPs", shown(outside))


@rule
def mesh_networks(case: Case) -> Iterator[Finding]:
    """MeshNetworks names no gateway of a network, a wrong address, or no registry of the cluster."""
    reading = case.reading
    for plane, cluster in itertools.product(reading.config_clusters, reading.clusters):
        networks = state.mesh_networks(reading, plane)
        found = state.config_map(reading, plane)
        # Each primary has its own: what one of them names, the others have to name as well.
        if not (networks or not _by_labels(reading, cluster)) or found is None:
            continue
        sharing = state.sharing(reading, cluster)
        right = frozenset(address for one in sharing for address in one.gateways)
        services = [service for one in sharing for service in state.gateway_services(one)]
        if any(labels_of(one).get(NETWORK_LABEL) == cluster.network for one in services):
            yield from _beside_right_ones(reading, plane, cluster, found)
            continue
        network = networks.get(cluster.network) or {}
        place = f"data.meshNetworks.networks.{cluster.network}"
        gateways = network.get("gateways") or []
        registries = [str(one.get("fromRegistry")) for one in network.get("endpoints") or [] if one.get("fromRegistry")]
        if not gateways:
            yield Finding(
                causes.MESH_NETWORKS_WITHOUT_GATEWAY, Layer.NETWORK,
                (Fact(of(plane, found), f"{place}.gateways", shown(gateways)),),
                f"name the gateway of {cluster.network} in meshNetworks",
                _unknown(reading, cluster), UNREACHED,
            )  # fmt: skip
        elif right:
            named = {
                host_port(str(one["address"]), int(one.get("port") or GATEWAY_PORT))
                for one in gateways
                if one.get("address")
            }
            if named & right:
                yield from _beside_right_ones(reading, plane, cluster, found)
            elif named:
                known = state.networks_known(reading, cluster) or frozenset()
                yield Finding(
                    causes.GATEWAY_ADDRESS_WRONG, Layer.NETWORK,
                    (
                        Fact(of(plane, found), f"{place}.gateways", shown(sorted(named))),
                        *_before(sharing),
                    ),
                    f"name the address of {cluster.name}'s gateway in meshNetworks",
                    state.trouble(reading, frozenset(named), flags=("UF", "UH", "URX", "UT"))
                    or (f"istiod of {plane.name} has {', '.join(sorted(known & named))}" if known & named else ""),
                    UNREACHED,
                )  # fmt: skip
        if network and cluster.cluster_id and cluster.cluster_id not in registries:
            yield Finding(
                causes.MESH_NETWORKS_REGISTRY_WRONG, Layer.NETWORK,
                (
                    Fact(
                        of(plane, found), f"{place}.endpoints",
                        f"fromRegistry {shown(registries)}; the id is {cluster.cluster_id}",
                    ),
                ),
                f"let fromRegistry of {cluster.network} be {cluster.cluster_id}",
                state.direct(reading, cluster) or case.suspected(causes.MESH_NETWORKS_REGISTRY_WRONG),
                UNREACHED,
            )  # fmt: skip


def _beside_right_ones(reading: Reading, plane: Cluster, cluster: Cluster, found: Object) -> Iterator[Finding]:
    """Gateways in meshNetworks that istiod takes beside right ones, and that never answer."""
    network, sharing = state.mesh_networks(reading, plane).get(cluster.network) or {}, state.sharing(reading, cluster)
    right = frozenset(address for one in sharing for address in one.gateways)
    for number, one in enumerate(network.get("gateways") or []):
        address = host_port(str(one.get("address") or ""), int(one.get("port") or GATEWAY_PORT))
        if not one.get("address") or address in right | state.serving(reading, frozenset({address})):
            continue
        yield Finding(
            causes.GATEWAY_ADDRESS_WRONG,
            Layer.NETWORK,
            (
                Fact(of(plane, found), f"data.meshNetworks.networks.{cluster.network}.gateways[{number}]", address),
                *_before(sharing),
            ),
            f"take {address} out of meshNetworks, or let it be an address of {cluster.name}'s gateway",
            state.failing_hosts(reading, frozenset({address})),
            UNREACHED,
        )


def _before(clusters: Iterable[Cluster]) -> Iterator[Fact]:
    """Where the gateways of a network were known to be."""
    for one in clusters:
        if one.gateways:
            yield Fact(f"the gateway of {one.name}", "addresses before", shown(one.gateways))


@rule
def pods_network(case: Case) -> Iterator[Finding]:
    """A pod, or its proxy, has no network, or another one than its cluster."""
    reading = case.reading
    for cluster in reading.clusters:
        if not cluster.network:
            continue
        for pod in state.pods_of(reading, cluster):
            label = labels_of(pod).get(NETWORK_LABEL)
            if not scope.has_sidecar(pod) or label == cluster.network or not _by_labels(reading, cluster):
                continue
            fact = Fact(of(cluster, pod, "Pod"), _LABEL, f"{shown(label)}; the network is {cluster.network}")
            if paths := _injects(cluster, label):
                # A new pod would get the same label again.
                yield Finding(
                    causes.PROXY_NETWORK_WRONG, Layer.NETWORK, (*paths, fact),
                    f"let the webhooks' path end in net/{cluster.network} (istiodRemote.injectionPath), and restart "
                    "the pods",
                    state.direct(reading, cluster) or state.lacking(reading, cluster), UNREACHED,
                )  # fmt: skip
                continue
            yield Finding(
                causes.POD_WITHOUT_NETWORK, Layer.NETWORK, (fact,),
                f"label the namespace {cluster.system_namespace} and restart the pod, or take its own label away",
                state.direct(reading, cluster)
                # Without a label of its own a pod has the network of the system namespace.
                or ("" if label is None and _is_named(cluster) else state.lacking(reading, cluster))
                or case.suspected(causes.POD_WITHOUT_NETWORK),
                UNREACHED,
            )  # fmt: skip
        for proxy in cluster.proxies:
            yield from _identity(reading, cluster, proxy)


def _is_named(cluster: Cluster) -> bool:
    """Whether the system namespace of a cluster names the cluster's network."""
    namespace = cluster.get("Namespace", cluster.system_namespace) or {}
    return labels_of(namespace).get(NETWORK_LABEL) == cluster.network


def _injects(cluster: Cluster, network: str | None) -> tuple[Fact, ...]:
    """The injection webhooks in use whose path names a network."""
    found: dict[str, Fact] = {}
    for one, number, webhook in state.injection_webhooks(cluster):
        field, path = state.webhook_path(webhook)
        named = _NETWORK_IN_PATH.search(path)
        if named and named[1] == network:
            value = f"{path}; the network is {cluster.network}"
            # The first of a configuration says it for all of them.
            found.setdefault(name_of(one), Fact(of(cluster, one), f"webhooks[{number}].clientConfig.{field}", value))
    return tuple(found.values())


def _identity(reading: Reading, cluster: Cluster, proxy: Proxy) -> Iterator[Finding]:
    pod = f"{proxy.namespace}/{proxy.pod}"
    for key, variable, value, part, wanted, cause in (
        ("NETWORK", "ISTIO_META_NETWORK", ("network",), "net", cluster.network, causes.PROXY_NETWORK_WRONG),
        (
            "CLUSTER_ID", "ISTIO_META_CLUSTER_ID", ("multiCluster", "clusterName"), "cluster", cluster.cluster_id,
            causes.PROXY_CLUSTER_ID_WRONG,
        ),
    ):  # fmt: skip
        said = str(proxy.metadata.get(key, ""))
        if wanted and said and said != wanted:
            own = _own_label(cluster, proxy, said) if key == "NETWORK" else ()
            injected = () if own or _in_path(cluster, part) else _injected_value(reading, cluster, value, said)
            fix = "correct the injection webhook's path (net, cluster) and restart the pod"
            if own:
                fix = f"take the label away from {own[0].object}"
            elif injected:
                fix = f"correct {injected[0].field} of the injector of {cluster.control_plane} and restart the pod"
            variable_set = Fact(f"Pod {cluster.name}/{pod}", f"env {variable}", f"{said}; the cluster's is {wanted}")
            yield Finding(
                cause, Layer.NETWORK, (*own, *injected, variable_set),
                fix, f"Envoy of {pod} says {key} {said} (server_info)", UNREACHED,
            )  # fmt: skip


def _own_label(cluster: Cluster, proxy: Proxy, network: str) -> tuple[Fact, ...]:
    """The pod's own label with that network: in its Deployment's template, or in the pod alone; none of a webhook's."""
    pod = cluster.get("Pod", proxy.pod, proxy.namespace)
    if pod is None or labels_of(pod).get(NETWORK_LABEL) != network or _injects(cluster, network):
        return ()
    for one in cluster.all("Deployment", proxy.namespace):
        wanted = (spec_of(one).get("selector") or {}).get("matchLabels") or {}
        labelled = scope.template_labels(one).get(NETWORK_LABEL) == network
        if labelled and scope.selects(wanted, labels_of(pod)):
            return (Fact(of(cluster, one, "Deployment"), f"spec.template.{_LABEL}", network),)
    return (Fact(of(cluster, pod, "Pod"), _LABEL, network),)


def _in_path(cluster: Cluster, part: str) -> bool:
    """Whether an injection webhook's path names the network or the cluster, which goes before the injector's value."""
    return any(f"/{part}/" in state.webhook_path(webhook)[1] for _, _, webhook in state.injection_webhooks(cluster))


def _injected_value(reading: Reading, cluster: Cluster, path: tuple[str, ...], said: str) -> tuple[Fact, ...]:
    """The value by which istiod's injector names a cluster or its network, where it is what a proxy says."""
    plane = state.control_plane_of(reading, cluster)
    name = injector_config_map_of(reading.revision_of(plane))
    found = plane.get("ConfigMap", name, plane.system_namespace)
    try:
        value = json.loads((found or {}).get("data", {}).get(INJECTOR_VALUES) or "{}")
    except ValueError:
        return ()
    for part in ("global", *path):
        value = value.get(part) if isinstance(value, dict) else None
    if found is None or value != said:
        return ()
    return (Fact(of(plane, found), f"data.{INJECTOR_VALUES}.global.{'.'.join(path)}", said),)


@rule
def network_policies(case: Case) -> Iterator[Finding]:
    """A NetworkPolicy selects a pod on the way, and connections to it are not made."""
    reading = case.reading
    for cluster in reading.clusters:
        for policy in cluster.all("NetworkPolicy"):
            spec = spec_of(policy)
            selector = spec.get("podSelector") or {}
            kinds = spec.get("policyTypes") or ["Ingress"]
            pods = [
                pod
                for pod in cluster.all("Pod", namespace_of(policy))
                if scope.matches_labels(selector, labels_of(pod))
            ]
            if not pods or namespace_of(policy) not in (reading.namespace, cluster.system_namespace):
                continue
            yield Finding(
                causes.NETWORK_POLICY_DROPS, Layer.PATH,
                (
                    Fact(
                        of(cluster, policy), "spec.podSelector",
                        f"{shown(selector)}, selects {name_of(pods[0])}; {shown(kinds)}",
                    ),
                ),
                f"let {name_of(policy)} of {cluster.name} admit the mesh's traffic: 15443 and 15012 at "
                "the gateway, the service's ports at its pods",
                _dropped(reading, cluster, pods, [str(one) for one in kinds]),
                UNREACHED | {causes.NETWORK_POLICY_DROPS.id},
            )  # fmt: skip


def _dropped(reading: Reading, cluster: Cluster, pods: list[Object], kinds: list[str]) -> str:
    """A sentence on connections that time out from or to these pods, and that no policy of theirs admits."""
    names = {name_of(pod) for pod in pods}
    ips = {str((pod.get("status") or {}).get("podIP")): pod for pod in pods}
    gateways = [pod for pod in pods if labels_of(pod).get("istio") == "eastwestgateway"]
    for home, proxy, upstream, sentence in state.timed_out(reading):
        sender = home.get("Pod", proxy.pod, proxy.namespace) if home.name == cluster.name else None
        target, port = host_of(upstream), upstream.rpartition(":")[2]
        number = int(port) if port.isdigit() else 0
        # Another cluster of the network reaches the pods by their addresses too, from those of its own pods.
        met = ips.get(target) if home.network == cluster.network else None
        origin = (
            ""
            if home.name == cluster.name
            else next(scope.ips_of(home.get("Pod", proxy.pod, proxy.namespace) or {}), "")
        )
        if met is None and gateways and upstream in state.gateway_addresses(reading, cluster):
            met, number, origin = gateways[0], GATEWAY_PORT, ""
        inbound = "Ingress" in kinds and met is not None and not _admitted(cluster, met, "from", sender, number, origin)
        outbound = (
            "Egress" in kinds
            and sender is not None
            and proxy.pod in names
            and not _admitted(cluster, sender, "to", _pod_at(cluster, target), number, target)
        )
        if inbound or outbound:
            return sentence
    return ""


def _pod_at(cluster: Cluster, address: str) -> Object | None:
    return next((pod for pod in cluster.all("Pod") if (pod.get("status") or {}).get("podIP") == address), None)


def _admitted(cluster: Cluster, pod: Object, side: str, peer: Object | None, port: int, address: str = "") -> bool:
    """Whether a NetworkPolicy that selects a pod admits a connection: from a peer, or to one, at a port.

    Policies add up. ``peer`` is None for one outside of the cluster, which only its address can admit. An address that
    is not known, or a port by name, counts as admitted: that it is not is no evidence.
    """
    kind, field = ("Ingress", "ingress") if side == "from" else ("Egress", "egress")
    return any(
        _fits_port(one, port) and _fits_peer(cluster, policy, one.get(side) or [], peer, address)
        for policy in cluster.all("NetworkPolicy", namespace_of(pod))
        if kind in (spec_of(policy).get("policyTypes") or ["Ingress"])
        and scope.matches_labels(spec_of(policy).get("podSelector") or {}, labels_of(pod))
        for one in spec_of(policy).get(field) or []
    )


def _fits_port(one: Object, port: int) -> bool:
    listed = one.get("ports") or []
    return not listed or any(
        (first := entry.get("port")) is None
        or not isinstance(first, int)
        or first <= port <= int(entry.get("endPort") or first)
        for entry in listed
    )


def _fits_peer(cluster: Cluster, policy: Object, peers: list[Object], peer: Object | None, address: str) -> bool:
    for one in peers:
        if block := one.get("ipBlock"):
            if not address or (
                within(address, str(block.get("cidr")))
                and not any(within(address, str(hole)) for hole in block.get("except") or [])
            ):
                return True
        elif peer is not None:
            space = cluster.get("Namespace", namespace_of(peer))
            selector = one.get("namespaceSelector")
            near = (
                namespace_of(peer) == namespace_of(policy)
                if selector is None
                else scope.matches_labels(selector, labels_of(space or {}))
            )
            if near and scope.matches_labels(one.get("podSelector") or {}, labels_of(peer)):
                return True
    return not peers


def within(address: str, cidr: str) -> bool:
    """Whether an address is in a range; true where either cannot be read, for that it is not is no evidence."""
    try:
        return ip_address(address) in ip_network(cidr, strict=False)
    except ValueError:
        return True


@rule
def joined(case: Case) -> Iterator[Finding]:
    """A pod answers a client of another network at its own address: a check dialled it, for no object shows a route."""
    facts, seen = [], ""
    for symptom in case.symptoms:
        # By itself: the check saw the pod's own answer, and leaves nothing else open.
        if symptom.cause_ids != (causes.NETWORKS_JOINED.id,):
            continue
        near = symptom.route.partition("→")[0]
        for cluster in case.reading.clusters:
            for pod in cluster.all("Pod", case.reading.namespace):
                ip = str((pod.get("status") or {}).get("podIP", ""))
                if name_of(pod) in symptom.failure and ip and ip in symptom.failure:
                    value = f"{ip} answers the client of {near}, past every gateway"
                    facts.append(Fact(of(cluster, pod, "Pod"), "status.podIP", value))
                    seen = seen or f"{symptom.behaviour} ({symptom.route}) failed"
    if facts:
        yield Finding(
            causes.NETWORKS_JOINED, Layer.NETWORK, tuple(dict.fromkeys(facts)),
            "take away the routes between the two pod ranges, or make both clusters one network",
            seen, frozenset({causes.NETWORKS_JOINED.id}),
        )  # fmt: skip


@rule
def parted(case: Case) -> Iterator[Finding]:
    """No connection is made from a cluster to the pods of another on the same network, though these are ready."""
    reading = case.reading
    for home, cluster in itertools.permutations(reading.clusters, 2):
        if not home.network or home.network != cluster.network:
            continue
        ready = {
            one: pod for pod in state.pods_of(reading, cluster) if scope.is_ready(pod) for one in scope.ips_of(pod)
        }
        near = state.pod_addresses(reading, home)
        tried = [host for at, _, host in state.held_hosts(reading) if at is home and host_of(host.address) in ready]
        lost = [
            (address, sentence)
            for at, _, address, sentence in state.timed_out(reading)
            if at is home and host_of(address) in ready and host_of(address) not in near
        ]
        made = (host for host in tried if host.connections > host.connect_failures and not host.never_answered)
        if not lost or any(host.successes for host in tried) or any(made):
            continue
        address, sentence = lost[0]
        pod = ready[host_of(address)]
        yield Finding(
            root_causes.NETWORK_PARTED, Layer.PATH,
            (
                Fact(of(cluster, pod, "Pod"), "status.podIP", f"{host_of(address)}, and the pod is ready"),
                Fact(of(cluster, pod, "Pod"), _LABEL, f"{shown(labels_of(pod).get(NETWORK_LABEL))}; it is also that of "
                     f"{home.name}, from which no connection to it is made"),
            ),
            f"give the nodes of {home.name} and {cluster.name} routes to each other's pods, or make them two networks, "
            "each with a gateway",
            sentence, UNREACHED,
        )  # fmt: skip


@rule
def client_view(case: Case) -> Iterator[Finding]:
    """A client asks istiod for the endpoints of some networks, and holds none of another one's."""
    reading = case.reading
    for home, far in itertools.product(reading.clusters, reading.clusters):
        for proxy in home.of(CLIENT):
            asked = str(proxy.metadata.get("REQUESTED_NETWORK_VIEW", ""))
            if not asked or not far.network or far.network in state.networks_asked_for(proxy):
                continue
            name = f"Pod {home.name}/{proxy.namespace}/{proxy.pod}"
            pod = home.get("Pod", proxy.pod, proxy.namespace) or {}
            line = scope.proxy_config_line(pod, "ISTIO_META_REQUESTED_NETWORK_VIEW")
            yield Finding(
                root_causes.CLIENT_VIEW_LIMITED,
                Layer.NETWORK,
                (
                    Fact(name, "env ISTIO_META_REQUESTED_NETWORK_VIEW", f"{asked}; not {far.network}"),
                    *([Fact(name, f"metadata.annotations {PROXY_CONFIG_ANNOTATION}", line)] if line else []),
                ),
                f"take ISTIO_META_REQUESTED_NETWORK_VIEW from the sidecar of {home.name}'s {proxy.pod}",
                state.lacking(state.seen_by_clients_in(reading, [home]), far),
                UNREACHED,
            )
