"""Remarks for the summary on objects that were not restored: one file per remark, in the run's folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from splithorizon.base import private_file
from splithorizon.undo.change import Change
from splithorizon.undo.not_restored import NotRestored

_REMARKS = "remarks"


def write(folder: Path, name: str, content: NotRestored) -> None:
    """Store a remark for the summary of the run, which another process may write."""
    (folder / _REMARKS).mkdir(mode=0o700, exist_ok=True)
    private_file.write(folder / _REMARKS / f"{name}.json", json.dumps(asdict(content)))


def forget(folder: Path, name: str) -> None:
    """Delete a remark that is no longer true, if it exists."""
    (folder / _REMARKS / f"{name}.json").unlink(missing_ok=True)


def exists(folder: Path, name: str) -> bool:
    """Whether there is a remark of this name."""
    return (folder / _REMARKS / f"{name}.json").exists()


def read(folder: Path) -> list[NotRestored]:
    """The remarks for the summary, oldest first; for one that cannot be parsed, the name of its file."""
    result = []
    for file in sorted((folder / _REMARKS).glob("*.json")):
        try:
            result.append(NotRestored(**json.loads(file.read_text())))
        except (OSError, ValueError, TypeError) as error:
            result.append(NotRestored(str(file), f"it cannot be read: {type(error).__name__}", "", pending=False))
    return result


def left_alone(change: Change, why: str) -> NotRestored:
    """The remark about an object that somebody else changed, with the command that shows the object."""
    words = [change.kubectl, *(["--namespace", change.namespace] if change.namespace else [])]
    return NotRestored(
        str(change), why, " ".join([*words, "get", change.kind.lower(), change.name, "-o", "yaml"]), pending=False
    )
