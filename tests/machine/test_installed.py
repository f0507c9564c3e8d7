"""The wheel, installed by pip alone into an empty environment: it judges a mesh that is there, and needs no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.machine.conftest import CHECKOUT
from tests.machine.existing_mesh import ExistingMesh
from tests.machine.limits import HANGS_AFTER

pytestmark = pytest.mark.engine

# Of the checkout, and what making clusters takes.
ABSENT = ("lab", "proof", "bench", "fixtures", "suites", "tests", "docs", "pytest_kind", "pykube")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment in which pip has installed the wheel with what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT)]
    subprocess.run(build, check=True, timeout=HANGS_AFTER)
    (wheel,) = folder.glob("splithorizon-*.whl")
    venv.create(folder / "environment", with_pip=True)
    install = [str(folder / "environment" / "bin" / "pip"), "install", "--quiet", str(wheel)]
    subprocess.run(install, check=True, timeout=HANGS_AFTER)
    return folder / "environment"


def test_an_installed_wheel_judges_a_mesh_from_an_empty_folder(
    environment: Path, existing_mesh: ExistingMesh, as_installed: dict[str, str], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    bundle = sorted(environment.rglob("_bundle/**/*"))
    # No engine, no Go, no kind, no kubectl: nothing but this environment's programs.
    own = {
        "HOME": str(tmp_path / "home"),
        "PATH": str(environment / "bin"),
        "KUBECONFIG": str(existing_mesh.kubeconfig),
    }
    words = ["splithorizon", "verify", existing_mesh.named, "--profile", "core", "-n", "2"]
    done = subprocess.run(
        [str(environment / "bin" / words[0]), *words[1:]],
        cwd=empty, env=own, capture_output=True, text=True, timeout=HANGS_AFTER, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((empty / "reports" / "latest" / "report.json").read_text())
    assert (report["verdict"], report["command"]) == ("conformant", words)
    assert report["totals"]["requests"] >= 2000
    assert report["totals"]["unjoined"] == 0
    assert {found["profile"] for found in report["behaviours"]} == {"core"}
    assert all(found["nodeid"].startswith("suites/") for found in report["behaviours"])
    assert existing_mesh.changed_since(as_installed) == set()
    assert [path.name for path in empty.iterdir()] == ["reports"]
    assert sorted(environment.rglob("_bundle/**/*")) == bundle, "nothing is written where it is installed"


def test_nothing_that_makes_clusters_is_installed(environment: Path, tmp_path: Path) -> None:
    found = f"import importlib.util; print([name for name in {ABSENT} if importlib.util.find_spec(name)])"
    python = [str(environment / "bin" / "python"), "-c", found]
    # The empty folder is on its path.
    done = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS_AFTER, check=True)
    assert done.stdout == "[]\n"
    listed = [str(environment / "bin" / "pip"), "list", "--format=json", "--disable-pip-version-check"]
    installed = json.loads(
        subprocess.run(listed, capture_output=True, text=True, timeout=HANGS_AFTER, check=True).stdout
    )
    names = {one["name"] for one in installed}
    assert {"splithorizon", "pytest", "kubernetes"} <= names
    assert names & {"pytest-kind", "pykube-ng"} == set()
    assert not os.path.lexists(environment / "bin" / "kind")
