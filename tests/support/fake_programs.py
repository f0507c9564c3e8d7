"""Programs that stand for those of the machine, in a folder that comes first on PATH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class FakePrograms:
    """A folder of shell scripts. Each call is recorded as one line: the program's name and its arguments."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the folder first on PATH; it holds no program yet."""
        self.folder = folder
        folder.mkdir()
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def add(self, name: str, script: str = "") -> Path:
        """Add a program that records its call and then runs a script of sh."""
        program = self.folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.folder}/calls"\n{script}\n')
        program.chmod(0o755)
        return program

    def hide_all_others(self) -> None:
        """Take everything else off PATH, but a few programs that scripts need."""
        for name in ("echo", "mkdir", "cat", "touch"):
            (self.folder / name).symlink_to(f"/bin/{name}")
        self._monkeypatch.setenv("PATH", str(self.folder))

    @property
    def calls(self) -> list[str]:
        """Every call of the programs, in order."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []
