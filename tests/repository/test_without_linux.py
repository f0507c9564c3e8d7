"""Nothing on the path of an existing mesh needs Linux: no /proc, no setpriv, no descriptor of a process, no prctl.

A whole run of pytest is watched by an audit hook. It reads a mesh of two small API servers, makes its namespaces, waits
for workloads that no controller makes there, removes the namespaces and writes its report. psutil may read /proc: it
has another way on every other system.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository.test_house_rules import REPOSITORY, sources, used_names
from tests.support.readable_mesh import readable_mesh
from tests.support.small_api import SmallApi

WATCHED = """
import os, runpy, signal, sys

forbidden = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for module, name in ((os, "pidfd_open"), (signal, "pidfd_send_signal")):
    if hasattr(module, name):
        delattr(module, name)

def by_psutil():
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "psutil":
            return True
        frame = frame.f_back
    return False

def names(value):
    return os.fsdecode(value) if isinstance(value, (str, bytes, os.PathLike)) else ""

def watch(event, arguments):
    bad = (
        (event in ("open", "os.listdir", "os.scandir") and names(arguments[0]).startswith("/proc") and not by_psutil())
        or (event == "subprocess.Popen" and "setpriv" in " ".join(map(names, arguments[1])))
        or (event == "ctypes.dlsym" and arguments[1] == "prctl")
    )
    if bad:
        os.write(forbidden, f"{event} {arguments[:2]}\\n".encode())
        raise RuntimeError(f"this needs Linux: {event} {arguments[:2]}")

sys.addaudithook(watch)
sys.argv = sys.argv[2:]
"""


def watched(tmp_path: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in another Python that forbids what only Linux has; it must not have tried."""
    forbidden = tmp_path / "forbidden"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "sleep"):
        (programs / name).symlink_to(shutil.which(name) or "")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "XDG_", "CTX_", "KUBE"))}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED + textwrap.dedent(code), str(forbidden), *arguments],
        cwd=REPOSITORY,
        env={**own, "HOME": str(tmp_path / "home"), "PATH": str(programs), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert forbidden.read_text() == "", done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    "code",
    [
        "open('/proc/self/stat')",
        "os.listdir('/proc')",
        "import pathlib; pathlib.Path('/proc/self/status').read_text()",
        "import subprocess; subprocess.run(['/usr/bin/setpriv', '--help'])",
        "import ctypes; ctypes.CDLL(None).prctl",
    ],
)
def test_the_watch_sees_what_it_looks_for(tmp_path: Path, code: str) -> None:
    with pytest.raises(AssertionError, match="this needs Linux"):
        watched(tmp_path, code)


def test_programs_end_and_runs_are_known(tmp_path: Path) -> None:
    code = """
    from pathlib import Path
    from lab import orphans
    from splithorizon.base import process
    from splithorizon.base.errors import CommandFailed
    from splithorizon.run.journal import Journal, dead_journals, runs_folder
    assert process.run(["sh", "-c", "echo out; exit 3"], within=60, check=False).status == 3
    try:
        process.run(["sleep", "60"], within=0.2)
    except CommandFailed as late:
        print(late)
    journal = Journal.open("run-1")
    assert not journal.dead
    assert dead_journals() == []
    journal.close()
    orphans.end({"a mark of nobody"})
    print(list(runs_folder().iterdir()))
    """
    done = watched(tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["`sleep 60` did not end within 0.2 s", "[]"]


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[tuple[Path, dict[str, SmallApi]]]:
    """A kubeconfig with two contexts, each of a small API server of its own."""
    with readable_mesh(tmp_path) as found:
        yield found


def test_a_run_on_an_existing_mesh(tmp_path: Path, mesh: tuple[Path, dict[str, SmallApi]]) -> None:
    kubeconfig, servers = mesh
    before = kubeconfig.read_bytes()
    arguments = ["suites/", "--contexts", "west,east", "--sample-hub", "hub", "--timeout-scale", "0.02"]
    done = watched(
        tmp_path,
        "runpy.run_module('pytest', run_name='__main__', alter_sys=True)",
        "pytest",
        "-n0",
        "-p",
        "no:cacheprovider",
        f"--report-dir={tmp_path / 'reports'}",
        *arguments,
        KUBECONFIG=str(kubeconfig),
    )
    assert done.returncode == 10, done.stdout + done.stderr
    report = json.loads((tmp_path / "reports" / "latest" / "report.json").read_text())
    assert (report["verdict"], report["exit_status"]) == ("inconclusive", 10)
    namespace = f"/api/v1/namespaces/splithorizon-{report['run_id']}"
    assert f"refused GET {namespace}/pods" in report["inconclusive_reason"], "no controller makes pods here"
    for api in servers.values():
        verbs = [verb for verb, path, *_ in api.asked if path == namespace]
        assert verbs.index("PATCH") < verbs.index("DELETE")
        assert namespace not in api.objects, "and it is gone"
    assert kubeconfig.read_bytes() == before
    assert f"because: {report['inconclusive_reason'][:40]}" in done.stdout


LINUX_ONLY = ("os.pidfd_open", "signal.pidfd_send_signal", "os.memfd_create", "os.setns", "os.unshare", "os.P_PIDFD")


def test_only_what_makes_clusters_names_proc() -> None:
    naming = {
        str(path.relative_to(REPOSITORY)) for path in sources("splithorizon", "fixtures") if "/proc" in path.read_text()
    }
    assert naming == set()


def test_what_only_linux_has_is_asked_for_before_it_is_used() -> None:
    using = {
        str(path.relative_to(REPOSITORY)): names
        for path in sources("splithorizon", "fixtures")
        if (names := set(used_names(path)) & set(LINUX_ONLY))
    }
    assert using == {"splithorizon/base/process.py": {"os.pidfd_open"}}
    assert 'hasattr(os, "pidfd_open")' in (REPOSITORY / "splithorizon" / "base" / "process.py").read_text()
