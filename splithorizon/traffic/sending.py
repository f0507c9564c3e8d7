"""A lock, so that a client sends only one batch at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splithorizon.base.file_lock import held


@contextmanager
def sending(kubeconfig: Path) -> Iterator[None]:
    """Hold the lock of a cluster's client; waits while another process holds it.

    A sidecar prefers the endpoint with the fewest active requests (``LEAST_REQUEST``), so that a second batch would
    change the distribution.
    """
    with held(kubeconfig.with_suffix(".sending"), fcntl.LOCK_EX):
        yield
