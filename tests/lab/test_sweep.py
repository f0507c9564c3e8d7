"""Sweeping touches what a dead run of ours names, and nothing else."""

from __future__ import annotations

import json
import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from lab.engine import Engine
from lab.sweep import sweep, sweep_all, sweep_kept
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.run.journal import Entry, Journal, dead_journals
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from tests.support import killed_run
from tests.support.fake_engine import fake_engine, has_cluster

killed = partial(killed_run.killed, engine="podman")


def test_a_killed_run_is_undone_last_first_and_forgotten(tmp_path: Path) -> None:
    folder = killed(tmp_path, "run-1", "network=kind", "cluster=a-primary", "cluster=a-remote")
    removed: list[Entry] = []
    told = list(sweep(tmp_path, removed.append))
    assert [(entry.kind, entry.name) for entry in removed] == [
        ("cluster", "a-remote"),
        ("cluster", "a-primary"),
        ("network", "kind"),
    ]
    assert removed[0].facts == {"engine": "podman"}
    assert told == [
        "removed cluster a-remote",
        "removed cluster a-primary",
        "removed network kind",
        f"removed run folder {folder}",
    ]
    assert list(tmp_path.iterdir()) == []
    assert list(sweep(tmp_path, removed.append)) == []
    assert len(removed) == 3


def test_living_and_kept_runs_are_not_touched(tmp_path: Path) -> None:
    alive = Journal.open("alive", tmp_path)
    alive.will_create("cluster", "alive-primary")
    kept = Journal.read(killed(tmp_path, "kept", "cluster=kept-primary"))
    kept.keep()
    dead = killed(tmp_path, "dead", "cluster=dead-primary")
    removed: list[Entry] = []
    list(sweep(tmp_path, removed.append))
    assert [entry.name for entry in removed] == ["dead-primary"]
    assert not dead.exists()
    assert (kept.folder / "primary.kubeconfig").exists()
    assert alive.folder.exists()


def kept(base: Path, run: str, *entries: str) -> Path:
    """A run that kept what it made, and has ended; its folder."""
    folder = killed(base, run, *entries)
    Journal.read(folder).keep()
    return folder


def test_a_kept_run_is_forgotten_once_all_its_clusters_are_gone(tmp_path: Path) -> None:
    gone = kept(tmp_path, "gone", "cluster=a-primary", "cluster=a-remote")
    half = kept(tmp_path, "half", "cluster=b-primary", "cluster=b-remote")
    told = list(sweep_kept(tmp_path, lambda entry: entry.name == "b-remote"))
    assert told == [f"removed run folder {gone}: the clusters that it kept are gone"]
    assert not gone.exists()
    assert (half / "primary.kubeconfig").exists()
    assert list(sweep_kept(tmp_path, lambda _: False)) == [
        f"removed run folder {half}: the clusters that it kept are gone"
    ]


def test_only_a_kept_run_that_has_ended_is_forgotten(tmp_path: Path) -> None:
    making = Journal.open("making", tmp_path)
    making.keep()
    making.will_create("cluster", "its-containers-are-not-there-yet")
    dead = killed(tmp_path, "dead", "cluster=dead-primary")
    assert list(sweep_kept(tmp_path, lambda _: False)) == []
    assert making.folder.exists()
    assert dead.exists(), "its entries are to be removed, not only forgotten"


def test_a_kept_run_stays_where_the_engine_cannot_be_asked(tmp_path: Path) -> None:
    first, second = kept(tmp_path, "1", "cluster=one"), kept(tmp_path, "2", "cluster=two")

    def docker_is_away(entry: Entry) -> bool:
        if entry.name == "one":
            raise EnvironmentBroke("no answer from docker")
        return False

    assert list(sweep_kept(tmp_path, docker_is_away)) == [
        f"run folder {first} stays: no answer from docker",
        f"removed run folder {second}: the clusters that it kept are gone",
    ]
    assert first.exists()


def test_what_cannot_be_removed_stays_on_record_and_stops_nothing_else(tmp_path: Path) -> None:
    first = killed(tmp_path, "1", "cluster=one", "cluster=two")
    second = killed(tmp_path, "2", "cluster=three")

    def docker_is_away(entry: Entry) -> None:
        if entry.name == "two":
            raise EnvironmentBroke("no answer from docker")

    told = list(sweep(tmp_path, docker_is_away))
    assert told == [
        "cluster two stays: no answer from docker",
        "removed cluster one",
        "removed cluster three",
        f"removed run folder {second}",
    ]
    assert [journal.folder for journal in dead_journals(tmp_path)] == [first]
    assert list(sweep(tmp_path, lambda _: None))[-1] == f"removed run folder {first}"


def test_a_bug_in_the_removal_surfaces_and_forgets_nothing(tmp_path: Path) -> None:
    folder = killed(tmp_path, "run-1", "cluster=one")

    def broken(entry: Entry) -> None:
        raise KeyError(entry.name)

    with pytest.raises(KeyError, match="one"):
        list(sweep(tmp_path, broken))
    assert folder.exists()


def test_a_run_that_was_killed_before_its_first_word_is_removed(tmp_path: Path) -> None:
    stillborn, young = tmp_path / "stillborn", tmp_path / "young"
    for folder in (stillborn, young):
        folder.mkdir(mode=0o700)
        (folder / ".run.json").touch()
    before = time.time() - 90
    os.utime(stillborn, (before, before))
    assert list(sweep(tmp_path, lambda _: None)) == []
    assert list(tmp_path.iterdir()) == [young]


@pytest.mark.parametrize("half", ["", "{", "[]", '{"run": "half"}', '{"run": 1, "entries": [{"no": "kind"}]}'])
def test_a_record_that_is_half_written_stops_no_sweep_and_is_named(tmp_path: Path, half: str) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run.json").write_text(half)
    folder = killed(tmp_path, "run-1", "cluster=one")
    named, removed, forgotten = sweep(tmp_path, lambda _: None)
    assert named.startswith(f"{broken / 'run.json'} cannot be read, and its folder stays")
    assert (removed, forgotten) == ("removed cluster one", f"removed run folder {folder}")
    assert (broken / "run.json").read_text() == half


def test_a_change_that_is_half_written_stops_no_sweep_and_keeps_its_folder(tmp_path: Path) -> None:
    first, second = killed(tmp_path, "1", "network=one"), killed(tmp_path, "2", "network=two")
    (first / "changes").mkdir()
    (first / "changes" / "1.json").write_text("")
    said = list(sweep(tmp_path, lambda _: None))
    assert said[0].startswith(f"not given back: {first / 'changes' / '1.json'} cannot be read")
    assert said[-1] == f"removed run folder {second}"
    assert first.exists()


def test_two_sweeps_at_once_undo_everything_once(tmp_path: Path) -> None:
    killed(tmp_path, "run-1", "cluster=one")
    removed: list[str] = []
    inside, release = threading.Event(), threading.Event()

    def slowly(entry: Entry) -> None:
        inside.set()
        assert release.wait(60)
        removed.append(entry.name)

    def quickly(entry: Entry) -> None:
        removed.append(f"{entry.name} again")

    told: list[str] = []
    first = threading.Thread(target=lambda: list(sweep(tmp_path, slowly)))
    second = threading.Thread(target=lambda: told.extend(sweep(tmp_path, quickly)))
    first.start()
    assert inside.wait(60)
    second.start()
    second.join(0.7)
    assert second.is_alive(), "it waits for the first"
    release.set()
    first.join(60)
    second.join(60)
    assert removed == ["one"]
    assert told == []


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return fake_engine(tmp_path / "engine")


def test_a_sweep_forgets_a_kept_run_only_when_the_engine_has_none_of_its_clusters(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    journal = Journal.open("run-1")
    journal.keep()
    journal.will_create("cluster", "lab-primary", engine=engine.to_json(), folder=str(journal.folder))
    record = journal.folder / "run.json"
    # As after the end of the machine: this process would count as one that still makes them.
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": 1.0, "started": 2.0}))

    monkeypatch.setenv("PATH", f"{engine.command.parent}:/bin")

    def swept() -> list[str]:
        return [line for line in sweep_all(Options(), Progress(print)) if "run folder" in line]

    has_cluster(engine, "lab-primary")
    assert swept() == []
    (engine.command.parent / "broken").touch()
    (line,) = swept()
    assert line.startswith(f"run folder {journal.folder} stays: ")
    (engine.command.parent / "broken").unlink()
    (engine.command.parent / "containers" / "lab-primary").unlink()
    assert swept() == [f"removed run folder {journal.folder}: the clusters that it kept are gone"]
    assert not journal.folder.exists()


def test_a_sweep_tells_of_node_images_and_with_rebuild_removes_what_no_container_uses(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("XDG_STATE_HOME", tmp_path), ("XDG_CACHE_HOME", tmp_path), ("PATH", engine.command.parent)):
        monkeypatch.setenv(name, f"{value}:/bin" if name == "PATH" else str(value))
    nodes = engine.command.parent / "nodes"
    (nodes / "new" / "used").mkdir(parents=True)
    (nodes / "old").mkdir()

    def swept(*, rebuild: bool) -> list[str]:
        found = sweep_all(Options(rebuild=rebuild), Progress(print))
        return [line for line in found if "splithorizon.local/node" in line]

    new, old = (f"splithorizon.local/node:{name}" for name in ("new", "old"))
    assert swept(rebuild=False) == [f"in podman: {new} (1.07 GB)", f"in podman: {old} (1.07 GB)"]
    assert swept(rebuild=True) == [
        f"{new} stays in podman: a container uses it",
        f"removed {old} from podman (1.07 GB)",
    ]
    (engine.command.parent / "broken").touch()
    assert swept(rebuild=True) == []
