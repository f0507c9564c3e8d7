"""The folders of this user for caches and for the state of runs, as the operating system prescribes them."""

from __future__ import annotations

from pathlib import Path

from platformdirs import PlatformDirs

_DIRS = PlatformDirs("splithorizon", appauthor=False)


def cache() -> Path:
    """The folder for files that can be made again. It may not exist yet.

    On Linux ``~/.cache/splithorizon``, or below ``XDG_CACHE_HOME``.
    """
    return _DIRS.user_cache_path


def state() -> Path:
    """The folder for files that are needed until a run is over. It may not exist yet.

    On Linux ``~/.local/state/splithorizon``, or below ``XDG_STATE_HOME``.
    """
    return _DIRS.user_state_path
