"""The clusters of a mesh by their roles, and the routes between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a cluster is in a primary-remote mesh."""

    PRIMARY = "primary"
    REMOTE = "remote"

    @property
    def other(self) -> Role:
        """The cluster on the other network."""
        return Role.REMOTE if self is Role.PRIMARY else Role.PRIMARY


@dataclass(frozen=True)
class Route:
    """From the client's cluster, ``near``, to the one on the other network, ``far``."""

    near: Role
    far: Role

    def __str__(self) -> str:
        """As it stands in test ids and messages."""
        return f"{self.near}→{self.far}"


ROUTES = (Route(Role.PRIMARY, Role.REMOTE), Route(Role.REMOTE, Role.PRIMARY))
