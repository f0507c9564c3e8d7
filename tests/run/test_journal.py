"""A run's record: its content, its privacy, which runs count as dead, shown with real processes."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from splithorizon.base import folders
from splithorizon.base.errors import UsageProblem
from splithorizon.base.process import side_by_side
from splithorizon.run.journal import (
    RECORD,
    Entry,
    Journal,
    dead_journals,
    kept_journals,
    runs_folder,
    unreadable,
)
from tests.support.child_python import line_of, running

OPENS = """
import signal, sys
from pathlib import Path
from splithorizon.run.journal import Journal
journal = Journal.open(sys.argv[2], Path(sys.argv[1]))
journal.will_create("cluster", "a-primary", engine="podman")
if "keep" in sys.argv:
    journal.keep()
assert journal.keeps is ("keep" in sys.argv)
print(journal.folder, flush=True)
signal.pause()
"""


def record_of(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / RECORD).read_text())
    assert isinstance(record, dict)
    return record


def rewrite(folder: Path, **facts: object) -> None:
    (folder / RECORD).write_text(json.dumps({**record_of(folder), **facts}))


def test_the_record_is_there_before_anything_is_created(tmp_path: Path) -> None:
    journal = Journal.open("run-1", tmp_path)
    assert journal.folder == tmp_path / "run-1"
    record = record_of(journal.folder)
    assert (record["run"], record["pid"], record["entries"]) == ("run-1", os.getpid(), [])
    journal.will_create("cluster", "a-primary", kind="/usr/bin/kind")
    journal.will_create("network", "kind")
    assert Journal.read(journal.folder).entries == [
        Entry("cluster", "a-primary", {"kind": "/usr/bin/kind"}),
        Entry("network", "kind"),
    ]


def test_the_folder_and_its_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = Journal.open("run-1", tmp_path)
        journal.will_create("cluster", "a-primary")
    finally:
        os.umask(before)
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    files = list(journal.folder.iterdir())
    assert [file.name for file in files] == [RECORD], "no half-written file is left"
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    Journal.open("run-1", tmp_path)
    with pytest.raises(FileExistsError):
        Journal.open("run-1", tmp_path)


def test_concurrent_steps_may_record_what_they_create(tmp_path: Path) -> None:
    journal = Journal.open("run-1", tmp_path)
    names = [f"n{number}" for number in range(16)]
    side_by_side(**{n: (lambda n=n: journal.will_create("network", n)) for n in names})
    assert sorted(entry.name for entry in Journal.read(journal.folder).entries) == sorted(names)


def test_what_is_removed_again_is_recorded_only_meanwhile(tmp_path: Path) -> None:
    journal = Journal.open("run", tmp_path)
    journal.will_create("cluster", "a")
    with journal.passing("container", "b", engine="podman"):
        assert [entry.name for entry in Journal.read(journal.folder).entries] == ["a", "b"]
    assert [entry.name for entry in Journal.read(journal.folder).entries] == ["a"]


def test_closing_removes_the_folder_with_all_that_is_in_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    journal = Journal.open("run-1", tmp_path)
    (journal.folder / "primary.kubeconfig").touch()
    (journal.folder / "deep" / "er").mkdir(parents=True)
    (journal.folder / "link").symlink_to(outside)
    journal.close()
    assert not journal.folder.exists()
    assert (outside / "kept").exists()
    journal.close()


def test_this_process_is_alive(tmp_path: Path) -> None:
    journal = Journal.open("run-1", tmp_path)
    assert not journal.dead
    assert dead_journals(tmp_path) == []


def test_a_run_is_dead_once_it_was_killed(tmp_path: Path) -> None:
    with running(OPENS, str(tmp_path), "run-1") as child:
        folder = Path(line_of(child))
        assert dead_journals(tmp_path) == []
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE, "killed, and not yet reaped"
        assert [dead.folder for dead in dead_journals(tmp_path)] == [folder]
    (dead,) = dead_journals(tmp_path)
    assert dead.entries == [Entry("cluster", "a-primary", {"engine": "podman"})]


def test_a_run_that_keeps_what_it_created_is_kept_and_never_dead(tmp_path: Path) -> None:
    with running(OPENS, str(tmp_path), "run-1", "keep") as child:
        line_of(child)
        assert kept_journals(tmp_path) == []
    assert dead_journals(tmp_path) == []
    assert [journal.run for journal in kept_journals(tmp_path)] == ["run-1"]


def test_another_process_that_got_the_number_is_not_the_run(tmp_path: Path) -> None:
    journal = Journal.open("run-1", tmp_path)
    rewrite(journal.folder, started=record_of(journal.folder)["started"] - 2)
    assert Journal.read(journal.folder).dead


def test_no_run_outlives_a_reboot(tmp_path: Path) -> None:
    journal = Journal.open("run-1", tmp_path)
    record = record_of(journal.folder)
    rewrite(journal.folder, boot=record["boot"] - 86400, started=record["started"] - 86000)
    assert Journal.read(journal.folder).dead


@pytest.mark.parametrize("moved", [{"boot", "started"}, {"boot"}], ids=["on Linux", "on macOS"])
def test_a_clock_that_is_set_kills_no_run(tmp_path: Path, moved: set[str]) -> None:
    journal = Journal.open("run-1", tmp_path)
    record = record_of(journal.folder)
    rewrite(journal.folder, **{name: record[name] + 7200 for name in moved})
    assert not Journal.read(journal.folder).dead


def test_a_record_of_an_earlier_form_is_a_dead_run_once_its_id_is_free(tmp_path: Path) -> None:
    journal = Journal.open("run-1", tmp_path)
    rewrite(journal.folder, started="123456", boot="3c5e")
    assert not Journal.read(journal.folder).dead
    with running("print('here', flush=True)") as child:
        assert line_of(child) == "here"
    rewrite(journal.folder, pid=child.pid)
    assert Journal.read(journal.folder).dead


def test_a_run_on_another_host_is_left_alone(tmp_path: Path) -> None:
    journal = Journal.open("run-1", tmp_path)
    rewrite(journal.folder, host="another", boot=1.0, started=2.0)
    assert dead_journals(tmp_path) == []


def test_what_is_not_a_run_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "begun-just-now").mkdir()
    assert dead_journals(tmp_path) == []
    assert list(unreadable(tmp_path)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("[]", "it lacks boot, entries"),
        ('{"run": "run-1"}', "it lacks boot, entries, host, keep, pid, started"),
        (None, "unexpected keyword argument 'colour'"),
    ],
    ids=["empty", "no record", "half a record", "an unknown entry"],
)
def test_a_damaged_record_is_listed_and_its_run_left_alone(tmp_path: Path, content: str | None, message: str) -> None:
    journal = Journal.open("run-1", tmp_path)
    if content is None:
        rewrite(journal.folder, entries=[{"kind": "cluster", "name": "a", "colour": "red"}], pid=0)
    else:
        (journal.folder / RECORD).write_text(content)
    assert dead_journals(tmp_path) == kept_journals(tmp_path) == []
    (line,) = unreadable(tmp_path)
    assert line.startswith(f"{journal.folder / RECORD} cannot be read, and its folder stays")
    assert message in line


def test_runs_are_kept_where_a_logout_does_not_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert runs_folder() == tmp_path / "splithorizon" / "runs"
    assert stat.S_IMODE(runs_folder().stat().st_mode) == 0o700
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runs_folder() == folders.state() / "runs"
    assert runs_folder().is_relative_to(tmp_path)


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_folder_that_others_may_write_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = runs_folder()
    if kind == "open":
        folder.chmod(0o777)
    else:
        folder.rmdir()
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere") if kind == "link" else folder.touch()
    with pytest.raises(UsageProblem, match=r"Nothing was created\.$"):
        runs_folder()
