"""Each check of discovery passes on a sound mesh, names what is wrong with another, and judges nothing by nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed, Evidence, suspects
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio import certificates, trust_bundles
from splithorizon.istio.info import Address, NetworkMode
from splithorizon.istio.topology import PRIMARY_REMOTE, Route, Watch
from splithorizon.istio.trust_bundles import CABundle, Root
from splithorizon.mesh.config_chain import Setting, Source
from splithorizon.traffic.istiod import ProxySync, RemoteSecret, Synchronisation, WatchedCluster
from splithorizon.traffic.proxy import Endpoint
from splithorizon.traffic.requests import Reply
from tests.support.horizons import GATEWAYS, PODS, of_three, of_two

Check = Callable[[], Evidence]

OUT = PRIMARY_REMOTE.routes[0]
VERSIONS = {"primary": "v1", "remote": "v2"}
NEAR, FAR, GATEWAY, STRANGE = "10.10.0.7:5000", "10.20.0.7:5000", "172.18.0.9:15443", "192.0.2.1:15443"


def endpoint(address: str, weight: int = 1, *health_flags: str) -> Endpoint:
    host, _, port = address.rpartition(":")
    return Endpoint(Address(host, int(port)), weight, health_flags)


def split(
    *held: str | Endpoint,
    near: tuple[str, ...] = (NEAR,),
    gateway: tuple[str, ...] = (GATEWAY,),
    mode: NetworkMode = NetworkMode.LABELS,
) -> Evidence:
    endpoints = [one if isinstance(one, Endpoint) else endpoint(one) for one in held]
    known = of_two(OUT, near=near, far=(FAR,), gateway=gateway, mode=mode)
    return checks.endpoints_split_at_the_horizon(endpoints, OUT, horizon=known)


def weights(*held: Endpoint, near: tuple[str, ...] = (NEAR,), far: int = 3) -> Evidence:
    far_pods = [f"10.20.0.{number}:5000" for number in range(far)]
    return checks.weights_follow(held, OUT, horizon=of_two(OUT, near=near, far=far_pods, gateway=(GATEWAY,)))


def answers(v1: int, v2: int, *, far: int = 3) -> Evidence:
    versions = ["v1"] * v1 + ["v2"] * v2
    replies = [
        Reply(f"b-{n}", 200, 0.01, f"Hello version: {v}, instance: helloworld-{v}-1") for n, v in enumerate(versions)
    ]
    far_pods = [f"10.20.0.{number}:5000" for number in range(far)]
    known = of_two(OUT, near=[NEAR], far=far_pods, gateway=[GATEWAY])
    return checks.answers_follow_weights(replies, OUT, horizon=known, versions=VERSIONS)


WHOLE = [Setting(place, "the remote", "remote-network", "remote-network") for place in Source]


def broken_at(*places: Source, seen: str = "", of: str = "the remote") -> Evidence:
    found = [replace(link, seen=seen, of=of) if link.source in places else link for link in WHOLE]
    return checks.naming_chain_is_whole(found, "remote")


SLEEP, EASTWEST = "sleep-1.sample", "eastwest-1.istio-system"
SYNCED = Synchronisation((SLEEP, EASTWEST), (ProxySync(SLEEP, "remote", ()), ProxySync(EASTWEST, "remote", ())), {})
LAGGING = replace(SYNCED, found=(ProxySync(SLEEP, "remote", ()), ProxySync(EASTWEST, "remote", ("listener",))))
REFUSED = replace(LAGGING, refused={EASTWEST: {"listener_manager.lds.update_rejected": 3}})

OTHERS = (
    ProxySync("shop-1.prod", "remote", (), "1.29.1"),
    ProxySync("old-1.prod", "remote", ("cluster", "route"), "1.27.0"),
)

ISTIOD, THERE = "istiod.istio-system.svc:15012", Address("172.18.0.9", 15443)


def behind(*found: str) -> Evidence:
    return checks.istiod_found_behind(ISTIOD, [endpoint(one).address for one in found], "remote", gateway=[THERE])


SECRET = RemoteSecret("istio-remote-secret-remote", "remote", "https://172.18.0.9:6443")


def usable(*secrets: RemoteSecret, remote_id: str = "remote") -> Evidence:
    return checks.remote_secrets_usable({Watch("primary", "remote"): secrets}, ids={"remote": remote_id})


def watched(**statuses: str) -> Evidence:
    found = [WatchedCluster(cluster_id, status) for cluster_id, status in statuses.items()]
    whole = [WatchedCluster("primary", "synced"), WatchedCluster("remote", "synced")]
    return checks.every_cluster_watched({"primary": {"istiod-1": whole, "istiod-2": found}}, {"primary", "remote"})


NOW = datetime.now(UTC)
ROOT = Root("AA:BB:CC:DD:EE", NOW - timedelta(days=1), NOW + timedelta(days=300))
OTHER = replace(ROOT, fingerprint="11:22:33:44:55")
ENDED = replace(OTHER, ends=NOW - timedelta(hours=1))
ENDING = replace(ROOT, ends=NOW + timedelta(days=6))
IN_PRIMARY, IN_REMOTE = CABundle("ConfigMap of the primary", (ROOT,)), CABundle("ConfigMap of the remote", (ROOT,))


def webhooks(*bundles: CABundle, root: CABundle = IN_PRIMARY) -> Evidence:
    return checks.webhooks_hold_root(bundles, "remote", root=root)


def roots(primary: CABundle, remote: CABundle) -> Evidence:
    return checks.roots_agree({"primary": primary, "remote": remote})


GREEN: dict[str, Check] = {
    "split": lambda: split(NEAR, GATEWAY),
    "split, two of each": lambda: split(
        NEAR, "10.10.0.8:5000", GATEWAY, STRANGE, near=(NEAR, "10.10.0.8:5000"), gateway=(GATEWAY, STRANGE)
    ),
    "weights": lambda: weights(endpoint(NEAR), endpoint(GATEWAY, 3)),
    # With two gateways of a network istiod multiplies all weights, so that each gateway's share is a whole number.
    "weights in other units": lambda: weights(endpoint(NEAR, 2), endpoint(GATEWAY, 6)),
    "answers": lambda: answers(125, 375),
    "chain": lambda: checks.naming_chain_is_whole(WHOLE, "remote"),
    "synced": lambda: checks.every_proxy_synced(SYNCED, "remote"),
    "istiod behind the gateway": lambda: behind("172.18.0.9:15012"),
    "usable": lambda: usable(SECRET),
    "watched": lambda: watched(primary="synced", remote="synced", third="timeout"),
    "webhooks": lambda: webhooks(IN_PRIMARY, replace(IN_REMOTE, roots=(OTHER, ROOT))),
    "roots": lambda: roots(IN_PRIMARY, IN_REMOTE),
    "roots, one of two ending": lambda: roots(
        CABundle("primary", (OTHER, ENDING)), CABundle("remote", (ENDING, OTHER))
    ),
}

NO_FAR_CLUSTER = (causes.REMOTE_SECRET_MISSING, causes.REMOTE_SECRET_REFUSED, causes.CLUSTER_NOT_SYNCED)
NOT_WRITTEN = (causes.ISTIOD_MAY_NOT_WRITE, causes.CLUSTER_NOT_SYNCED)
NOT_KEYED = (causes.REMOTE_SECRET_KEY_WRONG, causes.REMOTE_SECRET_MISSING)
BEHIND_ISTIOD = (causes.ISTIOD_ADDRESS_STALE,)

RED: dict[str, tuple[Check, tuple[Cause, ...]]] = {
    "far pods": (lambda: split(NEAR, FAR), suspects.far_pods_dialled(NetworkMode.LABELS)),
    "far pods, by meshNetworks": (
        lambda: split(NEAR, FAR, mode=NetworkMode.MESH_NETWORKS),
        suspects.far_pods_dialled(NetworkMode.MESH_NETWORKS),
    ),
    "near pods only": (lambda: split(NEAR), NO_FAR_CLUSTER),
    "gateway only": (lambda: split(GATEWAY), NO_FAR_CLUSTER),
    "a strange gateway": (lambda: split(NEAR, STRANGE), (causes.GATEWAY_ADDRESS_WRONG,)),
    "a strange pod": (lambda: split(NEAR, GATEWAY, "10.10.0.9:5000"), (causes.STALE_ENDPOINT, causes.STRANGE_POD)),
    "a gateway too few": (
        lambda: split(NEAR, GATEWAY, gateway=(GATEWAY, STRANGE)),
        (causes.PUSH_LATE, causes.POD_NOT_READY),
    ),
    "no endpoint": (lambda: split(), (causes.SERVICE_NOT_SENT,)),
    "an ejected endpoint": (
        lambda: split(NEAR, endpoint(GATEWAY, 1, "failed_outlier_check")),
        (causes.ENDPOINT_EJECTED,),
    ),
    "a far pod not counted": (
        lambda: weights(endpoint(NEAR), endpoint(GATEWAY, 2)),
        (causes.POD_WITHOUT_SIDECAR, causes.POD_NOT_READY, causes.CLUSTER_NOT_SYNCED),
    ),
    "far pods counted that are gone": (
        lambda: weights(endpoint(NEAR), endpoint(GATEWAY, 4)),
        (causes.PUSH_LATE, causes.POD_NOT_READY),
    ),
    "near pods of unequal weight": (
        lambda: weights(endpoint(NEAR, 1), endpoint(STRANGE, 3), endpoint(GATEWAY, 4), near=(NEAR, STRANGE), far=2),
        (causes.ENDPOINTS_WEIGHTED,),
    ),
    "answers without weights": (lambda: answers(250, 250), (causes.BALANCED_WITHOUT_WEIGHTS,)),
    "answers of the far version only": (lambda: answers(0, 500), suspects.near_version_missing()),
    "answers of the near version only": (
        lambda: answers(500, 0),
        suspects.far_version_missing(NetworkMode.LABELS),
    ),
    "not connected": (
        lambda: checks.every_proxy_synced(replace(SYNCED, found=SYNCED.found[:1]), "remote"),
        (causes.PROXY_REFUSED, causes.ISTIOD_UNREACHABLE),
    ),
    "not answered": (lambda: checks.every_proxy_synced(LAGGING, "remote"), (causes.PROXY_HANGS,)),
    "refused": (lambda: checks.every_proxy_synced(REFUSED, "remote"), (causes.ENVOY_REFUSED_CONFIG,)),
    "istiod elsewhere": (lambda: behind("192.0.2.1:15012"), BEHIND_ISTIOD),
    "istiod nowhere": (lambda: behind(), (causes.ISTIOD_SERVICE_WITHOUT_ENDPOINT,)),
    "istiod at another port": (lambda: behind("172.18.0.9:15017"), BEHIND_ISTIOD),
    "a loopback server": (
        lambda: usable(replace(SECRET, server="https://127.0.0.1:6443")),
        (causes.REMOTE_SECRET_AT_LOOPBACK,),
    ),
    "a loopback server, by name": (
        lambda: usable(SECRET, replace(SECRET, server="https://localhost:6443")),
        (causes.REMOTE_SECRET_AT_LOOPBACK,),
    ),
    "no remote secret": (lambda: usable(), (causes.REMOTE_SECRET_MISSING,)),
    "another data key": (lambda: usable(replace(SECRET, cluster_id="n2-k8s-config")), NOT_KEYED),
    "no known id": (lambda: usable(SECRET, remote_id=""), NOT_KEYED),
    "no kubeconfig": (lambda: usable(replace(SECRET, server="")), (causes.REMOTE_SECRET_WITHOUT_KUBECONFIG,)),
    "not watched": (
        lambda: watched(primary="synced"),
        (causes.REMOTE_SECRET_MISSING, causes.REMOTE_SECRET_KEY_WRONG),
    ),
    "closed": (lambda: watched(primary="synced", remote="closed"), (causes.WATCH_CLOSED,)),
    "timed out": (
        lambda: watched(primary="synced", remote="timeout"),
        (causes.API_SERVER_UNREACHABLE, causes.REMOTE_SECRET_REFUSED),
    ),
    "an empty bundle": (
        lambda: webhooks(IN_PRIMARY, CABundle("webhook", problem="empty")),
        (*NOT_WRITTEN, causes.WEBHOOK_ORPHANED),
    ),
    "another root": (
        lambda: webhooks(CABundle("webhook", (OTHER,))),
        (causes.ROOTS_DIFFER, causes.WEBHOOK_ORPHANED),
    ),
    "a root of the past": (lambda: webhooks(CABundle("webhook", (ROOT, ENDED))), (causes.ROOT_EXPIRED,)),
    "no root": (lambda: roots(IN_PRIMARY, CABundle("remote", problem="not there")), NOT_WRITTEN),
    "unequal roots": (lambda: roots(IN_PRIMARY, CABundle("remote", (OTHER,))), (causes.ROOTS_DIFFER,)),
    "a root that ends": (
        lambda: roots(CABundle("primary", (ENDING,)), CABundle("remote", (ENDING,))),
        (causes.ROOT_EXPIRED,),
    ),
    "no label of the namespace": (
        lambda: broken_at(Source.NAMESPACE),
        (causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK,),
    ),
    "no fromRegistry": (lambda: broken_at(Source.MESH_NETWORKS), (causes.MESH_NETWORKS_REGISTRY_WRONG,)),
    "no gateway in meshNetworks": (
        lambda: broken_at(Source.MESH_NETWORKS, of="the remote, gateways"),
        (causes.MESH_NETWORKS_WITHOUT_GATEWAY,),
    ),
    "another gateway in meshNetworks": (
        lambda: broken_at(Source.MESH_NETWORKS, of="the remote, gateways", seen=STRANGE),
        (causes.GATEWAY_ADDRESS_WRONG,),
    ),
    "no Service of the gateway": (
        lambda: broken_at(Source.SERVICE),
        (causes.GATEWAY_SERVICE_WITHOUT_NETWORK, causes.GATEWAY_SERVICE_WITHOUT_ADDRESS),
    ),
    "a Service at another address": (
        lambda: broken_at(Source.SERVICE, seen=STRANGE),
        (causes.GATEWAY_ADDRESS_WRONG,),
    ),
    "no label of a pod": (lambda: broken_at(Source.POD_LABEL), (causes.POD_WITHOUT_NETWORK,)),
    "another network of a proxy": (lambda: broken_at(Source.POD_NETWORK, seen="a"), (causes.PROXY_NETWORK_WRONG,)),
    "another cluster of a proxy": (lambda: broken_at(Source.POD_CLUSTER, seen="a"), (causes.PROXY_CLUSTER_ID_WRONG,)),
    "no data key": (lambda: broken_at(Source.REMOTE_KUBECONFIG), (causes.REMOTE_SECRET_MISSING,)),
    "another key alone": (lambda: broken_at(Source.REMOTE_KUBECONFIG, seen="third"), NOT_KEYED),
    "a cluster that istiod does not watch": (
        lambda: broken_at(Source.CLUSTERS),
        (causes.REMOTE_SECRET_MISSING, causes.REMOTE_SECRET_REFUSED),
    ),
    "no gateway that istiod found": (
        lambda: broken_at(Source.GATEWAYS),
        (causes.CLUSTER_NOT_SYNCED, causes.GATEWAY_SERVICE_WITHOUT_ADDRESS),
    ),
    "another gateway that istiod found": (
        lambda: broken_at(Source.GATEWAYS, seen=STRANGE),
        (causes.GATEWAY_ADDRESS_WRONG, causes.PUSH_LATE),
    ),
}

NOTHING: dict[str, Check] = {
    "no near pods": lambda: split(NEAR, GATEWAY, near=()),
    "no known gateway": lambda: split(NEAR, GATEWAY, gateway=()),
    "no endpoints": lambda: weights(),
    "no far pods": lambda: weights(endpoint(NEAR), far=0),
    "no answers": lambda: answers(0, 0),
    "too few answers": lambda: answers(5, 15),
    "no links": lambda: checks.naming_chain_is_whole([], "remote"),
    "no proxies": lambda: checks.every_proxy_synced(Synchronisation((), (), {}), "remote"),
    "no gateway of the primary": lambda: checks.istiod_found_behind(ISTIOD, [THERE], "remote", gateway=[]),
    "no istiods": lambda: checks.every_cluster_watched({"primary": {}}, {"primary", "remote"}),
    "no cluster to watch": lambda: checks.remote_secrets_usable({}, ids={"primary": "primary"}),
    "no webhooks": lambda: webhooks(),
    "no root to compare with": lambda: webhooks(IN_PRIMARY, root=CABundle("primary", problem="not there")),
    "no bundles": lambda: checks.roots_agree({}),
}


@pytest.mark.parametrize("check", GREEN.values(), ids=GREEN)
def test_a_sound_mesh_passes(check: Check) -> None:
    evidence = check()
    assert evidence.claim
    assert evidence.key_number


@pytest.mark.parametrize(("check", "open_causes"), RED.values(), ids=RED)
def test_a_broken_mesh_is_refuted_with_the_causes_that_are_open(check: Check, open_causes: tuple[Cause, ...]) -> None:
    with pytest.raises(CheckFailed) as failed:
        check()
    assert failed.value.causes == open_causes
    assert failed.value.likely_cause
    assert failed.value.next_command


def test_a_strange_endpoint_is_shown() -> None:
    with pytest.raises(CheckFailed, match=STRANGE):
        split(NEAR, STRANGE)


@pytest.mark.parametrize("check", NOTHING.values(), ids=NOTHING)
def test_nothing_to_judge_by_is_inconclusive(check: Check) -> None:
    with pytest.raises(EnvironmentBroke):
        check()


def test_the_first_broken_link_is_named_and_its_causes_are_its_own() -> None:
    seen = set()
    for place in Source:
        with pytest.raises(CheckFailed) as failed:
            broken_at(place, Source.GATEWAYS)
        assert failed.value.expected.startswith(place)
        assert failed.value.seen.startswith(place)
        assert len(failed.value.numbers) == len(Source)
        seen.add(failed.value.cause_ids)
    assert len(seen) == len(Source)


def test_of_many_broken_links_some_are_shown_and_all_are_counted() -> None:
    with pytest.raises(CheckFailed, match=r"8 more after it: .* …"):
        broken_at(*Source)


def test_the_interval_of_three_to_one_is_stated() -> None:
    evidence = answers(125, 375)
    assert evidence.expected_interval == (326, 420)
    assert evidence.numbers["false_alarm"] == 1e-6
    assert evidence.numbers["v2"] == 375


def test_certificates_are_read_with_their_time_and_fingerprint() -> None:
    key, name = certificates.new_key(), certificates.name("Root CA")
    certificate = certificates.authority(name, key, issuer=name, issuer_key=key)
    pem = certificate.public_bytes(Encoding.PEM)
    (one, two), problem = trust_bundles.read(pem + pem)
    assert (one, problem) == (two, "")
    assert one.fingerprint == certificates.fingerprint(pem)
    assert one.valid(still_for=timedelta(days=300))
    assert not one.valid(still_for=timedelta(days=400))
    assert str(CABundle("here", (one,))) == f"here: {one.fingerprint[:11]}… until {one.ends:%F}"


@pytest.mark.parametrize(("text", "problem"), [("", "empty"), (" \n", "empty"), ("-----", "no certificate in PEM")])
def test_what_is_no_certificate_is_a_problem(text: str, problem: str) -> None:
    assert trust_bundles.read(text.encode()) == ((), problem)


def test_the_cluster_that_lacks_the_root_is_the_one_to_look_at() -> None:
    with pytest.raises(CheckFailed) as failed:
        roots(CABundle("primary", problem="not there"), IN_REMOTE)
    assert failed.value.next_command == "kubectl <primary> -n <namespace> get configmap istio-ca-root-cert -o yaml"


def test_of_several_watches_the_one_without_a_secret_is_named() -> None:
    ids = {"b": "id-of-b", "c": "id-of-c"}
    whole, lacking = [replace(SECRET, cluster_id="id-of-b")], [replace(SECRET, cluster_id="id-of-x")]
    with pytest.raises(CheckFailed, match="c: istiod's secret for it has its id") as failed:
        checks.remote_secrets_usable({Watch("a", "b"): whole, Watch("b", "c"): lacking}, ids=ids)
    assert failed.value.next_command.startswith("kubectl <b> -n <b system> get secrets")


def test_a_stale_proxy_of_somebody_else_is_counted_and_refutes_nothing() -> None:
    found = (replace(SYNCED.found[0], version="1.29.1"), SYNCED.found[1])
    evidence = checks.every_proxy_synced(replace(SYNCED, found=found, others=OTHERS), "remote")
    assert evidence.numbers == {
        "proxies": 2,
        "others": 2,
        "others_pending": 1,
        "versions": "1 x 1.29.1, 1 x unknown",
        "versions_of_others": "1 x 1.27.0, 1 x 1.29.1",
    }
    assert "1 of 2 others pending" in evidence.key_number


def test_another_address_of_istiod_is_right_where_the_proxies_are_connected() -> None:
    elsewhere = [Address("203.0.113.5", 15012)]
    evidence = checks.istiod_found_behind(ISTIOD, elsewhere, "remote", gateway=[THERE], connected=True)
    assert "203.0.113.5:15012" in evidence.key_number
    with pytest.raises(CheckFailed):
        checks.istiod_found_behind(ISTIOD, elsewhere, "remote", gateway=[THERE])


def test_webhooks_may_trust_another_ca_that_istiod_is_certified_by() -> None:
    subject, key = certificates.name("Root CA"), certificates.new_key()
    root = certificates.authority(subject, key, issuer=subject, issuer_key=key)
    served = certificates.workload("spiffe://x/ns/a/sa/b", certificates.new_key(), issuer=subject, issuer_key=key)
    bundle = CABundle("webhook", trust_bundles.read(root.public_bytes(Encoding.PEM))[0])
    assert checks.webhooks_hold_root([bundle], "remote", root=IN_PRIMARY, served=[served]).numbers == {"webhooks": 1}
    stranger = certificates.new_key()
    other = certificates.workload("spiffe://x/ns/a/sa/b", stranger, issuer=subject, issuer_key=stranger)
    for chain in ([], [other]):
        with pytest.raises(CheckFailed):
            checks.webhooks_hold_root([bundle], "remote", root=IN_PRIMARY, served=chain)


POD1, POD2, POD3 = PODS.values()
GATE1, GATE2, GATE3 = GATEWAYS.values()
BACK_TO_BOTH = Route("cluster3", "cluster1")


@pytest.mark.parametrize(
    ("client", "far", "held"),
    [
        ("cluster1", "cluster3", (POD1, POD2, GATE3)),
        ("cluster2", "cluster3", (POD1, POD2, GATE3)),
        ("cluster3", "cluster2", (POD3, GATE1, GATE2)),
    ],
)
def test_of_three_clusters_a_client_holds_its_networks_pods_and_the_others_gateways(
    client: str, far: str, held: tuple[str, ...]
) -> None:
    endpoints = [endpoint(one) for one in held]
    known = of_three(client)
    assert checks.endpoints_split_at_the_horizon(endpoints, Route(client, far), horizon=known).numbers["endpoints"] == 3
    for missing in endpoints:
        with pytest.raises(CheckFailed):
            checks.endpoints_split_at_the_horizon(
                [one for one in endpoints if one is not missing], Route(client, far), horizon=known
            )


def test_a_pod_of_the_other_network_is_no_endpoint_though_its_gateway_is_there() -> None:
    held = [endpoint(one) for one in (POD3, GATE1, POD2)]
    with pytest.raises(CheckFailed) as refuted:
        checks.endpoints_split_at_the_horizon(held, BACK_TO_BOTH, horizon=of_three("cluster3"))
    assert causes.GATEWAY_SERVICE_WITHOUT_NETWORK in refuted.value.causes


def test_each_gateway_of_a_network_weighs_the_pods_of_its_own_cluster() -> None:
    known = of_three("cluster3")
    even = [endpoint(POD3), endpoint(GATE1), endpoint(GATE2)]
    assert checks.weights_follow(even, BACK_TO_BOTH, horizon=known).numbers == {"share": "1/3"}
    # Both together weigh what they should, and one too much.
    uneven = [endpoint(POD3, 2), endpoint(GATE1, 1), endpoint(GATE2, 3)]
    for route in (BACK_TO_BOTH, Route("cluster3", "cluster2")):
        with pytest.raises(CheckFailed, match="1/3 of all weight"):
            checks.weights_follow(uneven, route, horizon=known)
    # Gateways of meshNetworks are no cluster's, and share what is behind them.
    together = of_three("cluster3", mode=NetworkMode.MESH_NETWORKS)
    assert checks.weights_follow(uneven, BACK_TO_BOTH, horizon=together).numbers == {"share": "2/3"}


def test_the_one_gateway_of_a_network_weighs_the_pods_of_both_its_clusters() -> None:
    known = of_three("cluster3", without_gateway="cluster2")
    found = checks.weights_follow([endpoint(POD3), endpoint(GATE1, 2)], BACK_TO_BOTH, horizon=known)
    assert found.numbers == {"share": "2/3"}
    with pytest.raises(CheckFailed, match="2 pods are behind it, 1 near"):
        checks.weights_follow([endpoint(POD3), endpoint(GATE1, 1)], BACK_TO_BOTH, horizon=known)


def test_a_cluster_without_an_istiod_holds_no_remote_secret() -> None:
    secrets = {Watch("primary", "remote"): [SECRET]}
    assert checks.remote_secrets_usable(secrets, ids={"remote": "remote"}, unread={"remote": ()}).numbers == {
        "secrets": 1
    }
    with pytest.raises(CheckFailed, match="remote: a cluster without an istiod holds no remote secret") as refuted:
        checks.remote_secrets_usable(secrets, ids={"remote": "remote"}, unread={"remote": ("istio-remote-secret-old",)})
    assert refuted.value.seen == "istio-remote-secret-old"
    assert not refuted.value.causes
