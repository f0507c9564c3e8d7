"""Functions that run in parallel: their results, their failures and what an interrupt does."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from splithorizon.base.parallel import for_each, run_all, side_by_side
from splithorizon.base.process import run
from splithorizon.base.waiting import NotYet, eventually
from tests.support.child_python import await_gone, line_of, running


def test_a_function_is_called_with_each_key_in_parallel() -> None:
    together = threading.Barrier(3, timeout=30)

    def square(number: int) -> int:
        together.wait()
        return number * number

    assert for_each((3, 1, 2), square) == {3: 9, 1: 1, 2: 4}
    assert list(for_each((3, 1, 2), square)) == [3, 1, 2], "in the order of the keys"
    assert for_each((), square) == {}


def test_steps_run_in_parallel_and_return_their_results_by_key() -> None:
    together = threading.Barrier(2, timeout=30)

    def step(result: str) -> str:
        together.wait()
        return result

    keys = ("primary", "remote"), ("remote", "primary")
    assert run_all({keys[0]: lambda: step("one"), keys[1]: lambda: step("two")}) == {keys[0]: "one", keys[1]: "two"}
    assert side_by_side(a=lambda: step("one"), b=lambda: step("two")) == {"a": "one", "b": "two"}
    assert side_by_side() == {}


def test_the_first_failure_is_raised_when_all_have_ended() -> None:
    failed, ended = threading.Event(), threading.Event()

    def late() -> None:
        failed.wait(30)
        ended.set()
        raise ValueError("late")

    def early() -> None:
        failed.set()
        raise KeyError("early")

    def empty() -> None: ...

    steps = {1: late, 2: early, 3: empty}
    with pytest.raises(KeyError, match="early") as caught:
        for_each(steps, lambda key: steps[key]())
    assert ended.is_set()
    assert caught.value.__notes__ == ["then 1 failed too: late"]


INTERRUPTED = """
import sys, time
from splithorizon.base import process
from splithorizon.base.parallel import run_all

def long(script):
    return process.run(["/bin/sh", "-c", script], within=60)

try:
    run_all({
        "one": lambda: long("echo $$ >$0.one; exec sleep 60".replace("$0", sys.argv[1])),
        "two": lambda: long("echo $$ >$0.two; exec sleep 60".replace("$0", sys.argv[1])),
    })
except KeyboardInterrupt:
    with process.cleaning_up():
        print("interrupted", process.run(["echo", "clean"], within=60).stdout.strip(), flush=True)
"""


def pids_below(base: Path) -> list[int]:
    files = [base.with_suffix(".one"), base.with_suffix(".two")]

    def written() -> list[int]:
        texts = [file.read_text().strip() if file.exists() else "" for file in files]
        if not all(texts):
            raise NotYet(str(texts))
        return list(map(int, texts))

    return eventually("both programs have begun", written, within=30, every=0.02)


def test_ctrl_c_ends_the_programs_of_all_steps(tmp_path: Path) -> None:
    with running(INTERRUPTED, str(tmp_path / "pid")) as child:
        pids = pids_below(tmp_path / "pid")
        begun = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert line_of(child) == "interrupted clean"
        assert time.monotonic() - begun < 30, "neither ran its minute"
        assert child.wait(30) == 0
    await_gone(*pids, within=60)


def test_ctrl_c_before_all_steps_are_started_ends_those_that_are() -> None:
    code = """
    import os, signal
    from splithorizon.base import parallel, process

    class InterruptedAtTheStart(parallel.ThreadPoolExecutor):
        def submit(self, *arguments):
            started = super().submit(*arguments)
            os.kill(os.getpid(), signal.SIGINT)
            return started

    parallel.ThreadPoolExecutor = InterruptedAtTheStart
    try:
        parallel.run_all({"one": lambda: process.run(["sleep", "60"], within=90)})
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    begun = time.monotonic()
    with running(code) as child:
        assert line_of(child) == "interrupted"
    assert time.monotonic() - begun < 30, "it did not run its minute"


class TimeIsUp(BaseException):
    """As pytest ends a test whose time is over."""


def test_after_the_end_of_a_tests_time_the_run_starts_programs_again() -> None:
    def end(number: int, frame: object) -> None:
        raise TimeIsUp

    def wait_long() -> None:
        eventually("never true", never, within=60, every=0.01)

    def never() -> None:
        raise NotYet

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(TimeIsUp):
            run_all({"step": wait_long})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert run(["echo", "again"], within=30).stdout == "again\n"
