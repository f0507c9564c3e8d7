"""A machine that is too small is refused before anything is created; low limits only cause a warning."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from lab import preflight
from splithorizon.base.errors import UsageProblem


def _proc(folder: Path, *, instances: int, watches: int) -> Path:
    inotify = folder / "sys/fs/inotify"
    inotify.mkdir(parents=True)
    (inotify / "max_user_instances").write_text(f"{instances}\n")
    (inotify / "max_user_watches").write_text(f"{watches}\n")
    return folder


def test_a_disk_with_enough_space_is_accepted_for_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    preflight.require_disk({tmp_path / "not" / "yet": 0.001})
    assert list(tmp_path.iterdir()) == []


def test_too_little_disk_is_reported_in_one_line_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem) as problem:
        preflight.require_disk({tmp_path: 1e9})
    message = str(problem.value)
    assert "too little disk" in message
    assert "1000000000.0 GiB needed" in message
    assert str(tmp_path) in message
    assert "Nothing was created." in message
    assert "\n" not in message


def test_folders_on_one_file_system_share_its_space(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"1000000000\.5 GiB needed"):
        preflight.require_disk({tmp_path / "a": 1e9, tmp_path / "b": 0.5})


def test_memory_is_read_from_this_machine() -> None:
    preflight.require_memory(0.01)
    with pytest.raises(UsageProblem, match="too little memory"):
        preflight.require_memory(1e6)


def test_available_memory_counts_and_not_installed_memory() -> None:
    memory = psutil.virtual_memory()
    assert memory.available < memory.total
    with pytest.raises(UsageProblem, match=r"GiB available, .* GiB needed"):
        preflight.require_memory(memory.total / preflight.GIB)


def test_low_inotify_limits_warn_with_the_command_that_raises_them(tmp_path: Path) -> None:
    said: list[str] = []
    preflight.warn_of_limits(said.append, proc=_proc(tmp_path, instances=128, watches=8192))
    (line,) = said
    assert "max_user_instances 128, max_user_watches 8192" in line
    assert "sysctl -w fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288" in line


def test_recommended_inotify_limits_say_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    preflight.warn_of_limits(said.append, proc=_proc(tmp_path, instances=512, watches=524288))
    assert said == []
