from __future__ import annotations

import pytest

from splithorizon.base.errors import UsageProblem
from splithorizon.watch.budget import Budget, unjudged
from splithorizon.watch.route_requests import RouteRequests, Sample

GATEWAY = "10.89.0.14:15443"


def requests_of(*, sent: int = 1000, lost: int = 0, address: str = GATEWAY) -> RouteRequests:
    """One request each 50 ms; the first ones are lost, all in a row."""
    requests = RouteRequests(0.0, {GATEWAY})
    for n in range(sent):
        requests.add(Sample(n / 20, 0.01, "HTTP 503" if n < lost else "", address))
    requests.close(sent / 20)
    return requests


def test_by_default_nothing_may_be_lost() -> None:
    assert Budget.parse("") == Budget()
    assert Budget().exceeded(requests_of()) == []
    assert Budget().exceeded(requests_of(lost=1)) == ["1 of 1000 lost, allowed are 0"]
    assert str(Budget()) == "nothing lost, 0 s on a wrong path, a kept connection cut once per restarted proxy"


def test_a_number_or_a_share_may_be_allowed() -> None:
    assert Budget.parse("lost=5").exceeded(requests_of(lost=5)) == []
    assert Budget.parse("lost=5").exceeded(requests_of(lost=6)) == ["6 of 1000 lost, allowed are 5"]
    assert Budget.parse("lost=0.5%").exceeded(requests_of(lost=5)) == []
    assert Budget.parse("lost=0.5%").exceeded(requests_of(lost=6)) == ["6 of 1000 lost, allowed are 5"]


def test_an_outage_may_be_limited_beside_the_number() -> None:
    budget = Budget.parse("lost=100, outage=0.5s")
    assert budget.exceeded(requests_of(lost=10)) == []
    assert budget.exceeded(requests_of(lost=11)) == ["an outage of 0.55 s, allowed are 0.5 s"]


def test_a_wrong_path_is_over_the_budget_though_all_is_answered() -> None:
    wrong = requests_of(sent=40, address="10.20.0.7:5000")
    assert Budget().exceeded(wrong) == ["2.0 s by a wrong path (10.20.0.7:5000), allowed are 0 s"]
    assert Budget.parse("wrong=2s").exceeded(wrong) == []


def test_a_connection_may_be_cut_once_for_each_restarted_proxy() -> None:
    assert Budget().exceeded_by_cuts("tcp", 1, 1) == ""
    assert Budget().exceeded_by_cuts("tcp", 2, 1) == "tcp cut 2 times, allowed are 1"
    assert Budget.parse("cuts=1").exceeded_by_cuts("tcp", 2, 1) == ""


@pytest.mark.parametrize(
    "text",
    ["lost", "lost=", "lost=-1", "lost=1.5", "lost=5s", "cuts=1.5", "cuts=3%", "outage=5%", "lost=101%", "other=1",
     "lost=1,lost=2", "outage=1m"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match=r"--budget .* Nothing was created"):
        Budget.parse(text)


def test_the_whole_budget_is_named() -> None:
    budget = Budget.parse("lost=0.1%,outage=2s,wrong=1,cuts=2")
    assert str(budget) == (
        "0.100% lost, no outage over 2 s, 1 s on a wrong path, "
        "a kept connection cut once per restarted proxy and 2 more"
    )


def test_a_route_that_was_hardly_seen_is_not_judged() -> None:
    assert unjudged(RouteRequests(0.0), 60) == "no request was seen"
    requests = requests_of(sent=1000)
    assert unjudged(requests, 50) == ""
    requests.unseen_seconds = 6
    assert unjudged(requests, 50) == "for 6 of 50 s no request was seen"


def test_a_route_whose_paths_are_not_known_is_not_judged() -> None:
    said = unjudged(requests_of(address=""), 50)
    assert said == "of 1000 requests 1000 have no line in the access log, so no path"
