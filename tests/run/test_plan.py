"""A dry run says what a run would do, writes nothing, and ends well: real runs of pytest on two small API servers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base.paths import SUITES
from splithorizon.conditions import behaviours
from splithorizon.istio.names import SYSTEM_NAMESPACE
from splithorizon.run import catalogue, plan
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.run.session import Session
from tests.support.child_pytest import REPOSITORY, pytest_in
from tests.support.existing_mesh import CONTEXTS, TwoClusters, installed_mesh

EVERY = {one.name: 1 for one in catalogue.behaviours(SUITES)}
# A review of one's own rights is a POST that stores nothing.
REVIEWS = "selfsubjectaccessreviews"


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with installed_mesh(tmp_path) as clusters:
        yield clusters


def writes(mesh: TwoClusters) -> list[tuple[str, str]]:
    return [
        (method, path)
        for api in mesh.apis.values()
        for method, path, *_ in api.asked
        if method != "GET" and not path.endswith(REVIEWS)
    ]


def planned(
    mesh: TwoClusters, folder: Path, monkeypatch: pytest.MonkeyPatch, *, selected: dict[str, int] = EVERY, **more: Any
) -> list[str]:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    files: dict[str, Any] = {f"kubeconfig_{name}": mesh.file(name) for name in mesh.apis}
    reports = folder / "reports"
    options = Options(contexts=tuple(CONTEXTS.values()), dry_run=True, reports=reports, **files, **more)
    session = Session(options, Progress(lambda _: None))
    try:
        return session.plan(selected, {"test_left_out": "exempt: why"})
    finally:
        session.close()
        assert list((folder / "state").rglob("*.kubeconfig")) == [], "no copy of a kubeconfig stays"
        assert not reports.exists()


def dry(mesh: TwoClusters, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = ["suites/readiness", "--contexts", "east,west", "--dry-run", f"--report-dir={folder / 'reports'}"]
    arguments += [f"--kubeconfig-{name}={mesh.file(name)}" for name in mesh.apis]
    return pytest_in(REPOSITORY, *arguments, *more, home=folder / "home")


def test_it_says_what_would_be_created_in_each_cluster_and_read(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = planned(mesh, tmp_path, monkeypatch)
    for context in ("east", "west"):
        (line,) = [one for one in lines if one.startswith(f"would create in {context}: namespace splithorizon-")]
        assert "2 Deployment" in line
        # Only where an istiod reads it.
        assert ("Telemetry" in line) is (context == "east")
        assert line.endswith("deleted at the end")
    assert (
        "would create in that namespace for test_plain_text_is_refused, and delete after it: Pod plain-text-client"
        in lines
    )
    assert "would change nothing outside of that namespace" in lines
    assert any(line.startswith("would read in istiod's namespace: ") and "secrets" in line for line in lines)
    assert "  test_left_out: exempt: why" in lines
    assert "  test_a_rule_binds_the_clients_of_its_own_primary: one istiod reads the rules for every client" in lines
    assert not any("VirtualService answered-by-a-rule" in one for one in lines)
    assert any(one.startswith("  test_grpc_calls_are_answered (1 check, only if the helloworld image") for one in lines)
    assert lines[-1] == "Dry run: nothing was created or changed."
    assert writes(mesh) == []


def test_behaviours_that_conditions_or_rights_leave_out_are_named_with_the_reason(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh.primary.denies = lambda one: one.get("resource") == "virtualservices"
    lines = planned(mesh, tmp_path, monkeypatch)
    (line,) = [one for one in lines if one.startswith("  test_subsets_keep_clients_in_their_cluster")]
    assert "context east may not create virtualservices" in line
    assert not any("for test_subsets_keep_clients_in_their_cluster" in one for one in lines)


def numbers(lines: list[str]) -> tuple[float, int]:
    (time,) = [re.match(r"would take about (\d+) (s|minutes)", line) for line in lines if "would take" in line]
    (pushes,) = [re.match(r"would cause about (\d+) pushes", line) for line in lines if "would cause" in line]
    assert time
    assert pushes
    return float(time[1]) * (60 if time[2] == "minutes" else 1), int(pushes[1])


def test_estimates_grow_with_what_is_claimed(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = planned(mesh, tmp_path, monkeypatch)
    disruptive = [line for line in lines if "checks that disrupt the mesh" in line]
    assert len(disruptive) == 1
    few = planned(mesh, tmp_path, monkeypatch, selected={"test_control_plane_is_ready": 1})
    assert numbers(few)[0] < numbers(lines)[0]
    assert numbers(few)[1] < numbers(lines)[1]
    assert plan.temporary({"test_both_versions_answer": 2}) == []
    subsets = plan.temporary({"test_subsets_keep_clients_in_their_cluster": 2})
    assert {kind for _, kind, _ in subsets} == {"DestinationRule", "VirtualService"}
    assert len(subsets) == 2 * len(set(subsets))


def test_what_is_claimed_only_under_a_condition_is_a_behaviour_that_there_is() -> None:
    assert {*plan._ONLY_IF, behaviours.OF_SEVERAL_PRIMARIES} <= EVERY.keys()


def test_a_run_that_disrupts_says_what_it_may_change(
    mesh: TwoClusters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = planned(mesh, tmp_path, monkeypatch, allow_disruption=True)
    assert [line for line in lines if line.startswith("may create, delete, patch secrets in istiod's namespace")]
    assert "istiod's namespaces: istio-system of east, istio-system of west" in lines
    assert "would change nothing outside of that namespace" not in lines
    assert writes(mesh) == []


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_the_command_ends_well_and_leaves_nothing(workers: str, mesh: TwoClusters, tmp_path: Path) -> None:
    done = dry(mesh, tmp_path, workers)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"context east leads to {mesh.primary.url}" in said
    assert "would claim 3 behaviours by 5 checks" in said
    assert "  test_gateways_are_ready (2 checks)" in said
    assert "CONFORMANT" not in said
    assert not (tmp_path / "reports").exists()
    assert writes(mesh) == []


def test_what_a_run_refuses_a_dry_run_refuses(mesh: TwoClusters, tmp_path: Path) -> None:
    now = "2999-01-01T00:00:00.000000Z"
    spec = {"holderIdentity": "another", "renewTime": now, "acquireTime": now, "leaseDurationSeconds": 60}
    mesh.primary.put("Lease", "splithorizon", SYSTEM_NAMESPACE, spec=spec)
    done = dry(mesh, tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "another" in done.stderr
    assert "would create" not in done.stdout + done.stderr
    assert writes(mesh) == []


@pytest.mark.parametrize("more", [(), ("--contexts=a,b", "--sweep"), ("--contexts=a,b", "--watch")], ids=str)
def test_it_is_about_checks_of_a_mesh_that_is_there(more: tuple[str, ...], tmp_path: Path) -> None:
    done = pytest_in(REPOSITORY, "suites/readiness", "--dry-run", *more, home=tmp_path / "home")
    assert done.returncode == 4
    assert "--dry-run is for checks of a mesh that is there" in done.stderr
