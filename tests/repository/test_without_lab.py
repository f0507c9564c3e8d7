"""A run on an existing mesh imports nothing that makes clusters; collecting and listing import nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forbidden_imports import forbidding
from tests.support.readable_mesh import readable_mesh
from tests.support.repository import REPOSITORY

LAB = frozenset({"lab", "pytest_kind", "pykube"})
# Each takes 20 ms or more to import; what a run needs of them it imports once it begins.
HEAVY = frozenset(
    {
        "OpenSSL", "cryptography", "jinja2", "kubernetes", "pydantic", "requests", "rich", "urllib3", "websocket",
        "splithorizon.checks.all_checks", "splithorizon.diagnosis", "splithorizon.kube", "splithorizon.mesh.mesh",
        "splithorizon.run.page", "splithorizon.run.report", "splithorizon.run.session", "splithorizon.run.watching",
    }
)  # fmt: skip
# Modules of ours that collecting imports, with a few to spare: 55 were counted, of more than 250.
MOST = 65
# What it imported goes to a file, however it ends.
RECORDED = """
import runpy, sys
from pathlib import Path
modules, *sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    Path(modules).write_text("\\n".join(sys.modules))
"""


def run(folder: Path, *arguments: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run pytest in the checkout; also return the modules that it imported."""
    done, imported = run_module("pytest", folder, "-p", "no:cacheprovider", *arguments, **environment)
    assert "fixtures.start" in imported, done.stdout + done.stderr
    return done, imported


def run_module(
    name: str, folder: Path, *arguments: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a module as a program in the checkout; also return the modules that it imported."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CTX_", "XDG_"))}
    modules = folder / "modules"
    done = subprocess.run(
        [sys.executable, "-c", RECORDED, str(modules), name, *arguments],
        cwd=REPOSITORY,
        env={**own, "HOME": str(folder / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, set(modules.read_text().split())


def of(packages: frozenset[str], imported: set[str]) -> set[str]:
    """Which of these packages were imported, by themselves or by a module within."""
    return {package for package in packages if any(f"{name}.".startswith(f"{package}.") for name in imported)}


def test_a_run_on_an_existing_mesh(tmp_path: Path) -> None:
    (tmp_path / "forbidding").mkdir()
    (tmp_path / "forbidding" / "sitecustomize.py").write_text(forbidding("lab", "pytest_kind", "pykube"))
    with readable_mesh(tmp_path) as (kubeconfig, servers):
        done, imported = run(
            tmp_path,
            "suites/", "--contexts", "west,east", "--sample-hub", "hub", "--timeout-scale", "0.02", "-n0",
            f"--report-dir={tmp_path / 'reports'}", "--keep-cluster",
            KUBECONFIG=str(kubeconfig), PYTHONPATH=str(tmp_path / "forbidding"),
        )  # fmt: skip
        assert done.returncode == 10, done.stdout + done.stderr
        report = json.loads((tmp_path / "reports" / "latest" / "report.json").read_text())
        namespace = f"/api/v1/namespaces/splithorizon-{report['run_id']}"
        assert f"refused GET {namespace}/pods" in report["inconclusive_reason"]
        for api in servers.values():
            assert namespace in api.objects, "kept, as --keep-cluster says: pytest-kind's plug-in is not needed for it"
    assert of(LAB, imported) == set()
    later = {"OpenSSL", "requests", "splithorizon.checks.all_checks", "splithorizon.run.watching"}
    assert of(HEAVY, imported) >= HEAVY - later, "or the tests below could not fail"


@pytest.mark.parametrize("arguments", [("--contexts", "west,east"), ()], ids=["an existing mesh", "clusters"])
def test_collecting(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done, imported = run(tmp_path, "suites/", "--collect-only", "-q", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "suites/routing/test_both_versions_answer.py::test_both_versions_answer[primary→remote]" in done.stdout
    assert of(LAB | HEAVY, imported) == set()
    assert len({name for name in imported if name.startswith(("fixtures.", "splithorizon."))}) <= MOST


def test_listing(tmp_path: Path) -> None:
    done, imported = run_module("splithorizon.cli", tmp_path, "list")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_both_versions_answer" in done.stdout
    assert of(LAB | HEAVY, imported) == set()


def test_a_run_that_makes_clusters_imports_the_lab(tmp_path: Path) -> None:
    done, imported = run(tmp_path, "suites/", "--ca-dir", str(tmp_path), f"--report-dir={tmp_path}", PATH=str(tmp_path))
    assert done.returncode == 4, done.stdout + done.stderr
    assert {"lab.session", "lab.kind", "pytest_kind"} <= imported, "or the tests above could not fail"


def test_without_pytest_kind_who_wants_clusters_is_sent_to_the_extra(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(forbidding("pytest_kind"))
    # Should the import succeed, the run ends all the same before it creates anything: there is no CA, and no program.
    harmless = {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    done, _ = run(tmp_path, "suites/", "--ca-dir", str(tmp_path), f"--report-dir={tmp_path / 'reports'}", **harmless)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "pip install -e '.[lab]'" in done.stderr
    assert not (tmp_path / "reports").exists()
