"""The lines, the times, the heartbeat and the display; streams without our glyphs, and closed streams."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator

import pytest
from rich.text import Text

from splithorizon.base.process import side_by_side
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.run.progress import Progress, StepTime, live_console
from tests.support.child_python import line_of, running
from tests.support.clock import Clock

HEARTBEAT = 8.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def progress(lines: list[str], clock: Clock) -> Iterator[Progress]:
    progress = Progress(lines.append, heartbeat=HEARTBEAT, encoding="utf-8", clock=clock)
    yield progress
    progress.close()


def beats(lines: list[str]) -> list[str]:
    return [line for line in lines if "still:" in line]


def test_a_step_is_a_line_at_each_end(progress: Progress, lines: list[str], clock: Clock) -> None:
    with progress.step("kind cluster", cluster="primary"):
        clock.advance(0.25)
    clock.advance(1)
    progress.say("chose podman")
    progress.say("closed", cluster="remote")
    assert lines == [
        "   0.0 s  … [primary] kind cluster",
        "   0.2 s  ✓ [primary] kind cluster (0.2 s)",
        "   1.2 s    chose podman",
        "   1.2 s    [remote] closed",
    ]
    assert [step.seconds for step in progress.steps] == [0.25]


def test_steps_are_kept_with_their_times(progress: Progress, clock: Clock) -> None:
    clock.advance(1)
    with progress.step("outer"):
        clock.advance(2)
        with progress.step("inner", cluster="remote"):
            clock.advance(4)
        clock.advance(8)
    assert progress.steps == [
        StepTime("inner", "remote", started_after=3, seconds=4, outcome="done"),
        StepTime("outer", None, started_after=1, seconds=14, outcome="done"),
    ]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_step_that_raises_has_failed(progress: Progress, lines: list[str], error: type[BaseException]) -> None:
    with pytest.raises(error), progress.step("istiod", cluster="primary"):
        raise error
    assert lines[-1] == "   0.0 s  ✗ [primary] istiod (0.0 s)"
    assert progress.steps[0].outcome == "failed"


def test_a_long_step_is_named_at_each_heartbeat(progress: Progress, lines: list[str], clock: Clock) -> None:
    with progress.step("kind cluster", cluster="primary"), progress.step("compiled"):
        for number, line in enumerate(
            ("   8.0 s  … still: {} (8 s), {} (8 s)", "  16.0 s  … still: {} (16 s), {} (16 s)")
        ):
            clock.advance(HEARTBEAT)
            progress._beat_if_due()
            assert beats(lines)[number:] == [line.format("[primary] kind cluster", "compiled")]
            progress._beat_if_due()
            assert len(beats(lines)) == number + 1, "once for each heartbeat"


def test_a_heartbeat_comes_only_after_silence(progress: Progress, lines: list[str], clock: Clock) -> None:
    with progress.step("chatty"):
        for number in range(6):
            clock.advance(HEARTBEAT - 1)
            progress._beat_if_due()
            progress.say(f"word {number}")
        assert beats(lines) == []
        clock.advance(HEARTBEAT)
        progress._beat_if_due()
    assert len(beats(lines)) == 1


def test_nothing_is_said_between_steps_or_after_the_end(progress: Progress, lines: list[str], clock: Clock) -> None:
    with progress.step("short"):
        pass
    clock.advance(10 * HEARTBEAT)
    progress._beat_if_due()
    progress.close()
    progress._beat_if_due()
    assert len(lines) == 2


def test_the_heartbeat_beats_by_itself_also_after_closing(lines: list[str]) -> None:
    """On the real clock, for as long as it takes."""
    before = set(threading.enumerate())
    progress = Progress(lines.append, heartbeat=0.01, encoding="utf-8")

    def one_more(than: int) -> None:
        if len(beats(lines)) <= than:
            raise NotYet(f"{len(beats(lines))} heartbeats")

    with progress.step("set-up"):
        eventually("a heartbeat", lambda: one_more(than=0), within=30, every=0.01)
        progress.close()
    with progress.step("kind cluster deleted"):
        so_far = len(beats(lines))
        eventually("another heartbeat", lambda: one_more(than=so_far), within=30, every=0.01)
    assert "still: kind cluster deleted (" in "".join(lines)
    progress.close()
    progress.close()
    assert "heartbeat" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_a_quiet_step_has_heartbeats_only(progress: Progress, lines: list[str], clock: Clock) -> None:
    clock.advance(10 * HEARTBEAT)
    with progress.quiet_step("test_long_waits"):
        progress._beat_if_due()
        assert lines == [], "the silence begins with the step"
        clock.advance(HEARTBEAT)
        progress._beat_if_due()
    assert progress.steps == []
    assert lines == ["  88.0 s  … still: test_long_waits (8 s)"]


def test_many_threads_lose_no_step_and_mix_no_line(progress: Progress, lines: list[str]) -> None:
    def work(name: str) -> None:
        for number in range(50):
            with progress.step(f"{name} {number}"):
                pass

    side_by_side(**{name: (lambda name=name: work(name)) for name in "abcdefgh"})
    assert len(progress.steps) == 400
    assert len({step.name for step in progress.steps}) == 400
    assert len([line for line in lines if "✓" in line]) == 400


def test_ascii_where_the_stream_has_no_glyphs() -> None:
    code = """
    import sys
    from splithorizon.run.progress import Progress
    progress = Progress(lambda line: print(line.split("s  ", 1)[1], flush=True))
    with progress.step("test_paths.py::test_it[primary→remote]"):
        pass
    try:
        with progress.step("b"):
            raise ValueError
    except ValueError:
        progress.close()
    """
    with running(code, PYTHONIOENCODING="ascii") as child:
        ascii_lines = [re.sub(r"\(\d\.\d s\)", "(N s)", line_of(child)) for _ in range(4)]
    assert ascii_lines == [
        r"... test_paths.py::test_it[primary\u2192remote]",
        r"ok test_paths.py::test_it[primary\u2192remote] (N s)",
        "... b",
        "FAILED b (N s)",
    ]
    with running(code, PYTHONIOENCODING="utf-8") as child:
        assert line_of(child) == "… test_paths.py::test_it[primary→remote]"


@pytest.mark.parametrize("gone", [BrokenPipeError, ValueError])
def test_a_terminal_that_is_gone_ends_no_step(gone: type[Exception]) -> None:
    def write(_: str) -> None:
        raise gone

    progress = Progress(write)
    with progress.step("cluster deleted"):
        pass
    progress.close()
    assert [step.outcome for step in progress.steps] == ["done"]


def test_the_heartbeat_keeps_no_process_alive() -> None:
    code = """
    from splithorizon.run.progress import Progress
    Progress(print).step("never closed").__enter__()
    """
    with running(code) as child:

        def ended() -> int:
            if (status := child.poll()) is None:
                raise NotYet("it runs")
            return status

        assert eventually("the process ends", ended, within=30, every=0.05) == 0


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_on_a_terminal_running_steps_are_displayed_below_the_lines(
    terminal: Terminal, lines: list[str], clock: Clock
) -> None:
    console = live_console(terminal)
    assert console is not None
    progress = Progress(lines.append, heartbeat=HEARTBEAT, encoding="utf-8", live=console, clock=clock)
    with progress.step("kind cluster", cluster="primary"), progress.step("compiled"):
        progress.say("kubectl --context 'a [b]' get pods")
        clock.advance(10 * HEARTBEAT)
        progress._beat_if_due()

        def shown() -> None:
            if "… compiled (80 s)" not in terminal.getvalue():
                raise NotYet(terminal.getvalue()[-200:])

        eventually("its seconds are counted", shown, within=30, every=0.05)
    progress.say("the end")
    progress.close()
    written = terminal.getvalue()
    text = ESCAPES.sub("", written)
    assert "… [primary] kind cluster (0 s)" in text
    assert "✓ compiled (80.0 s)" in text
    assert "✓ [primary] kind cluster (80.0 s)" in text
    assert "kubectl --context 'a [b]' get pods" in text
    assert "still:" not in text, "the display takes the place of the heartbeat"
    assert [line.split("s  ", 1)[1] for line in lines] == ["  the end"], "only what was said beside the display"
    assert "\x1b[?25l" not in written, "the cursor is never hidden: a killed run could not show it again"
    assert [(step.name, step.cluster, step.outcome) for step in progress.steps] == [
        ("compiled", None, "done"),
        ("kind cluster", "primary", "done"),
    ]


def test_a_table_is_shown_below_the_lines_of_a_terminal_and_above_the_running_steps(terminal: Terminal) -> None:
    progress = Progress(print, encoding="utf-8", live=live_console(terminal))
    counts = iter(range(1000))
    with progress.table(lambda: Text(f"{next(counts)} sent")) as shown, progress.step("core checks"):
        progress.say("a gateway pod is gone")

        def refreshed() -> None:
            if "3 sent" not in terminal.getvalue():
                raise NotYet(terminal.getvalue()[-200:])

        eventually("it is drawn again", refreshed, within=30, every=0.05)
    assert shown
    assert progress._live is None
    text = ESCAPES.sub("", terminal.getvalue())
    assert re.search(r"\d sent\r?\n.*… core checks", text)
    assert "a gateway pod is gone" in text
    progress.close()


def test_without_a_terminal_no_table_is_shown(progress: Progress, lines: list[str]) -> None:
    with progress.table(lambda: Text("3 sent")) as shown:
        progress.say("a line")
    assert not shown
    assert [line.split("s  ", 1)[1] for line in lines] == ["  a line"]


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_on_a_terminal_are_left_out_where_they_are_not_wanted(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    progress = Progress(print, encoding="utf-8", live=live_console(terminal))
    with progress.step("b"):
        pass
    progress.close()
    assert ("\x1b[32m" in terminal.getvalue()) is coloured


def test_a_step_that_fails_on_a_terminal_ends_the_display(terminal: Terminal) -> None:
    progress = Progress(print, encoding="utf-8", live=live_console(terminal))
    with pytest.raises(KeyboardInterrupt), progress.step("istiod"):
        raise KeyboardInterrupt
    assert progress._live is None
    assert "✗ istiod (" in ESCAPES.sub("", terminal.getvalue())
    progress.close()


def test_many_threads_on_a_terminal_lose_no_line(terminal: Terminal) -> None:
    said: list[str] = []
    progress = Progress(said.append, encoding="utf-8", live=live_console(terminal))

    def work(name: str) -> None:
        for number in range(25):
            with progress.step(f"{name} {number}"):
                progress.say(f"{name} says {number}")

    side_by_side(**{name: (lambda name=name: work(name)) for name in "abcd"})
    progress.close()
    assert len(progress.steps) == 100
    assert said == []
    text = ESCAPES.sub("", terminal.getvalue())
    assert {f"{name} says {number}" for name in "abcd" for number in range(25)} <= set(
        re.findall(r"[a-d] says \d+", text)
    )


def test_ascii_on_a_terminal(terminal: Terminal) -> None:
    progress = Progress(print, encoding="ascii", live=live_console(terminal))
    with progress.step("test_x[a→b]"):
        pass
    progress.close()
    assert terminal.getvalue().isascii()
    assert r"ok test_x[a\u2192b]" in terminal.getvalue()


@pytest.mark.parametrize(
    ("stream", "environment"),
    [(io.StringIO(), {}), (Terminal(), {"CI": "true"}), (Terminal(), {"TERM": "dumb"})],
    ids=["no terminal", "a CI system", "no cursor"],
)
@pytest.mark.usefixtures("terminal")
def test_elsewhere_there_are_lines(
    stream: io.StringIO, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", **environment}.items():
        monkeypatch.setenv(name, value)
    assert live_console(stream) is None
