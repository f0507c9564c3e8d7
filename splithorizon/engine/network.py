"""kind's network: there before two kinds meet over it, and gone with the last of our runs that was on it.

kind makes its network itself where there is none, leaves it, and fails where another kind of that moment makes it too.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from splithorizon.engine import Engine


@contextmanager
def on(engine: Engine, *, keep: bool) -> Iterator[None]:
    """Be on the network for as long as the block lasts; unless it is to be kept, the last one out removes it.

    Raises CommandFailed where it cannot be made.
    """
    # The engine's program stands for what it manages: whoever runs it can lock it, and leaves no file behind.
    with engine.command.open("rb") as door:
        fcntl.flock(door, fcntl.LOCK_SH)
        try:
            engine.make_network(engine.network)
            yield
        finally:
            if not keep:
                _remove(engine, engine.network, door.fileno())


def remove(engine: Engine, name: str) -> None:
    """Remove the network that a run left which could not, unless another is on it now."""
    with engine.command.open("rb") as door:
        _remove(engine, name, door.fileno())


def _remove(engine: Engine, name: str, door: int) -> None:
    try:
        fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    engine.remove_network(name)
