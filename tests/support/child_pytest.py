"""Runs pytest in a child process that has no container engine, no cache and no runs of this machine's user.

Each process is forked from a server that has imported the libraries, because the imports take most of the time.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

_FORKS = multiprocessing.get_context("forkserver")
# Only libraries: plug-ins and modules of this repository have to be imported by pytest itself.
_FORKS.set_forkserver_preload(
    ["pytest", "pykube", "cryptography.x509", "yaml", "tenacity", "execnet", "pydantic", "rich.live", "rich.table"]
)
_WITHIN = 120


def pytest_in(
    folder: Path, *arguments: str, home: Path, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder with ``home`` as home folder, and ``more`` added to its environment."""
    bare = home / "bin"
    bare.mkdir(parents=True, exist_ok=True)
    inherited = {
        name: value
        for name, value in os.environ.items()
        # With CI set, pytest's own account of a failure is longer.
        if name != "CI" and not name.startswith(("PYTEST", "DOCKER", "CONTAINER", "KIND_", "XDG_", "CTX_"))
    }
    environment = {
        **inherited,
        "HOME": str(home),
        # Without docker, podman and apt-get nothing can be created by mistake.
        "PATH": str(bare),
        "PYTHONPATH": str(REPOSITORY),
        **(more or {}),
    }
    command = ["pytest", "-p", "no:cacheprovider", *arguments]
    with tempfile.TemporaryDirectory() as output:
        stdout, stderr = Path(output, "stdout"), Path(output, "stderr")
        child = _FORKS.Process(target=_run_pytest, args=(command, folder, environment, stdout, stderr))
        child.start()
        child.join(_WITHIN)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise subprocess.TimeoutExpired(command, _WITHIN, stdout.read_text(), stderr.read_text())
        return subprocess.CompletedProcess(command, child.exitcode, stdout.read_text(), stderr.read_text())


def _run_pytest(command: list[str], folder: Path, environment: Mapping[str, str], stdout: Path, stderr: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in ((1, stdout), (2, stderr)):
        with file.open("w") as opened:
            os.dup2(opened.fileno(), number)
    # As `python -m pytest` does.
    sys.path[:0] = [str(folder), str(REPOSITORY)]
    sys.argv = command
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)
