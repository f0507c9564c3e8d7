"""kind's network: created before kind needs it, and removed after the last of our runs that used it.

kind creates its network if there is none, never removes it, and fails if another kind creates it at the same time. So
our runs create and remove the network themselves, under a lock on the engine's program. Every user of the engine can
lock that file, and no lock file stays behind.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lab.engine import Engine
from splithorizon.base.errors import TimedOut
from splithorizon.base.file_lock import locked
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually


@contextmanager
def approached(engine: Engine) -> Iterator[None]:
    """Create the network if it is missing, and keep other runs from removing it within the block.

    Within the block the caller starts a container on it. Raises CommandFailed if the network cannot be created.
    """
    with locked(engine.command, fcntl.LOCK_SH):
        engine.make_network(engine.network)
        yield


def remove(engine: Engine, name: str) -> None:
    """Remove the network if we created it and no container uses it.

    While another run is about to use it, it stays: that run removes it later.
    """

    def removed_or_in_use() -> None:
        with suppress(BlockingIOError), locked(engine.command, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return engine.remove_network(name)
        with suppress(BlockingIOError), locked(engine.command, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return None
        # The other run may have seen our containers before they were removed, and then it leaves the network to us.
        raise NotYet("another run is removing it or checks whether it can be removed")

    with suppress(TimedOut):
        eventually(
            f"no other run is removing the network {name}", removed_or_in_use, within=timeouts().engine_network_unlocked
        )
