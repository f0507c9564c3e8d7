"""The build cache holds complete entries only, whatever exceptions, kills and concurrent builders do."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from lab.images.cache import Cache, digest, root, size
from splithorizon.base.file_lock import locked
from tests.support.child_python import line_of, running

BUILDER = """
    import sys, time
    from pathlib import Path
    from lab.images.cache import Cache

    folder = Path(sys.argv[1])

    def make(half):
        (half / "first").write_text("one")
        print("making", flush=True)
        while not (folder / "go-on").exists():
            time.sleep(0.01)
        (half / "second").write_text("two")

    cache = Cache(folder, lambda line: print(line, flush=True))
    print(cache.fill("thing", "0123", make), flush=True)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> Cache:
    """A cache that lets the builder of another process go on once it has said that it waits for it."""

    def say(line: str) -> None:
        said.append(line)
        (tmp_path / "go-on").touch()

    return Cache(tmp_path, say)


def whole(half: Path) -> None:
    (half / "first").write_text("one")
    (half / "second").write_text("two")


def unwanted(_: Path) -> None:
    pytest.fail("what is there is not made again")


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_an_entry_is_made_once_and_then_found_without_the_lock(cache: Cache, tmp_path: Path, said: list[str]) -> None:
    assert cache.find("thing", "0123") is None
    made = cache.fill("thing", "0123", whole)
    assert made == tmp_path / "thing-0123"
    assert entries(tmp_path) == {"thing-0123"}
    with locked(tmp_path / ".thing.lock", fcntl.LOCK_EX):
        assert cache.find("thing", "0123") == cache.fill("thing", "0123", unwanted) == made
    assert said == []


def test_an_entry_appears_only_once_it_is_whole(cache: Cache) -> None:
    def make(half: Path) -> None:
        (half / "first").write_text("one")
        assert cache.find("thing", "0123") is None
        assert half.stat().st_mode & 0o077 == 0

    assert (cache.fill("thing", "0123", make) / "first").read_text() == "one"


def test_another_key_is_another_entry(cache: Cache) -> None:
    first, second = (cache.fill("thing", key, whole) for key in ("0123", "4567"))
    assert first != second
    assert cache.find("thing", "0123") == first
    assert cache.find("other", "0123") is None


def test_what_fails_leaves_no_entry_and_the_next_begins_afresh(cache: Cache, tmp_path: Path) -> None:
    def broken(half: Path) -> None:
        (half / "left over").write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        cache.fill("thing", "0123", broken)
    assert cache.find("thing", "0123") is None
    assert not any(name.startswith("thing") for name in entries(tmp_path))
    made = cache.fill("thing", "0123", whole)
    assert {path.name for path in made.iterdir()} == {"first", "second"}


def test_a_killed_builder_leaves_no_entry_and_no_lock(cache: Cache, tmp_path: Path, said: list[str]) -> None:
    with running(BUILDER, str(tmp_path)) as builder:
        assert line_of(builder) == "making"
        builder.kill()
        builder.wait()
        assert cache.find("thing", "0123") is None
        made = cache.fill("thing", "0123", whole)
    assert {path.name for path in made.iterdir()} == {"first", "second"}
    assert entries(tmp_path) == {"thing-0123"}
    assert said == [], "the lock is free, so nothing was waited for"


def test_of_two_builders_the_second_waits_for_the_first(cache: Cache, tmp_path: Path, said: list[str]) -> None:
    with running(BUILDER, str(tmp_path)) as builder:
        assert line_of(builder) == "making"
        entry = cache.fill("thing", "0123", unwanted)
        assert line_of(builder) == str(entry)
    assert {path.name for path in entry.iterdir()} == {"first", "second"}
    assert said == ["another process is building thing: waiting for it"]


def test_other_names_are_built_side_by_side(cache: Cache, tmp_path: Path, said: list[str]) -> None:
    with running(BUILDER, str(tmp_path)) as builder:
        assert line_of(builder) == "making"
        assert cache.fill("other", "0123", whole).is_dir()
    assert said == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    (folder / "a").write_text("content")
    (folder / "below" / "b").write_text("more")
    return folder


def test_a_digest_does_not_depend_on_place_or_time(tree: Path, tmp_path: Path) -> None:
    copied = tmp_path / "elsewhere" / "tree"
    shutil.copytree(tree, copied)
    os.utime(copied / "a", (0, 0))
    assert digest(tree) == digest(tree) == digest(copied)
    assert len(digest(tree)) == 16
    # A change here makes every user build everything again.
    assert digest("one", "two") == "0436791fd92510e1"


def test_a_digest_changes_with_content_name_and_mode(tree: Path) -> None:
    digests = [digest(tree)]
    (tree / "a").write_text("Content")
    digests.append(digest(tree))
    (tree / "below" / "b").rename(tree / "below" / "c")
    digests.append(digest(tree))
    (tree / "a").chmod(0o755)
    digests.append(digest(tree))
    (tree / "new").touch()
    digests.append(digest(tree))
    assert len(set(digests)) == len(digests)


def test_a_digest_keeps_its_parts_apart(tree: Path) -> None:
    file = tree / "a"
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), (file,), (file.read_text(),)]
    assert len({digest(*part) for part in parts}) == len(parts)


def test_sweeping_yields_what_it_freed_and_keeps_what_it_has_to(cache: Cache, tmp_path: Path) -> None:
    def big(half: Path) -> None:
        (half / "below").mkdir()
        (half / "below" / "data").write_bytes(b"x" * 5000)

    def broken(half: Path) -> None:
        big(half)
        raise OSError("no space left")

    kept = cache.fill("thing", "0123", whole)
    old = cache.fill("big-thing", "4567", big)
    with pytest.raises(OSError, match="no space left"):
        cache.fill("half", "89ab", broken)
    (tmp_path / "build.log").write_text("not an entry")
    assert size(kept) == 6
    freed = dict(cache.sweep({kept}))
    assert freed.pop(old) == 5000
    assert list(freed.values()) == [5000], "the half-made one"
    assert entries(tmp_path) == {"thing-0123"}
    assert (tmp_path / "build.log").exists()
    assert cache.fill("big-thing", "4567", big) == old


def test_sweeping_waits_for_a_builder(cache: Cache, tmp_path: Path, said: list[str]) -> None:
    with running(BUILDER, str(tmp_path)) as builder:
        assert line_of(builder) == "making"
        swept = list(cache.sweep(set()))
        assert line_of(builder) == str(tmp_path / "thing-0123")
    assert said == ["another process is building thing: waiting for it"]
    assert all(freed == 0 for _, freed in swept), "what it began with has become an entry"
    assert cache.find("thing", "0123")


def test_the_cache_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert root() == root() == tmp_path / "caches" / "splithorizon"
    assert root().stat().st_mode & 0o077 == 0


def test_a_removal_that_is_cut_short_leaves_no_half_entry(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cache.fill("thing", "0123", whole)

    def killed(folder: Path, **_: object) -> None:
        if folder.exists():
            (folder / "first").unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.remove("thing", "0123")
    assert not made.exists()
    assert cache.find("thing", "0123") is None
