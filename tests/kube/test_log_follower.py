from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from splithorizon.base import timeouts
from splithorizon.kube.client import Kube
from splithorizon.kube.log_follower import LogFollower, LogLine
from tests.support.small_api import Failure, SmallApi, small_api

LOG = "/api/v1/namespaces/sample/pods/sender-1/log"


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallApi]:
    soon = replace(timeouts.WatchTimes(), log_asked_again=0.01)
    monkeypatch.setattr(timeouts, "_current", replace(timeouts.Timeouts(), watch=soon))
    with small_api(tmp_path / "kubeconfig") as server:
        server.versioned = True
        yield server


def followed(api: SmallApi, tmp_path: Path) -> tuple[list[LogLine], LogFollower]:
    """What is followed until the pod is gone: once nothing is left to be sent, there is no such path."""
    follower = LogFollower(Kube(tmp_path / "kubeconfig", "primary"), "sender-1", "sample", "watch-sender")
    lines: list[LogLine] = []
    follower.run(lines.append, Event())
    return lines, follower


def test_lines_come_with_the_time_at_which_they_were_written(api: SmallApi, tmp_path: Path) -> None:
    api.streams[LOG] = [[b"2026-11-27T12:00:00.5Z one\n2026-11-27T12:00:01.000000001Z t", b"wo\n"]]
    lines, _ = followed(api, tmp_path)
    assert [one.text for one in lines] == ["one", "two"]
    assert lines[1].stamp - lines[0].stamp == pytest.approx(0.5)
    (_, _, query, *_), *_ = api.asked
    assert query == {"container": ["watch-sender"], "follow": ["true"], "timestamps": ["true"]}


def test_a_connection_that_breaks_is_made_again_and_no_line_comes_twice(api: SmallApi, tmp_path: Path) -> None:
    api.streams[LOG] = [
        [b"2026-11-27T12:00:00.1Z one\n2026-11-27T12:00:00.2Z two\n2026-11-27T12:00:00.3Z thr", None],
        [b"2026-11-27T12:00:00.1Z one\n2026-11-27T12:00:00.2Z two\n2026-11-27T12:00:00.3Z three\n"],
        [b"2026-11-27T12:00:00.3Z three\n2026-11-27T12:00:09Z four\n"],
    ]
    lines, follower = followed(api, tmp_path)
    assert [one.text for one in lines] == ["one", "two", "three", "four"]
    assert follower.broken == 1
    since = [query.get("sinceTime") for _, _, query, *_ in api.asked]
    assert since[:3] == [None, ["2026-11-27T12:00:00Z"], ["2026-11-27T12:00:00Z"]]


def test_an_api_server_that_is_away_for_a_while_is_asked_again(api: SmallApi, tmp_path: Path) -> None:
    api.streams[LOG] = [[b"2026-11-27T12:00:00.1Z one\n"]]
    api.failures = [Failure(2, "GET", "/log"), Failure(1, "GET", "/log", 503)]
    lines, follower = followed(api, tmp_path)
    assert [one.text for one in lines] == ["one"]
    assert follower.broken == 3


def test_what_is_no_line_of_a_log_is_left_out(api: SmallApi, tmp_path: Path) -> None:
    api.streams[LOG] = [[b"failed to watch the log\n\n2026-11-27T12:00:00Z \n"]]
    lines, _ = followed(api, tmp_path)
    assert [one.text for one in lines] == [""]


def test_a_follower_that_is_stopped_asks_no_more(api: SmallApi, tmp_path: Path) -> None:
    follower = LogFollower(Kube(tmp_path / "kubeconfig", "primary"), "sender-1", "sample", "watch-sender")
    stop = Event()
    stop.set()
    follower.run(lambda _: None, stop)
    assert api.asked == []
