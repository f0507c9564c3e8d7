"""What a sidecar counts around a batch, and how much of it its access log does not show."""

from __future__ import annotations

from typing import Any

import pytest

from splithorizon.traffic.upstream_counts import Attempts, Hidden, Host, HostCounts

CLUSTER, SUBSET = "outbound|5000||helloworld.sample.svc", "outbound|5000|near|helloworld.sample.svc"
POD, GATEWAY = "10.10.0.7:5000", "10.89.0.14:15443"


def host(open: int = 0, ejected: bool = False, **counts: int) -> Host:  # noqa: A002  # the field's name
    return Host(HostCounts(**counts), open, ejected)


def attempts(before: Host, after: Host, address: str = GATEWAY) -> Attempts:
    return Attempts({(CLUSTER, address): before}, {(CLUSTER, address): after})


def status(**health: Any) -> dict[str, Any]:
    stats = [{"name": "rq_total", "value": "7"}, {"name": "rq_error"}, {"name": "cx_active", "value": "2"}]
    return {"stats": stats, "health_status": {"eds_health_status": "HEALTHY", **health}}


def test_a_counter_without_a_value_is_zero() -> None:
    assert Host.of_envoy(status()) == host(open=2, rq_total=7)
    assert Host.of_envoy(status(failed_outlier_check=True)).ejected


def test_as_many_attempts_as_the_log_has_requests_hide_nothing() -> None:
    found = attempts(host(rq_total=40), host(rq_total=540))
    assert found.increases == {GATEWAY: HostCounts(rq_total=500)}
    assert found.hidden({GATEWAY: 500}) == {}


def test_a_request_whose_connection_failed_is_in_the_log_and_not_hidden() -> None:
    found = attempts(host(), host(cx_connect_fail=3, rq_total=97))
    assert found.hidden({GATEWAY: 100}) == {}


def test_a_failed_connection_is_hidden_where_the_request_ended_elsewhere() -> None:
    found = attempts(host(), host(cx_total=127, cx_connect_fail=127))
    assert found.hidden({POD: 1000}) == {GATEWAY: Hidden(failed_connections=127)}
    assert found.refused_at == {GATEWAY: 127}


def test_failed_connections_are_counted_where_the_increases_mean_something() -> None:
    assert attempts(host(cx_connect_fail=2), host(cx_connect_fail=5, rq_total=9)).failed_connections == 3
    assert attempts(host(cx_connect_fail=2), host(cx_connect_fail=1)).failed_connections == 0


def test_an_address_that_also_serves_does_not_refuse() -> None:
    assert attempts(host(), host(cx_connect_fail=1, rq_total=1)).refused_at == {}


def test_a_request_that_is_sent_again_is_hidden() -> None:
    assert attempts(host(), host(rq_total=103)).hidden({GATEWAY: 100}) == {GATEWAY: Hidden(resent=3)}


def test_as_many_are_sent_again_as_connections_were_open_before() -> None:
    """The other side may close an idle connection just as a request is sent on it: no loss on the way."""
    found = attempts(host(open=2), host(rq_total=103))
    assert found.hidden({GATEWAY: 100}) == {GATEWAY: Hidden(resent=1, on_old_connections=2)}


def test_a_failed_connection_is_never_one_that_was_open_before() -> None:
    found = attempts(host(open=2), host(cx_connect_fail=2, rq_total=100))
    assert found.hidden({GATEWAY: 100}) == {GATEWAY: Hidden(failed_connections=2)}


def test_the_clusters_of_one_service_are_added_up() -> None:
    before = {(CLUSTER, POD): host(rq_total=1, open=1), (SUBSET, POD): host(rq_total=2, open=1)}
    after = {(CLUSTER, POD): host(rq_total=11), (SUBSET, POD): host(rq_total=22)}
    found = Attempts(before, after)
    assert found.increases == {POD: HostCounts(rq_total=30)}
    assert found.open_before == {POD: 2}
    assert found.hidden({POD: 30}) == {}


def test_an_endpoint_that_came_began_with_nothing() -> None:
    found = Attempts({}, {(CLUSTER, GATEWAY): host(rq_total=5)})
    assert not found.broken_off
    assert found.increases == {GATEWAY: HostCounts(rq_total=5)}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Attempts({(CLUSTER, GATEWAY): host()}, {}), f"endpoint {GATEWAY} in {CLUSTER} left"),
        (attempts(host(rq_total=9), host(rq_total=8)), f"rq_total of {GATEWAY} in {CLUSTER} went backwards"),
        (attempts(host(rq_timeout=1), host(rq_total=8)), f"rq_timeout of {GATEWAY} in {CLUSTER} went backwards"),
        (attempts(host(rq_total=9, open=4), host(rq_total=9)), ""),
    ],
)
def test_increases_mean_nothing_where_an_endpoint_left_or_a_counter_went_backwards(found: Attempts, why: str) -> None:
    assert found.broken_off == why


def test_ejected_is_whom_outlier_detection_kept_out_before_or_after() -> None:
    assert attempts(host(ejected=True), host()).ejected == {GATEWAY}
    assert attempts(host(), host(ejected=True)).ejected == {GATEWAY}
    assert attempts(host(), host()).ejected == frozenset()
