"""Ends programs that outlived the run that started them."""

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
    """Kill programs that a killed run started: processes of this user whose command line contains one of the marks.

    A mark is a text that no other run uses, such as the path of the run's folder.
    Raises EnvironmentBroke for a process that does not end on SIGKILL.
    """
    for process in psutil.process_iter():
        # It may have ended meanwhile, or belong to another user. psutil does not kill a new process with the same id.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _is_ours(process, marks):
                process.kill()
                _await_end(process)


def _is_ours(process: psutil.Process, marks: Collection[str]) -> bool:
    same_user = process.uids().effective == os.geteuid()
    if not same_user or process.name() not in _STARTED_BY_RUNS:
        return False
    command = "\0".join(process.cmdline())
    return any(_contains(command, mark) for mark in marks)


def _contains(command: str, mark: str) -> bool:
    """Whether the command line has the mark, and not only as the beginning of a longer name."""
    return re.search(re.escape(mark) + r"(?![\w.-])", command) is not None


def _await_end(process: psutil.Process) -> None:
    def ended() -> None:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            raise NotYet(f"process {process.pid} is {process.status()}")

    try:
        eventually("a killed process ends", ended, within=timeouts().program_killed)
    except TimedOut as timeout:
        raise EnvironmentBroke(
            f"process {process.pid} of a dead run does not end on SIGKILL",
            seen=timeout.seen,
            next_command=f"ps -fp {process.pid}",
        ) from None
