from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from splithorizon.istio.topology import Route
from splithorizon.run import conformance, report, report_file
from splithorizon.run.markdown import markdown
from splithorizon.run.page import page
from splithorizon.run.report_text import rerun_command
from splithorizon.run.summary import summary
from splithorizon.run.verdict import Verdict
from splithorizon.run.watch_report import WatchReport
from splithorizon.run.watch_results import results, watch_report
from splithorizon.traffic.sender import TIMED_OUT, Stream
from splithorizon.watch.budget import Budget
from splithorizon.watch.events import EVENTS, TEXTS, Change, EventLog
from splithorizon.watch.kept_connections import KeptConnection, KeptResult
from splithorizon.watch.phases import Phase, PhaseLog
from splithorizon.watch.route_requests import LOSSES, RouteRequests, Sample
from splithorizon.watch.watching import Watched

GATEWAY = "10.89.0.14:15443"
ROUTE = Route("primary", "remote")
BEGAN = 1_795_780_800.0


def requests_of(seconds: float, *outages: tuple[float, float], phases: PhaseLog | None = None) -> RouteRequests:
    """Twenty requests a second; those that begin within an outage are lost."""
    requests = RouteRequests(BEGAN, {GATEWAY}, phases)
    for n in range(round(seconds * 20)):
        at = n / 20
        lost = any(begin <= at < end for begin, end in outages)
        requests.add(Sample(BEGAN + at, 0.01, "HTTP 503 (UF)" if lost else "", GATEWAY))
    requests.close(BEGAN + seconds)
    return requests


def watched(requests: RouteRequests, *changes: Change, seconds: float = 60, restarted: int = 0) -> Watched:
    events = EventLog()
    for change in changes:
        events.add(change)
    return Watched(
        BEGAN, BEGAN + seconds, 20.0, {ROUTE: requests}, {ROUTE: {}}, events, {"remote": restarted}, (Stream.NEW,)
    )


def changed(at: float, text: str, subject: str = "gateway pods") -> Change:
    return Change(BEGAN + at - 2, BEGAN + at, "remote", subject, text)


def test_a_route_without_a_loss_is_conformant() -> None:
    watch = watch_report(watched(requests_of(60)), Budget())
    (result,) = results(watch, "kubectl get events")
    assert result.verdict is Verdict.CONFORMANT
    assert (result.area, result.nodeid, result.key_number) == ("watch", "watch[primary→remote]", "0 of 1,200 lost")
    assert watch.routes[0].paths == {GATEWAY: 1200}


def test_each_loss_is_beside_the_event_that_brackets_it_and_each_event_has_its_cost() -> None:
    watch = watch_report(
        watched(
            requests_of(60, (10, 10.5), (40, 42)),
            changed(11, "a is gone"),
            changed(26, "cacerts: version 1 → 2", "Secrets"),
            changed(41, "istio-eastwestgateway: 10.89.0.14 → 10.89.0.15", "gateway addresses"),
        ),
        Budget(),
    )
    assert [loss.events for loss in watch.routes[0].losses] == [(0,), (2,)]
    assert [(event.lost, round(event.longest, 2)) for event in watch.events] == [(10, 0.5), (0, 0.0), (40, 2.0)]
    (result,) = results(watch, "kubectl get events")
    assert result.verdict is Verdict.NOT_CONFORMANT
    assert "50 of 1200 lost, allowed are 0" in result.failure
    assert result.likely_cause.startswith("by time: [remote] gateway pods: a is gone; [remote] gateway addresses: ")
    assert result.next_command == "kubectl get events"


def test_a_loss_that_nothing_brackets_is_not_explained() -> None:
    watch = watch_report(watched(requests_of(60, (30, 31)), changed(5, "a is gone")), Budget())
    assert [loss.events for loss in watch.routes[0].losses] == [()]
    (result,) = results(watch, "x")
    assert result.likely_cause.startswith("not explained")
    partly = watch_report(watched(requests_of(60, (5, 6), (30, 31)), changed(6, "a is gone")), Budget())
    (result,) = results(partly, "x")
    assert result.likely_cause.endswith("; 1 losses are not explained")


def test_a_loss_within_the_budget_is_reported_and_conformant() -> None:
    watch = watch_report(watched(requests_of(60, (10, 10.5))), Budget.parse("lost=10,outage=1s"))
    (result,) = results(watch, "x")
    assert (result.verdict, result.key_number) == (Verdict.CONFORMANT, "10 of 1,200 lost")
    assert len(watch.routes[0].losses) == 1


def test_a_route_that_was_not_seen_is_not_judged() -> None:
    watch = watch_report(watched(RouteRequests(BEGAN)), Budget())
    (result,) = results(watch, "x")
    assert (result.verdict, result.next_command) == (Verdict.INCONCLUSIVE, "")
    assert result.failure.endswith("no request was seen")


def test_kept_connections_may_be_cut_once_for_each_restarted_proxy() -> None:
    def kept(cuts: int) -> KeptConnection:
        connection = KeptConnection()
        for n in range(120):
            lost = TIMED_OUT if n in range(10, 10 * cuts + 1, 10) else ""
            connection.add(KeptResult(BEGAN + n / 2, 0.01, lost, opened=n == 0))
        connection.close(BEGAN + 60)
        return connection

    for restarted, verdict in ((2, Verdict.CONFORMANT), (1, Verdict.NOT_CONFORMANT)):
        seen = watched(requests_of(60), changed(6, "a is gone"), restarted=restarted)
        seen.kept = {ROUTE: {Stream.TCP: [kept(2), kept(1)]}}
        watch = watch_report(seen, Budget())
        (one,) = watch.routes[0].kept
        assert (one.connections, one.cuts, one.most, one.lost) == (2, 3, 2, 3)
        assert [cut.events for cut in one.first] == [(0,), (0,), (0,)]
        assert results(watch, "x")[0].verdict is verdict


def test_a_report_with_a_watch_is_written_read_and_shown(tmp_path: Path) -> None:
    watch = watch_report(watched(requests_of(60, (10, 10.5)), changed(11, "a is gone")), Budget())
    (result,) = results(watch, "kubectl get events")
    made = report.RunReport(
        "run-1", "2026-11-27T06:00:00.000Z", "2026-11-27T06:02:00.000Z", ("splithorizon", "watch", "A,B"),
        report.Versions("0.1.0", "3.11.2"), Verdict.NOT_CONFORMANT, 1, behaviours=(result,), watch=watch,
    )  # fmt: skip
    read = report_file.load(report_file.write(made, tmp_path))
    assert read.watch == watch
    shown = " ".join(" ".join(summary(read)).split())
    assert "beside [remote] gateway pods at 9 s" in shown
    assert "splithorizon watch A,B" in shown
    assert "watch[primary" not in rerun_command(read)
    assert "Watched while the mesh was changed" in markdown(read)
    page.write(read, tmp_path)
    assert "requests to the far network were answered" in (tmp_path / page.NAME).read_text()
    assert ">the whole account<" in (tmp_path / page.NAME).read_text()
    conformance.write(read, tmp_path)


def test_a_report_of_eight_hours_full_of_losses_and_events_stays_small() -> None:
    requests = RouteRequests(BEGAN, {GATEWAY})
    for n in range(2 * LOSSES):
        for offset, lost in ((0, "HTTP 503 (UF,URX)"), (1, "")):
            requests.add(Sample(BEGAN + 28 * n + offset, 0.01, lost, f"10.89.0.{n % 50}:15443"))
    requests.close(BEGAN + 28800)
    changes = [changed(28 * n, "x" * 120, f"subject {n % 40}") for n in range(EVENTS)]
    seen = watched(requests, *changes, *(changed(n, "y" * 120) for n in range(2 * TEXTS)), seconds=28800)
    seen.requests = {ROUTE: requests, Route("remote", "primary"): requests}
    adapter = TypeAdapter(WatchReport)
    text = json.dumps(adapter.dump_python(watch_report(seen, Budget()), mode="json"), indent=2)
    assert len(text) < 4_000_000


def upgraded(*outages: tuple[float, float], core: str = "conformant") -> Watched:
    """A watch of a minute: half of it before an upgrade, half while a gateway is upgraded."""
    versions = ("istiod of primary 1.29.1, its proxies: 3 of 1.28.3, 4 of 1.29.1",)
    phases = [
        Phase("before the upgrade", BEGAN, BEGAN + 30, core="conformant"),
        Phase("gateway of remote", BEGAN + 30, BEGAN + 60, versions, core, () if core == "conformant" else ("test_x",)),
    ]
    seen = watched(requests_of(60, *outages, phases=PhaseLog(phases)))
    seen.phases = tuple(phases)
    return seen


def test_a_loss_counts_in_the_phase_in_which_it_began() -> None:
    watch = watch_report(upgraded((40, 41)), Budget())
    before, gateway = results(watch, "kubectl get events")[1:]
    assert (before.nodeid, before.verdict) == ("phase[01 before the upgrade]", Verdict.CONFORMANT)
    assert before.key_number == "0 of 600 lost, core conformant"
    assert (gateway.nodeid, gateway.verdict) == ("phase[02 gateway of remote]", Verdict.NOT_CONFORMANT)
    assert "primary→remote: 20 of 600 lost, allowed are 0" in gateway.failure
    assert gateway.next_command == "kubectl get events"
    assert gateway.likely_cause.startswith("not explained")
    assert watch.phases[1].routes[0].longest_outage == 1.0


def test_a_phase_whose_core_checks_are_refuted_is_not_conformant() -> None:
    *_, gateway = results(watch_report(upgraded(core="not conformant"), Budget()), "x")
    assert gateway.verdict is Verdict.NOT_CONFORMANT
    assert "core at its end is not conformant: test_x" in gateway.failure
    assert gateway.likely_cause == "by time: while gateway of remote was changed"


def test_a_phase_that_broke_or_was_not_seen_is_inconclusive() -> None:
    seen = upgraded()
    seen.phases[0].broke = "istioctl failed"
    seen.requests[ROUTE].by_phase.pop(1)
    _, before, gateway = results(watch_report(seen, Budget()), "x")
    assert (before.verdict, gateway.verdict) == (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE)
    assert before.failure.endswith("istioctl failed")
    assert gateway.failure.endswith("no request was seen on primary→remote")


def test_a_phase_whose_core_checks_were_not_run_is_inconclusive() -> None:
    seen = upgraded()
    seen.phases[1].core = ""
    *_, gateway = results(watch_report(seen, Budget()), "x")
    assert (gateway.verdict, gateway.key_number) == (Verdict.INCONCLUSIVE, "0 of 600 lost, core not run")
