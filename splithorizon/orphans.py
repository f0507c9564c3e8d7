"""Programs that outlived the run that started them."""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from splithorizon.errors import EnvironmentBroke

_STARTED_BY_RUNS = frozenset({"kind", "istioctl", "kubectl", "podman", "docker"})
_ENDS_WITHIN_MS = 10_000


def end(marks: Collection[str]) -> None:
    """End what a killed run started: this user's programs whose command line names one of the marks.

    A mark has to be nobody else's, such as the run's own folder.
    Raises EnvironmentBroke for a program that even SIGKILL does not end.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        # Opened before it is looked at, so that the id cannot become another program's meanwhile.
        with suppress(OSError):
            descriptor = os.pidfd_open(int(folder.name))
            try:
                if _is_ours(folder, marks):
                    _kill(descriptor, folder.name)
            finally:
                os.close(descriptor)


def _is_ours(folder: Path, marks: Collection[str]) -> bool:
    command = (folder / "cmdline").read_bytes().decode(errors="replace")
    name = (folder / "comm").read_text().strip()
    own = folder.stat().st_uid == os.geteuid()
    return own and name in _STARTED_BY_RUNS and any(_names(command, mark) for mark in marks)


def _names(command: str, mark: str) -> bool:
    """Whether the mark is there as a whole: not as the beginning of another cluster's longer name."""
    return re.search(re.escape(mark) + r"(?![\w.-])", command) is not None


def _kill(descriptor: int, pid: str) -> None:
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(_ENDS_WITHIN_MS):
        raise EnvironmentBroke(
            f"process {pid} of a dead run does not end, not even by SIGKILL",
            next_command=f"cat /proc/{pid}/status",
        )
