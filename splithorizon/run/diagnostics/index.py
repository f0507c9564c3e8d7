"""The index page of what was collected: every file by cluster, with its size, and what could not be read."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from splithorizon.base import private_file
from splithorizon.run.diagnostics.collect import FILE, Collected, load
from splithorizon.run.page import templates

NAME = "index.html"


def write(folder: Path) -> Path:
    """Write the index of all collections in a folder atomically, and return its path."""
    found = [(file.parent.name, load(file.parent)) for file in sorted(folder.glob(f"*/{FILE}"))]
    private_file.write(folder / NAME, render(found), mode=private_file.SHARED)
    return folder / NAME


def render(collections: list[tuple[str, Collected]]) -> str:
    """The page; each collection by the name of its folder."""
    return templates.render(
        "diagnostics.html.j2",
        collections=[(name, one, _by_cluster(one)) for name, one in collections],
    )


def _by_cluster(collected: Collected) -> list[tuple[str, list[tuple[str, int]]]]:
    return [
        (cluster, list(files))
        for cluster, files in groupby(collected.files, key=lambda file: file[0].partition("/")[0])
    ]
