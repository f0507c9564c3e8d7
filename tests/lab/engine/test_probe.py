"""The probe's script and image, without an engine: ``tests/engine`` runs both in real containers."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab.engine import Engine, probe
from lab.engine.probe import CannotRun

CAP_SYS_RESOURCE = 24


def bounding_set() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapBnd:"))


def run_script(script: str) -> int:
    return subprocess.run([probe.SHELL, "-c", script], timeout=60, check=False).returncode


def test_the_script_tells_whether_this_process_may_have_the_capability() -> None:
    has = bounding_set() >> CAP_SYS_RESOURCE & 1
    assert run_script(probe.SCRIPT) == (probe.HAS if has else probe.LACKS)


@pytest.mark.parametrize(
    ("bounding", "status"),
    [
        ("000001ffffffffff", probe.HAS),
        ("0000000001000000", probe.HAS),
        ("000001fffeffffff", probe.LACKS),
        ("0000000000000000", probe.LACKS),
        (None, 0),
    ],
)
def test_the_script_reads_the_bounding_set_and_no_other(tmp_path: Path, bounding: str | None, status: int) -> None:
    other = "0000000000000000" if status == probe.HAS else "000001ffffffffff"
    lines = ["Name:\tsh", f"CapPrm:\t{other}", f"CapEff:\t{other}", *([f"CapBnd:\t{bounding}"] if bounding else [])]
    file = tmp_path / "status"
    file.write_text("\n".join([*lines, f"CapAmb:\t{other}", ""]))
    assert run_script(probe.SCRIPT.replace("/proc/self/status", str(file))) == status


def test_the_image_holds_every_file_that_the_shell_maps_into_memory() -> None:
    with tarfile.open(fileobj=io.BytesIO(probe.archive())) as tar:
        contents = {hashlib.sha256(file.read()).digest() for entry in tar if (file := tar.extractfile(entry))}
        assert tar.getmember("bin/sh").mode & 0o111
    script = 'while read -r line; do echo "$line"; done </proc/self/maps'
    maps = subprocess.run(
        [probe.SHELL, "-c", script], env={"LC_ALL": "C"}, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    mapped = {Path(fields[5]) for line in maps.splitlines() if len(fields := line.split()) == 6 and fields[5][0] == "/"}
    assert len(mapped) == len(contents)
    assert {hashlib.sha256(path.read_bytes()).digest() for path in mapped} == contents


def test_the_image_is_made_whatever_path_says(monkeypatch: pytest.MonkeyPatch) -> None:
    made = probe.archive()
    monkeypatch.setenv("PATH", "/nowhere")
    assert probe.archive() == made


# Fails for the command that is named in the file beside it, and answers everything else; records every call.
ENGINE = """#!/bin/sh
folder=$(dirname "$0")
echo "$@" >>"$folder/calls"
case "$1 $2" in
  "$(cat "$folder/broken")") echo "warning: slow"; echo "Error: $1 is broken" >&2; exit 125 ;;
  run*) exit "$(cat "$folder/status")" ;;
esac
"""


def engine(folder: Path, *, status: int = probe.HAS, broken: str = "nothing") -> Engine:
    for name, text in {"docker": ENGINE, "status": str(status), "broken": broken}.items():
        (folder / name).write_text(text)
    (folder / "docker").chmod(0o755)
    return Engine("docker", folder / "docker", {}, lacks_resource_capability=False)


def calls(folder: Path) -> list[str]:
    # The script of `run` has lines of its own.
    words = ("import", "run", "rm ", "rmi", "network")
    return [line for line in (folder / "calls").read_text().splitlines() if line.startswith(words)]


@pytest.mark.parametrize(("status", "lacks"), [(probe.LACKS, True), (probe.HAS, False)])
def test_the_exit_status_of_the_container_is_the_answer_and_nothing_stays(
    tmp_path: Path, status: int, lacks: bool
) -> None:
    assert probe.lacks_resource_capability(engine(tmp_path, status=status)) is lacks
    imported, *before, run, container, network, image = calls(tmp_path)
    assert imported == f"import - {probe.IMAGE}"
    assert before == [
        f"rm --force --volumes {probe.NAME}",
        f"network rm {probe.NAME}",
        f"network create {probe.NAME}",
    ]
    assert run.startswith(f"run --name {probe.NAME} --privileged --tty ")
    assert f"--net {probe.NAME} " in run
    assert run.endswith(f"--init=false {probe.IMAGE} {probe.SHELL} -c ")
    assert [container, network, image] == [
        f"rm --force --volumes {probe.NAME}", f"network rm {probe.NAME}", f"rmi --force {probe.IMAGE}"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "status", "reason"),
    [
        ("import -", probe.HAS, "Error: import is broken"),
        ("network create", probe.HAS, "Error: network is broken"),
        ("run --name", probe.HAS, "Error: run is broken"),
        ("nothing", 0, "exit status 0"),
        ("nothing", 126, "exit status 126"),
    ],
)
def test_an_engine_that_does_not_run_the_container_is_refused_with_its_own_reason(
    tmp_path: Path, broken: str, status: int, reason: str
) -> None:
    with pytest.raises(CannotRun) as refused:
        probe.lacks_resource_capability(engine(tmp_path, status=status, broken=broken))
    assert str(refused.value) == reason
    if broken != "import -":
        assert calls(tmp_path)[-1] == f"rmi --force {probe.IMAGE}"


def test_what_a_killed_probe_left_is_removed_though_the_engine_fails(tmp_path: Path) -> None:
    probe.remove_remains(engine(tmp_path, broken="network rm"))
    assert calls(tmp_path) == [
        f"rm --force --volumes {probe.NAME}", f"network rm {probe.NAME}", f"rmi {probe.IMAGE}"
    ]  # fmt: skip


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
def test_the_engines_reason_is_read_from_its_output(output: str, line: str) -> None:
    assert probe.one_line(output) == line
