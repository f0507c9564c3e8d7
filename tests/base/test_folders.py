"""Caches and states are in the usual folders of Linux and macOS."""

from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from splithorizon.base import folders


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_on_linux_they_are_below_the_home_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_DIRS", Unix("splithorizon", appauthor=False))
    assert folders.cache() == home / ".cache" / "splithorizon"
    assert folders.state() == home / ".local" / "state" / "splithorizon"


def test_on_macos_they_are_in_the_library(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_DIRS", MacOS("splithorizon", appauthor=False))
    assert folders.cache() == home / "Library" / "Caches" / "splithorizon"
    assert folders.state() == home / "Library" / "Application Support" / "splithorizon"


def test_xdg_variables_take_precedence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "caches"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "states"))
    assert folders.cache() == home / "caches" / "splithorizon"
    assert folders.state() == home / "states" / "splithorizon"


def test_reading_a_path_creates_nothing(home: Path) -> None:
    folders.cache()
    folders.state()
    assert list(home.iterdir()) == []
