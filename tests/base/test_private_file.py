"""A private file is written atomically, and readable by its user alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from splithorizon.base import private_file


def test_a_file_is_private_whatever_the_umask_and_the_mode_of_an_older_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o644)
    before = os.umask(0)
    try:
        private_file.write(file, "né")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text(encoding="utf-8") == "né"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_file_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    private_file.write(file, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        private_file.write(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_shared_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        private_file.write(tmp_path / "file", "", mode=private_file.SHARED)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
