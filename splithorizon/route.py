"""Who calls, and in which network the other answer lives."""

from __future__ import annotations

from dataclasses import dataclass

from splithorizon.topology import Role


@dataclass(frozen=True)
class Route:
    """From the client's cluster, ``near``, to the one on the other network, ``far``."""

    near: Role
    far: Role

    def __str__(self) -> str:
        """As it stands in test ids and messages."""
        return f"{self.near}→{self.far}"


ROUTES = (Route(Role.PRIMARY, Role.REMOTE), Route(Role.REMOTE, Role.PRIMARY))
