"""What can be wrong with a remote secret: a parameter of tests, so collecting them imports it, and nothing else."""

from __future__ import annotations

from enum import StrEnum


class BadSecret(StrEnum):
    """What is wrong with a remote secret."""

    LOOPBACK = "loopback-server"
    REFUSED = "refused-token"
