"""The kinds of causes that the blind faults showed to be missing, each with and without what bears witness."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Layer, Symptom
from splithorizon.diagnosis.reading.model import CLIENT, GATEWAY, OTHER_AUTHORITY, SERVER, Host, RemoteSecret
from splithorizon.diagnosis.root_cause import diagnose, of_reading
from splithorizon.istio import certificates
from tests.support.made_reading import (
    FAR_LOST,
    GATEWAYS,
    HOST,
    MESH,
    OUTBOUND,
    SNI,
    Change,
    Object,
    adds,
    also,
    change,
    edits,
    holds,
    istiod,
    logs,
    made,
    near,
    pod,
    proxies,
    sound,
    two_primaries,
)

FAILED = Host(GATEWAYS["remote"], connect_failures=7, requests=7)
FAR_FAILS = holds("primary", near("primary"), FAILED)


def refused(resource: str, status: int = 403) -> Change:
    secret = RemoteSecret(
        "istio-system",
        "istio-remote-secret-remote",
        "remote",
        "https://10.89.0.2:6443",
        "remote",
        answer=status,
        refused=resource,
    )
    return change("primary", lambda cluster: replace(cluster, secrets=(secret,)))


def reads(groups: list[str], resources: list[str]) -> Change:
    rule = {"apiGroups": groups, "resources": resources, "verbs": ["get"]}
    return edits(
        "remote", "ClusterRole", "istio-reader-clusterrole-istio-system", lambda one: one["rules"].append(rule)
    )


def unsynced(one: str) -> Change:
    return istiod(clusters=({"id": "primary", "syncStatus": "synced"}, {"id": one, "syncStatus": "syncing"}))


def pem(*found: object) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)  # type: ignore[attr-defined]


def trusts(client_roots: int, server_roots: int, server_signed_by: int) -> Change:
    """The primary's client has a certificate of root 0; roots are bit sets of what each trusts."""
    keys = [certificates.new_key(), certificates.new_key()]
    names = [certificates.name("Root 0"), certificates.name("Root 1")]
    roots = [
        certificates.authority(name, key, issuer=name, issuer_key=key) for name, key in zip(names, keys, strict=True)
    ]

    def leaf(number: int) -> str:
        key = certificates.new_key()
        return pem(
            certificates.workload(
                "spiffe://cluster.local/ns/sample/sa/default", key, issuer=names[number], issuer_key=keys[number]
            )
        )

    def chosen(bits: int) -> str:
        return pem(*(root for number, root in enumerate(roots) if bits & 1 << number))

    return also(
        proxies("primary", CLIENT, certificate=leaf(0), trusted=chosen(client_roots)),
        proxies("primary", SERVER, certificate=leaf(0), trusted=chosen(client_roots)),
        proxies("remote", SERVER, certificate=leaf(server_signed_by), trusted=chosen(server_roots)),
    )


def view(name: str) -> Change:
    return proxies("remote", GATEWAY, metadata={"NETWORK": "remote-network", "REQUESTED_NETWORK_VIEW": name})


def sni(mode: str = "ISTIO_MUTUAL") -> Change:
    policy = {"tls": {"mode": mode, "sni": HOST}}
    return adds("primary", made("DestinationRule", "h", "sample", spec={"host": HOST, "trafficPolicy": policy}))


def ingress(endpoint: str) -> Change:
    spec = {
        "workloadSelector": {"labels": {"version": "v2"}},
        "ingress": [{"port": {"number": 5000}, "defaultEndpoint": endpoint}],
    }
    return adds("primary", made("Sidecar", "h", "sample", spec=spec))


def network_rbac() -> Change:
    value = {
        "name": "envoy.filters.network.rbac",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"},
    }
    spec = {
        "workloadSelector": {"labels": {"istio": "eastwestgateway"}},
        "configPatches": [{"applyTo": "NETWORK_FILTER", "match": {"context": "GATEWAY"}, "patch": {"value": value}}],
    }
    return adds("primary", made("EnvoyFilter", "h", "istio-system", spec=spec))


def injected(path: str, *, off: bool = False) -> Change:
    """The remote's webhook has a path, and its pod was injected as of the primary's network."""

    def webhook(one: Object) -> None:
        one["webhooks"][0]["clientConfig"]["service"]["path"] = path
        one["webhooks"][0]["namespaceSelector"] = (
            {"matchLabels": {"istio.io/deactivated": "never-match"}} if off else {}
        )

    def relabel(one: Object) -> None:
        one["metadata"]["labels"]["topology.istio.io/network"] = "primary-network"

    return also(
        edits("remote", "MutatingWebhookConfiguration", "istio-sidecar-injector", webhook),
        edits("remote", "Pod", "helloworld-1", relabel),
        proxies("remote", SERVER, metadata={"NETWORK": "primary-network", "CLUSTER_ID": "remote"}),
        holds("primary", near("primary"), Host("10.20.0.3:5000")),
    )


def of_revision(revision: str) -> Change:
    def relabel(namespace: Object) -> None:
        namespace["metadata"]["labels"] = {"istio.io/rev": revision}

    def bare(one: Object) -> None:
        one["spec"]["containers"] = [{"name": "helloworld"}]

    def webhook(one: Object) -> None:
        one["metadata"]["labels"]["istio.io/rev"] = "default"

    return also(
        edits("remote", "Namespace", "sample", relabel),
        edits("remote", "Pod", "helloworld-1", bare),
        edits("remote", "MutatingWebhookConfiguration", "istio-sidecar-injector", webhook),
        FAR_LOST,
    )


def without_endpoint_slices(name: str) -> Change:
    """The reader account's role of a cluster has no rule for them."""
    return edits(name, "ClusterRole", "istio-reader-clusterrole-istio-system", lambda one: one["rules"].pop())


def gateway_port(port: str) -> Change:
    """The remote gateway's Service names its port for other networks by a label."""
    return edits(
        "remote", "Service", "istio-eastwestgateway",
        lambda one: one["metadata"]["labels"].update({"networking.istio.io/gatewayPort": port}),
    )  # fmt: skip


def istiod_knows(*clusters: str) -> Change:
    networks = tuple(
        {"Network": f"{one}-network", "Addr": GATEWAYS[one].partition(":")[0], "Port": 15443} for one in clusters
    )
    return istiod(networks=networks)


def custom(provider: str = "oauth2-proxy") -> Change:
    spec = {"action": "CUSTOM", "provider": {"name": provider}, "rules": [{}]}
    return adds("primary", made("AuthorizationPolicy", "h", "sample", spec=spec))


UNDEFINED_PROVIDER = logs(
    "remote", SERVER, code=403,
    details="rbac_access_denied_matched_policy[istio-ext-authz-ns[sample]-policy[h]-rule[0]-deny-due-to-bad-CUSTOM-action]",
)  # fmt: skip


def slice_of(address: str, made_by: str = "platform-team") -> Change:
    labels = {"kubernetes.io/service-name": "helloworld", "endpointslice.kubernetes.io/managed-by": made_by}
    endpoints = [{"addresses": [address]}]
    return adds("remote", made("EndpointSlice", "h", "sample", labels, endpoints=endpoints))


def refuses(address: str) -> Change:
    return holds("remote", near("remote"), Host(address, connect_failures=17, connections=17))


def hidden(export_to: list[str], mode: str = "DISABLE", namespace: str = "istio-system") -> Change:
    spec = {"host": HOST, "exportTo": export_to, "trafficPolicy": {"tls": {"mode": mode}}}
    return adds("primary", made("DestinationRule", "h", namespace, spec=spec))


PASSES_NOTHING = proxies("remote", GATEWAY, endpoints={SNI: ()})


def mesh_networks(port: int) -> Change:
    address = GATEWAYS["remote"].partition(":")[0]
    text = f"{{networks: {{remote-network: {{gateways: [{{address: {address}, port: {port}}}]}}}}}}"
    return edits("primary", "ConfigMap", "istio", lambda one: one["data"].update(meshNetworks=text))


SECOND_REFUSES = holds(
    "primary",
    near("primary"),
    Host(GATEWAYS["remote"], successes=500, requests=500, connections=3),
    Host("10.89.0.2:15444", connect_failures=9, connections=9),
)


def weighted() -> Change:
    """A route to the whole service and to a version that no pod has."""
    subsets = [{"name": "all", "labels": {"app": "helloworld"}}, {"name": "v3", "labels": {"version": "v3"}}]
    route = [{"destination": {"host": HOST, "subset": one["name"]}, "weight": 50} for one in subsets]
    return also(
        adds("primary", made("DestinationRule", "h", "sample", spec={"host": HOST, "subsets": subsets})),
        adds("primary", made("VirtualService", "h", "sample", spec={"hosts": [HOST], "http": [{"route": route}]})),
    )


def rewrites() -> Change:
    route = {"rewrite": {"uri": "/v2/hello"}, "route": [{"destination": {"host": HOST}}]}
    return adds("primary", made("VirtualService", "h", "sample", spec={"hosts": [HOST], "http": [route]}))


BARE = edits("remote", "Pod", "helloworld-1", lambda one: one["spec"].update(containers=[{"name": "helloworld"}]))


def on_host_network(**labels: str) -> Change:
    """The remote's pod of the service is on its node's network, where no sidecar is injected."""

    def edit(one: Object) -> None:
        one["spec"]["hostNetwork"] = True
        one["metadata"]["labels"] |= labels

    return also(BARE, edits("remote", "Pod", "helloworld-1", edit))


def waiting(*containers: str) -> Change:
    """These containers of the remote's pod of the service are not ready."""

    def edit(one: Object) -> None:
        said = f"containers with unready status: [{' '.join(containers)}]"
        one["status"]["conditions"] = [{"type": "Ready", "status": "False", "message": said}]
        one["status"]["containerStatuses"] = [
            {"name": name, "ready": name not in containers} for name in ("helloworld", "istio-proxy")
        ]

    return edits("remote", "Pod", "helloworld-1", edit)


def resolves(policy: str, **settings: Any) -> Change:
    """The remote's pod of the service asks the DNS that a policy means."""
    return edits("remote", "Pod", "helloworld-1", lambda one: one["spec"].update(dnsPolicy=policy, **settings))


def binds(address: str, *, port: int = 15443, selector: str = "eastwestgateway") -> Change:
    """The Gateway for other networks listens at one address."""

    def edit(one: Object) -> None:
        one["spec"]["selector"] = {"istio": selector}
        one["spec"]["servers"][0] |= {"bind": address, "port": {"number": port}}

    listening = {port: f"{address}_{port}", 15021: "readiness"}
    return also(
        edits("primary", "Gateway", "cross-network-gateway", edit), proxies("remote", GATEWAY, listening=listening)
    )


def istiod_ports(of_service: str | None, of_slice: str | None) -> Change:
    """The remote's Service for istiod and its EndpointSlice name the port for configuration."""

    def named(name: str | None, webhooks: int) -> list[Object]:
        return [{"port": 15012, **({"name": name} if name else {})}, {"port": webhooks, "name": "https-webhook"}]

    return also(
        edits("remote", "Service", "istiod", lambda one: one["spec"].update(ports=named(of_service, 443))),
        edits("remote", "EndpointSlice", "istiod", lambda one: one.update(ports=named(of_slice, 15017))),
    )


CONNECTED = istiod(
    proxies=tuple(
        {"proxy": one} for one in ("sleep-1.sample", "helloworld-1.sample", "istio-eastwestgateway-1.istio-system")
    )
)


def distributes(sender: str, *receivers: str, places: tuple[str, ...] = ("primary", "remote"), **more: Any) -> Change:
    """What a locality sends is distributed among others; each cluster has a node in zone a of a region of its name."""
    setting = {"distribute": [{"from": sender, "to": dict.fromkeys(receivers, 100 // len(receivers))}], **more}
    nodes = [
        adds(
            name,
            made(
                "Node", f"{name}-node",
                labels={"topology.kubernetes.io/region": name, "topology.kubernetes.io/zone": "a"},
            ),
        )
        for name in places
    ]  # fmt: skip
    text = f"{MESH}localityLbSetting: {json.dumps(setting)}\n"
    return also(edits("primary", "ConfigMap", "istio", lambda one: one["data"].update(mesh=text)), *nodes)


def injector(values: object) -> Change:
    """The primary's injector has these values, as text or what is written as JSON."""
    text = values if isinstance(values, str) else json.dumps(values)
    return adds("primary", made("ConfigMap", "istio-sidecar-injector", "istio-system", data={"values": text}))


OF_NEAR_NETWORK = {"global": {"network": "primary-network", "multiCluster": {"clusterName": "primary"}}}


def says(network: str, cluster_id: str = "remote") -> Change:
    """The remote's sidecar of the service says these."""
    return proxies("remote", SERVER, metadata={"NETWORK": network, "CLUSTER_ID": cluster_id})


def filtering(name: str, value: str, app: str = "sleep", cluster: str = "primary") -> Change:
    """A control plane has a filter for the pods of an app."""
    patch = {"applyTo": "HTTP_FILTER", "match": {"context": "SIDECAR_OUTBOUND"}, "patch": {"value": {"name": value}}}
    spec = {"workloadSelector": {"labels": {"app": app}}, "configPatches": [patch]}
    return adds(cluster, made("EnvoyFilter", name, "sample", spec=spec))


def refuses_listener(details: str) -> Change:
    return proxies("primary", CLIENT, rejected=({"name": "0.0.0.0_5000", "details": details},))


CASES: list[tuple[str, Change, Cause, tuple[str, str, str]]] = [
    (
        "a reader without EndpointSlices",
        also(refused("endpointslices"), without_endpoint_slices("remote"), FAR_LOST),
        causes.REMOTE_SECRET_REFUSED,
        ("ClusterRole remote/istio-reader-clusterrole-istio-system", "rules", "endpointslices: in none of them"),
    ),
    (
        "a reader with all rights in another group",
        also(
            refused("endpointslices"),
            without_endpoint_slices("remote"),
            FAR_LOST,
            reads(["networking.istio.io"], ["*"]),
        ),
        causes.REMOTE_SECRET_REFUSED,
        ("ClusterRole remote/istio-reader-clusterrole-istio-system", "rules", "endpointslices: in none of them"),
    ),
    (
        "a reader that may only list",
        also(
            refused("endpointslices"),
            without_endpoint_slices("remote"),
            FAR_LOST,
            reads(["discovery.k8s.io"], ["endpointslices"]),
        ),
        causes.REMOTE_SECRET_REFUSED,
        ("ClusterRole remote/istio-reader-clusterrole-istio-system", "rules", "endpointslices: [get]"),
    ),
    (
        "a reader that istiod waits for",
        also(refused("nodes"), unsynced("remote")),
        causes.REMOTE_SECRET_REFUSED,
        ("Secret primary/istio-system/istio-remote-secret-remote", "data.remote", "HTTP 403 for nodes"),
    ),
    (
        "two roots",
        also(trusts(0b01, 0b10, 1), FAR_FAILS),
        causes.ROOTS_DIFFER,
        ("Envoy remote/sample/helloworld-1", "secret default", "CN=Root 1"),
    ),
    (
        "a root that one side trusts",
        also(trusts(0b11, 0b10, 1), FAR_FAILS),
        causes.ROOTS_DIFFER,
        ("Envoy remote/sample/helloworld-1", "secret ROOTCA", "CN=Root 1"),
    ),
    (
        "a gateway's view",
        also(view("remote-net"), proxies("remote", GATEWAY, endpoints={SNI: ()})),
        root_causes.GATEWAY_VIEW_WRONG,
        ("Pod remote/istio-system/istio-eastwestgateway-1", "REQUESTED_NETWORK_VIEW", "remote-net; the network is"),
    ),
    (
        "another SNI",
        also(sni(), FAR_FAILS),
        causes.GATEWAY_NAME_CHANGED,
        ("DestinationRule primary/sample/h", "trafficPolicy.tls.sni", HOST),
    ),
    (
        "a Sidecar's endpoint",
        also(ingress("127.0.0.1:5055"), logs("remote", SERVER, code=503, flags="UF", cluster="inbound|5000||")),
        root_causes.SIDECAR_LEADS_ELSEWHERE,
        ("Sidecar primary/sample/h", "spec.ingress[0].defaultEndpoint", "127.0.0.1:5055"),
    ),
    (
        "a webhook that names another network",
        injected("/inject/cluster/remote/net/primary-network"),
        causes.PROXY_NETWORK_WRONG,
        ("MutatingWebhookConfiguration remote/istio-sidecar-injector", "service.path", "/net/primary-network"),
    ),
    (
        "a filter that refuses connections",
        also(network_rbac(), logs("remote", GATEWAY, details="rbac_access_denied_matched_policy[none]")),
        root_causes.FILTER_ANSWERS,
        ("EnvoyFilter primary/istio-system/h", "patch.value.name", "envoy.filters.network.rbac"),
    ),
    (
        "a policy beside a filter of that name",
        also(
            network_rbac(),
            adds("primary", made("AuthorizationPolicy", "h", "istio-system", spec={"rules": [{}]})),
            logs("remote", GATEWAY, details="rbac_access_denied_matched_policy[none]"),
        ),
        causes.POLICY_DENIES,
        ("AuthorizationPolicy primary/istio-system/h", "spec.action", "ALLOW"),
    ),
    (
        "a revision that is not installed",
        of_revision("stable"),
        root_causes.REVISION_WITHOUT_WEBHOOK,
        ("Namespace remote/sample", "istio.io/rev", "stable; the injection webhooks are of [default]"),
    ),
    (
        "a label that names a port which the Service lacks",
        also(gateway_port("443"), istiod_knows("primary")),
        root_causes.GATEWAY_PORT_LABEL_WRONG,
        ("Service remote/istio-system/istio-eastwestgateway", "networking.istio.io/gatewayPort", "443"),
    ),
    (
        "a provider that is not defined",
        also(custom(), UNDEFINED_PROVIDER),
        causes.POLICY_DENIES,
        ("AuthorizationPolicy primary/sample/h", "spec.provider.name", "oauth2-proxy, which extensionProviders do not"),
    ),
    (
        "an EndpointSlice with a dead address",
        also(slice_of("10.20.200.200"), refuses("10.20.200.200:5000")),
        root_causes.ENDPOINT_SLICE_UNREACHABLE,
        ("EndpointSlice remote/sample/h", "endpoints[0].addresses", "10.20.200.200"),
    ),
    (
        "a rule that binds the gateways alone",
        also(hidden(["."]), PASSES_NOTHING),
        root_causes.GATEWAY_RULE_CHANGES_TLS,
        ("DestinationRule primary/istio-system/h", "spec.trafficPolicy.tls.mode", "DISABLE"),
    ),
    (
        "a dead gateway in meshNetworks beside the labelled one",
        also(mesh_networks(15444), SECOND_REFUSES),
        causes.GATEWAY_ADDRESS_WRONG,
        ("ConfigMap primary/istio-system/istio", "networks.remote-network.gateways[0]", "10.89.0.2:15444"),
    ),
    (
        "a path that the application does not have",
        also(rewrites(), logs("primary", code=404, details="via_upstream", cluster=OUTBOUND)),
        root_causes.RULE_ANSWERS_ITSELF,
        ("VirtualService primary/sample/h", "spec.http[0].rewrite", "/v2/hello"),
    ),
    (
        "a subset without pods beside a whole one",
        also(weighted(), logs("primary", code=503, flags="UH", cluster=f"outbound|5000|v3|{HOST}")),
        root_causes.RULE_PICKS_SUBSET,
        ("VirtualService primary/sample/h", "spec.http[0].route[1].destination.subset", "v3"),
    ),
    (
        "a pod on its node's network",
        also(on_host_network(), FAR_LOST),
        root_causes.POD_ON_HOST_NETWORK,
        ("Pod remote/sample/helloworld-1", "spec.hostNetwork", "true"),
    ),
    (
        "a pod that asks its node's DNS",
        also(resolves("Default"), waiting("helloworld", "istio-proxy"), FAR_LOST),
        root_causes.POD_WITHOUT_CLUSTER_DNS,
        ("Pod remote/sample/helloworld-1", "spec.dnsPolicy", "Default"),
    ),
    (
        "a Gateway at the loopback address",
        also(binds("127.0.0.1"), FAR_FAILS),
        root_causes.GATEWAY_BINDS_ELSEWHERE,
        ("Gateway primary/istio-system/cross-network-gateway", "spec.servers[0].bind", "127.0.0.1"),
    ),
    (
        "what listens at the loopback address",
        also(binds("127.0.0.1"), FAR_FAILS),
        root_causes.GATEWAY_BINDS_ELSEWHERE,
        ("Envoy remote/istio-system/istio-eastwestgateway-1", "listeners", "127.0.0.1_15443"),
    ),
    (
        "a port of istiod's Service with another name",
        istiod_ports("grpc-xds", "tcp-istiod"),
        causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT,
        ("Service remote/istio-system/istiod", "spec.ports[0].name", "grpc-xds, port 15012"),
    ),
    (
        "the ports of istiod's EndpointSlice",
        istiod_ports("grpc-xds", "tcp-istiod"),
        causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT,
        ("EndpointSlice remote/istio-system/istiod", "ports", "tcp-istiod=15012"),
    ),
    (
        "a distribution that leaves a cluster out",
        also(distributes("primary/*", "primary/*"), FAR_LOST),
        causes.LOCALITY_PREFERRED,
        ("ConfigMap primary/istio-system/istio", "data.mesh.localityLbSetting.distribute[0]", "from=primary/*"),
    ),
    (
        "the locality that a distribution leaves out",
        also(distributes("primary/a/*", "primary/a/*"), FAR_LOST),
        causes.LOCALITY_PREFERRED,
        ("Node remote/remote-node", "metadata.labels", "topology.kubernetes.io/region=remote"),
    ),
    (
        "an injector's value of the network",
        also(says("primary-network"), injector(OF_NEAR_NETWORK)),
        causes.PROXY_NETWORK_WRONG,
        ("ConfigMap primary/istio-system/istio-sidecar-injector", "data.values.global.network", "primary-network"),
    ),
    (
        "an injector's value of the cluster",
        also(says("remote-network", "primary"), injector(OF_NEAR_NETWORK)),
        causes.PROXY_CLUSTER_ID_WRONG,
        ("ConfigMap primary/istio-system/istio-sidecar-injector", "global.multiCluster.clusterName", "primary"),
    ),
    (
        "a filter that alone binds what refused its configuration",
        also(filtering("h", "tracing-headers"), refuses_listener("script load error: unexpected symbol near 'end'")),
        causes.ENVOY_REFUSED_CONFIG,
        ("EnvoyFilter primary/sample/h", "patch.value.name", "tracing-headers"),
    ),
]


@pytest.mark.parametrize(("broken", "cause", "cite"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_a_fault_is_the_one_root_cause_with_what_it_changed(
    broken: Change, cause: Cause, cite: tuple[str, str, str]
) -> None:
    found = of_reading(broken(sound()))
    assert [one.id for one in found.root_causes] == [cause.id]
    facts = [(fact.object, fact.field, fact.value) for fact in found.root_causes[0].finding.evidence]
    assert any(all(part in text for part, text in zip(cite, fact, strict=True)) for fact in facts), facts


@pytest.mark.parametrize(
    ("configured", "noted"),
    [
        (refused("nodes"), causes.REMOTE_SECRET_REFUSED),
        (trusts(0b01, 0b10, 1), causes.ROOTS_DIFFER),
        (view("remote-net"), root_causes.GATEWAY_VIEW_WRONG),
        (sni(), causes.GATEWAY_NAME_CHANGED),
        (ingress("127.0.0.1:5055"), root_causes.SIDECAR_LEADS_ELSEWHERE),
        (network_rbac(), root_causes.FILTER_ANSWERS),
        (custom(), causes.POLICY_DENIES),
        (gateway_port("443"), root_causes.GATEWAY_PORT_LABEL_WRONG),
        (slice_of("10.20.200.200"), root_causes.ENDPOINT_SLICE_UNREACHABLE),
        (hidden(["."]), root_causes.GATEWAY_RULE_CHANGES_TLS),
        (mesh_networks(15444), causes.GATEWAY_ADDRESS_WRONG),
        (weighted(), root_causes.RULE_PICKS_SUBSET),
        (rewrites(), root_causes.RULE_ANSWERS_ITSELF),
        (on_host_network(), root_causes.POD_ON_HOST_NETWORK),
        (resolves("Default"), root_causes.POD_WITHOUT_CLUSTER_DNS),
        (binds("127.0.0.1"), root_causes.GATEWAY_BINDS_ELSEWHERE),
        (also(istiod_ports("grpc-xds", "tcp-istiod"), CONNECTED), causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT),
        (distributes("primary/*", "primary/*"), causes.LOCALITY_PREFERRED),
        (waiting("helloworld", "istio-proxy"), causes.POD_NOT_READY),
    ],
    ids=lambda one: one.id if isinstance(one, Cause) else "",
)
def test_without_a_witness_it_is_a_note(configured: Change, noted: Cause) -> None:
    found = of_reading(configured(sound()))
    assert (found.root_causes, noted.id in {one.cause.id for one in found.notes}) == ((), True)


@pytest.mark.parametrize(
    "harmless",
    [
        also(trusts(0b11, 0b11, 1), FAR_FAILS),
        also(view("remote-network"), proxies("remote", GATEWAY, endpoints={SNI: ()})),
        also(view("other, remote-network"), proxies("remote", GATEWAY, endpoints={SNI: ()})),
        also(ingress("127.0.0.1:5000"), logs("remote", SERVER, code=503, flags="UF", cluster="inbound|5000||")),
        edits("remote", "Pod", "helloworld-1", lambda one: one["spec"].update(hostNetwork=True)),
        also(resolves("ClusterFirstWithHostNet"), FAR_FAILS),
        also(resolves("None", dnsConfig={"nameservers": ["10.96.0.10"]}), FAR_FAILS),
        also(binds("0.0.0.0"), FAR_FAILS),
        istiod_ports("tcp-istiod", "tcp-istiod"),
        istiod_ports(None, None),
        also(distributes("primary/*", "primary/*", "remote/*"), FAR_LOST),
        also(distributes("*", "*"), FAR_LOST),
        also(distributes("primary/b/*", "primary/b/*"), FAR_LOST),
        also(distributes("primary/*", "primary/*", enabled=False), FAR_LOST),
        also(distributes("primary/*", "primary/*", places=("primary",)), FAR_LOST),
        injector(OF_NEAR_NETWORK),
        also(filtering("h", "tracing-headers", app="other"), refuses_listener("script load error")),
    ],
    ids=[
        "both roots are trusted",
        "its own view",
        "two views",
        "the application's port",
        "a sidecar by hand on the node's network",
        "the cluster's DNS on the node's network",
        "nameservers of its own",
        "any address",
        "the same port names",
        "ports without names",
        "a distribution to both",
        "a distribution to all",
        "a distribution for others",
        "a distribution that is switched off",
        "nodes that could not be read",
        "an injector's value for other pods",
        "a filter for other pods",
    ],
)
def test_what_is_right_is_no_cause_of_failures(harmless: Change) -> None:
    found = of_reading(harmless(sound()))
    assert (found.root_causes, found.notes) == ((), ())


def test_a_subset_that_has_its_pods_is_not_cited() -> None:
    broken = also(weighted(), logs("primary", code=503, flags="UH", cluster=f"outbound|5000|v3|{HOST}"))
    (found,) = of_reading(broken(sound())).root_causes
    assert [fact.value for fact in found.finding.evidence] == ["v3", "version=v3"]


@pytest.mark.parametrize(
    "harmless",
    [
        also(slice_of("10.20.0.3"), refuses("10.20.0.3:5000")),
        also(slice_of("10.20.9.9", "endpointslice-controller.k8s.io"), refuses("10.20.9.9:5000")),
        also(hidden(["."], "ISTIO_MUTUAL"), PASSES_NOTHING),
        also(hidden(["."], namespace="elsewhere"), PASSES_NOTHING),
        also(mesh_networks(15443), SECOND_REFUSES),
        gateway_port("not a number"),
        also(rewrites(), logs("primary", code=503, flags="UF", details="upstream_reset", cluster=OUTBOUND)),
        also(rewrites(), logs("primary", code=403, details="via_upstream", cluster=OUTBOUND)),
    ],
    ids=[
        "a pod's address",
        "Kubernetes' own slice",
        "mutual TLS",
        "no gateway's namespace",
        "the gateway",
        "no number",
        "a rewrite, lost connections",
        "a rewrite, refusals",
    ],
)
def test_what_cannot_be_the_reason_is_not_named(harmless: Change) -> None:
    new = {
        root_causes.ENDPOINT_SLICE_UNREACHABLE.id, root_causes.GATEWAY_RULE_CHANGES_TLS.id,
        causes.GATEWAY_ADDRESS_WRONG.id, root_causes.GATEWAY_PORT_LABEL_WRONG.id,
        root_causes.RULE_ANSWERS_ITSELF.id,
    }  # fmt: skip
    assert not new & {one.id for one in of_reading(harmless(sound())).root_causes}


def test_a_service_without_the_port_is_not_given_another_label() -> None:
    def renumber(one: Object) -> None:
        one["spec"]["ports"][0]["port"] = 15444

    broken = also(edits("remote", "Service", "istio-eastwestgateway", renumber), istiod_knows("primary"))
    (found,) = of_reading(broken(sound())).root_causes
    assert found.id == causes.GATEWAY_SERVICE_WITHOUT_NETWORK.id
    assert found.finding.fix == "give port 15443 to Service istio-eastwestgateway of remote"


def test_a_revision_that_has_a_webhook_is_not_accused() -> None:
    found = of_reading(of_revision("default")(sound()))
    assert [one.id for one in found.root_causes] == [causes.WEBHOOK_NOT_CALLED.id]


def test_a_policy_at_a_gateway_whose_log_shows_no_denial_is_not_accused() -> None:
    chain = {"match": {"server_names": [SNI]}, "filters": ["envoy.filters.network.rbac"], "settings": {}}
    bound = also(
        adds("primary", made("AuthorizationPolicy", "h", "istio-system", spec={"rules": [{}]})),
        proxies("remote", GATEWAY, listeners=({"name": "0.0.0.0_15443", "chains": [chain]},)),
        logs("primary", code=503, flags="UF", upstream=GATEWAYS["remote"]),
    )
    assert [one.id for one in of_reading(bound(sound())).root_causes] == [causes.POLICY_DENIES.id]
    logging = also(bound, logs("remote", GATEWAY, flags="UF", upstream="10.20.0.3:5000"))
    assert of_reading(logging(sound())).root_causes == ()


@pytest.mark.parametrize(
    "path", ["/inject/cluster/remote/net/remote-network", "/inject", "/inject/cluster/remote/net/primary-network"]
)
def test_a_webhook_that_is_right_or_switched_off_is_not_accused(path: str) -> None:
    relabelled = also(
        injected(path, off=True),
        proxies("remote", SERVER, metadata={"NETWORK": "remote-network", "CLUSTER_ID": "remote"}),
    )
    assert [one.id for one in of_reading(relabelled(sound())).root_causes] == [causes.POD_WITHOUT_NETWORK.id]


ADMITTING: dict[str, tuple[bool, str, Object, tuple[Object, ...]]] = {
    "nothing is admitted": (True, "istio-system", {}, ()),
    "other ports": (True, "istio-system", {"ingress": [{"ports": [{"port": 15012}]}]}, ()),
    "the port, from anywhere": (False, "istio-system", {"ingress": [{"ports": [{"port": 15443}]}]}, ()),
    "a range of ports": (False, "istio-system", {"ingress": [{"ports": [{"port": 15000, "endPort": 15500}]}]}, ()),
    "pods of the cluster": (True, "istio-system", {"ingress": [{"from": [{"podSelector": {}}]}]}, ()),
    "addresses": (False, "istio-system", {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}, ()),
    "another policy admits": (False, "istio-system", {}, ({"ingress": [{}]},)),
    "not the gateway's": (False, "istio-system", {"podSelector": {"matchLabels": {"app": "istiod"}}}, ()),
}


@pytest.mark.parametrize(("dropping", "namespace", "spec", "others"), ADMITTING.values(), ids=ADMITTING)
def test_a_network_policy_is_accused_of_what_it_does_not_admit(
    dropping: bool, namespace: str, spec: Object, others: tuple[Object, ...]
) -> None:
    policies = [
        adds("remote", made("NetworkPolicy", f"n{number}", namespace, spec={"podSelector": {}, **one}))
        for number, one in enumerate((spec, *others))
    ]
    lost = logs("primary", code=503, flags="UF,URX", upstream=GATEWAYS["remote"], failure="connection timeout")
    found = of_reading(also(*policies, lost)(sound()))
    assert [one.id for one in found.root_causes] == ([causes.NETWORK_POLICY_DROPS.id] if dropping else [])


@pytest.mark.parametrize(
    ("failure", "dropping"),
    [("", True), ("delayed connect error: Connection refused", False)],
    ids=["no answer", "a refusal"],
)
def test_a_client_that_gives_up_first_leaves_its_sidecars_counters_as_a_witness(failure: str, dropping: bool) -> None:
    policy = adds("remote", made("NetworkPolicy", "n", "istio-system", spec={"podSelector": {}}))
    # It ended the request while its sidecar was still connecting.
    left = logs("primary", flags="DC", upstream=GATEWAYS["remote"] if failure else "-", failure=failure)
    found = of_reading(also(policy, left, FAR_FAILS)(sound()))
    named = {one.id for one in found.root_causes}
    assert (causes.NETWORK_POLICY_DROPS.id in named) == dropping


@pytest.mark.parametrize(("requests", "dropping"), [(0, True), (3, False)], ids=["none was sent", "some were sent"])
def test_a_connection_that_is_still_tried_is_no_connection(requests: int, dropping: bool) -> None:
    """As seen on a mesh: seven begun, six failed, and three requests found none of them."""
    policy = adds("remote", made("NetworkPolicy", "n", "istio-system", spec={"podSelector": {}}))
    tried = Host(GATEWAYS["remote"], connect_failures=6, connections=7, errors=3, requests=requests)
    found = of_reading(also(policy, holds("primary", near("primary"), tried))(sound()))
    assert [one.id for one in found.root_causes] == ([causes.NETWORK_POLICY_DROPS.id] if dropping else [])


@pytest.mark.parametrize(
    ("admitted", "dropping"),
    [
        ([{"podSelector": {}}], True),
        ([{"namespaceSelector": {"matchLabels": {"topology.istio.io/network": "remote-network"}}}], False),
        ([{"namespaceSelector": {}, "podSelector": {"matchLabels": {"istio": "eastwestgateway"}}}], False),
    ],
    ids=["its own namespace", "the gateway's namespace", "the gateway"],
)
def test_a_pod_behind_a_gateway_needs_the_gateway_to_be_admitted(admitted: list[Object], dropping: bool) -> None:
    spec = {"podSelector": {"matchLabels": {"app": "helloworld"}}, "ingress": [{"from": admitted}]}
    lost = logs("remote", GATEWAY, flags="UF,URX", upstream="10.20.0.3:5000", failure="connection timeout")
    found = of_reading(also(adds("remote", made("NetworkPolicy", "n", "sample", spec=spec)), lost)(sound()))
    assert [one.id for one in found.root_causes] == ([causes.NETWORK_POLICY_DROPS.id] if dropping else [])


@pytest.mark.parametrize(("cidr", "dropping"), [("10.10.0.0/16", True), ("10.89.0.0/16", False), ("0.0.0.0/0", False)])
def test_a_client_needs_the_far_gateway_among_the_addresses_that_it_may_reach(cidr: str, dropping: bool) -> None:
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": cidr}}]}]}
    lost = logs("primary", code=503, flags="UF,URX", upstream=GATEWAYS["remote"], failure="connection timeout")
    found = of_reading(also(adds("primary", made("NetworkPolicy", "n", "sample", spec=spec)), lost)(sound()))
    assert [one.id for one in found.root_causes] == ([causes.NETWORK_POLICY_DROPS.id] if dropping else [])


def misdirected(*, ready: bool) -> Change:
    annotation = {"proxy.istio.io/config": "discoveryAddress: istiod.istio-system.svc:15011\n"}
    statuses = [{"name": "istio-proxy", "ready": ready}]
    condition = {"type": "Ready", "status": str(ready), "message": "" if ready else "unready: [istio-proxy helloworld]"}

    def edit(one: Object) -> None:
        one["metadata"]["annotations"] = {**one["metadata"].get("annotations", {}), **annotation}
        one["status"] |= {"containerStatuses": statuses, "conditions": [condition]}

    return edits("remote", "Pod", "helloworld-1", edit)


def test_a_sidecar_that_asks_another_address_and_is_not_ready_has_its_annotation_for_a_cause() -> None:
    (found,) = of_reading(also(misdirected(ready=False), FAR_LOST)(sound())).root_causes
    assert found.finding.cause is root_causes.DISCOVERY_ADDRESS_WRONG
    assert [(one.field, one.value) for one in found.finding.evidence] == [
        ("metadata.annotations proxy.istio.io/config", "discoveryAddress: istiod.istio-system.svc:15011")
    ]


def test_a_sidecar_that_is_ready_may_ask_istiod_where_it_likes() -> None:
    assert of_reading(misdirected(ready=True)(sound())).root_causes == ()


def speaks(said: str) -> Change:
    return edits("primary", "Service", "helloworld", lambda one: one["spec"]["ports"][0].update(appProtocol=said))


SILENT = Symptom("test_both_versions_answer", "primary→remote", cause_ids=(causes.ACCESS_LOG_OFF.id,))


def test_a_port_of_bytes_is_the_cause_where_the_access_log_has_no_request() -> None:
    (found,) = diagnose(Case(speaks("tcp")(sound()), (SILENT,))).root_causes
    assert found.finding.cause is causes.PORT_MISNAMED
    assert [(one.object, one.field, one.value) for one in found.finding.evidence] == [
        ("Service primary/sample/helloworld", "spec.ports[0].appProtocol", "tcp")
    ]


@pytest.mark.parametrize(("said", "symptoms"), [("tcp", ()), ("http2", (SILENT,)), ("mine", (SILENT,))])
def test_a_port_is_not_accused_without_a_silent_log_or_where_requests_are_logged(
    said: str, symptoms: tuple[Symptom, ...]
) -> None:
    assert diagnose(Case(speaks(said)(sound()), symptoms)).root_causes == ()


@pytest.mark.parametrize(
    ("kept", "path"),
    [('{"/app-health/helloworld/readyz": {"httpGet": {"path": "/healthz"}}}', "/healthz"), ("{", "/app-health/")],
    ids=["kept", "not readable"],
)
def test_a_probe_is_cited_as_its_author_wrote_it(kept: str, path: str) -> None:
    def edit(one: Object) -> None:
        one["spec"]["containers"] = [
            {"name": "istio-proxy", "env": [{"name": "ISTIO_KUBE_APP_PROBERS", "value": kept}]},
            {"name": "helloworld", "readinessProbe": {"httpGet": {"path": "/app-health/helloworld/readyz"}}},
        ]
        one["status"] |= {
            "containerStatuses": [{"name": "helloworld", "ready": False}],
            "conditions": [{"type": "Ready", "status": "False", "message": "unready: [helloworld]"}],
        }

    (found,) = of_reading(also(edits("remote", "Pod", "helloworld-1", edit), FAR_LOST)(sound())).root_causes
    assert found.finding.cause is causes.POD_NOT_READY
    (probe,) = (one for one in found.finding.evidence if one.field == "spec.containers helloworld.readinessProbe")
    assert path in probe.value


WEBHOOKS = [
    {
        "name": "rev.namespace.sidecar-injector.istio.io",
        "namespaceSelector": {
            "matchExpressions": [
                {"key": "istio.io/rev", "operator": "In", "values": ["default"]},
                {"key": "istio-injection", "operator": "DoesNotExist"},
            ]
        },
    },
    {
        "name": "namespace.sidecar-injector.istio.io",
        "namespaceSelector": {
            "matchExpressions": [{"key": "istio-injection", "operator": "In", "values": ["enabled"]}]
        },
        "objectSelector": {
            "matchExpressions": [{"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]
        },
    },
]
ENABLED = edits(
    "remote", "Namespace", "sample", lambda one: one["metadata"].update(labels={"istio-injection": "enabled"})
)
NEXT_POD = Symptom("test_new_pods_are_injected", "", cause_ids=(causes.WEBHOOK_NOT_CALLED.id,))


def selecting(change: Callable[[list[Object]], object]) -> Change:
    """The remote has Istio's webhooks with their selectors, in which something is different."""

    def edit(one: Object) -> None:
        client = one["webhooks"][0]["clientConfig"]
        one["webhooks"] = [{**webhook, "clientConfig": client} for webhook in copy.deepcopy(WEBHOOKS)]
        change(one["webhooks"])

    return also(edits("remote", "MutatingWebhookConfiguration", "istio-sidecar-injector", edit), ENABLED)


def other_value(webhooks: list[Object]) -> None:
    webhooks[1]["namespaceSelector"]["matchExpressions"][0]["values"] = ["on"]


def demands_a_label(webhooks: list[Object]) -> None:
    webhooks[1]["objectSelector"] = {"matchLabels": {"team": "payments"}}


@pytest.mark.parametrize(
    ("narrowed", "field", "value"),
    [
        (other_value, "webhooks[1].namespaceSelector", "istio-injection In [on]; Namespace sample has enabled"),
        (demands_a_label, "webhooks[1].objectSelector", "team In [payments]; Pod helloworld-1 has not set"),
    ],
)
def test_a_pod_that_no_webhook_selects_has_the_nearest_selector_for_a_cause(
    narrowed: Callable[[list[Object]], object], field: str, value: str
) -> None:
    (found,) = of_reading(also(selecting(narrowed), BARE, FAR_LOST)(sound())).root_causes
    assert found.finding.cause is causes.WEBHOOK_NOT_CALLED
    first = found.finding.evidence[0]
    assert (first.object, first.field, first.value) == (
        "MutatingWebhookConfiguration remote/istio-sidecar-injector", field, value,
    )  # fmt: skip


def test_the_next_pod_that_no_webhook_selects_has_it_too() -> None:
    (found,) = diagnose(Case(selecting(other_value)(sound()), (NEXT_POD,))).root_causes
    assert (found.finding.cause, found.finding.layer) == (causes.WEBHOOK_NOT_CALLED, Layer.LATENT)


def test_a_webhook_that_selects_the_pod_is_not_accused() -> None:
    assert diagnose(Case(selecting(lambda _: None)(sound()), (NEXT_POD,))).root_causes == ()
    (found,) = of_reading(also(selecting(lambda _: None), BARE, FAR_LOST)(sound())).root_causes
    assert [one.object for one in found.finding.evidence] == ["Pod remote/sample/helloworld-1"]


def killed(state: Object, *, ready: bool) -> Change:
    """The remote's sidecar of the service was killed for its memory before, and is in another state now."""

    def edit(one: Object) -> None:
        one["metadata"]["annotations"] = {"sidecar.istio.io/proxyMemoryLimit": "16Mi"}
        one["spec"]["containers"] = [{"name": "istio-proxy", "resources": {"limits": {"memory": "16Mi"}}}]
        before = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
        one["status"] |= {
            "containerStatuses": [{"name": "istio-proxy", "ready": ready, "state": state, "lastState": before}],
            "conditions": [{"type": "Ready", "status": str(ready), "message": "unready: [istio-proxy]"}],
        }

    return also(edits("remote", "Pod", "helloworld-1", edit), FAR_LOST)


@pytest.mark.parametrize("state", [{"waiting": {"reason": "CrashLoopBackOff"}}, {"running": {}}], ids=["waits", "runs"])
def test_a_container_that_is_killed_for_its_memory_has_its_limit_for_a_cause(state: Object) -> None:
    (found,) = of_reading(killed(state, ready=False)(sound())).root_causes
    assert found.finding.cause is causes.CONTAINER_CRASHES
    facts = {one.field.rpartition(" ")[2]: one.value for one in found.finding.evidence}
    assert facts["istio-proxy.lastState.terminated"] == "OOMKilled, exit code 137, 0 restarts"
    assert facts["istio-proxy.resources.limits.memory"] == "16Mi"
    assert facts["sidecar.istio.io/proxyMemoryLimit"] == "16Mi"


def test_a_container_that_is_ready_again_is_not_accused_of_its_former_end() -> None:
    assert causes.CONTAINER_CRASHES.id not in {
        one.id for one in of_reading(killed({}, ready=True)(sound())).root_causes
    }


@pytest.mark.parametrize("named", [True, False])
def test_a_client_without_a_sidecar_that_a_check_names_refuses_it(named: bool) -> None:
    client = pod("sleep-2", "sample", "10.20.0.9", {"app": "sleep", "sidecar.istio.io/inject": "false"}, sidecar=False)
    failure = "seen: 1 ready; sample/sleep-2: no sidecar" if named else "seen: 1 ready; sample/other: no sidecar"
    case = Case(
        adds("remote", client)(sound()),
        (Symptom("test_workloads_are_ready", "remote", failure, (causes.POD_REFUSES_SIDECAR.id,)),),
    )
    found = diagnose(case).root_causes
    assert [one.id for one in found] == [causes.POD_REFUSES_SIDECAR.id] * named
    if named:
        (label, _) = found[0].finding.evidence
        assert (label.object, label.field) == ("Pod remote/sample/sleep-2", "metadata.labels sidecar.istio.io/inject")


def calls_itself(name: str) -> Change:
    environment = [{"name": "CLUSTER_ID", "value": name}]
    spec = {"replicas": 1, "template": {"spec": {"containers": [{"name": "discovery", "env": environment}]}}}
    return adds("primary", made("Deployment", "istiod", "istio-system", {"app": "istiod"}, spec=spec))


def test_an_istiod_that_calls_its_cluster_otherwise_than_its_proxies_is_cited() -> None:
    found = of_reading(also(calls_itself("Kubernetes"), istiod(proxies=()))(sound())).root_causes
    assert [one.id for one in found] == [root_causes.ISTIOD_CLUSTER_ID_WRONG.id]
    (fact,) = found[0].finding.evidence
    assert (fact.object, fact.field) == ("Deployment primary/istio-system/istiod", "env CLUSTER_ID")
    assert fact.value == "Kubernetes; the proxies of its cluster say primary"


@pytest.mark.parametrize("name", ["primary", ""])
def test_an_istiod_with_the_id_of_its_proxies_is_no_finding(name: str) -> None:
    found = of_reading(also(calls_itself(name), istiod(proxies=()))(sound()))
    assert root_causes.ISTIOD_CLUSTER_ID_WRONG.id not in {one.id for one in found.root_causes}


@pytest.mark.parametrize(
    ("containers", "named"),
    [(["helloworld"], True), (["istio-proxy"], False), (["helloworld", "istio-proxy"], False)],
    ids=["its application", "the sidecar", "both"],
)
def test_a_sidecar_that_waits_is_no_cause_by_itself(containers: list[str], named: bool) -> None:
    found = of_reading(waiting(*containers)(sound()))
    assert [one.id for one in found.root_causes] == [causes.POD_NOT_READY.id] * named
    assert (causes.POD_NOT_READY.id in {one.cause.id for one in found.notes}) is not named


def twin(*, labels: dict[str, str]) -> Change:
    """Another pod of the service in the remote, which is ready."""
    return adds("remote", pod("helloworld-2", "sample", "10.20.0.32", labels))


@pytest.mark.parametrize(
    ("labels", "named"),
    [({"app": "helloworld", "version": "v2", "pod-template-hash": "2"}, False), ({"app": "helloworld"}, True)],
    ids=["of another roll-out", "of another version"],
)
def test_a_pod_beside_another_that_does_its_work_is_no_cause_by_itself(labels: dict[str, str], named: bool) -> None:
    found = of_reading(also(twin(labels=labels), waiting("helloworld"))(sound()))
    assert [one.id for one in found.root_causes] == [causes.POD_NOT_READY.id] * named
    assert (causes.POD_NOT_READY.id in {one.cause.id for one in found.notes}) is not named


def test_a_pod_that_a_check_found_not_ready_is_a_cause_beside_another_too() -> None:
    beside_another = also(twin(labels={"app": "helloworld", "version": "v2"}), waiting("helloworld"))(sound())
    refuted = Symptom("test_workloads_are_ready", "remote", cause_ids=(causes.POD_NOT_READY.id,))
    assert [one.id for one in diagnose(Case(beside_another, (refuted,))).root_causes] == [causes.POD_NOT_READY.id]


def test_a_sidecar_before_its_application_is_no_cause_by_itself_either() -> None:
    def edit(one: Object) -> None:
        one["status"] |= {
            "phase": "Pending",
            "conditions": [{"type": "Ready", "status": "False", "message": "unready: [helloworld]"}],
            "initContainerStatuses": [{"name": "istio-proxy", "ready": False, "state": {"running": {}}}],
            "containerStatuses": [
                {"name": "helloworld", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}
            ],
        }

    found = of_reading(also(edits("remote", "Pod", "helloworld-1", edit), FAR_LOST)(sound()))
    assert (found.root_causes, [one.cause for one in found.notes]) == ((), [causes.POD_NOT_READY])


def test_a_pod_on_its_nodes_network_that_refuses_a_sidecar_is_accused_of_that() -> None:
    broken = also(on_host_network(**{"sidecar.istio.io/inject": "false"}), FAR_LOST)
    assert [one.id for one in of_reading(broken(sound())).root_causes] == [causes.POD_REFUSES_SIDECAR.id]


def test_the_dns_is_not_accused_where_the_application_alone_waits() -> None:
    broken = also(resolves("Default"), waiting("helloworld"))
    assert [one.id for one in of_reading(broken(sound())).root_causes] == [causes.POD_NOT_READY.id]


@pytest.mark.parametrize("address", ["10.20.0.31", "fd00:20::31"])
def test_a_gateway_at_an_address_of_its_pod_is_not_accused(address: str) -> None:
    def both_families(one: Object) -> None:
        one["status"]["podIPs"] = [{"ip": "10.20.0.31"}, {"ip": "fd00:20::31"}]

    harmless = also(binds(address), edits("remote", "Pod", "istio-eastwestgateway-1", both_families), FAR_FAILS)
    found = of_reading(harmless(sound()))
    # The primary's gateway would be the one that does not have it, and that one serves.
    assert found.root_causes == ()
    assert [one.cause for one in found.notes] == [root_causes.GATEWAY_BINDS_ELSEWHERE]


@pytest.mark.parametrize(
    "change", [binds("127.0.0.1", selector="other"), binds("127.0.0.1", port=8443)], ids=["pods", "ports"]
)
def test_a_gateway_for_other_pods_or_ports_is_not_accused_of_its_address(change: Change) -> None:
    found = of_reading(also(change, FAR_FAILS)(sound()))
    ids = {one.id for one in found.root_causes} | {one.cause.id for one in found.notes}
    assert root_causes.GATEWAY_BINDS_ELSEWHERE.id not in ids


@pytest.mark.parametrize(
    "values",
    [None, "{", [], {"global": None}, {"global": {"network": "third-network"}}],
    ids=["no ConfigMap", "no JSON", "a list", "nothing global", "another network"],
)
def test_an_injector_that_does_not_say_what_a_proxy_says_is_not_cited(values: object) -> None:
    broken = also(says("primary-network"), *([] if values is None else [injector(values)]))
    (found,) = of_reading(broken(sound())).root_causes
    assert found.id == causes.PROXY_NETWORK_WRONG.id
    assert [(one.object, one.field) for one in found.finding.evidence] == [
        ("Pod remote/sample/helloworld-1", "env ISTIO_META_NETWORK")
    ]
    assert "webhook" in found.finding.fix


def test_of_distributions_the_first_for_a_locality_counts() -> None:
    setting = {"distribute": [{"from": "primary/*", "to": {"*": 100}}, {"from": "*", "to": {"primary/*": 100}}]}
    text = f"{MESH}localityLbSetting: {json.dumps(setting)}\n"
    changed = also(
        distributes("primary/*", "*"),
        edits("primary", "ConfigMap", "istio", lambda one: one["data"].update(mesh=text)),
        FAR_LOST,
    )
    found = of_reading(changed(sound()))
    # What the remote's own clients lack is not shown by what the primary's lack.
    assert (found.root_causes, [one.cause for one in found.notes]) == ((), [causes.LOCALITY_PREFERRED])


@pytest.mark.parametrize(
    ("details", "named"),
    [("filter second-headers: script load error", ["EnvoyFilter primary/sample/second"]), ("script load error", [])],
    ids=["one is mentioned", "none is"],
)
def test_of_two_filters_only_the_one_that_the_refusal_mentions_is_named(details: str, named: list[str]) -> None:
    broken = also(filtering("first", "first-headers"), filtering("second", "second-headers"), refuses_listener(details))
    found = [one for one in of_reading(broken(sound())).root_causes if one.id == causes.ENVOY_REFUSED_CONFIG.id]
    assert [fact.object for one in found for fact in one.finding.evidence if fact.field.endswith(".name")] == named


def test_a_filter_that_is_accepted_is_not_accused_of_a_refusal() -> None:
    found = of_reading(filtering("h", "tracing-headers")(sound()))
    assert found.root_causes == ()
    assert causes.ENVOY_REFUSED_CONFIG not in [one.cause for one in found.notes]


def test_a_filter_is_alone_though_another_cluster_has_one_for_a_pod_of_that_name() -> None:
    broken = also(
        filtering("first", "first-headers"),
        filtering("second", "second-headers", cluster="remote"),
        refuses_listener("script load error"),
    )
    (found,) = of_reading(broken(two_primaries())).root_causes
    assert found.finding.evidence[0].object == "EnvoyFilter primary/sample/first"


@pytest.mark.parametrize(
    ("details", "found"), [("local_rate_limited", [root_causes.RATE_LIMITED.id]), ("via_upstream", [])]
)
def test_a_limit_is_a_cause_where_its_proxy_says_so_and_not_where_the_service_itself_answers_429(
    details: str, found: list[str]
) -> None:
    match = {"context": "SIDECAR_INBOUND"}
    patch = {"match": match, "patch": {"value": {"name": "envoy.filters.http.local_ratelimit"}}}
    spec = {"workloadSelector": {"labels": {"app": "helloworld"}}, "configPatches": [patch]}
    reading = also(
        adds("primary", made("EnvoyFilter", "h", "sample", spec=spec)),
        logs("remote", SERVER, code=429, details=details),
        logs("primary", code=429, details="via_upstream", cluster=OUTBOUND, upstream=GATEWAYS["remote"]),
    )(sound())
    assert [one.id for one in of_reading(reading).root_causes] == found


def expects_proxy_protocol(context: str = "GATEWAY") -> Change:
    value = {"name": "envoy.filters.listener.proxy_protocol", "typed_config": {"@type": "x/v3.ProxyProtocol"}}
    match = {"context": context, "listener": {"portNumber": 15443}}
    patch = {"applyTo": "LISTENER_FILTER", "match": match, "patch": {"operation": "INSERT_FIRST", "value": value}}
    spec = {"workloadSelector": {"labels": {"istio": "eastwestgateway"}}, "configPatches": [patch]}
    return adds("primary", made("EnvoyFilter", "h", "istio-system", spec=spec))


CLOSED_AT_GATEWAY = logs("primary", code=503, flags="UF,URX", cluster=OUTBOUND, upstream=GATEWAYS["remote"])


def test_a_filter_by_which_a_gateway_closes_connections_is_cited() -> None:
    (found,) = of_reading(also(expects_proxy_protocol(), CLOSED_AT_GATEWAY)(sound())).root_causes
    assert found.id == root_causes.FILTER_ANSWERS.id
    fact = found.finding.evidence[0]
    assert (fact.object, fact.value) == ("EnvoyFilter primary/istio-system/h", "envoy.filters.listener.proxy_protocol")
    assert GATEWAYS["remote"] in found.finding.witness


@pytest.mark.parametrize(
    "harmless",
    [expects_proxy_protocol(), also(expects_proxy_protocol("SIDECAR_INBOUND"), CLOSED_AT_GATEWAY)],
    ids=["nothing is closed", "for no gateway"],
)
def test_a_filter_that_closes_no_connection_at_a_gateway_is_not_named(harmless: Change) -> None:
    assert root_causes.FILTER_ANSWERS.id not in {one.id for one in of_reading(harmless(sound())).root_causes}


def not_created(message: str, *, namespace: str = "sample", available: int = 0) -> Change:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    status = {"conditions": [failure], "availableReplicas": available}
    return adds("remote", made("Deployment", "helloworld-v2", namespace, spec={"replicas": 1}, status=status))


QUOTA = (
    'pods "helloworld-v2-x" is forbidden: exceeded quota: team-memory, requested: limits.memory=1Gi, '
    "used: limits.memory=2Gi, limited: limits.memory=1Gi"
)


def test_a_quota_that_lets_no_pod_be_created_is_cited() -> None:
    (found,) = of_reading(not_created(QUOTA)(sound())).root_causes
    assert found.id == root_causes.PODS_NOT_CREATED.id
    quota, deployment = found.finding.evidence
    assert (quota.object, quota.field) == ("ResourceQuota remote/sample/team-memory", "spec.hard")
    assert quota.value == "limits.memory=1Gi; used limits.memory=2Gi"
    assert (deployment.object, deployment.value) == ("Deployment remote/sample/helloworld-v2", QUOTA)


def test_a_policy_that_lets_no_pod_be_created_is_cited_by_its_message() -> None:
    said = 'admission webhook "validate.example.com" denied the request: no limits'
    (found,) = of_reading(not_created(said)(sound())).root_causes
    assert [fact.value for fact in found.finding.evidence] == [said]


@pytest.mark.parametrize(
    "harmless", [{"namespace": "elsewhere"}, {"available": 1}], ids=["another's", "pods are there"]
)
def test_pods_that_nobody_misses_are_no_root_cause(harmless: dict[str, Any]) -> None:
    assert of_reading(not_created(QUOTA, **harmless)(sound())).root_causes == ()


def with_authority(name: str, **fields: Any) -> Change:
    secret = RemoteSecret(
        "istio-system", "istio-remote-secret-remote", "remote", "https://10.89.0.2:6443", "remote", name, 200, **fields
    )
    return change("primary", lambda cluster: replace(cluster, secrets=(secret,)))


def test_a_remote_secret_with_the_authority_of_another_cluster_is_cited() -> None:
    (found,) = of_reading(also(with_authority("primary"), unsynced("remote"))(sound())).root_causes
    assert found.id == root_causes.REMOTE_SECRET_AUTHORITY_WRONG.id
    fact = found.finding.evidence[0]
    assert (fact.object, fact.field) == ("Secret primary/istio-system/istio-remote-secret-remote", "data.remote")
    assert fact.value == "its certificate-authority-data is the CA of primary, its token one of remote"


def test_an_authority_of_no_cluster_is_cited_beside_the_server_that_is_not_reached() -> None:
    (found,) = of_reading(also(with_authority(OTHER_AUTHORITY), unsynced("remote"))(sound())).root_causes
    assert found.id == causes.API_SERVER_UNREACHABLE.id
    assert "its certificate-authority-data is the CA of none of the clusters" in [
        fact.value for fact in found.finding.evidence
    ]


@pytest.mark.parametrize("name", ["remote", "", OTHER_AUTHORITY])
def test_an_authority_by_which_istiod_syncs_is_no_finding(name: str) -> None:
    found = of_reading(with_authority(name)(sound()))
    assert (found.root_causes, found.notes) == ((), ())
