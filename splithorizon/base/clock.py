"""The time by the clusters' clocks, for what they certify: the clock of this machine may be wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# An answer has whole seconds and takes a while: a smaller difference is none.
_NOTICED = timedelta(seconds=5)

_difference = timedelta()


def now() -> datetime:
    """The time by the clock of the API server that answered last; this machine's where they agree."""
    return datetime.now(UTC) + _difference


def difference() -> timedelta:
    """How far the clusters are ahead of this machine; zero for less than five seconds."""
    return _difference


def observe(server: datetime) -> None:
    """Take the time of an API server's answer that came now."""
    global _difference
    found = server - datetime.now(UTC)
    _difference = found if abs(found) >= _NOTICED else timedelta()
