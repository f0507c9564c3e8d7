"""Where this user's caches and the state of runs lie, by the custom of the system."""

from __future__ import annotations

from pathlib import Path

from platformdirs import PlatformDirs

_DIRS = PlatformDirs("splithorizon", appauthor=False)


def cache() -> Path:
    """What can be made again: ``~/.cache/splithorizon`` on Linux, or below ``XDG_CACHE_HOME``. It may not exist yet."""
    return _DIRS.user_cache_path


def state() -> Path:
    """What must stay until a run is over: ``~/.local/state/splithorizon`` on Linux, or below ``XDG_STATE_HOME``.

    It may not exist yet.
    """
    return _DIRS.user_state_path
