"""Every reply is in exactly one group: with one line, without a line, or with several lines."""

from __future__ import annotations

from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.correlate import join
from splithorizon.traffic.requests import Reply


def line(request_id: str | None, upstream: str = "10.10.0.90:5000") -> AccessLogLine:
    return AccessLogLine(raw=f"{request_id} {upstream}", request_id=request_id, upstream_host=upstream)


def test_a_reply_is_matched_to_its_own_line() -> None:
    lines = [line("b-2", "10.10.0.91:5000"), line("b-10"), line(None), line("b-1")]
    matched = join([Reply("b-1"), Reply("b-2")], lines)
    assert [(pair.reply.request_id, pair.line) for pair in matched.pairs] == [
        ("b-1", lines[3]),
        ("b-2", lines[0]),
    ]
    assert (matched.unmatched, matched.ambiguous, matched.requests) == ((), (), 2)


def test_a_reply_without_a_line_and_one_with_two_are_listed() -> None:
    replies = [Reply("b-1"), Reply("b-2"), Reply("b-3")]
    matched = join(replies, [line("b-2"), line("b-3"), line("b-3", "172.18.0.9:15443")])
    assert [pair.reply for pair in matched.pairs] == [replies[1]]
    assert (matched.unmatched, matched.ambiguous) == ((replies[0],), (replies[2],))
    assert matched.requests == 3


def test_a_lost_reply_is_matched_too() -> None:
    matched = join([Reply("b-1", error="curl 28: timed out")], [line("b-1")])
    assert len(matched.pairs) == 1


def test_a_thousand_replies_with_one_missing_line_are_all_counted() -> None:
    replies = [Reply(f"b-{number}") for number in range(1000)]
    lines = [line(f"b-{number}") for number in range(1000) if number != 500]
    matched = join(replies, reversed(lines))
    assert (len(matched.pairs), matched.unmatched, matched.ambiguous) == (999, (replies[500],), ())
    assert all(pair.reply.request_id == pair.line.request_id for pair in matched.pairs)
    assert matched.requests == 1000


def test_a_repeated_line_is_two_lines() -> None:
    twice = line("b-1")
    assert join([Reply("b-1")], [twice, twice]).ambiguous == (Reply("b-1"),)


def test_lines_without_an_id_and_of_other_requests_match_nothing() -> None:
    matched = join([Reply("b-1")], [line(None), line("b-11"), line("a-b-1"), line("")])
    assert (matched.pairs, matched.unmatched) == ((), (Reply("b-1"),))


def test_no_replies_are_no_pairs() -> None:
    assert join([], [line("b-1")]).requests == 0
