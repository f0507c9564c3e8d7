"""A process is identified by its id and its start, also after another process got the same id."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import psutil

from splithorizon.base import processes
from tests.support.child_python import line_of, running


def test_this_process_is_running() -> None:
    identity = processes.identity(os.getpid())
    assert identity is not None
    assert abs(identity.started - psutil.Process().create_time()) < 0.1
    assert 0 < identity.boot < identity.started
    assert processes.is_running(os.getpid(), identity)


def test_another_process_with_the_same_id_is_not_the_same() -> None:
    own = processes.identity(os.getpid())
    assert own is not None
    assert not processes.is_running(os.getpid(), replace(own, started=own.started - 60))


def test_without_a_known_identity_the_id_alone_counts() -> None:
    assert processes.is_running(os.getpid(), None)


def test_a_process_that_ended_is_not_running_before_and_after_it_is_reaped() -> None:
    with running("import signal; print('here', flush=True); signal.pause()") as child:
        assert line_of(child) == "here"
        identity = processes.identity(child.pid)
        assert processes.is_running(child.pid, identity)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.pid_exists(child.pid)
        assert processes.identity(child.pid) is None
        assert not processes.is_running(child.pid, identity)
    assert processes.identity(child.pid) is None


def test_an_identity_is_the_same_from_every_process() -> None:
    code = """
    import dataclasses, json, sys
    from splithorizon.base import processes
    print(json.dumps(dataclasses.asdict(processes.identity(int(sys.argv[1])))), flush=True)
    """
    with running(code, str(os.getpid())) as child:
        seen = processes.Identity(**json.loads(line_of(child)))
    assert processes.is_running(os.getpid(), seen)
