"""The commands that messages name, as they are typed where this code comes from: a checkout or an installation."""

from __future__ import annotations

from splithorizon.base import paths


def sweep(*contexts: str) -> list[str]:
    """The words of the command that removes what runs left, or with contexts restores a mesh."""
    named = [",".join(contexts)] if contexts else []
    if paths.INSTALLED:
        return ["splithorizon", "sweep", *named]
    return ["pytest", "--sweep", *(["--contexts", *named] if named else [])]
