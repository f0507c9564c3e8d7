"""The files of this repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def kept_files() -> Iterator[Path]:
    """Every file of the repository without caches, virtual environments and reports of runs."""
    for folder, folders, files in os.walk(REPOSITORY):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if (not name.startswith(".") or name == ".ci")
            and name != "__pycache__"
            and not name.endswith(".egg-info")
            and not (here / name / "pyvenv.cfg").exists()
            and here != REPOSITORY / "reports"
        ]
        yield from (here / name for name in files if (here / name).is_file())
