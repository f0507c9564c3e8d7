"""The engine's parts that need no engine: the probe's program, the configuration, the refusals."""

from __future__ import annotations

import io
import platform
import runpy
import struct
import subprocess
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from lab.engine import Engine, probe
from lab.engine.find import containers_conf, find_engine
from splithorizon.base.errors import UsageProblem

REPOSITORY = Path(__file__).resolve().parents[3]
CAP_SYS_RESOURCE = 24


def _bounding_set() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapBnd:"))


def test_the_probe_program_tells_this_process_own_bounding_set(tmp_path: Path) -> None:
    path = tmp_path / "probe"
    path.write_bytes(probe.program(platform.machine()))
    path.chmod(0o755)
    has = _bounding_set() >> CAP_SYS_RESOURCE & 1
    assert subprocess.run([path], timeout=10, check=False).returncode == (probe.HAS if has else probe.LACKS)


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_the_probe_program_starts_at_its_own_code(machine: str, number: int) -> None:
    elf = probe.program(machine)
    kind, found, _, entry = struct.unpack_from("<HHIQ", elf, 16)
    offset, address = struct.unpack_from("<QQ", elf, 64 + 8)
    size = struct.unpack_from("<Q", elf, 64 + 32)[0]
    assert (elf[:4], kind, found) == (b"\x7fELF", 2, number)
    assert (entry - address + offset, size) == (120, len(elf))


def test_a_machine_without_a_probe_program_is_named() -> None:
    with pytest.raises(probe.CannotRun, match="riscv64"):
        probe.program("riscv64")


def test_the_probe_image_holds_one_program_and_nothing_else() -> None:
    with tarfile.open(fileobj=io.BytesIO(probe.archive("x86_64"))) as tar:
        (entry,) = tar.getmembers()
    assert (entry.name, entry.mode, entry.size) == ("probe", 0o755, len(probe.program("x86_64")))


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("failed to connect to syslog\nError: crun: no\n", "Error: crun: no"),
        (
            "docker: Error response from daemon: no.\n\nRun 'docker run --help' for more.\n",
            "docker: Error response from daemon: no.",
        ),
        ("first\nlast\n", "last"),
        ("\n", ""),
    ],
)
def test_the_engines_reason_is_found_in_its_output(output: str, line: str) -> None:
    assert probe.one_line(output) == line


def test_the_podman_configuration_asks_for_no_more_than_the_limits() -> None:
    document = tomllib.loads(containers_conf(files=20000, processes=32768, runtime="runc"))
    assert document["containers"]["default_ulimits"] == ["nofile=20000:20000", "nproc=32768:32768"]
    assert document["containers"]["pids_limit"] == 0
    assert document["engine"]["runtime"] == "runc"


def test_the_podman_configuration_leaves_alone_what_has_no_limit() -> None:
    document = tomllib.loads(containers_conf(files=-1, processes=32768, runtime=None))
    assert document["containers"]["default_ulimits"] == ["nproc=32768:32768"]
    assert "runtime" not in document["engine"]


def _refusal(wanted: str, folder: Path) -> str:
    with pytest.raises(UsageProblem) as refusal:
        find_engine(wanted, run_folder=folder, say=lambda _: None, may_install=False)
    return str(refusal.value)


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_no_engine_ends_in_one_line_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path, "apt-get", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    said = _refusal("auto", tmp_path)
    assert "docker: not installed; podman: not installed" in said
    assert "Nothing was created." in said
    assert "install" in said.rsplit("created. ", 1)[1]
    assert "\n" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["apt-get"]


def test_an_engine_asked_for_by_name_is_tried_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "podman:" not in _refusal("docker", tmp_path)


def test_a_docker_whose_daemon_is_down_is_told_how_to_start_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    down = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
    _program(
        tmp_path,
        "docker",
        f'[ "$1" = --version ] && echo Docker version 1 && exit; echo "{down}" >&2; exit 1',
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    said = _refusal("docker", tmp_path)
    assert down.rstrip(".") in said
    assert said.endswith("service docker start")


def test_podman_under_dockers_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "docker", "echo podman version 4.3.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "something else: 'podman version 4.3.1'" in _refusal("docker", tmp_path)


def test_an_unknown_provider_is_named_with_the_choices(tmp_path: Path) -> None:
    said = _refusal("lxc", tmp_path)
    assert "--provider lxc" in said
    assert "auto, docker, podman" in said


def test_the_bounded_runtime_cuts_what_this_process_may_not_hand_on() -> None:
    within_bounds = runpy.run_path(str(REPOSITORY / ".ci" / "runc-within-bounds"))["within_bounds"]
    process: dict[str, Any] = {
        "capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_NO_SUCH_THING"],
            "ambient": None,
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1 << 40, "soft": 1 << 40}],
        "oomScoreAdj": -1000,
    }
    within_bounds(process)
    kept = process["capabilities"]["bounding"]
    has = bool(_bounding_set() >> CAP_SYS_RESOURCE & 1)
    assert ("CAP_SYS_RESOURCE" in kept) == has
    assert "CAP_NO_SUCH_THING" not in kept
    assert process["capabilities"]["ambient"] == []
    assert (process["rlimits"][0]["hard"] == 1 << 40) == has
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert process["oomScoreAdj"] == (-1000 if has else own)


def test_the_bounded_runtime_rewrites_a_bundle_and_hands_everything_on(tmp_path: Path) -> None:
    script = (REPOSITORY / ".ci" / "runc-within-bounds").read_text()
    assert 'RUNC = "/usr/sbin/runc"' in script
    runtime = tmp_path / "runtime"
    runtime.write_text(script.replace('RUNC = "/usr/sbin/runc"', 'RUNC = "/bin/echo"'))
    runtime.chmod(0o755)
    config = tmp_path / "config.json"
    config.write_text('{"process": {"capabilities": {"bounding": ["CAP_NO_SUCH_THING"]}}, "hostname": "kept"}')
    argv = ["--root", "/r", "create", "--bundle", str(tmp_path), "name"]
    done = subprocess.run([runtime, *argv], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout.split() == argv
    assert config.read_text() == '{"process": {"capabilities": {"bounding": []}}, "hostname": "kept"}'


# Says what it was asked for, and lists the one image that it has under two names.
PODMAN = """#!/bin/sh
case "$1" in
  pull) shift; echo "$@" >>"$(dirname "$0")/asked";;
  image) echo '["elsewhere.test/b:1", "elsewhere.test/istio/pilot:1.29.1", "elsewhere.test/kindest/node@sha256:12ab"]';;
esac
"""


@pytest.mark.parametrize(
    ("reference", "asked", "name"),
    [
        ("istio/pilot:1.29.1", "docker://istio/pilot:1.29.1", "elsewhere.test/istio/pilot:1.29.1"),
        ("kindest/node:v1@sha256:12ab", "docker://kindest/node@sha256:12ab", "elsewhere.test/kindest/node@sha256:12ab"),
        ("elsewhere.test/istio/pilot:1.29.1", "elsewhere.test/istio/pilot:1.29.1", "elsewhere.test/istio/pilot:1.29.1"),
        ("localhost/a:1", "localhost/a:1", "localhost/a:1"),
        ("host:5000/a@sha256:12ab", "host:5000/a@sha256:12ab", "host:5000/a@sha256:12ab"),
    ],
)
def test_podman_takes_a_name_without_a_registry_as_docker_does(
    tmp_path: Path, reference: str, asked: str, name: str
) -> None:
    program = tmp_path / "podman"
    program.write_text(PODMAN)
    program.chmod(0o755)
    engine = Engine("podman", program, {}, lacks_resource_capability=False)
    assert engine.pull(reference) == name
    assert (tmp_path / "asked").read_text().strip() == asked
