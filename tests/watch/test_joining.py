from __future__ import annotations

import pytest

from splithorizon.base.timeouts import current as timeouts
from splithorizon.traffic import sender
from splithorizon.traffic.sender import TIMED_OUT, Stream
from splithorizon.watch.joining import ClockOffset, SenderLogs

GATEWAY = "10.89.0.14:15443"
SERIES = "watch-sender-abc-1000-1-1"


def result(number: int, *, code: int = 200, exit_status: int = 0, series: str = SERIES, stream: str = "new") -> str:
    url = f"http://watch-v2.sample:5000/hello?{series}-{number}"
    return f"splithorizon {stream} {url} {code:03} 1 0.010000 {exit_status}"


def logged(number: int, *, code: int = 200, flags: str = "-", series: str = SERIES) -> str:
    return (
        f'[2026-11-27T12:00:00.000Z] "GET /hello?{series}-{number} HTTP/1.1" {code} {flags} via_upstream - "-" 0 60 '
        f'3 2 "-" "curl/8.16.0" "6a1c" "watch-v2.sample:5000" "{GATEWAY}" '
        "outbound|5000||watch-v2.sample.svc.cluster.local 10.10.0.6:50000 10.110.0.9:5000 10.10.0.6:40000 - default"
    )


def sent(logs: SenderLogs, number: int, *, at: float, code: int = 200, exit_status: int = 0) -> None:
    logs.result(result(number, code=code, exit_status=exit_status), stamp=at, arrived=at + 0.1)


def test_a_result_is_attributed_to_the_path_of_its_own_line() -> None:
    logs = SenderLogs()
    sent(logs, 1, at=100)
    sent(logs, 2, at=100.1)
    logs.logged(logged(2), 101)
    logs.logged(logged(1), 101)
    samples = list(logs.samples(104))
    assert [one.address for one in samples] == [GATEWAY, GATEWAY]
    assert samples[0].began == pytest.approx(100.09)
    assert (samples[0].seconds, samples[0].lost) == (0.01, "")
    assert list(logs.samples(105)) == []


def test_the_line_may_come_first() -> None:
    logs = SenderLogs()
    logs.logged(logged(1), 99)
    sent(logs, 1, at=100)
    assert [one.address for one in logs.samples(104)] == [GATEWAY]


def test_a_result_without_a_line_goes_on_without_a_path_after_a_while() -> None:
    logs = SenderLogs()
    sent(logs, 1, at=100)
    assert list(logs.samples(104)) == []
    assert [one.address for one in logs.samples(100.1 + timeouts().watch.path_logged)] == [""]


def test_at_the_end_everything_goes_on() -> None:
    logs = SenderLogs()
    sent(logs, 1, at=100)
    assert [one.address for one in logs.samples(100.2, everything=True)] == [""]


def test_what_begins_after_the_end_of_the_watch_does_not_count() -> None:
    logs = SenderLogs()
    sent(logs, 1, at=100)
    sent(logs, 2, at=105, code=503)
    logs.until = 101
    assert [one.lost for one in logs.samples(100.2, everything=True)] == [""]
    assert (logs.sent, logs.lost) == (1, 0)


def test_only_the_line_of_a_request_that_was_watched_is_waited_for() -> None:
    logs = SenderLogs()
    sent(logs, 1, at=100)
    sent(logs, 2, at=105)
    logs.until = 101
    assert logs.awaits_lines
    logs.logged(logged(1), 102)
    assert not logs.awaits_lines


def test_a_lost_request_is_named_with_the_flags_of_its_line() -> None:
    logs = SenderLogs()
    sent(logs, 1, at=100, code=503)
    sent(logs, 2, at=100, code=0, exit_status=28)
    logs.logged(logged(1, code=503, flags="UF"), 101)
    logs.logged(logged(2, code=0, flags="DC"), 101)
    assert [one.lost for one in logs.samples(104)] == ["HTTP 503 (UF)", f"{TIMED_OUT} (DC)"]
    assert (logs.sent, logs.lost) == (2, 2)


def test_what_a_rotated_log_swallowed_shows_as_a_gap_in_the_numbers() -> None:
    logs = SenderLogs()
    for number in (1, 2, 7):
        sent(logs, number, at=100)
    logs.result(result(3, series="watch-sender-abc-1000-2-1"), 100, 100.1)
    assert logs.missing == 4 + 2


def test_what_a_sender_loses_while_its_pod_ends_counts_for_nothing() -> None:
    logs = SenderLogs()
    sent(logs, 1, at=100, code=503)
    logs.ending_since = 105
    sent(logs, 2, at=106, code=503)
    sent(logs, 3, at=106)
    assert [one.lost for one in logs.samples(200)] == ["HTTP 503", ""]
    assert logs.of_its_end == 1


def test_what_began_before_the_watch_is_left_out() -> None:
    logs = SenderLogs(since=105)
    sent(logs, 1, at=100, code=503)
    sent(logs, 2, at=106)
    logs.result(result(1, series="watch-sender-abc-1000-http2-1", stream="http2"), 100, 100.1)
    assert [one.lost for one in logs.samples(200)] == [""]
    assert (logs.sent, logs.lost) == (1, 0)
    assert list(logs.kept(200)) == []


def test_other_lines_are_no_results() -> None:
    logs = SenderLogs()
    logs.result(sender.WAITS, 100, 100.1)
    logs.result("splithorizon new something else", 100, 100.1)
    logs.result("curl: warning", 100, 100.1)
    logs.logged("2026-11-27T12:00:00Z info envoy is ready", 100)
    assert (logs.waits, logs.unreadable, logs.sent) == (1, 1, 0)


def test_results_on_kept_connections_stay_apart() -> None:
    logs = SenderLogs()
    series = "watch-sender-abc-1000-http2-1"
    logs.result(result(1, series=series, stream="http2"), 100, 100.1)
    ((stream, name, kept),) = list(logs.kept(104))
    assert (stream, name) == (Stream.HTTP2, series)
    assert (kept.opened, kept.lost) == (True, "")
    assert list(logs.samples(200)) == []
    assert list(logs.kept(105)) == []


def test_the_clock_of_a_node_is_compared_with_ours() -> None:
    offset = ClockOffset()
    # The first lines are read from the past; the node's clock is half a minute ahead.
    for stamp, arrived in ((130, 110), (135, 110), (140.5, 110.6), (150, 120.3)):
        offset.observe(stamp, arrived)
    assert not offset.known(112)
    assert offset.known(114)
    assert offset.ours(140) == pytest.approx(110.1)


def test_memory_is_bounded_where_no_line_of_the_log_is_of_use() -> None:
    logs = SenderLogs()
    for n in range(2000):
        logs.logged(logged(n), 100 + n)
        list(logs.samples(100 + n))
    logs.result(result(5000), 2100, 2100.1)
    list(logs.samples(2110))
    assert len(logs._lines) < 40
