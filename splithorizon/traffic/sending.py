"""One batch at a time from a client: the requests of two would meet in its sidecar."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splithorizon.base.file_lock import held


@contextmanager
def sending(kubeconfig: Path) -> Iterator[None]:
    """Send from a cluster's client while nobody else does; waits for who does.

    Sidecars prefer the endpoint with the fewest requests in flight: a second batch would weigh in the choice.
    """
    with held(kubeconfig.with_suffix(".sending"), fcntl.LOCK_EX):
        yield
