"""kind's network: there before two kinds meet over it, and gone with the last of our runs that was on it.

kind makes its network itself where there is none, leaves it, and fails where another kind of that moment makes it too.
The engine's program stands for what it manages: whoever runs it can lock it, and leaves no file behind.
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
    """Have the network, and keep others from removing it until a container is on it: for as long as the block lasts.

    Raises CommandFailed where it cannot be made.
    """
    with locked(engine.command, fcntl.LOCK_SH):
        engine.make_network(engine.network)
        yield


def remove(engine: Engine, name: str) -> None:
    """Remove the network if it is ours and no container is on it; who is on the way to it removes it later."""

    def look() -> None:
        with suppress(BlockingIOError), locked(engine.command, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return engine.remove_network(name)
        with suppress(BlockingIOError), locked(engine.command, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return None
        # It may have seen our containers on it just before they went.
        raise NotYet("another run looks whether it is the last on it")

    with suppress(TimedOut):
        eventually(f"the network {name} is left alone", look, within=timeouts().engine_network_unlocked)
