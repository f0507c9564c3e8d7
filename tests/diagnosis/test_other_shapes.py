"""Root causes in meshes of other shapes: several primaries, and several clusters on one network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.finding import Case, Symptom
from splithorizon.diagnosis.reading.model import Cluster, Host, Istiod, Reading
from splithorizon.diagnosis.root_cause import diagnose, of_reading
from tests.support.made_reading import (
    GATEWAYS,
    HOST,
    OUTBOUND,
    SECOND,
    SECOND_GATEWAY,
    Change,
    Object,
    adds,
    also,
    change,
    edits,
    holds,
    logs,
    made,
    near,
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
        f"DestinationRules for {HOST}: spec.subsets none is named v2"
    ]
