"""The wheel, built and installed: the command, what lies in it, and that it needs nothing of the checkout.

The libraries that it depends on come from the environment of these tests; that they are all named is shown by
tests/machine/test_installed.py, in an environment that pip alone fills.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from splithorizon.run import conformance
from splithorizon.run.page import templates as page_templates
from tests.support.forbidden_imports import forbidding
from tests.support.mesh_info import mesh_info
from tests.support.readable_mesh import readable_mesh
from tests.support.repository import REPOSITORY

# What no installation has.
FORBIDDEN = forbidding("lab", "proof", "bench", "tests", "docs", "pytest_kind")
# Takes the place of what sets a mesh up: describes one that does not answer, so that every test fails at once.
NO_ANSWER = """
import pytest
from pathlib import Path

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    from fixtures.state import SESSION
    from splithorizon.istio.info import MeshInfo
    from splithorizon.kube.client import Kube
    from splithorizon.run.existing_mesh import Explored
    from splithorizon.run.session import Session

    class Described(Session):
        def explore(self):
            info = MeshInfo.from_json(Path("facts.json").read_text())
            kubes = {name: Kube(cluster.kubeconfig, name) for name, cluster in info.clusters.items()}
            return Explored(info, kubes, {})

        def provision(self):
            self._require_report_folder()
            self.info = MeshInfo.from_json(Path("facts.json").read_text())
            return self.info

    if SESSION in config.stash:
        made = config.stash[SESSION]
        config.stash[SESSION] = Described(made.options, made.progress, run_id=made.run_id)
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and the folder in which the command is run."""

    program: Path
    packages: Path
    names: frozenset[str]

    def run(self, folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command in a folder; what it keeps for its user lies in ``home`` beside it."""
        folder.mkdir(exist_ok=True)
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PYTEST", "CTX_", "XDG_", "KUBE"))
        }
        return subprocess.run(
            [self.program, *words],
            cwd=folder,
            env={**own, "HOME": str(folder.parent / "home"), "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY)]
    subprocess.run([*pip, *build], check=True, timeout=120)
    (wheel,) = folder.glob("splithorizon-*.whl")
    environment = folder / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True, timeout=120)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "libraries.pth").write_text(f"{FORBIDDEN}{sysconfig.get_path('purelib')}\n")
    return Installed(environment / "bin" / "splithorizon", packages, frozenset(zipfile.ZipFile(wheel).namelist()))


def test_the_wheel_holds_the_package_and_its_bundle_and_nothing_else(installed: Installed) -> None:
    tops = {name.partition("/")[0] for name in installed.names}
    assert tops == {"splithorizon", *(name for name in tops if name.endswith(".dist-info"))}
    assert len(tops) == 2
    bundle = {name.removeprefix("splithorizon/_bundle/") for name in installed.names if "/_bundle/" in name}
    suites = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "suites").rglob("*.py")}
    fixtures = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "fixtures").glob("*.py")}
    manifests = {name for name in bundle if name.startswith("manifests/")}
    others = {"conftest.py", "pytest.toml", "reports/report.schema.json"}
    assert bundle == others | suites | (fixtures - {"fixtures/lab.py"}) | manifests
    assert "splithorizon/py.typed" in installed.names


def test_every_manifest_that_the_package_names_is_in_the_bundle(installed: Installed) -> None:
    used = set()
    for source in (REPOSITORY / "splithorizon").rglob("*.py"):
        used |= set(re.findall(r'"([\w-]+\.yaml)"', source.read_text()))
    bundled = {Path(name).name for name in installed.names if "/_bundle/manifests/" in name}
    assert len(used) >= 5
    # That one a run writes.
    assert used - bundled == {conformance.NAME}
    templates = {Path(name).name for name in installed.names if "/page/templates/" in name}
    assert templates == {path.name for path in page_templates.FOLDER.iterdir()}
    folders = {Path(name).parts[3] for name in installed.names if "/_bundle/manifests/" in name}
    assert folders & {"faults", "istio", "kind"} == set(), "these are of what makes and breaks meshes"


def test_no_plug_in_of_pytest_is_registered(installed: Installed) -> None:
    (file,) = installed.packages.glob("splithorizon-*.dist-info/entry_points.txt")
    assert file.read_text().split() == ["[console_scripts]", "splithorizon", "=", "splithorizon.cli:main"]


def test_the_bundles_configuration_is_the_checkouts() -> None:
    bundled = tomllib.loads((REPOSITORY / "bundle" / "pytest.toml").read_text())["pytest"]
    ours = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"]
    of_our_own_tests = {"markers", "testpaths"}
    assert bundled == {
        **{name: value for name, value in ours.items() if name not in of_our_own_tests},
        "addopts": [*ours["addopts"], "-p", "no:cacheprovider"],
    }


def test_the_bundles_plug_ins_are_the_checkouts_without_what_makes_clusters() -> None:
    listed = {}
    for file in (REPOSITORY / "conftest.py", REPOSITORY / "bundle" / "conftest.py"):
        listed[file.parent.name] = re.findall(r'"(fixtures\.\w+)"', file.read_text())
    assert listed["bundle"] == [name for name in listed[REPOSITORY.name] if name != "fixtures.lab"]
    assert len(listed[REPOSITORY.name]) == len(listed["bundle"]) + 1


def test_version_list_and_completion(installed: Installed, tmp_path: Path) -> None:
    assert installed.run(tmp_path, "--version").stdout.startswith("splithorizon 0.")
    names = [one["behaviour"] for one in json.loads(installed.run(tmp_path, "list", "--json").stdout)]
    assert names == [path.stem for path in sorted((REPOSITORY / "suites").glob("*/test_*.py"))]
    assert "complete -o default" in installed.run(tmp_path, "completion", "bash").stdout


def test_collecting_names_the_tests_as_a_checkout_does(installed: Installed, tmp_path: Path) -> None:
    here = installed.run(tmp_path / "empty", "verify", "a,b", "--collect-only", "-q")
    assert here.returncode == 0, here.stdout + here.stderr
    command = [sys.executable, "-m", "pytest", "suites/", "--collect-only", "-q", "-p", "no:cacheprovider"]
    there = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)
    assert [line for line in here.stdout.splitlines() if "::" in line] == [
        line for line in there.stdout.splitlines() if "::" in line
    ]
    assert list((tmp_path / "empty").iterdir()) == []


def test_who_names_no_mesh_is_refused(installed: Installed, tmp_path: Path) -> None:
    done = installed.run(tmp_path / "empty", "verify")
    assert done.returncode == 4
    assert "name the contexts of your mesh: splithorizon verify A,B" in done.stderr
    assert list((tmp_path / "empty").iterdir()) == []


def test_options_that_make_clusters_are_not_known(installed: Installed, tmp_path: Path) -> None:
    done = installed.run(tmp_path, "verify", "a,b", "--images", "built")
    assert done.returncode == 4
    assert "unrecognized arguments: --images" in done.stderr


def test_a_mesh_is_read_and_our_namespaces_come_and_go(installed: Installed, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with readable_mesh(tmp_path) as (kubeconfig, servers):
        words = ("verify", "west,east", "--sample-hub", "hub", "--timeout-scale", "0.02")
        done = installed.run(empty, *words, KUBECONFIG=str(kubeconfig))
        assert done.returncode == 10, done.stdout + done.stderr
        report = json.loads((empty / "reports" / "latest" / "report.json").read_text())
        namespace = f"/api/v1/namespaces/splithorizon-{report['run_id']}"
        assert f"refused GET {namespace}/pods" in report["inconclusive_reason"]
        for api in servers.values():
            assert "PATCH" in [verb for verb, path, *_ in api.asked if path == namespace]
            assert namespace not in api.objects
    assert report["command"] == ["splithorizon", *words]
    assert f"  {shlex.join(report['command'])}" in done.stdout.splitlines(), "to run again"
    assert sorted(path.name for path in empty.iterdir()) == ["reports"]


@pytest.mark.parametrize("workers", ["0", "1"])
def test_tests_are_run_from_the_bundle_which_stays_as_it_was(
    installed: Installed, tmp_path: Path, workers: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "no_answer.py").write_text(NO_ANSWER)
    (empty / "facts.json").write_text(mesh_info(tmp_path).to_json())
    before = {path for path in installed.packages.rglob("*") if "_bundle" in path.parts}
    words = ("verify", "a,b", "suites/readiness", "suites/placement", f"-n{workers}", "-p", "no_answer", "-v")
    done = installed.run(empty, *words, PYTHONPATH=str(tmp_path))
    assert done.returncode == 10, done.stdout + done.stderr
    report = json.loads((empty / "reports" / "latest" / "report.json").read_text())
    tests = {found["nodeid"] for found in report["behaviours"]}
    assert "suites/readiness/test_gateways_are_ready.py::test_gateways_are_ready[primary]" in tests
    assert len(tests) == 6
    for nodeid in tests:
        assert re.search(rf"(^|\s){re.escape(nodeid)}(\s|$)", done.stdout, re.MULTILINE), done.stdout
    assert report["behaviours"][0]["claim"]
    assert (empty / "reports" / "latest" / "junit.xml").exists()
    assert {path for path in installed.packages.rglob("*") if "_bundle" in path.parts} == before
    assert sorted(path.name for path in empty.iterdir()) == ["facts.json", "reports"]


def test_what_a_dead_run_left_is_named_with_the_installed_command(installed: Installed, tmp_path: Path) -> None:
    runs = tmp_path / "home" / ".local" / "state" / "splithorizon" / "runs"
    runs.mkdir(parents=True, mode=0o700)
    record = {"host": os.uname().nodename, "boot": 1.0, "pid": 1, "started": 9999.0, "keep": False}
    scope = {"run": "run-1", "owned": False, "namespace": "splithorizon-run-1", "kubeconfig_variable": ""}
    cluster = {"uid": "u", "system_namespace": "istio-system", "kubectl": "kubectl", "file": ""}
    entry = {"kind": "namespace", "name": "splithorizon-run-1", "facts": {"cluster": "primary"}}
    lab = {"kind": "cluster", "name": "lab-primary", "facts": {}}
    for run, entries in (("run-1", [entry]), ("run-2", [lab])):
        (runs / run).mkdir(mode=0o700)
        (runs / run / "run.json").write_text(json.dumps({**record, "run": run, "entries": entries}))
    clusters = {"primary": {**cluster, "context": "east"}, "remote": {**cluster, "context": "west"}}
    (runs / "run-1" / "scope.json").write_text(json.dumps({**scope, "clusters": clusters}))
    done = installed.run(tmp_path / "empty", "sweep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "run run-1 left in an existing mesh: namespace splithorizon-run-1 of the primary. Nothing is written there now",
        "restore it with: splithorizon sweep east,west",
        "run run-2 made cluster lab-primary: remove it with `pytest --sweep` in a checkout",
    ]
    assert sorted(path.name for path in runs.iterdir()) == ["run-1", "run-2"]
