"""The tests mirror the source: whoever knows a module's name knows where its tests are."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("splithorizon", "lab")

WITHOUT_A_TEST_MODULE: Mapping[str, str] = {
    # No behaviour of its own.
    "splithorizon.disruption.bad_secret": "one enum; tests/disruption/test_changes_and_undos.py makes both",
    "splithorizon.mesh.confinement": "one enum; tests/checks/test_routing.py judges by it",
    "splithorizon": "one constant, the version",
    "splithorizon.undo.not_restored": "one class without methods; test_report and test_summary read and show it",
    "lab.images": "one class without methods",
    # Tested, but in modules of other names: to be moved.
    "splithorizon.base.cancel": "tests/base/test_process.py cancels real child processes",
    "splithorizon.base.errors": "tests/base/test_process.py and test_waiting.py compare whole messages",
    "splithorizon.checks.all_checks": "tests/checks/test_routing.py, its last part",
    "splithorizon.checks.judging": "tests/checks/test_routing.py",
    "splithorizon.checks.matched": "tests/checks/test_routing.py",
    "splithorizon.checks.networks": "tests/checks/test_routing.py",
    "splithorizon.checks.paths": "tests/checks/test_routing.py",
    "splithorizon.checks.placement": "tests/checks/test_routing.py",
    "splithorizon.checks.readiness": "tests/checks/test_routing.py",
    "splithorizon.checks.roots": "tests/checks/test_discovery.py, beside what else istiod distributes",
    "splithorizon.checks.suspects": "tests/checks/test_routing.py and test_discovery.py, through the checks",
    "splithorizon.conditions.authorization": "tests/conditions/test_decide.py",
    "splithorizon.conditions.behaviours": "tests/conditions/test_decide.py",
    "splithorizon.conditions.condition": "tests/conditions/test_decide.py",
    "splithorizon.conditions.control_plane": "tests/conditions/test_decide.py",
    "splithorizon.conditions.logs": "tests/conditions/test_decide.py",
    "splithorizon.conditions.platform": "tests/conditions/test_decide.py",
    "splithorizon.conditions.policies": "tests/conditions/test_decide.py",
    "splithorizon.conditions.registry": "tests/conditions/test_decide.py",
    "splithorizon.conditions.traffic": "tests/conditions/test_decide.py",
    "splithorizon.diagnosis.access": "tests/diagnosis/test_reading.py",
    "splithorizon.diagnosis.finding": "tests/diagnosis/test_reading.py",
    "splithorizon.diagnosis.reading.control_plane": "tests/diagnosis/test_reading.py",
    "splithorizon.diagnosis.reading.model": "tests/diagnosis/test_reading.py",
    "splithorizon.diagnosis.reading.objects": "tests/diagnosis/test_reading.py",
    "splithorizon.diagnosis.reading.proxies": "tests/diagnosis/test_reading.py",
    "splithorizon.diagnosis.reading.served": "only runs with an engine: it reads istiod's port, which takes TLS alone",
    "splithorizon.diagnosis.reading.read": "tests/diagnosis/test_reading.py",
    "splithorizon.diagnosis.reading.budget": "tests/diagnosis/test_budget.py",
    "splithorizon.diagnosis.root_causes": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.certificates": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.control_plane": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.filters": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.follows": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.gateways": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.injection": "tests/diagnosis/test_blind_kinds.py",
    "splithorizon.diagnosis.rules.latent": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.logs": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.losses": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.mesh_config": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.networks": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.pods": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.versions": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.policies": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.services": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.sidecar_resources": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.client_rules": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.rules.destination_rules": "tests/diagnosis/test_root_cause.py and test_identities.py",
    "splithorizon.diagnosis.rules.virtual_services": "tests/diagnosis/test_root_cause.py and test_delegates.py",
    "splithorizon.diagnosis.rules.trust": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.scope": "tests/diagnosis/test_root_cause.py",
    "splithorizon.diagnosis.state": "tests/diagnosis/test_root_cause.py",
    "splithorizon.disruption.disruption": "tests/disruption/test_changes_and_undos.py calls every change through it",
    "splithorizon.disruption.istiod": "tests/disruption/test_changes_and_undos.py",
    "splithorizon.disruption.recovery": "tests/checks/test_resilience.py",
    "splithorizon.disruption.remote_secret": "tests/disruption/test_changes_and_undos.py",
    "splithorizon.disruption.workloads": "tests/disruption/test_changes_and_undos.py",
    "splithorizon.istio.gateway_resources": "tests/istio/test_discover.py reads meshes with every kind of gateway",
    "splithorizon.istio.gateway_services": "tests/istio/test_discover.py reads meshes with every kind of gateway",
    "splithorizon.istio.service_addresses": "tests/traffic/test_istiod.py",
    "splithorizon.istio.workload_certificate": "tests/mesh/test_security.py",
    "splithorizon.kube.access_review": "tests/run/test_permissions.py",
    "splithorizon.kube.api_resources": "tests/kube/test_client.py",
    "splithorizon.kube.api_server": "tests/kube/test_client.py",
    "splithorizon.kube.api_websocket": "tests/kube/test_client.py, test_connection.py and test_port_forward.py",
    "splithorizon.kube.credentials": "tests/run/test_known_secrets.py",
    "splithorizon.kube.pod_exec": "tests/kube/test_client.py",
    "splithorizon.kube.unready_reason": "tests/kube/test_pod_status.py",
    "splithorizon.mesh.config_chain": "tests/checks/test_discovery.py",
    "splithorizon.run.comparison": "tests/run/test_comparing.py",
    "splithorizon.run.watch_report": "classes without methods; test_watch_results makes and writes them",
    "splithorizon.run.watching": "tests/watch/test_watching.py",
    "splithorizon.run.comparison_text": "tests/run/test_comparing.py",
    "splithorizon.run.diagnostics.index": "tests/run/diagnostics/test_collect.py, with what is collected",
    "splithorizon.run.diagnostics.masked": "tests/run/diagnostics/test_collect.py, with what is collected",
    "splithorizon.run.page.templates": "tests/run/page/test_page.py renders every template by it",
    "splithorizon.run.measured": "tests/run/test_comparing.py",
    "splithorizon.run.report_types": "types without behaviour: tests/run/test_report.py reads and writes them",
    "splithorizon.traffic.client": "tests/mesh/test_traced_batch.py and tests/traffic/test_requests.py",
    "splithorizon.traffic.debug_api": "tests/traffic/test_proxy.py and test_istiod.py",
    "splithorizon.traffic.gateway_port": "its parts: tests/traffic/test_tls_probe.py, tests/kube/test_port_forward.py",
    "splithorizon.traffic.gateway_stats": "tests/mesh/test_traced_batch.py and tests/checks/test_hops.py",
    "splithorizon.traffic.proxy_log": "tests/traffic/test_access_log.py and tests/mesh/test_traced_batch.py",
    "splithorizon.traffic.sending": "tests/mesh/test_locks.py",
    "splithorizon.traffic.trace": "tests/checks/test_hops.py",
    "splithorizon.undo.backup": "tests/undo/test_mutations.py and tests/run/test_mesh_sweep.py",
    "splithorizon.undo.change": "tests/undo/test_mutations.py writes, truncates and reads entries",
    "splithorizon.undo.remarks": "tests/undo/test_mutations.py and tests/disruption/test_watching.py",
    "splithorizon.undo.reverting": "tests/undo/test_mutations.py undoes every change by it",
    "splithorizon.undo.ownership": "tests/undo/test_mutations.py and test_undo_log.py",
    # Not tested without clusters: to be written.
    "splithorizon.mesh.cluster": "only runs with an engine: most behaviours read pods and gateways by it",
    "splithorizon.mesh.discovery": "only runs with an engine: the behaviours of suites/discovery read istiod by it",
    "splithorizon.mesh.injection": "only runs with an engine: behaviours that replace pods wait for it",
    "splithorizon.mesh.settling": "only runs with an engine: behaviours that change the mesh wait for it",
    "splithorizon.istio.names": "only runs with an engine, but for what tests/lab/test_gateway_address.py uses",
    "splithorizon.mesh.pinned": "only runs with an engine: every disruptive behaviour uses it",
    "lab.install": "only runs with an engine: every run on its own clusters installs Istio",
    "lab.kind": "only runs with an engine, but for the configuration, which tests/bench/test_bench.py writes",
}


def modules(root: Path = REPOSITORY) -> Iterator[tuple[str, Path]]:
    """Every module that has code, by its dotted name."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            body = ast.parse(path.read_text()).body
            code = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
            if any(isinstance(node, code) for node in body):
                parts = path.relative_to(root).with_suffix("").parts
                yield ".".join(part for part in parts if part != "__init__"), path


def test_module(name: str, path: Path) -> Path:
    """Where the tests of a module are; those of a package's own code are in the package's folder."""
    package, *inner = name.split(".")
    folder = inner if path.stem == "__init__" else inner[:-1]
    mirrored = ["tests", *([package] if package != "splithorizon" else []), *folder]
    return Path(*mirrored, f"test_{name.rpartition('.')[2]}.py")


test_module.__test__ = False  # type: ignore[attr-defined]  # a helper, whose name pytest takes for a test's


def problems(root: Path, known: Collection[str]) -> Iterator[str]:
    """What the layout lacks, and entries of the table that are no longer needed."""
    names = dict(modules(root))
    for name, path in names.items():
        expected = test_module(name, path)
        if (root / expected).exists() and name in known:
            yield f"{name} has {expected}: remove it from the table"
        elif not (root / expected).exists() and name not in known:
            yield f"{name} has no {expected}"
    yield from (f"{name} is in the table and does not exist" for name in known if name not in names)


def test_every_module_has_a_test_module_or_a_reason() -> None:
    assert list(problems(REPOSITORY, WITHOUT_A_TEST_MODULE)) == []


@pytest.mark.parametrize("name", WITHOUT_A_TEST_MODULE)
def test_a_reason_names_test_modules_that_exist(name: str) -> None:
    reason = WITHOUT_A_TEST_MODULE[name]
    assert len(reason) > 10
    named = [word.strip(",:;") for word in reason.split() if word.startswith("tests/")]
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("splithorizon.run.report", "report.py", "tests/run/test_report.py"),
        ("splithorizon.cli", "cli.py", "tests/test_cli.py"),
        ("splithorizon.checks", "__init__.py", "tests/checks/test_checks.py"),
        ("lab.ca", "ca.py", "tests/lab/test_ca.py"),
        ("lab.engine.probe", "probe.py", "tests/lab/engine/test_probe.py"),
        ("lab.engine", "__init__.py", "tests/lab/engine/test_engine.py"),
    ],
)
def test_a_test_module_is_found_by_the_name_of_its_module(name: str, path: str, expected: str) -> None:
    assert test_module(name, Path(path)) == Path(expected)


def test_what_is_missing_and_what_is_outdated_are_both_noticed(tmp_path: Path) -> None:
    for file in (
        "splithorizon/a.py",
        "splithorizon/b.py",
        "lab/c.py",
        "lab/d.py",
        "tests/test_b.py",
        "tests/lab/test_c.py",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x = 1\n")
    (tmp_path / "lab" / "__init__.py").write_text('"""Without code."""\nfrom __future__ import annotations\n')
    assert list(problems(tmp_path, {"splithorizon.b", "lab.d", "lab.gone"})) == [
        "splithorizon.a has no tests/test_a.py",
        "splithorizon.b has tests/test_b.py: remove it from the table",
        "lab.gone is in the table and does not exist",
    ]
