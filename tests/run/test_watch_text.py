from __future__ import annotations

from splithorizon.run.watch_results import watch_report
from splithorizon.run.watch_text import lines
from splithorizon.watch.budget import Budget
from tests.run.test_watch_results import changed, requests_of, upgraded, watched


def test_a_quiet_watch_in_a_few_lines() -> None:
    found = lines(watch_report(watched(requests_of(60)), Budget()))
    assert found[0] == (
        "watched for 1 min 0 s, 20 requests a second on each route; budget: nothing lost, 0 s on a wrong path, "
        "a kept connection cut once per restarted proxy"
    )
    assert found[1:] == [
        "claimed: requests on new connections over HTTP/1.1",
        "primary→remote: 1,200 sent, 0 lost; 100.0% 10.89.0.14:15443",
        "events: nothing changed",
    ]


def test_a_loss_stands_beside_its_event_and_the_event_has_its_cost() -> None:
    seen = watched(requests_of(60, (10, 10.5), (40, 42)), changed(11, "a is gone"))
    seen.not_seen = ("webhooks of the remote: refused",)
    text = "\n".join(lines(watch_report(seen, Budget())))
    assert "  lost by: 50 HTTP 503 (UF)" in text
    assert "  longest time without an answer: 2.00 s at 40 s (to 50 ms)" in text
    assert (
        "outage at 10.0 s: 10 lost, 0 answered between, 0.50 s without an answer; beside [remote] gateway pods" in text
    )
    assert "outage at 40.0 s: 40 lost, 0 answered between, 2.00 s without an answer; not explained" in text
    assert "9 to 11 s: [remote] gateway pods: a is gone: 10 lost, 0.50 s without an answer" in text
    assert "  over the budget: 50 of 1200 lost, allowed are 0" in text
    assert text.endswith("not seen: webhooks of the remote: refused")


def test_of_many_losses_and_events_the_first_are_shown() -> None:
    seen = watched(
        requests_of(300, *((10 * n, 10 * n + 0.1) for n in range(1, 20))),
        *(changed(10 * n + 1, "x", f"subject {n}") for n in range(30)), seconds=300,
    )  # fmt: skip
    found = lines(watch_report(seen, Budget()))
    assert len(found) < 60
    assert "    and 9 more, in report.json" in found
    assert "  and 10 more, in report.json" in found


def test_each_phase_has_its_losses_its_versions_and_its_core_checks() -> None:
    found = lines(watch_report(upgraded((40, 41)), Budget()))
    place = found.index("phase gateway of remote: 30 to 60 s; core at its end: conformant")
    assert found[place + 1 : place + 3] == [
        "  istiod of primary 1.29.1, its proxies: 3 of 1.28.3, 4 of 1.29.1",
        "  primary→remote: 600 sent, 20 lost (20 HTTP 503 (UF)), 1.00 s without an answer",
    ]
