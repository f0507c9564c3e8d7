"""An engine is chosen by a probe, and a machine without one gets the command that helps."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from lab.engine import find
from lab.engine.find import containers_conf, find_engine, installed
from splithorizon.base.errors import UsageProblem


def test_the_podman_configuration_has_the_machines_limits() -> None:
    document = tomllib.loads(containers_conf(files=20000, processes=32768, runtime="runc"))
    assert document["containers"]["default_ulimits"] == ["nofile=20000:20000", "nproc=32768:32768"]
    assert document["containers"]["pids_limit"] == 0
    assert document["engine"]["runtime"] == "runc"


def test_the_podman_configuration_sets_no_limit_where_the_machine_has_none() -> None:
    document = tomllib.loads(containers_conf(files=-1, processes=32768, runtime=None))
    assert document["containers"]["default_ulimits"] == ["nproc=32768:32768"]
    assert "runtime" not in document["engine"]


def refusal(wanted: str, folder: Path) -> str:
    with pytest.raises(UsageProblem) as refused:
        find_engine(wanted, run_folder=folder, say=lambda _: None, may_install=False)
    return str(refused.value)


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_machine_without_an_engine_gets_one_line_with_the_command_that_installs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "apt-get", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refusal("auto", tmp_path)
    assert "docker: not installed; podman: not installed" in message
    assert "Nothing was created." in message
    assert "install" in message.rsplit("created. ", 1)[1]
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["apt-get"]


def test_an_engine_that_is_named_is_the_only_one_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "podman:" not in refusal("docker", tmp_path)


def test_a_docker_whose_daemon_is_down_gets_the_command_that_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
    program(
        tmp_path,
        "docker",
        f'[ "$1" = --version ] && echo Docker version 1 && exit; echo "{down}" >&2; exit 1',
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refusal("docker", tmp_path)
    assert down.rstrip(".") in message
    assert message.endswith("service docker start")


def test_podman_under_dockers_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "docker", "echo podman version 4.3.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "something else: 'podman version 4.3.1'" in refusal("docker", tmp_path)


def test_an_unknown_provider_is_named_with_the_choices(tmp_path: Path) -> None:
    message = refusal("lxc", tmp_path)
    assert "--provider lxc" in message
    assert "auto, docker, podman" in message


# Answers as an engine does, and fails as its placeholders say.
ENGINE = """folder=$(dirname "$0")
echo "$@" >>"$folder/calls"
case "$1" in
  --version) echo "{name} version 1" ;;
  info) echo {driver} ;;
  run)
    if [ {needs_configuration} = yes ] && [ -z "$CONTAINERS_CONF" ]; then echo "Error: rlimit refused" >&2; exit 126; fi
    if [ {works} = no ]; then echo "Error: not permitted" >&2; exit 126; fi
    exit 41 ;;
esac"""


def engine(
    folder: Path, name: str = "podman", *, driver: str = "overlay", needs_configuration: str = "no", works: str = "yes"
) -> None:
    program(folder, name, ENGINE.format(name=name, driver=driver, needs_configuration=needs_configuration, works=works))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder on PATH besides the system's own programs, which hold no engine there."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("dirname", "echo", "cat", "sh"):
        (programs / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.setattr(find, "MODULES", tmp_path)
    return programs


def test_docker_comes_before_podman_and_podman_is_used_where_docker_fails(folder: Path, tmp_path: Path) -> None:
    engine(folder, "podman")
    engine(folder, "docker")
    assert find_engine("auto", run_folder=tmp_path, say=print).provider == "docker"
    engine(folder, "docker", works="no")
    chosen = find_engine("auto", run_folder=tmp_path, say=print)
    assert (chosen.provider, chosen.command) == ("podman", folder / "podman")
    assert chosen.environment["KIND_EXPERIMENTAL_PROVIDER"] == "podman"
    assert not chosen.lacks_resource_capability
    assert [found.provider for found in installed()] == ["docker", "podman"]


def test_podman_gets_this_machines_limits_only_where_its_own_configuration_fails(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    engine(folder)
    assert "CONTAINERS_CONF" not in find_engine("podman", run_folder=tmp_path, say=said.append).environment
    assert said == []
    engine(folder, needs_configuration="yes")
    chosen = find_engine("podman", run_folder=tmp_path, say=said.append)
    file = tmp_path / "containers.conf"
    assert chosen.environment["CONTAINERS_CONF"] == str(file)
    assert tomllib.loads(file.read_text())["containers"]["pids_limit"] == 0
    assert file.stat().st_mode & 0o077 == 0
    assert said == [
        f"podman uses this machine's limits from {file}, because its own configuration fails: Error: rlimit refused"
    ]


def test_a_podman_that_fails_with_both_configurations_says_why_once(folder: Path, tmp_path: Path) -> None:
    engine(folder, works="no")
    assert "(podman: Error: not permitted)" in refusal("podman", tmp_path)
    engine(folder, works="no", needs_configuration="yes")
    both = "(podman: Error: rlimit refused; with this machine's limits: Error: not permitted)"
    assert both in refusal("podman", tmp_path)


def test_slow_storage_is_a_warning(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    engine(folder, driver="vfs")
    find_engine("podman", run_folder=tmp_path, say=said.append)
    (warning,) = said
    assert warning.startswith("warning: podman stores images with its driver vfs, a full copy per container")


@pytest.mark.parametrize("works", ["yes", "no"])
def test_the_modules_folder_is_created_for_podman_and_stays_only_if_podman_works(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: str
) -> None:
    modules = tmp_path / "modules"
    monkeypatch.setattr(find, "MODULES", modules)
    engine(folder, works=works)
    if works == "yes":
        find_engine("podman", run_folder=tmp_path, say=print)
    else:
        refusal("podman", tmp_path)
    assert modules.exists() is (works == "yes")


def test_what_reaches_the_engine_is_stored_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/other.sock")
    monkeypatch.setenv("HOME", "/elsewhere")
    engine(folder, "docker")
    environment = find_engine("docker", run_folder=tmp_path, say=print).environment
    assert environment["DOCKER_HOST"] == "unix:///run/other.sock"
    assert environment["BUILDX_NO_DEFAULT_ATTESTATIONS"] == "1"
    assert "HOME" not in environment


@pytest.mark.parametrize("installs", [True, False])
def test_podman_is_installed_where_root_may_and_no_engine_works(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installs: bool
) -> None:
    monkeypatch.setattr(find, "_is_debian", lambda: True)
    monkeypatch.setattr(find, "_is_unified", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    engine(tmp_path, "podman")
    # The update fails for one source of several; the package is there all the same.
    install = f'[ "$1" = install ] && ln -s "{tmp_path}/podman" "{folder}/podman"'
    program(folder, "apt-get", install if installs else 'echo "E: no such package" >&2; exit 100')
    (folder / "ln").symlink_to("/bin/ln")
    said: list[str] = []
    if installs:
        assert find_engine("auto", run_folder=tmp_path, say=said.append).provider == "podman"
    else:
        with pytest.raises(UsageProblem, match=r"podman: apt-get failed: .*E: no such package"):
            find_engine("auto", run_folder=tmp_path, say=said.append)
    assert said == ["no container engine runs privileged containers here: installing podman with apt-get"]
