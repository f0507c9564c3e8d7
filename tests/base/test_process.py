"""Child processes have a deadline and a process group, and end with the run: tested with real ones."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path

import psutil
import pytest

from splithorizon.base.errors import CommandFailed
from splithorizon.base.process import run
from splithorizon.base.waiting import NotYet, eventually
from tests.support.child_python import alive, await_gone, line_of, running

# Ignores SIGTERM, as its own child does; prints both ids, then goes on.
STUBBORN = """
trap '' TERM
sh -c 'trap "" TERM; while :; do sleep 1; done' &
echo $$ $!
wait
"""


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_output_is_kept_and_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    done = run(sh("echo to one; echo to the other >&2; exit 3"), within=60, check=False)
    assert (done.status, done.stdout, done.stderr) == (3, "to one\n", "to the other\n")
    assert done.argv == tuple(sh("echo to one; echo to the other >&2; exit 3"))
    assert 0 < done.seconds < 10
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("stdin", "seen"),
    [("text →", "text →"), (b"bytes", "bytes"), (None, "")],
    ids=["text", "bytes", "none"],
)
def test_standard_input_is_what_was_given_and_then_ends(stdin: str | bytes | None, seen: str) -> None:
    assert run(["cat"], within=60, stdin=stdin).stdout == seen


def test_a_program_that_ended_is_reaped() -> None:
    assert not psutil.pid_exists(int(run(sh("echo $$"), within=60).stdout))


@pytest.fixture
def as_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pidfd and without setpriv."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr("splithorizon.base.process._SETPRIV", "no-such-program")


@pytest.mark.usefixtures("as_on_macos")
def test_without_pidfd_a_program_is_waited_for_and_reaped() -> None:
    done = run(sh("sleep 0.2; echo $$; exit 3"), within=60, check=False)
    assert done.status == 3
    assert 0.2 <= done.seconds < 10
    assert not psutil.pid_exists(int(done.stdout))


@pytest.mark.usefixtures("as_on_macos")
def test_without_pidfd_the_deadline_ends_the_whole_group() -> None:
    with pytest.raises(CommandFailed, match=r"did not end within 0\.5 s") as caught:
        run(sh(STUBBORN), within=0.5, check=False)
    leader, member = map(int, caught.value.seen.removeprefix("stdout: ").split())
    assert not psutil.pid_exists(leader), "not even a zombie is left"
    await_gone(leader, member)


def test_more_output_than_a_pipe_holds_arrives_whole() -> None:
    assert len(run(["head", "-c", "3000000", "/dev/zero"], within=60).stdout) == 3_000_000


def test_bytes_that_are_not_utf_8_do_not_lose_the_rest() -> None:
    assert run(sh(r"printf 'a\377b'"), within=60).stdout == "a�b"


def test_the_environment_is_added_to(tmp_path: Path) -> None:
    done = run(sh("echo $ADDED $HOME; pwd"), within=60, env={"ADDED": "this"}, cwd=tmp_path)
    assert done.stdout.splitlines() == [f"this {os.environ['HOME']}", str(tmp_path)]


def test_a_failure_shows_the_last_lines_of_both_outputs() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(sh("seq 20; seq 30 50 >&2; exit 7"), within=60)
    assert caught.value.status == 7
    message = str(caught.value)
    assert "ended with status 7. Seen: 45 | 46 | 47 | 48 | 49 | 50 | stdout: 15 | 16 |" in message
    assert "44" not in message
    assert "14" not in message


def test_a_program_killed_from_outside_has_a_negative_status() -> None:
    assert run(sh("kill -KILL $$"), within=60, check=False).status == -signal.SIGKILL


@pytest.mark.parametrize("check", [True, False])
def test_a_missing_program_cannot_be_started(check: bool) -> None:
    with pytest.raises(CommandFailed, match=r"no-such-program.*no such program") as caught:
        run(["no-such-program"], within=60, check=check)
    assert caught.value.status is None


def test_at_the_deadline_a_group_that_ignores_sigterm_is_killed_and_reaped() -> None:
    begun = time.monotonic()
    with pytest.raises(CommandFailed, match=r"did not end within 0\.5 s") as caught:
        run(sh(STUBBORN), within=0.5, check=False)
    assert 2.5 <= time.monotonic() - begun < 30, "the grace period, and not the full minute"
    leader, member = map(int, caught.value.seen.removeprefix("stdout: ").split())
    assert not Path(f"/proc/{leader}").exists(), "not even a zombie is left"
    await_gone(leader, member)


def test_at_the_deadline_a_program_may_still_print() -> None:
    script = "trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done"
    # The shell may also report that its sleep was terminated.
    with pytest.raises(CommandFailed, match=r"asked$") as caught:
        run(sh(script), within=0.5)
    assert caught.value.status is None


def test_a_grandchild_that_outlives_the_program_is_not_waited_for() -> None:
    begun = time.monotonic()
    done = run(sh("sleep 600 & echo $!"), within=60)
    survivor = int(done.stdout)
    assert time.monotonic() - begun < 30
    assert alive(survivor), "a program that ended by itself may leave a daemon"
    os.kill(survivor, signal.SIGKILL)


def test_the_log_holds_every_command_and_is_private(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(sh("echo first; echo aside >&2"), within=60, log=log)
    with pytest.raises(CommandFailed):
        run(sh("echo second; sleep 60"), within=0.3, log=log)
    first, second = log.read_text().split("$ /bin/sh -c ")[1:]
    assert first.startswith("echo first; echo aside >&2\nfirst\naside\n[0, ")
    assert second.startswith(f"echo second; sleep 60\nsecond\n[{-signal.SIGTERM}, ")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_cancel_all_ends_programs_and_refuses_others_except_in_cleaning_up() -> None:
    code = f"""
    import json, threading, time
    from splithorizon.base import process
    from splithorizon.base.errors import Cancelled
    from splithorizon.base.parallel import run_all
    outcomes, begun = {{}}, threading.Barrier(4)

    def attempt(name, script):
        begun.wait()
        try:
            outcomes[name] = process.run(["/bin/sh", "-c", script], within=60, check=False).status
        except Exception as error:
            outcomes[name] = type(error).__name__

    def clean(name, script):
        with process.cleaning_up():
            attempt(name, script)

    stubborn = {STUBBORN!r}
    threads = [
        threading.Thread(target=attempt, args=("polite", "exec sleep 60")),
        threading.Thread(target=attempt, args=("stubborn", stubborn)),
        threading.Thread(target=clean, args=("cleaning", "sleep 4; exit 9")),
    ]
    for thread in threads:
        thread.start()
    begun.wait()
    time.sleep(1)
    since = time.monotonic()
    process.cancel_all()
    outcomes["seconds"] = time.monotonic() - since
    for thread in threads:
        thread.join()
    begun = threading.Barrier(1)
    attempt("later", "exit 0")
    clean("later cleaning", "exit 8")
    with process.cleaning_up():
        done = run_all({{"threads": lambda: process.run(["true"], within=60)}})
        outcomes["threads"] = done["threads"].status
    try:
        run_all({{"again": lambda: process.run(["true"], within=60)}})
    except Cancelled:
        outcomes["again"] = "Cancelled"
    print(json.dumps(outcomes))
    """
    with running(code) as child:
        outcomes = json.loads(line_of(child))
    assert 2 <= outcomes.pop("seconds") < 30, "the grace period, and not the full minute"
    assert outcomes == {
        "polite": "Cancelled",
        "stubborn": "Cancelled",
        "cleaning": 9,
        "later": "Cancelled",
        "later cleaning": 8,
        "threads": 0,
        "again": "Cancelled",
    }


def test_ctrl_c_ends_a_single_program_and_its_group(tmp_path: Path) -> None:
    code = f"""
    import sys
    from splithorizon.base import process
    try:
        process.run(["/bin/sh", "-c", {STUBBORN!r}.replace("!", "! >" + sys.argv[1])], within=60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    pids = tmp_path / "pids"

    def group() -> list[int]:
        written = pids.read_text().split() if pids.exists() else []
        if len(written) < 2:
            raise NotYet(str(written))
        return list(map(int, written))

    with running(code, str(pids)) as child:
        members = eventually("the group has begun", group, within=30, every=0.02)
        child.send_signal(signal.SIGINT)
        assert line_of(child) == "interrupted"
    await_gone(*members, within=60)


def test_ctrl_c_at_the_very_start_of_a_program_still_ends_its_group(tmp_path: Path) -> None:
    code = f"""
    import os, signal, subprocess, sys, time
    from splithorizon.base import process

    class InterruptedAtTheStart(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            while not os.path.exists(sys.argv[1]) or len(open(sys.argv[1]).read().split()) < 2:
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)

    subprocess.Popen = InterruptedAtTheStart
    try:
        process.run(["/bin/sh", "-c", {STUBBORN!r}.replace("$!", "$! >" + sys.argv[1])], within=60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
    pids = tmp_path / "pids"
    with running(code, str(pids)) as child:
        assert line_of(child) == "interrupted"
    await_gone(*map(int, pids.read_text().split()))


@pytest.mark.parametrize("order", ["SIGALRM, SIGINT", "SIGINT, SIGALRM", "SIGINT, SIGTERM, SIGALRM"])
def test_signals_are_deferred_to_the_end_of_the_block_and_not_lost(order: str) -> None:
    code = """
    import os, signal, sys
    from splithorizon.base.cancel import uninterrupted

    def out_of_time(number, frame):
        raise TimeoutError

    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: lambda number, frame: print("SIGTERM received,", end=" "),
        signal.SIGALRM: out_of_time,
    }
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        with uninterrupted():
            for name in sys.argv[1].split(", "):
                os.kill(os.getpid(), getattr(signal, name))
            print("whole,", end=" ")
    except KeyboardInterrupt:
        print("interrupted,", end=" ")
    print({number: signal.getsignal(number) for number in handlers} == handlers, flush=True)
    """
    with running(code, order) as child:
        terminated = "SIGTERM received, " if "SIGTERM" in order else ""
        assert line_of(child) == f"whole, {terminated}interrupted, True"


def test_an_ignored_signal_stays_ignored() -> None:
    code = """
    import os, signal
    from splithorizon.base.cancel import uninterrupted
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
    print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, flush=True)
    """
    with running(code) as child:
        assert line_of(child) == "True"


def test_a_program_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    code = """
    import sys
    from splithorizon.base import process
    process.run(["/bin/sh", "-c", 'echo $$ >"$0"; exec sleep 60', sys.argv[1]], within=90)
    """
    file = tmp_path / "pid"

    def started() -> int:
        text = file.read_text().strip() if file.exists() else ""
        if not text:
            raise NotYet("no process id is written")
        return int(text)

    with running(code, str(file)) as child:
        pid = eventually("the program has started", started, within=30, every=0.02)
        assert alive(pid)
        child.send_signal(signal.SIGKILL)
        assert child.wait(30) == -signal.SIGKILL
    await_gone(pid)
