"""What clients should hold of a Service and what they hold: pods of their network, gateways of the others, weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from splithorizon.diagnosis.access import Target
from splithorizon.diagnosis.endpoints import Expected, PortView, View, views
from splithorizon.diagnosis.reading.model import CLIENT, GATEWAY, Cluster, Host, Reading, Unread
from tests.support.made_reading import (
    GATEWAYS,
    HOST,
    NAMES,
    OUTBOUND,
    PODS,
    Change,
    Object,
    adds,
    also,
    change,
    edits,
    holds,
    made,
    near,
    pod,
    proxies,
    removes,
    sound,
)

TARGET = Target("sample", "helloworld")
MESH = {"security.istio.io/tlsMode": "istio"}


def view(reading: Reading, cluster: str = "primary", target: Target = TARGET) -> View:
    (found,) = [one for one in views(reading, target) if one.cluster == cluster]
    return found


def port(reading: Reading, cluster: str = "primary") -> PortView:
    (found,) = view(reading, cluster).ports
    return found


def everywhere(kind: str, name: str, **spec: Any) -> Change:
    """An object of both clusters has other fields."""
    return also(*(edits(one, kind, name, lambda found: found["spec"].update(copy.deepcopy(spec))) for one in NAMES))


def far(weight: int = 1, **fields: Any) -> Host:
    return Host(GATEWAYS["remote"], weight=weight, **fields)


def bare(name: str) -> Change:
    """A cluster's pod of the Service has no sidecar."""
    return edits(name, "Pod", "helloworld-1", lambda one: one["spec"]["containers"].pop())


def test_a_sound_mesh_holds_near_pods_and_the_far_gateway() -> None:
    for name, other in (NAMES, NAMES[::-1]):
        found = port(sound(), name)
        assert (found.port, found.name) == (5000, "http")
        assert found.expected == (
            Expected(f"{PODS[name]}:5000", 1, name), Expected(GATEWAYS[other], 1, other, is_gateway=True),
        )  # fmt: skip
        assert {host.address for host in found.held or ()} == {one.address for one in found.expected}
        assert (found.missing, found.unexpected, found.weights_differ, found.wrong) == ((), (), False, False)


def test_a_gateway_weighs_as_much_as_the_ready_pods_behind_it() -> None:
    second = pod("helloworld-2", "sample", "10.20.0.9", {"app": "helloworld", **MESH})
    waiting = pod("helloworld-3", "sample", "10.20.0.10", {"app": "helloworld", **MESH})
    waiting["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    reading = also(adds("remote", second), adds("remote", waiting))(sound())
    assert [one.weight for one in port(reading).expected] == [1, 2]
    assert port(reading).weights_differ
    assert not port(reading).wrong, "shares alone lose no request"
    assert not port(holds("primary", near("primary"), far(2))(reading)).weights_differ
    # Envoy has one of them for each locality of the pods behind it.
    split = holds("primary", near("primary"), far(locality="a"), far(locality="b"))
    assert not port(split(reading)).weights_differ


def test_two_gateways_share_the_weight_of_their_pods() -> None:
    two = change("remote", lambda one: replace(one, gateways=(GATEWAYS["remote"], "10.89.0.9:15443")))
    assert [(one.address, one.weight) for one in port(two(sound())).expected] == [
        (f"{PODS['primary']}:5000", 2), (GATEWAYS["remote"], 1), ("10.89.0.9:15443", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("held", "missing", "unexpected", "elsewhere"),
    [
        ([near("primary")], [GATEWAYS["remote"]], [], []),
        ([far()], [f"{PODS['primary']}:5000"], [], []),
        ([near("primary"), far(), Host("192.0.2.1:80")], [], ["192.0.2.1:80"], []),
        (
            [near("primary"), near("remote")],
            [GATEWAYS["remote"]], [f"{PODS['remote']}:5000"], [f"{PODS['remote']}:5000"],
        ),
    ],
)  # fmt: skip
def test_what_is_missing_and_what_is_not_expected(
    held: list[Host], missing: list[str], unexpected: list[str], elsewhere: list[str]
) -> None:
    found = port(holds("primary", *held)(sound()))
    assert [one.address for one in found.missing] == missing
    assert [one.address for one in found.unexpected] == unexpected
    assert [one.address for one in found.of_another_network] == elsewhere
    assert found.wrong is bool(missing or elsewhere)


def test_a_port_that_the_envoy_does_not_know_lacks_everything() -> None:
    found = port(proxies("primary", CLIENT, endpoints={})(sound()))
    assert found.held is None
    assert found.missing == found.expected


def test_several_ports_are_told_apart_and_named_targets_found_in_the_pods() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "grpc", "port": 90, "targetPort": 5009},
             {"name": "dns", "port": 53, "protocol": "UDP"}]  # fmt: skip
    web = {"name": "web", "containerPort": 8080}
    named = [
        edits(one, "Pod", "helloworld-1", lambda found: found["spec"]["containers"][0].update(ports=[web]))
        for one in NAMES
    ]
    reading = also(everywhere("Service", "helloworld", ports=ports), *named)(sound())
    found = view(reading).ports
    assert [(one.port, one.name) for one in found] == [(80, "http"), (90, "grpc")]
    assert [one.expected[0].address for one in found] == [
        f"{PODS['primary']}:8080", f"{PODS['primary']}:5009",
    ]  # fmt: skip


def test_a_wrong_selector_of_one_cluster_hides_no_pod() -> None:
    wrong = edits("remote", "Service", "helloworld", lambda one: one["spec"].update(selector={"app": "hello"}))
    assert port(wrong(sound())).expected == port(sound()).expected


def test_a_headless_service_or_a_name_has_no_endpoints_in_any_envoy() -> None:
    for spec in ({"clusterIP": "None"}, {"type": "ExternalName"}):
        reading = also(everywhere("Service", "helloworld", **spec), proxies("primary", CLIENT, endpoints={}))(sound())
        assert port(reading).expected == ()
        assert "DNS" in view(reading).remark
        assert not view(reading).wrong


def test_without_any_sidecar_only_pods_of_the_own_network_are_expected() -> None:
    reading = also(bare("primary"), bare("remote"), holds("primary", near("primary")))(sound())
    assert [one.cluster for one in port(reading).expected] == ["primary"]
    assert "no pod of the Service has a sidecar" in view(reading).remark
    assert not view(reading).wrong
    # One that lacks it among others is another matter.
    assert len(port(also(bare("remote"), holds("primary", near("primary")))(sound())).missing) == 1


def test_a_service_without_selector_leads_to_its_slices() -> None:
    slices = made(
        "EndpointSlice", "by-hand", "sample", {"kubernetes.io/service-name": "helloworld"},
        endpoints=[{"addresses": ["192.0.2.7"]}, {"addresses": ["192.0.2.8"], "conditions": {"ready": False}}],
        ports=[{"name": "http", "port": 8443}],
    )  # fmt: skip
    reading = also(
        edits("primary", "Service", "helloworld", lambda one: one["spec"].pop("selector")), adds("primary", slices)
    )(sound())
    assert port(reading).expected[0] == Expected("192.0.2.7:8443", 1, "primary")
    assert port(reading).missing == (), "Istio may put it into another network, or none"


def test_a_network_without_a_known_gateway_lacks_one() -> None:
    unknown = also(
        change("remote", lambda one: replace(one, gateways=())),
        removes("remote", "Service", "istio-eastwestgateway"),
        holds("primary", near("primary")),
    )
    (missing,) = port(unknown(sound())).missing
    assert (missing.address, missing.cluster) == ("", "remote")


def named_gateway(one: Object) -> None:
    one["status"]["loadBalancer"]["ingress"] = [{"hostname": "lb.example.org"}]


def test_a_gateway_by_name_is_held_by_an_address_that_nobody_knows() -> None:
    by_name = also(
        change("remote", lambda one: replace(one, gateways=())),
        edits("remote", "Service", "istio-eastwestgateway", named_gateway),
        change("primary", lambda one: replace(one, istiods=())),
    )
    held = holds("primary", near("primary"), Host("198.51.100.4:15443"))
    assert port(also(by_name, held)(sound())).expected[1].is_host_name
    assert not port(also(by_name, held)(sound())).wrong
    assert [one.address for one in port(also(by_name, holds("primary", near("primary")))(sound())).missing] == [
        "lb.example.org:15443"
    ]


def without(kind: str) -> Change:
    return change("primary", lambda one: replace(one, proxies=tuple(each for each in one.proxies if each.kind != kind)))


def gateway_holds(*hosts: Host, **metadata: str) -> Change:
    return proxies("primary", GATEWAY, endpoints={OUTBOUND: hosts}, metadata=metadata)


def test_which_envoy_is_shown_is_said() -> None:
    assert view(sound()).proxy == "sample/sleep-1"
    assert view(sound()).picked == "a pod with a sidecar in namespace sample"
    own = proxies("primary", CLIENT, pod="helloworld-1")(sound())
    assert "a pod of the Service itself" in view(own).picked
    asked = replace(TARGET, client_name="sleep")
    deployment = made("Deployment", "sleep", "sample", spec={"selector": {"matchLabels": {"app": "sleep"}}})
    assert view(adds("primary", deployment)(sound()), target=asked).picked == "the client that was named"
    assert view(sound(), "remote", asked).picked == "a pod with a sidecar in namespace sample"


def test_without_a_client_a_gateway_is_looked_at_in_the_networks_that_it_sees() -> None:
    reading = also(without(CLIENT), gateway_holds(near("primary"), REQUESTED_NETWORK_VIEW="primary-network"))(sound())
    found = view(reading)
    assert found.proxy == "istio-system/istio-eastwestgateway-1"
    assert found.remark == "it asks for endpoints of primary-network alone"
    assert [one.cluster for one in found.ports[0].expected] == ["primary"]
    assert not found.wrong
    sees_all = also(without(CLIENT), gateway_holds(near("primary")))(sound())
    assert view(sees_all).wrong


def test_where_no_envoy_can_be_read_it_says_what_was_not_seen() -> None:
    def blind(one: Cluster) -> Cluster:
        return replace(one, proxies=())

    found = view(change("primary", blind)(sound()))
    assert found.proxy is None
    assert "no pod that runs in sample of primary has a sidecar" in found.unseen
    assert [one.address for one in found.ports[0].expected] == [f"{PODS['primary']}:5000", GATEWAYS["remote"]]
    assert not found.wrong, "nothing was seen to be missing"
    silent = change("primary", lambda one: replace(one, proxies=tuple(replace(each, read=()) for each in one.proxies)))
    unread = replace(silent(sound()), unread=(Unread("primary", "clusters of sample/sleep-1", "HTTP 403: no"),))
    assert view(unread).unseen == "no Envoy of primary could be read: HTTP 403: no"


def test_the_hosts_domain_is_the_meshs() -> None:
    other = replace(sound(), domain="corp.example")
    assert other.host == "helloworld.sample.svc.corp.example"
    assert port(other).held is None, f"its Envoy knows {HOST} alone"


def test_clusters_that_share_a_network_each_have_their_own_gateway_and_the_same_pods() -> None:
    reading = sound()
    neighbour = replace(reading["remote"], name="third", cluster_id="third", gateways=("10.89.0.9:15443",))
    three = replace(reading, clusters=(*reading.clusters, neighbour))
    expected = port(three).expected
    assert [(one.address, one.weight, one.cluster) for one in expected] == [
        (f"{PODS['primary']}:5000", 1, "primary"),
        (GATEWAYS["remote"], 1, "remote"),
        ("10.89.0.9:15443", 1, "third"),
    ]
    # Within the network no gateway stands for anybody's pods but the primary's.
    assert [one.address for one in port(three, "remote").expected if one.is_gateway] == [GATEWAYS["primary"]]


def test_a_cluster_without_a_gateway_counts_at_that_of_its_network() -> None:
    reading = sound()
    bare_one = replace(reading["remote"], name="third", cluster_id="third", gateways=())
    gateways = [one for one in bare_one.all("Service") if "istio-system" in str(one["metadata"].get("namespace"))]
    three = replace(reading, clusters=(*reading.clusters, bare_one))
    for service in gateways:
        three = removes("third", "Service", service["metadata"]["name"])(three)
    assert [(one.address, one.weight) for one in port(three).expected if one.is_gateway] == [(GATEWAYS["remote"], 2)]
