"""Root causes in meshes of other shapes: several primaries, and several clusters on one network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Symptom
from splithorizon.diagnosis.reading.model import CLIENT, GATEWAY, SERVER, Cluster, Host, Istiod, Reading, RemoteSecret
from splithorizon.diagnosis.root_cause import diagnose, of_reading
from tests.diagnosis.test_identities import certificate
from tests.support.made_reading import (
    GATEWAYS,
    HOST,
    OUTBOUND,
    PODS,
    SECOND,
    SECOND_GATEWAY,
    SECOND_POD,
    SNI,
    Change,
    Object,
    adds,
    also,
    change,
    edits,
    holds,
    logs,
    made,
    mesh,
    near,
    proxies,
    removes,
    sound,
    three_clusters,
    two_primaries,
)

SHAPES = [
    pytest.param(two_primaries(), id="two primaries"),
    pytest.param(three_clusters(), id="one gateway for two clusters"),
    pytest.param(three_clusters(gateway=True), id="two gateways on one network"),
]


WRONG = "10.89.0.77:15443"


def found_in(reading: Reading) -> list[str]:
    return [one.id for one in of_reading(reading).root_causes]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sound_mesh_has_no_root_cause_and_no_note(shape: Reading) -> None:
    found = diagnose(Case(shape))
    assert found.root_causes == ()
    assert [(one.cause.id, *map(str, one.evidence)) for one in found.notes] == []


def gateway_service(name: str, edit: Any) -> Change:
    return edits(name, "Service", "istio-eastwestgateway", edit)


def in_config_map(*addresses: str) -> Change:
    """The networks are set in the ConfigMap of each primary, and no Service has a label; the second network's too."""

    def network(clusters: tuple[str, ...], gateways: tuple[str, ...]) -> str:
        ends = ", ".join(f"{{fromRegistry: {one}}}" for one in clusters)
        named = ", ".join(f"{{address: {one.partition(':')[0]}, port: 15443}}" for one in gateways)
        return f"{{endpoints: [{ends}], gateways: [{named}]}}"

    text = (
        f"networks: {{primary-network: {network(('primary', SECOND), addresses)}, "
        f"remote-network: {network(('remote',), (GATEWAYS['remote'],))}}}"
    )

    def unlabelled(one: Object) -> None:
        del one["metadata"]["labels"]["topology.istio.io/network"]

    maps = [edits(name, "ConfigMap", "istio", lambda one: one["data"].update(meshNetworks=text))
            for name in ("primary", "remote")]  # fmt: skip
    return also(*maps, *(gateway_service(name, unlabelled) for name in ("primary", SECOND, "remote")))


def test_one_gateway_is_enough_for_a_network_of_two_clusters() -> None:
    assert found_in(in_config_map(GATEWAYS["primary"])(three_clusters(gateway=True))) == []
    lost = holds("remote", near("remote"), Host(WRONG, connect_failures=7, requests=7))
    failed = logs("remote", code=503, flags="UF", cluster=OUTBOUND, upstream=WRONG)
    assert found_in(also(in_config_map(WRONG), lost, failed)(three_clusters(gateway=True))) == [
        causes.GATEWAY_ADDRESS_WRONG.id
    ]


def test_a_wrong_address_in_the_config_map_is_named_beside_a_right_one() -> None:
    both = in_config_map(GATEWAYS["primary"], WRONG)
    right, wrong = Host(GATEWAYS["primary"], successes=9, requests=9), Host(WRONG, connect_failures=7, requests=7)
    reading = also(both, holds("remote", near("remote"), right, wrong))(three_clusters(gateway=True))
    (found,) = of_reading(reading).root_causes
    assert found.id == causes.GATEWAY_ADDRESS_WRONG.id
    (fact, *_) = found.finding.evidence
    assert (fact.field.rpartition(".")[2], fact.value) == ("gateways[1]", WRONG)
    assert (
        found_in(
            also(both, holds("remote", near("remote"), right, replace(wrong, connect_failures=0, successes=7)))(
                three_clusters(gateway=True)
            )
        )
        == []
    )


def test_a_wrong_address_of_one_gateway_is_named_where_the_other_of_its_network_serves() -> None:
    wrong = gateway_service("primary", lambda one: one["status"]["loadBalancer"].update(ingress=[{"ip": WRONG[:-6]}]))
    hosts = near("remote"), Host(WRONG, connect_failures=7, requests=7), Host(SECOND_GATEWAY, successes=9, requests=9)
    known = change("remote", lambda one: replace(one, istiods=(with_addresses(one.istiods[0], WRONG),)))
    reading = also(wrong, known, holds("remote", *hosts))(three_clusters(gateway=True))
    assert found_in(reading) == [causes.GATEWAY_ADDRESS_WRONG.id]


def with_addresses(istiod: Istiod, address: str) -> Istiod:
    """The istiod with this address for the first cluster's gateway."""
    known = istiod.networks or ()
    return replace(istiod, networks=tuple(
        {**one, "Addr": address.partition(":")[0]} if one["Cluster"] == "primary" else one for one in known
    ))  # fmt: skip


def test_a_network_whose_one_gateway_is_unlabelled_has_that_service_alone_for_evidence() -> None:
    def ignorant(cluster: Cluster) -> Cluster:
        (istiod,) = cluster.istiods
        known = tuple(one for one in istiod.networks or () if one["Network"] != "primary-network")
        return replace(cluster, istiods=(replace(istiod, networks=known),))

    unlabelled = gateway_service("primary", lambda one: one["metadata"]["labels"].pop("topology.istio.io/network"))
    reading = also(unlabelled, change("primary", ignorant), change("remote", ignorant))(three_clusters())
    (found,) = of_reading(reading).root_causes
    assert found.id == causes.GATEWAY_SERVICE_WITHOUT_NETWORK.id
    assert [one.object for one in found.finding.evidence] == ["Service primary/istio-system/istio-eastwestgateway"]


@pytest.mark.parametrize("failed", [True, False])
def test_an_unlabelled_gateway_beside_another_is_named_where_the_end_of_a_watch_shows_it(failed: bool) -> None:
    unlabelled = gateway_service(SECOND, lambda one: one["metadata"]["labels"].pop("topology.istio.io/network"))
    gone = causes.GATEWAY_SERVICE_WITHOUT_NETWORK.id
    symptom = Symptom("test_removing_a_remote_secret_keeps_other_gateways", cause_ids=(gone,))
    found = diagnose(Case(unlabelled(three_clusters(gateway=True)), (symptom,) if failed else ()))
    named = [(one.id, one.finding.evidence[0].object) for one in found.root_causes]
    assert named == ([(gone, f"Service {SECOND}/istio-system/istio-eastwestgateway")] if failed else [])


def test_a_gateway_is_not_accused_of_what_fails_at_the_other_gateway_of_its_network() -> None:
    ranges = gateway_service(SECOND, lambda one: one["spec"].update(loadBalancerSourceRanges=["10.0.0.0/8"]))
    failing = Host(GATEWAYS["primary"], connect_failures=7, requests=7)
    lost = holds("remote", near("remote"), failing, Host(SECOND_GATEWAY, successes=9, requests=9))
    assert root_causes.GATEWAY_SOURCES_LIMITED.id not in found_in(also(ranges, lost)(three_clusters(gateway=True)))


def in_second_primary(kind: str, **spec: Any) -> Change:
    return adds("remote", made(kind, "h", "sample", spec=spec))


def flagged(name: str, flags: str) -> Change:
    return logs(name, code=503, flags=flags, cluster=OUTBOUND, authority="helloworld.sample:5000")


def timeout_in_second_primary() -> Change:
    return in_second_primary("VirtualService", hosts=["helloworld"], http=[{"timeout": "1s", "route": []}])


def pool_in_second_primary() -> Change:
    pool = {"http": {"http1MaxPendingRequests": 1}}
    return in_second_primary("DestinationRule", host="helloworld", trafficPolicy={"connectionPool": pool})


def plain_text_in_second_primary() -> Change:
    return in_second_primary("DestinationRule", host="helloworld", trafficPolicy={"tls": {"mode": "DISABLE"}})


@pytest.mark.parametrize(("where", "accused"), [("primary", False), ("remote", True)])
@pytest.mark.parametrize(
    ("rule", "flags", "cause"),
    [
        (timeout_in_second_primary(), "UT", causes.REQUEST_TIME_LIMITED),
        (pool_in_second_primary(), "UO", root_causes.CONNECTIONS_LIMITED),
        (plain_text_in_second_primary(), "UC", root_causes.RULE_CHANGES_TLS),
    ],
)
def test_a_rule_is_accused_of_what_clients_of_its_own_primary_log(
    rule: Change, flags: str, cause: Cause, where: str, accused: bool
) -> None:
    reading = also(rule, flagged(where, flags))(two_primaries())
    assert (cause.id in found_in(reading)) is accused


@pytest.mark.parametrize(
    ("unready", "named"),
    [
        ("primary", [root_causes.ISTIOD_NOT_READY.id]),
        ("remote", [root_causes.ISTIOD_NOT_READY.id, root_causes.RULE_CHANGES_TLS.id]),
    ],
)
def test_an_istiod_that_is_not_ready_hides_what_is_found_in_its_own_clusters_alone(
    unready: str, named: list[str]
) -> None:
    stopped = edits(unready, "Pod", "istiod-1", lambda one: one["status"].update(conditions=[]))
    plain = made(
        "DestinationRule", "h", "sample", spec={"host": "helloworld", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    )
    reading = also(stopped, adds("primary", plain), flagged("primary", "UC"))(two_primaries())
    assert found_in(reading) == named


def test_of_two_secrets_that_are_missing_each_has_its_fix() -> None:
    def blind(name: str) -> Change:
        own = ({"id": name, "syncStatus": "synced"},)
        alone = tuple(replace(one, clusters=own) for one in two_primaries()[name].istiods)
        return change(name, lambda one: replace(one, secrets=(), istiods=alone))

    fixes = [of_reading(blind(name)(two_primaries())).root_causes[0].finding.fix for name in ("primary", "remote")]
    assert len({*fixes}) == 2
    (found,) = of_reading(also(blind("primary"), blind("remote"))(two_primaries())).root_causes
    assert found.finding.fix == "; ".join(fixes)


def test_an_istiod_that_is_not_ready_leaves_what_another_says_of_itself_alone() -> None:
    watched = ({"id": "remote", "syncStatus": "synced"},)
    alone = tuple(replace(one, clusters=watched) for one in two_primaries()["remote"].istiods)
    blind = change("remote", lambda one: replace(one, secrets=(), istiods=alone))
    stopped = edits("primary", "Pod", "istiod-1", lambda one: one["status"].update(conditions=[]))
    missing = causes.REMOTE_SECRET_MISSING.id
    assert found_in(blind(two_primaries())) == [missing]
    assert {*found_in(also(blind, stopped)(two_primaries()))} == {root_causes.ISTIOD_NOT_READY.id, missing}


@pytest.mark.parametrize(("route", "accused"), [("primary→remote", False), ("remote→primary", True), ("", True)])
def test_an_older_rule_explains_the_routes_of_its_own_clients(route: str, accused: bool) -> None:
    symptom = Symptom("test_outlier_detection_ejects", route, cause_ids=(causes.OLDER_RULE.id,))
    found = diagnose(Case(timeout_in_second_primary()(two_primaries()), (symptom,))).root_causes
    assert [one.id for one in found] == ([causes.OLDER_RULE.id] if accused else [])


@pytest.mark.parametrize(("where", "accused"), [("primary", False), ("remote", True)])
def test_a_service_entry_gives_endpoints_to_clients_of_its_own_primary(where: str, accused: bool) -> None:
    entry = in_second_primary("ServiceEntry", hosts=[HOST], endpoints=[{"address": "10.9.9.9"}])
    held = holds(
        where, near(where), Host(GATEWAYS["remote" if where == "primary" else "primary"]), Host("10.9.9.9:5000")
    )
    found = found_in(also(entry, held)(two_primaries()))
    assert (root_causes.SERVICE_ENTRY_ADDS_ENDPOINTS.id in found) is accused


def test_a_subset_is_looked_up_among_the_rules_of_the_same_primary() -> None:
    route = {"route": [{"destination": {"host": "helloworld", "subset": "v2"}}]}
    subset = {"name": "v2", "labels": {"version": "v2"}}
    reading = also(
        adds("primary", made("VirtualService", "h", "sample", spec={"hosts": ["helloworld"], "http": [route]})),
        in_second_primary("DestinationRule", host="helloworld", subsets=[subset]),
        logs("primary", code=503, flags="NC", authority="helloworld.sample:5000"),
    )(two_primaries())
    (found,) = of_reading(reading).root_causes
    assert found.id == root_causes.RULE_PICKS_SUBSET.id
    assert [str(one) for one in found.finding.evidence][1:] == [
        f"DestinationRules for {HOST} in primary: spec.subsets none is named v2"
    ]


LOCAL = f"serviceSettings: [{{settings: {{clusterLocal: true}}, hosts: [{HOST}]}}]"
SELECTORS = 'discoverySelectors: [{matchLabels: {mesh: "yes"}}]'


def selected(name: str) -> Change:
    return edits(name, "Namespace", "sample", lambda one: one["metadata"]["labels"].update(mesh="yes"))


@pytest.mark.parametrize(
    ("configured", "cause"),
    [
        (also(mesh(SELECTORS, "remote"), selected("remote")), root_causes.NAMESPACE_NOT_DISCOVERED),
        (mesh(LOCAL, "remote"), root_causes.SERVICE_CLUSTER_LOCAL),
        (mesh("enableAutoMtls: false", "remote"), root_causes.AUTO_MTLS_OFF),
        (mesh('defaultServiceExportTo: ["~"]', "remote"), causes.SERVICE_NOT_EXPORTED),
    ],
)
def test_a_primarys_mesh_configuration_is_accused_of_what_its_own_clients_lack(
    configured: Change, cause: Cause
) -> None:
    nothing = (
        {"endpoints": {}} if cause is causes.SERVICE_NOT_EXPORTED else {"endpoints": {OUTBOUND: (near("remote"),)}}
    )
    (found,) = of_reading(also(configured, proxies("remote", CLIENT, **nothing))(two_primaries())).root_causes
    assert found.id == cause.id
    assert found.finding.evidence[0].object == "ConfigMap remote/istio-system/istio"
    lost = proxies("primary", CLIENT, endpoints={name: (near("primary"),) for name in nothing["endpoints"]})
    assert cause.id not in found_in(also(configured, lost)(two_primaries()))


def test_a_service_that_is_local_to_its_cluster_is_missed_on_its_own_network_too() -> None:
    far = Host(GATEWAYS["remote"], successes=9, requests=9)
    found = found_in(also(mesh(LOCAL, "primary"), holds("primary", near("primary"), far))(three_clusters()))
    assert found == [root_causes.SERVICE_CLUSTER_LOCAL.id]


def test_a_locality_without_a_share_is_missed_on_its_own_network_too() -> None:
    setting = "localityLbSetting: {distribute: [{from: primary/*, to: {primary/*: 50, remote/*: 50}}]}"
    nodes = [
        adds(name, made("Node", f"{name}-node", labels={
            "topology.kubernetes.io/region": name, "topology.kubernetes.io/zone": "a",
        }))
        for name in ("primary", SECOND, "remote")
    ]  # fmt: skip
    far = Host(GATEWAYS["remote"], successes=9, requests=9)
    reading = also(mesh(setting, "primary"), *nodes, holds("primary", near("primary"), far))(three_clusters())
    assert found_in(reading) == [causes.LOCALITY_PREFERRED.id]


def test_ports_that_differ_are_missed_on_their_own_network_too() -> None:
    renamed = edits(SECOND, "Service", "helloworld", lambda one: one["spec"]["ports"][0].update(name="web"))
    far = Host(GATEWAYS["remote"], successes=9, requests=9)
    found = found_in(also(renamed, holds("primary", near("primary"), far))(three_clusters()))
    assert found == [root_causes.PORTS_DIFFER.id]


@pytest.mark.parametrize(
    ("aliases", "named"), [("", [root_causes.TRUST_DOMAIN_CHANGED.id]), ("trustDomainAliases: [b.example]", [])]
)
def test_a_primary_has_to_name_the_trust_domain_of_the_other(aliases: str, named: list[str]) -> None:
    refused = logs("primary", code=503, flags="UF", cluster=OUTBOUND, failure="CERTIFICATE_VERIFY_FAILED")
    identity = {name: f"spiffe://{name}/ns/sample/sa/default" for name in ("a.example", "b.example")}
    reading = also(
        mesh(f"trustDomain: a.example\n{aliases}", "primary"),
        mesh("trustDomain: b.example\ntrustDomainAliases: [a.example]", "remote"),
        *(proxies("primary", kind, certificate=certificate(identity["a.example"])) for kind in (CLIENT, SERVER)),
        *(proxies("remote", kind, certificate=certificate(identity["b.example"])) for kind in (CLIENT, SERVER)),
        refused,
    )(two_primaries())
    assert [one for one in found_in(reading) if one == root_causes.TRUST_DOMAIN_CHANGED.id] == named
    if named:
        (found,) = (one for one in of_reading(reading).root_causes if one.id in named)
        assert found.finding.fix == "name the trust domain of remote among trustDomainAliases of primary"


@pytest.mark.parametrize("name", ["primary", "remote"])
def test_the_reader_of_a_primary_is_another_primarys(name: str) -> None:
    role = edits(name, "ClusterRole", "istio-reader-clusterrole-istio-system", lambda one: one["rules"].pop())
    failed = Symptom("test_remote_credentials_last", "", "endpointslices", (causes.REMOTE_SECRET_REFUSED.id,))
    (found,) = diagnose(Case(role(two_primaries()), (failed,))).root_causes
    assert found.finding.evidence[0].object == f"ClusterRole {name}/istio-reader-clusterrole-istio-system"


def with_secrets(name: str, edit: Callable[[RemoteSecret], RemoteSecret]) -> Change:
    return change(name, lambda one: replace(one, secrets=tuple(map(edit, one.secrets))))


def test_a_secret_that_leads_to_another_cluster_than_its_key_says_has_the_wrong_key() -> None:
    """It was written from the wrong context: the cluster of its name is watched in vain, and another one twice."""

    def misled(one: RemoteSecret) -> RemoteSecret:
        return replace(one, leads_to=SECOND, server="https://10.89.0.4:6443") if one.cluster_id == "remote" else one

    reading = also(with_secrets("primary", misled), holds("primary", near("primary"), Host(f"{SECOND_POD}:5000")))
    (found,) = of_reading(reading(three_clusters())).root_causes
    assert found.id == causes.REMOTE_SECRET_KEY_WRONG.id
    (fact,) = (one for one in found.finding.evidence if one.object.startswith("Secret"))
    assert str(fact) == (
        "Secret primary/istio-system/istio-remote-secret-remote: data.remote leads to second, whose id is second"
    )
    assert found.finding.fix == (
        "istioctl <remote> create-remote-secret --name remote | kubectl <secrets of primary> apply -f -"
    )


def test_secrets_that_are_swapped_have_each_the_wrong_key() -> None:
    swap = {"remote": SECOND, SECOND: "remote"}
    reading = with_secrets("primary", lambda one: replace(one, leads_to=swap[one.cluster_id]))(three_clusters())
    (found,) = of_reading(reading).root_causes
    assert found.id == causes.REMOTE_SECRET_KEY_WRONG.id
    assert {one.field for one in found.finding.evidence if one.object.startswith("Secret")} == {
        "data.remote", f"data.{SECOND}",
    }  # fmt: skip


def same_id(*, key: str) -> Change:
    """Both primaries were installed without an id, which is then Kubernetes, and do not see each other's pods."""

    def rename(one: Cluster) -> Cluster:
        server = next(secret.server for secret in one.secrets)
        other = "remote" if one.name == "primary" else "primary"
        secret = RemoteSecret("istio-system", f"istio-remote-secret-{key}", key, server, other, answer=200)
        seen = tuple({"id": each, "syncStatus": "synced"} for each in dict.fromkeys(("Kubernetes", key)))
        own = tuple(replace(each, metadata={**each.metadata, "CLUSTER_ID": "Kubernetes"}) for each in one.proxies)
        istiods = (replace(one.istiods[0], clusters=seen),)
        return replace(one, cluster_id="Kubernetes", secrets=(secret,), proxies=own, istiods=istiods)

    lost = also(holds("primary", near("primary")), holds("remote", near("remote")))
    return also(change("primary", rename), change("remote", rename), lost)


@pytest.mark.parametrize("key", ["Kubernetes", "other"])
def test_two_clusters_of_one_id_are_named_and_not_their_secrets(key: str) -> None:
    (found,) = of_reading(same_id(key=key)(two_primaries())).root_causes
    assert found.id == root_causes.CLUSTER_ID_SHARED.id
    assert [str(one) for one in found.finding.evidence] == [
        f"Pod {name}/sample/sleep-1: env ISTIO_META_CLUSTER_ID Kubernetes" for name in ("primary", "remote")
    ]


def unreached(name: str, pod: str, far: str) -> Change:
    return holds(name, near(name), Host(f"{pod}:5000", connect_failures=7, connections=7), Host(far, successes=9))


def test_two_clusters_of_one_network_without_a_route_are_parted() -> None:
    lost = also(
        unreached("primary", SECOND_POD, GATEWAYS["remote"]),
        holds(SECOND, Host(f"{SECOND_POD}:5000", successes=9), Host(f"{PODS['primary']}:5000", connect_failures=3)),
    )
    (found,) = of_reading(lost(three_clusters())).root_causes
    assert found.id == root_causes.NETWORK_PARTED.id
    assert found.finding.evidence[0].object == f"Pod {SECOND}/sample/helloworld-1"
    assert found.finding.witness == "the sidecar of primary's sleep-1 failed 7 times to connect to 10.30.0.3:5000"


@pytest.mark.parametrize(
    "other",
    [
        edits(SECOND, "Pod", "helloworld-1", lambda one: one["status"].update(conditions=[])),
        logs("primary", code=503, flags="UF", cluster=OUTBOUND, upstream=f"{SECOND_POD}:5000", failure="TLS_error:x"),
        adds(SECOND, made("NetworkPolicy", "none", "sample", spec={"podSelector": {}, "policyTypes": ["Ingress"]})),
    ],
    ids=["a pod that is not ready", "another certificate", "a policy"],
)
def test_a_network_is_not_parted_by_what_something_else_explains(other: Change) -> None:
    reading = also(unreached("primary", SECOND_POD, GATEWAYS["remote"]), other)(three_clusters())
    assert root_causes.NETWORK_PARTED.id not in found_in(reading)


@pytest.mark.parametrize(
    ("peers", "accused"),
    [([], True), ([{"podSelector": {}}], True), ([{"ipBlock": {"cidr": "10.10.0.0/16"}}], False)],
    ids=["nobody", "pods of its own cluster", "the pods of the other cluster"],
)
def test_a_network_policy_is_met_from_another_cluster_of_the_network(peers: list[Object], accused: bool) -> None:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": peers}] if peers else []}
    policy = adds(SECOND, made("NetworkPolicy", "none", "sample", spec=spec))
    found = found_in(also(unreached("primary", SECOND_POD, GATEWAYS["remote"]), policy)(three_clusters()))
    assert found == [causes.NETWORK_POLICY_DROPS.id if accused else root_causes.NETWORK_PARTED.id]


def test_networks_in_the_config_map_of_one_primary_alone_are_missing_in_the_other() -> None:
    def ignorant(cluster: Cluster) -> Cluster:
        return replace(cluster, istiods=(replace(cluster.istiods[0], networks=()),))

    forgotten = edits("remote", "ConfigMap", "istio", lambda one: one["data"].pop("meshNetworks"))
    reading = also(in_config_map(GATEWAYS["primary"]), forgotten, change("remote", ignorant))(
        three_clusters(gateway=True)
    )
    (found,) = of_reading(reading).root_causes
    assert found.id == causes.MESH_NETWORKS_WITHOUT_GATEWAY.id
    assert {one.object for one in found.finding.evidence} == {"ConfigMap remote/istio-system/istio"}
    assert found.finding.witness.startswith("istiod of remote knows no gateway")


def test_pods_of_the_same_addresses_on_two_networks_are_not_taken_for_each_other() -> None:
    """The range of the remote's network is that of the second cluster's: both are right within their networks."""
    moved = edits("remote", "Pod", "helloworld-1", lambda one: one["status"].update(podIP=SECOND_POD))
    own = holds("remote", Host(f"{SECOND_POD}:5000", successes=9), Host(GATEWAYS["primary"], successes=9))
    gone = edits("remote", "Namespace", "istio-system", lambda one: one["metadata"]["labels"].clear())
    unnamed = edits(
        "remote", "Pod", "helloworld-1", lambda one: one["metadata"]["labels"].pop("topology.istio.io/network")
    )
    assert found_in(also(moved, own, gone, unnamed)(three_clusters())) == []
    skipped = edits("remote", "Pod", "helloworld-1", lambda one: one["metadata"].update(
        annotations={"traffic.sidecar.istio.io/excludeInboundPorts": "5000"}
    ))  # fmt: skip
    port = edits("remote", "Service", "helloworld", lambda one: one["spec"]["ports"][0].update(targetPort=5001))
    for change_of_remote, number in ((skipped, 5000), (port, 5001)):
        failing = logs("primary", code=503, flags="UF", cluster=OUTBOUND, upstream=f"{SECOND_POD}:{number}")
        assert found_in(also(moved, own, change_of_remote, failing)(three_clusters())) == []


def test_on_its_own_network_istiod_is_asked_at_its_pod() -> None:
    def at_pod(one: Object) -> None:
        one["endpoints"] = [{"addresses": ["10.10.0.2"]}]

    found = diagnose(Case(edits(SECOND, "EndpointSlice", "istiod", at_pod)(three_clusters())))
    assert (found.root_causes, found.notes) == ((), ())


@pytest.mark.parametrize(("weight", "accused"), [(1, True), (2, False)])
def test_what_a_shared_gateway_weighs_shows_that_no_pod_of_a_cluster_is_behind_it(weight: int, accused: bool) -> None:
    labelled = edits(SECOND, "Pod", "helloworld-1", lambda one: one["metadata"]["labels"].update(version="v3"))
    spec = {"selector": {"matchLabels": {"version": "v3"}}, "mtls": {"mode": "DISABLE"}}
    policy = adds("primary", made("PeerAuthentication", "plain", "sample", spec=spec))
    held = holds("remote", near("remote"), Host(GATEWAYS["primary"], weight=weight, successes=9))
    found = of_reading(also(labelled, policy, held)(three_clusters())).root_causes
    assert [one.id for one in found] == ([causes.NO_MUTUAL_TLS.id] if accused else [])
    if accused:
        assert found[0].finding.witness == (
            "the sidecar of remote's sleep-1 holds 10.89.0.3:15443 with a weight that leaves no pod of second behind "
            f"it in {OUTBOUND}"
        )


def test_selectors_of_the_other_primary_hide_the_pods_behind_a_shared_gateway() -> None:
    chosen = also(mesh(SELECTORS, "remote"), selected("primary"), selected("remote"))
    held = holds("remote", near("remote"), Host(GATEWAYS["primary"], successes=9))
    (found,) = of_reading(also(chosen, held)(three_clusters())).root_causes
    assert found.id == root_causes.NAMESPACE_NOT_DISCOVERED.id
    assert [one.object for one in found.finding.evidence] == [
        "ConfigMap remote/istio-system/istio", f"Namespace {SECOND}/sample",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("hosts", "flags", "accused"),
    [((), "UF", True), ((), "UT", False), ((Host(f"{PODS['primary']}:5000"),), "UF", False)],
)
def test_plain_text_for_pods_is_met_at_the_gateway_by_clients_of_another_primary(
    hosts: tuple[Host, ...], flags: str, accused: bool
) -> None:
    policy = made(
        "PeerAuthentication", "v1-plain", "sample",
        spec={"selector": {"matchLabels": {"app": "helloworld"}}, "mtls": {"mode": "DISABLE"}},
    )  # fmt: skip
    failing = logs("remote", code=503, flags=flags, cluster=OUTBOUND, upstream=GATEWAYS["primary"])
    passes = proxies("primary", GATEWAY, endpoints={SNI: hosts})
    assert found_in(also(adds("primary", policy), passes, failing)(two_primaries())) == (
        [causes.NO_MUTUAL_TLS.id] if accused else []
    )


@pytest.mark.parametrize(
    ("said", "accused"), [("cluster3", True), ("", True), ("primary", False), ("a, primary", False), ("*", False)]
)
def test_a_remote_whose_annotation_does_not_name_its_istiod_lacks_what_that_writes(said: str, accused: bool) -> None:
    annotation = {"topology.istio.io/controlPlaneClusters": said}
    elsewhere = edits(SECOND, "Namespace", "istio-system", lambda one: one["metadata"].update(annotations=annotation))
    assert found_in(elsewhere(three_clusters())) == []
    reading = also(elsewhere, removes(SECOND, "ConfigMap", "istio-ca-root-cert"))(three_clusters())
    found = of_reading(reading).root_causes
    assert (root_causes.MANAGED_ELSEWHERE.id in [one.id for one in found]) is accused
    if accused:
        assert [str(one) for one in found[0].finding.evidence] == [
            f"Namespace {SECOND}/istio-system: metadata.annotations topology.istio.io/controlPlaneClusters "
            f"{said or 'not set'}; its istiod is that of primary",
            f"ConfigMap {SECOND}/sample/istio-ca-root-cert: data.root-cert.pem not there",
        ]


def split(*subsets: str) -> Change:
    """The first primary splits requests between subsets, which no other primary defines."""
    defined = [{"name": one, "labels": {"version": one}} for one in subsets]
    route = [{"destination": {"host": "helloworld", "subset": one}, "weight": 50} for one in subsets]
    chosen = [{"name": f"outbound|5000|{one}|{HOST}", "weight": 50} for one in subsets]
    routes = [{"route": {"weighted_clusters": {"clusters": chosen}}}]
    return also(
        adds("primary", made("DestinationRule", "h", "sample", spec={"host": "helloworld", "subsets": defined})),
        adds(
            "primary", made("VirtualService", "h", "sample", spec={"hosts": ["helloworld"], "http": [{"route": route}]})
        ),
        proxies("primary", CLIENT, hosts=({"domains": [HOST], "name": HOST, "routes": routes},)),
    )


def subsets_hold(v1: tuple[Host, ...], v2: tuple[Host, ...]) -> Change:
    whole = (near("primary"), Host(GATEWAYS["remote"]))
    named = {OUTBOUND: whole, f"outbound|5000|v1|{HOST}": v1, f"outbound|5000|v2|{HOST}": v2}
    return proxies("primary", CLIENT, endpoints=named)


def test_a_subset_that_the_other_primary_does_not_define_is_unknown_at_its_gateway() -> None:
    failing = Host(GATEWAYS["remote"], connect_failures=9, connections=9)
    reading = also(split("v1", "v2"), subsets_hold((near("primary"),), (failing,)))(two_primaries())
    (found,) = of_reading(reading).root_causes
    assert found.id == root_causes.SUBSET_UNKNOWN_AT_GATEWAY.id
    assert [str(one) for one in found.finding.evidence] == [
        "DestinationRule primary/sample/h: spec.subsets v2.labels version=v2",
        f"DestinationRules for {HOST} in remote: spec.subsets none is named v2",
        "VirtualService primary/sample/h: spec.http[0].route[1].destination.subset v2",
    ]
    assert found_in(also(split("v1", "v2"), subsets_hold((near("primary"),), (failing,)))(sound())) == []


def test_a_gateway_that_is_not_reached_at_all_does_not_lack_the_name_of_a_subset() -> None:
    failing = Host(GATEWAYS["remote"], connect_failures=9, connections=9)
    named = {OUTBOUND: (near("primary"), failing), f"outbound|5000|v1|{HOST}": (near("primary"),)}
    held = proxies("primary", CLIENT, endpoints={**named, f"outbound|5000|v2|{HOST}": (failing,)})
    assert found_in(also(split("v1", "v2"), held)(two_primaries())) == []


def test_what_one_subset_of_a_route_leaves_out_another_may_have() -> None:
    whole = subsets_hold((near("primary"),), (Host(GATEWAYS["remote"]),))
    lost = also(subsets_hold((near("primary"),), ()), split("v1", "v2"))
    assert found_in(also(split("v1", "v2"), whole)(two_primaries())) == []
    assert found_in(lost(two_primaries())) == [root_causes.RULE_PICKS_SUBSET.id]


def renumbered(one: Object) -> None:
    one["spec"]["ports"][0]["port"] = 80
    one["spec"]["clusterIP"] = "10.120.0.9"


@pytest.mark.parametrize(
    "seen",
    [
        holds("primary", near("primary"), Host(GATEWAYS["remote"], connect_failures=9, connections=9)),
        logs("remote", code=503, flags="UF", upstream="10.120.0.9:5000"),
    ],
    ids=["at the gateway", "at the Service"],
)
def test_a_port_of_another_number_is_met_at_the_gateway_and_at_the_service(seen: Change) -> None:
    reading = also(
        edits("remote", "Service", "helloworld", renumbered),
        proxies("remote", CLIENT, endpoints={f"outbound|80||{HOST}": (near("remote"), Host(GATEWAYS["primary"]))}),
        seen,
    )(two_primaries())
    assert found_in(reading) == [root_causes.PORTS_DIFFER.id]


@pytest.mark.parametrize("of_deployment", [True, False])
def test_a_pod_with_another_networks_label_is_cited_where_it_has_the_label_from(of_deployment: bool) -> None:
    label = {"topology.istio.io/network": "primary-network"}
    (server,) = (one for one in two_primaries()["remote"].proxies if one.kind == SERVER)
    template = {"metadata": {"labels": {"app": "helloworld", **(label if of_deployment else {})}}}
    selector = {"matchLabels": {"app": "helloworld"}}
    spec = {"replicas": 1, "selector": selector, "template": template}
    reading = also(
        adds("remote", made("Deployment", "helloworld-v2", "sample", spec=spec)),
        edits("remote", "Pod", "helloworld-1", lambda one: one["metadata"]["labels"].update(label)),
        proxies("remote", SERVER, metadata={**server.metadata, "NETWORK": "primary-network"}),
    )(two_primaries())
    (found,) = of_reading(reading).root_causes
    assert found.id == causes.PROXY_NETWORK_WRONG.id
    assert found.finding.evidence[0].object == (
        "Deployment remote/sample/helloworld-v2" if of_deployment else "Pod remote/sample/helloworld-1"
    )


@pytest.mark.parametrize("path", ["/inject/cluster/primary/net/primary-network", "/inject"])
def test_the_injectors_value_counts_where_the_webhooks_path_names_no_cluster(path: str) -> None:
    values = '{"global": {"multiCluster": {"clusterName": "primary"}}}'
    (server,) = (one for one in three_clusters()[SECOND].proxies if one.kind == SERVER)
    reading = also(
        adds("primary", made("ConfigMap", "istio-sidecar-injector", "istio-system", data={"values": values})),
        edits(SECOND, "MutatingWebhookConfiguration", "istio-sidecar-injector",
              lambda one: one["webhooks"][0]["clientConfig"]["service"].update(path=path)),
        proxies(SECOND, SERVER, metadata={**server.metadata, "CLUSTER_ID": "primary"}),
    )(three_clusters())  # fmt: skip
    (found,) = of_reading(reading).root_causes
    cited = [one.object for one in found.finding.evidence]
    assert found.id == causes.PROXY_CLUSTER_ID_WRONG.id
    assert ("ConfigMap primary/istio-system/istio-sidecar-injector" in cited) is (path == "/inject")


@pytest.mark.parametrize(
    ("flag", "exports", "accused"),
    [("true", (), True), ("false", (), False), ("true", ("helloworld",), False), ("true", ("echo",), True)],
)
def test_an_istiod_that_wants_exports_knows_no_service_of_another_cluster_without_one(
    flag: str, exports: tuple[str, ...], accused: bool
) -> None:
    container = {"name": "discovery", "env": [{"name": "ENABLE_MCS_SERVICE_DISCOVERY", "value": flag}]}
    spec = {"template": {"spec": {"containers": [container]}}}
    exported = tuple(made("ServiceExport", one, "sample") for one in exports)
    read = [change(name, lambda one: replace(one, objects={**one.objects, "ServiceExport": exported}))
            for name in ("primary", "remote")]  # fmt: skip
    flagged = adds("remote", made("Deployment", "istiod", "istio-system", {"app": "istiod"}, spec=spec))
    assert found_in(also(flagged, *read)(two_primaries())) == []
    reading = also(flagged, *read, holds("remote", near("remote")))(two_primaries())
    found = of_reading(reading).root_causes
    assert (root_causes.SERVICE_NEEDS_EXPORT.id in [one.id for one in found]) is accused
    if accused:
        assert [str(one) for one in found[0].finding.evidence] == [
            "Deployment remote/istio-system/istiod: env ENABLE_MCS_SERVICE_DISCOVERY true",
            f"ServiceExports primary/sample: metadata.name [{', '.join(exports)}]; none for helloworld",
        ]
