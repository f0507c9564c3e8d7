"""The kinds of causes that the blind faults showed to be missing, each with and without what bears witness."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.reading.model import CLIENT, GATEWAY, SERVER, Host, RemoteSecret
from splithorizon.diagnosis.root_cause import of_reading
from splithorizon.istio import certificates
from tests.support.made_reading import (
    FAR_LOST,
    GATEWAYS,
    HOST,
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
    proxies,
    sound,
)

FAILED = Host(GATEWAYS["remote"], connect_failures=7, requests=7)
FAR_FAILS = holds("primary", near("primary"), FAILED)


def refused(resource: str, status: int = 403) -> Change:
    secret = RemoteSecret(
        "istio-system", "istio-remote-secret-remote", "remote", "https://10.89.0.2:6443", "remote", status, resource
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
        return pem(certificates.workload("spiffe://x", key, issuer=names[number], issuer_key=keys[number]))

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
    ],
    ids=["both roots are trusted", "its own view", "two views", "the application's port"],
)
def test_what_is_right_is_no_cause_of_failures(harmless: Change) -> None:
    found = of_reading(harmless(sound()))
    assert (found.root_causes, found.notes) == ((), ())


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
