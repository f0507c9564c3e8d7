"""Programs and a cache of their own for the tests of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.images.cache import Cache
from tests.support.fake_programs import FakePrograms


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """No program yet."""
    return FakePrograms(tmp_path / "programs", monkeypatch)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The user's cache, which is empty, and whose messages are printed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    folder = tmp_path / "caches" / "splithorizon"
    folder.mkdir(parents=True)
    return Cache(folder, print)
