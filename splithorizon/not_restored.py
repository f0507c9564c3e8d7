"""What a run could not put back in a mesh, or left alone because somebody else had changed it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NotRestored:
    """One object of a mesh, why it is not as it was before the run, and the command to go on with.

    ``pending`` tells whether it is still to be restored, by ``command``; otherwise somebody else changed it, it stays
    as it is, and ``command`` shows it.
    """

    object: str
    reason: str
    command: str
    pending: bool
