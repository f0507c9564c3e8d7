"""Programs that outlived the run that started them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress

import psutil

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually

_STARTED_BY_RUNS = frozenset({"kind", "istioctl", "kubectl", "podman", "docker"})


def end(marks: Collection[str]) -> None:
    """End what a killed run started: this user's programs whose command line names one of the marks.

    A mark has to be nobody else's, such as the run's own folder.
    Raises EnvironmentBroke for a program that even SIGKILL does not end.
    """
    for process in psutil.process_iter():
        # One that has ended meanwhile, or is not ours to look at; one whose id is another program's by now is spared.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _is_ours(process, marks):
                process.kill()
                _await_end(process)


def _is_ours(process: psutil.Process, marks: Collection[str]) -> bool:
    own = process.uids().effective == os.geteuid()
    if not own or process.name() not in _STARTED_BY_RUNS:
        return False
    command = "\0".join(process.cmdline())
    return any(_names(command, mark) for mark in marks)


def _names(command: str, mark: str) -> bool:
    """Whether the mark is there as a whole: not as the beginning of another cluster's longer name."""
    return re.search(re.escape(mark) + r"(?![\w.-])", command) is not None


def _await_end(process: psutil.Process) -> None:
    def ended() -> None:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            raise NotYet(f"process {process.pid} is {process.status()}")

    try:
        eventually("a killed program ends", ended, within=timeouts().program_killed)
    except TimedOut as late:
        raise EnvironmentBroke(
            f"process {process.pid} of a dead run does not end, not even by SIGKILL",
            seen=late.seen,
            next_command=f"ps -fp {process.pid}",
        ) from None
