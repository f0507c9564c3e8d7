"""Checks whether the machine is large enough, before anything is created."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from splithorizon.base.errors import UsageProblem

GIB = 1024**3

# From kind's known issues: below these limits, pods of a second cluster may fail with "too many open files".
_INOTIFY = {"max_user_instances": 512, "max_user_watches": 524288}


def require_disk(needs: Mapping[Path, float]) -> None:
    """Raise UsageProblem unless each file system has enough free space for all folders on it, in GiB.

    A folder that does not exist yet counts for the file system on which it would be created.
    """
    needed: dict[int, float] = defaultdict(float)
    folders: dict[int, list[Path]] = defaultdict(list)
    for folder, gib in needs.items():
        device = _existing(folder).stat().st_dev
        needed[device] += gib
        folders[device].append(folder)
    for device, gib in needed.items():
        free = shutil.disk_usage(_existing(folders[device][0])).free / GIB
        if free < gib:
            names = " and ".join(str(folder) for folder in folders[device])
            raise UsageProblem(
                f"too little disk: {free:.1f} GiB free for {names}, {gib:.1f} GiB needed. "
                "Nothing was created. See what uses it: du -xh --max-depth=3 / | sort -h | tail"
            )


def require_memory(gib: float) -> None:
    """Raise UsageProblem unless this much memory, in GiB, is available to new programs without swapping."""
    available = psutil.virtual_memory().available / GIB
    if available < gib:
        raise UsageProblem(
            f"too little memory: {available:.1f} GiB available, {gib:.1f} GiB needed. "
            "Nothing was created. See what uses it: ps -eo rss,args --sort=-rss | head"
        )


def warn_of_limits(say: Callable[[str], None], *, proc: Path = Path("/proc")) -> None:
    """Warn about inotify limits below those that kind recommends. Most runs work with less."""
    low = {}
    for name, recommended in _INOTIFY.items():
        path = proc / "sys/fs/inotify" / name
        if path.exists() and (value := int(path.read_text())) < recommended:
            low[name] = value
    if low:
        seen = ", ".join(f"{name} {value}" for name, value in low.items())
        settings = " ".join(f"fs.inotify.{name}={_INOTIFY[name]}" for name in low)
        sudo = "" if os.geteuid() == 0 else "sudo "
        say(
            f"warning: inotify limits are below kind's recommendation ({seen}); "
            f"raise them with: {sudo}sysctl -w {settings}"
        )


def _existing(folder: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
