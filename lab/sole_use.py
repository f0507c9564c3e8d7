"""One cluster name belongs to one run at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from splithorizon.base import file_lock
from splithorizon.base.errors import UsageProblem
from splithorizon.run.journal import private_folder


@contextmanager
def sole_use(cluster_name: str, run_id: str) -> Iterator[None]:
    """Hold a cluster name for the life of a run; the lock goes with the process, however that ends.

    Raises UsageProblem, which names the other run, where one on this machine holds it already.
    """
    file = private_folder("names") / cluster_name
    with ExitStack() as lock:
        try:
            lock.enter_context(file_lock.held(file, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            raise UsageProblem(
                f"--cluster-name {cluster_name}: {file.read_text() or 'another run'} uses it now: wait for its end, "
                "or choose another name. Nothing was created."
            ) from None
        # The same file, not a new one in its place: the lock belongs to the inode. It stays after the run, for its
        # removal could take it from a run that has just opened it.
        file.write_text(f"run {run_id} (process {os.getpid()})")
        yield
