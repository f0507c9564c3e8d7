"""What proxies and istiods hold, against what objects say: the witnesses of a diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import yaml

from splithorizon.base.addresses import host_of, host_port
from splithorizon.diagnosis import scope
from splithorizon.diagnosis.reading.model import (
    CLIENT,
    GATEWAY,
    SERVER,
    Cluster,
    Host,
    LogCount,
    Object,
    Proxy,
    Reading,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.istio.gateway_services import external_hosts, named_port
from splithorizon.istio.info import is_address
from splithorizon.istio.names import GATEWAY_PORT, NETWORK_LABEL, config_map_of

_LABELS_OF_CONTROLLERS = (
    "pod-template-hash", "controller-revision-hash", "apps.kubernetes.io/pod-index",
    "statefulset.kubernetes.io/pod-name",
)  # fmt: skip


def control_plane_of(reading: Reading, cluster: Cluster) -> Cluster:
    """The cluster whose istiod manages one."""
    return reading[cluster.control_plane]


def managed_by(reading: Reading, plane: Cluster) -> tuple[Cluster, ...]:
    """The clusters that the istiod of a cluster manages: its rules and its mesh configuration bind their proxies."""
    return tuple(one for one in reading.clusters if one.control_plane == plane.name)


def seen_by_clients_of(reading: Reading, plane: Cluster) -> Reading:
    """The reading with those clients alone that a control plane manages: what it tells clients shows at no others."""
    return seen_by_clients_in(reading, managed_by(reading, plane))


def seen_by_clients_in(reading: Reading, homes: Collection[Cluster]) -> Reading:
    """The reading with the clients of these clusters alone."""
    names = {one.name for one in homes}
    return replace(
        reading,
        clusters=tuple(
            one
            if one.name in names
            else replace(one, proxies=tuple(proxy for proxy in one.proxies if proxy.kind != CLIENT))
            for one in reading.clusters
        ),
    )


def mesh_config(reading: Reading, cluster: Cluster) -> Mapping[str, Any]:
    """The mesh configuration as the ConfigMap of a control plane has it; empty where it cannot be read as YAML."""
    return _yaml(_map(reading, cluster).get("mesh", ""))


def mesh_networks(reading: Reading, cluster: Cluster) -> Mapping[str, Any]:
    """The networks of meshNetworks in the ConfigMap of a control plane."""
    return _yaml(_map(reading, cluster).get("meshNetworks", "")).get("networks") or {}


def config_map(reading: Reading, cluster: Cluster) -> Object | None:
    """The ConfigMap that a control plane reads."""
    return cluster.get("ConfigMap", config_map_of(reading.revision_of(cluster)), cluster.system_namespace)


def _map(reading: Reading, cluster: Cluster) -> Mapping[str, Any]:
    return (config_map(reading, cluster) or {}).get("data") or {}


@cache
def _yaml(text: str) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def root_namespace(reading: Reading, cluster: Cluster) -> str:
    """Whose policies bind the whole mesh."""
    return str(mesh_config(reading, cluster).get("rootNamespace") or cluster.system_namespace)


def service_of(reading: Reading, cluster: Cluster, name: str = "") -> Object | None:
    """The diagnosed Service in a cluster, or another of its namespace."""
    return cluster.get("Service", name or reading.service, reading.namespace)


def pods_of(reading: Reading, cluster: Cluster) -> list[Object]:
    """The pods in a cluster that the Service means, by its selector in any cluster: one of them may be wrong."""
    selectors = [spec_of(one).get("selector") for other in reading.clusters if (one := service_of(reading, other))]
    return [
        pod
        for pod in cluster.all("Pod", reading.namespace)
        if any(scope.selects(selector, labels_of(pod)) for selector in selectors)
    ]


def own_labels(pod: Object) -> dict[str, str]:
    """A pod's labels without those that Istio, and its Deployment or StatefulSet, give it."""
    return {
        key: value
        for key, value in labels_of(pod).items()
        if "istio.io" not in key and key not in _LABELS_OF_CONTROLLERS
    }


def selected(service: Object | None, pods: list[Object]) -> list[Object]:
    """Those pods that a Service selects."""
    selector = spec_of(service).get("selector") if service else None
    return [pod for pod in pods if scope.selects(selector, labels_of(pod))]


def gateway_services(cluster: Cluster) -> list[Object]:
    """The Services of a cluster's east-west gateway: by the network's label, the gateway port, or Istio's own label."""
    return [
        one
        for one in cluster.all("Service")
        if labels_of(one).get("istio") == "eastwestgateway"
        or NETWORK_LABEL in labels_of(one)
        or (
            any(port.get("port") == GATEWAY_PORT for port in scope.ports(one))
            and namespace_of(one) == cluster.system_namespace
        )
    ]


def sharing(reading: Reading, cluster: Cluster) -> tuple[Cluster, ...]:
    """The clusters of a cluster's network, itself among them: each gateway of the network leads to the pods of all."""
    return tuple(one for one in reading.clusters if one.name == cluster.name or one.network == cluster.network)


def gateway_elsewhere(reading: Reading, cluster: Cluster) -> bool:
    """Whether a cluster has no gateway, and its network has one in another cluster: none is missing then."""
    return not gateway_services(cluster) and any(gateway_services(one) for one in sharing(reading, cluster))


def injection_webhooks(cluster: Cluster) -> Iterator[tuple[Object, int, Object]]:
    """The injection webhooks that are in use, each with its configuration and its place in it."""
    for one in cluster.all("MutatingWebhookConfiguration"):
        if labels_of(one).get("app") != "sidecar-injector":
            continue
        for number, webhook in enumerate(one.get("webhooks") or []):
            # Istio switches webhooks off by a selector that fits no namespace.
            if "istio.io/deactivated" not in str(webhook.get("namespaceSelector")):
                yield one, number, webhook


def webhook_path(webhook: Object) -> tuple[str, str]:
    """Where a webhook is called: the field of it that says so, and the URL or the Service's path that it has."""
    client = webhook.get("clientConfig") or {}
    if client.get("url"):
        return "url", str(client["url"])
    return "service.path", str((client.get("service") or {}).get("path", ""))


def gateway_pods(cluster: Cluster) -> list[Object]:
    """The pods of a cluster's east-west gateway that run."""
    return [
        pod
        for pod in cluster.all("Pod")
        if labels_of(pod).get("istio") == "eastwestgateway" and (pod.get("status") or {}).get("phase") == "Running"
    ]


def gateway_port(service: Object) -> int:
    """The port for other networks of a gateway's Service."""
    return named_port(labels_of(service))


def gateway_addresses(reading: Reading, cluster: Cluster) -> frozenset[str]:
    """Every address, as host:port, by which clients may know a cluster's gateway, right or wrong.

    Of a cluster without a gateway it is that of its network's gateways in other clusters.
    """
    found = {*cluster.gateways}
    for service in gateway_services(cluster):
        found |= {host_port(host, gateway_port(service)) for host in external_hosts(service)}
    for plane in reading.config_clusters:
        for istiod in plane.istiods:
            found |= _addresses_for(istiod.networks or (), cluster)
    return frozenset(found)


def _addresses_of(networks: Iterable[Object], network: str) -> set[str]:
    """The gateways of one network in what an istiod says of all, as host:port."""
    return {host_port(str(one["Addr"]), one["Port"]) for one in networks if one.get("Network") == network}


def _addresses_for(networks: Iterable[Object], cluster: Cluster) -> set[str]:
    """The gateways in place of a cluster's pods in what an istiod says of all networks, as host:port.

    These are the cluster's own and those of no cluster, as of meshNetworks; all of its network where it has none.
    """
    known = [one for one in networks if one.get("Network") == cluster.network]
    own = [one for one in known if one.get("Cluster", "") in ("", cluster.cluster_id)]
    return _addresses_of(own or known, cluster.network)


def pod_addresses(reading: Reading, cluster: Cluster) -> frozenset[str]:
    """The IP addresses of a cluster's pods in the Service's namespace."""
    return frozenset(address for pod in cluster.all("Pod", reading.namespace) for address in scope.ips_of(pod))


def clients(reading: Reading) -> Iterator[tuple[Cluster, Proxy]]:
    """Every client whose endpoints were read."""
    for cluster in reading.clusters:
        for proxy in cluster.of(CLIENT):
            if "clusters" in proxy.read:
                yield cluster, proxy


def servers(reading: Reading) -> Iterator[tuple[Cluster, Proxy]]:
    """Every proxy of the Service's pods that was read."""
    for cluster in reading.clusters:
        for proxy in cluster.of(SERVER):
            yield cluster, proxy


def gateways(reading: Reading) -> Iterator[tuple[Cluster, Proxy]]:
    """Every proxy of a gateway that was read."""
    for cluster in reading.clusters:
        for proxy in cluster.of(GATEWAY):
            yield cluster, proxy


def networks_asked_for(proxy: Proxy) -> frozenset[str]:
    """The networks whose endpoints a proxy asks istiod for; empty where it asks for all."""
    text = str(proxy.metadata.get("REQUESTED_NETWORK_VIEW") or "")
    return frozenset(one.strip() for one in text.split(",") if one.strip())


def held(proxy: Proxy, host: str, subset: str = "") -> dict[int, tuple[Host, ...]]:
    """The endpoints that a proxy holds of a host, by port; a port that it does not know is absent."""
    found = {}
    for name, hosts in proxy.endpoints.items():
        direction, port, part, of = parts_of(name)
        if (direction, part, of) == ("outbound", subset, host):
            found[int(port)] = hosts
    return found


def parts_of(envoy_cluster: str) -> tuple[str, str, str, str]:
    """Direction, port, subset and host in the name of an Envoy cluster; all empty where it is none of a Service."""
    parts = envoy_cluster.split("|")
    return (parts[0], parts[1], parts[2], parts[3]) if len(parts) == 4 else ("", "", "", "")


def ports_for_networks(cluster: Cluster) -> Iterator[tuple[Object, int, Mapping[str, Any]]]:
    """The port for other networks of each gateway Service, with the Service and the port's place in it."""
    for service in gateway_services(cluster):
        for number, port in enumerate(scope.ports(service)):
            if port.get("port") == gateway_port(service):
                yield service, number, port


def held_hosts(reading: Reading) -> Iterator[tuple[Cluster, Proxy, Host]]:
    """Every endpoint of the Service, at any port, that a client holds, with the client's cluster and its sidecar."""
    for client, proxy in clients(reading):
        for hosts in held(proxy, reading.host).values():
            for host in hosts:
                yield client, proxy, host


def failed_to_connect(client: Cluster, proxy: Proxy, host: Host) -> str:
    """A sentence on a client's sidecar and an endpoint, by the counter of connections that failed."""
    times = f"{host.connect_failures} times"
    return f"the sidecar of {client.name}'s {proxy.pod} failed {times} to connect to {host.address}"


def is_of(reading: Reading, client: Cluster, cluster: Cluster, host: Host) -> bool:
    """Whether an endpoint of a client leads to a cluster: its pods within a network, else its gateway."""
    ip = host_of(host.address)
    if client.network == cluster.network:
        return ip in pod_addresses(reading, cluster)
    return host.address in gateway_addresses(reading, cluster) or may_be_named(reading, cluster, host)


def may_be_named(reading: Reading, cluster: Cluster, host: Host) -> bool:
    """Whether an endpoint may be at a gateway that its Service gives a host name: istiod resolves it.

    It is so where the port fits and no cluster is known to have the address.
    """
    named = [
        gateway_port(one)
        for one in gateway_services(cluster)
        if any(not is_address(address) for address in external_hosts(one))
    ]
    ip = host_of(host.address)
    return host.port in named and not any(
        ip in pod_addresses(reading, one) or host.address in gateway_addresses(reading, one) for one in reading.clusters
    )


def shares_nothing(reading: Reading) -> bool:
    """Whether no Envoy holds endpoints of the Service, as it is: it is headless, or a name, wherever it is."""
    services = [one for cluster in reading.clusters if (one := service_of(reading, cluster))]
    return bool(services) and all(
        spec_of(one).get("clusterIP") == "None" or spec_of(one).get("type") == "ExternalName" for one in services
    )


def no_pod_has_a_sidecar(reading: Reading) -> bool:
    """Whether no pod of the Service has a sidecar, in any cluster: its clients reach those of their own network."""
    return not any(scope.has_sidecar(pod) for cluster in reading.clusters for pod in pods_of(reading, cluster))


def lacking(
    reading: Reading,
    cluster: Cluster,
    *,
    far_only: bool = False,
    others_only: bool = False,
    without_pods: bool = False,
    at: int = 0,
) -> str:
    """A sentence on the first client that holds no endpoint of the Service in a cluster; empty where all do.

    Asked are all clients, those of other networks (``far_only``), or those of other clusters (``others_only``); about
    the ports that the cluster has too, or one of the client's own (``at``). Empty too where none is to be held: none of
    its endpoints ever is, or no pod of it is there, unless ``without_pods``.
    """
    if shares_nothing(reading) or not (without_pods or pods_of(reading, cluster)):
        return ""
    for client, proxy in clients(reading):
        if (far_only and client.network == cluster.network) or (others_only and client.name == cluster.name):
            continue
        known = held(proxy, reading.host)
        for port in [at] if at else _shared_ports(reading, client, cluster) or sorted(known) or [0]:
            if not any(is_of(reading, client, cluster, host) for host in known.get(port, ())):
                what = f"outbound|{port}||{reading.host}"
                return f"the sidecar of {client.name}'s {proxy.pod} holds no endpoint of {cluster.name} in {what}"
            if said := _none_behind(reading, client, cluster, known.get(port, ())):
                return f"the sidecar of {client.name}'s {proxy.pod} holds {said} in outbound|{port}||{reading.host}"
    return ""


def _shared_ports(reading: Reading, client: Cluster, cluster: Cluster) -> list[int]:
    """The TCP ports of the Service in a client's cluster of which another cluster's has the names.

    All of them where it has none of these: what keeps it from having any says why.
    """
    own = [port for port in scope.ports(service_of(reading, client) or {}) if port.get("protocol", "TCP") == "TCP"]
    names = {port.get("name") for port in scope.ports(service_of(reading, cluster) or {})}
    return [int(port["port"]) for port in own if port.get("name") in names] or [int(port["port"]) for port in own]


def _none_behind(reading: Reading, client: Cluster, cluster: Cluster, hosts: Collection[Host]) -> str:
    """What a client holds of a gateway that several clusters share, where that weighs as if one had no pods behind it.

    A gateway weighs as much as the pods behind it; what one pod weighs shows at those of the client's own network.
    Empty where it weighs anything else, or the cluster has a gateway to itself.
    """
    if client.network == cluster.network or not gateway_elsewhere(reading, cluster):
        return ""
    near = {ip for one in sharing(reading, client) for ip in pod_addresses(reading, one)}
    of_a_pod = {host.weight for host in hosts if host_of(host.address) in near}
    behind = {one.name: _reached_by_gateways(reading, one) for one in sharing(reading, cluster)}
    own, beside = behind.pop(cluster.name), sum(behind.values())
    gateways = [host for host in hosts if host.address in gateway_addresses(reading, cluster)]
    weight = sum(host.weight for host in gateways)
    if not own or not beside or len(of_a_pod) != 1 or weight != beside * of_a_pod.pop():
        return ""
    held_at = ", ".join(host.address for host in gateways)
    return f"{held_at} with a weight that leaves no pod of {cluster.name} behind it"


def _reached_by_gateways(reading: Reading, cluster: Cluster) -> int:
    """How many pods of the Service in a cluster count for a gateway: those that are ready and have a sidecar."""
    return sum(scope.is_ready(pod) and scope.has_sidecar(pod) for pod in pods_of(reading, cluster))


def lacking_service(client: Cluster, host: str) -> str:
    """A sentence on a client in a cluster that knows nothing of a host; empty where each does."""
    for proxy in client.of(CLIENT):
        if "clusters" in proxy.read and not held(proxy, host):
            return f"the sidecar of {client.name}'s {proxy.pod} has no cluster for {host}"
    return ""


def direct(reading: Reading, cluster: Cluster) -> str:
    """A sentence on a client of another network that holds pod addresses of a cluster; empty where none does."""
    pods = pod_addresses(reading, cluster)
    for client, proxy, host in held_hosts(reading):
        ip = host_of(host.address)
        # Ranges of two networks may overlap.
        own = (ip in pod_addresses(reading, one) for one in sharing(reading, client))
        if client.network != cluster.network and ip in pods and not any(own):
            return f"the sidecar of {client.name}'s {proxy.pod} holds {host.address}, a pod of {cluster.name}"
    return ""


def unexposed(reading: Reading, cluster: Cluster) -> str:
    """A sentence on a gateway whose listener has no filter chain for the service; empty where each has one."""
    for proxy in cluster.of(GATEWAY):
        if "listeners" not in proxy.read:
            continue
        names = {
            name
            for one in proxy.listeners
            for chain in one["chains"]
            for name in chain["match"].get("server_names", [])
        }
        if not any(name.endswith(f"_.{reading.host}") for name in names):
            return f"the gateway {proxy.pod} of {cluster.name} has no filter chain for {reading.host}"
    return ""


def passes_nothing(reading: Reading, cluster: Cluster, proxy: Proxy) -> str:
    """A sentence on a gateway that holds no endpoint of the service; empty where it holds one or was not read."""
    if "clusters" not in proxy.read:
        return ""
    name = f"_.{reading.host}"
    if any(
        hosts for known, hosts in proxy.endpoints.items() if known.startswith("outbound_.") and known.endswith(name)
    ):
        return ""
    return f"the gateway {proxy.pod} of {cluster.name} holds no endpoint of {reading.host}"


def networks_known(reading: Reading, cluster: Cluster) -> frozenset[str] | None:
    """The gateway addresses that any istiod has for a cluster's network, as host:port; None where none was asked."""
    pages = [one.networks for plane in reading.config_clusters for one in plane.istiods if one.networks is not None]
    if not pages:
        return None
    return frozenset(address for page in pages for address in _addresses_of(page, cluster.network))


def without_gateway(reading: Reading, cluster: Cluster) -> str:
    """The name of a cluster whose istiod knows no gateway of a cluster's network; empty where each knows one."""
    for plane in reading.config_clusters:
        for istiod in plane.istiods:
            if istiod.networks is not None and not any(
                one.get("Network") == cluster.network for one in istiod.networks
            ):
                return plane.name
    return ""


def logged(proxy: Proxy, *, flags: tuple[str, ...] = (), host: str = "") -> Iterator[LogCount]:
    """The lines of a proxy's log with one of the flags, and about a host, by authority or upstream cluster."""
    for line in proxy.log:
        known = {*line.flags.split(",")} if line.flags else set()
        if flags and not known & {*flags}:
            continue
        if host and not _is_about(proxy, line, host):
            continue
        yield line


def _is_about(proxy: Proxy, line: LogCount, host: str) -> bool:
    """Whether a line is about a host: by its upstream cluster, a client's or a gateway's, or by what was asked for."""
    name, namespace, *_ = host.split(".")
    asked = line.authority.partition(":")[0]
    # Within its own namespace a Service is asked for by its name alone.
    own = {name} if proxy.namespace == namespace else set()
    return (
        line.cluster.endswith((f"|{host}", f"_.{host}"))
        or asked in {f"{name}.{namespace}", *own}
        or asked.startswith(f"{name}.{namespace}.")
    )


def timed_out(reading: Reading) -> Iterator[tuple[Cluster, Proxy, str, str]]:
    """Connections that were not made and not refused: the sender's cluster and proxy, where to, and a sentence on them.

    By the logs first. A client that gives up before its sidecar does leaves a line without an upstream, or the sidecar
    tries elsewhere: the counters of an endpoint to which no connection was ever made show these.
    """
    for home in reading.clusters:
        for proxy in home.proxies:
            for line in logged(proxy, flags=("UF", "URX")):
                if is_unanswered(line):
                    lost = f"{line.count} connections of {proxy.pod} of {home.name} to {line.upstream} failed"
                    yield home, proxy, line.upstream, f"{lost} ({line.flags})"
    for home, proxy, host in held_hosts(reading):
        unanswered = all(is_unanswered(line) for line in proxy.log if line.upstream == host.address)
        if host.never_answered and unanswered:
            yield home, proxy, host.address, failed_to_connect(home, proxy, host)


def is_unanswered(line: LogCount) -> bool:
    """Whether a connection may have ended for want of time: what refuses it, or fails in TLS, has answered."""
    return "refused" not in line.failure and "TLS" not in line.failure


def trouble_at_gateway(reading: Reading, cluster: Cluster, meant: Callable[[LogCount], bool] = lambda _: True) -> str:
    """A sentence on requests of clients that failed at the gateways of a cluster, as ``trouble`` has it."""
    return trouble(reading, gateway_addresses(reading, cluster), flags=("UF", "UC", "URX"), meant=meant)


def trouble(
    reading: Reading,
    addresses: frozenset[str],
    *,
    flags: tuple[str, ...],
    meant: Callable[[LogCount], bool] = lambda _: True,
) -> str:
    """A sentence on requests of clients that failed at one of the addresses, by their logs; empty without any.

    Only lines that are ``meant`` count.
    """
    for client, proxy in clients(reading):
        for line in filter(meant, logged(proxy, flags=flags)):
            if line.upstream in addresses:
                reason = f", {line.failure}" if line.failure else ""
                return (
                    f"{line.count} requests of {client.name}'s {proxy.pod} failed at {line.upstream} "
                    f"({line.flags}{reason})"
                )
    return ""


def failing_hosts(reading: Reading, addresses: frozenset[str]) -> str:
    """A sentence on an endpoint at which clients failed to connect and never succeeded; empty where there is none."""
    for client, proxy, host in held_hosts(reading):
        if host.address in addresses and host.never_answered:
            return failed_to_connect(client, proxy, host)
    return ""


def serving(reading: Reading, addresses: frozenset[str]) -> frozenset[str]:
    """Those of the addresses at which a client's requests for the Service succeeded, by its sidecar's counters."""
    return frozenset(host.address for _, _, host in held_hosts(reading) if host.address in addresses and host.successes)


def refusing(
    reading: Reading, cluster: Cluster, *, in_network: bool = False
) -> Iterator[tuple[Cluster, Proxy, Host, list[Host]]]:
    """Each address of a cluster's gateway to which a client made no connection, where it reached others of them.

    With ``in_network`` the others may be those of another cluster's gateway on the same network. With the client, its
    sidecar, the endpoint, and those that it reached.
    """
    addresses = gateway_addresses(reading, cluster)
    beside = addresses.union(*(gateway_addresses(reading, one) for one in sharing(reading, cluster) if in_network))
    for client, proxy in clients(reading):
        if client.network == cluster.network:
            continue
        for hosts in held(proxy, reading.host).values():
            reached = [one for one in hosts if one.address in beside and one.successes]
            for one in hosts:
                if one.address in addresses and reached and one.connect_failures and not one.successes:
                    yield client, proxy, one, reached


def export_of(service: Object) -> list[str]:
    """The namespaces that a Service's annotation exports it to; empty where it does not say."""
    text = annotations_of(service).get("networking.istio.io/exportTo", "")
    return [one.strip() for one in text.split(",") if one.strip()]


def in_force(config: Mapping[str, Any], one: Object) -> bool:
    """Whether Envoy's configuration names a rule as the one that made it."""
    kind = _DASHED.get(one.get("kind", ""), "")
    return made_by(config).endswith(f"/namespaces/{namespace_of(one)}/{kind}/{name_of(one)}")


def made_by(config: Mapping[str, Any]) -> str:
    """The path of the rule that Envoy's configuration names as the one that made it; empty where it names none."""
    named = ((config.get("metadata") or {}).get("filter_metadata") or {}).get("istio") or {}
    return str(named.get("config", ""))


def overridden(configs: Iterable[Mapping[str, Any]], one: Object) -> bool:
    """Whether parts of Envoy's configuration name rules of a rule's kind that made them, and none names this rule.

    Then a rule of a narrower host, or of the client's own namespace, is in force in its place.
    """
    kind = f"/{_DASHED.get(one.get('kind', ''), '')}/"
    named = [config for config in configs if kind in made_by(config)]
    return bool(named) and not any(in_force(config, one) for config in named)


_DASHED = {"DestinationRule": "destination-rule", "VirtualService": "virtual-service"}
