"""The command line of the suites: bad input ends at once, in one line, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest

from fixtures.options import duration
from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.conditions.behaviours import OF_SEVERAL_PRIMARIES
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.run import catalogue
from splithorizon.run.catalogue import EVERYDAY
from splithorizon.run.options import Options
from tests.support.child_pytest import REPOSITORY, pytest_in

SUITES = REPOSITORY / "suites"
MODULES = sorted(SUITES.rglob("test_*.py"))
USAGE = 4


def refused(tmp_path: Path, *arguments: str, **more: str) -> str:
    """Run the suites with bad input; the one line that they end with."""
    reports, home = tmp_path / "reports", tmp_path / "home"
    done = pytest_in(REPOSITORY, "suites/", f"--report-dir={reports}", "-n0", *arguments, home=home, more=more)
    said = done.stdout + done.stderr
    assert done.returncode == USAGE, said
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert not reports.exists()
    assert [path.name for path in home.rglob("*") if path.is_file()] == []
    return lines[0].removeprefix("ERROR: ")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("8h", 28800)])
def test_how_long_a_watch_lasts(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["soon", "0", "m", "-5", "1.5h", "5d"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match="--for"):
        duration(text)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kubeconfig=config"], "--kubeconfig names one file and this suite makes clusters"),
        (["--requests=5"], "--requests must be at least 100"),
        (["--namespace=team"], "--namespace: for a mesh that is there, which --contexts names"),
        (["--contexts=a,b", "--namespace=x", "--namespace-label=a=b"], "--namespace-label is for namespaces that the"),
        (["--timeout-scale=0"], "--timeout-scale must be positive"),
        (["--timeout-scale=nan"], "--timeout-scale must be"),
        (["--timeout-scale=inf"], "--timeout-scale must be"),
        (["--mesh=/does/not/exist"], "--mesh /does/not/exist: there is no such file"),
        (["--contexts=a,b", "--reuse"], "--reuse: said of clusters that this suite makes, and --contexts names a mesh"),
        (["--contexts=a,b", "--keep-on-failure"], "--keep-on-failure: said of clusters that this suite makes"),
        (["--images=built", "--istio-version=1.0.0"], "unknown Istio version '1.0.0'"),
        (["--images=built", "--kubernetes-version=1.0.0"], "unknown Kubernetes version '1.0.0'"),
        (["--kubernetes-version=1.35.4", "--images=published"], "--kubernetes-version 1.35.4: published images run"),
        (["--contexts=a,b", "--kubernetes-version=1.35.4"], "--kubernetes-version: said of clusters that this suite"),
        (["--upgrade-back"], "--upgrade-back: for an upgrade: say --upgrade-to too"),
        (["--for=30m", "--reuse", "--upgrade-to=1.29.1"], "--upgrade-to changes clusters that this run"),
        (["--upgrade-to=1.29.1", "--contexts=a,b"], "--upgrade-to: said of clusters that this suite makes"),
        (["--images=built", "--upgrade-to=1.0.0"], "unknown Istio version '1.0.0'"),
        (["--for=30m"], "--for is for a watch: say --watch too"),
        (["--watch", "--for=soon"], "--for soon: a number of seconds, or with s, m or h"),
        (["--watch", "--budget=lost"], "--budget lost: lost=N or lost=N%"),
        (["--watch", "--rate=0"], "--rate 0: 1 to 100"),
        ([f"--cluster-name={'a' * 42}"], f"--cluster-name '{'a' * 42}': kind takes"),
        (["--ca-dir=/does/not/exist"], "--ca-dir /does/not/exist cannot be used: "),
    ],
    ids=lambda value: value[-1][:30] if isinstance(value, list) else "",
)
def test_bad_input_is_refused_before_anything_is_created(tmp_path: Path, arguments: list[str], told: str) -> None:
    line = refused(tmp_path, *arguments)
    assert line.startswith(told)
    assert line.endswith("Nothing was created.")


def test_contexts_of_the_environment_are_taken_only_where_asked_for(tmp_path: Path) -> None:
    line = refused(tmp_path, "--contexts=env", CTX_CLUSTER1="one", CTX_CLUSTER2="two")
    assert line.startswith("--contexts: no context named 'one' in ")
    assert refused(tmp_path, "--contexts=env", CTX_CLUSTER1="one") == (
        "--contexts env: CTX_CLUSTER2 not set. Nothing was created."
    )


def test_contexts_of_the_environment_never_turn_a_run_against_a_mesh_and_are_said_to_be_ignored(
    tmp_path: Path,
) -> None:
    variables = {"CTX_CLUSTER1": "one", "CTX_CLUSTER2": "two"}
    # It goes as far as the look for what makes its own clusters.
    done = pytest_in(
        REPOSITORY, "suites/", f"--report-dir={tmp_path / 'reports'}", "-n0", "--reuse", "--ca-dir=/does/not/exist",
        home=tmp_path, more=variables,
    )  # fmt: skip
    assert done.returncode == USAGE
    assert "CTX_CLUSTER1 and CTX_CLUSTER2 are set and ignored" in done.stderr
    assert "ERROR: --ca-dir /does/not/exist cannot be used" in done.stderr
    assert "context" not in done.stderr.partition("ERROR: ")[2]
    swept = pytest_in(REPOSITORY, "--sweep", home=tmp_path, more=variables)
    assert "are set and ignored" in swept.stdout
    named = pytest_in(REPOSITORY, "--sweep", "--contexts=three,four", home=tmp_path, more={"CTX_CLUSTER2": "two"})
    assert "CTX_CLUSTER2 is set and ignored" in named.stdout
    assert "no context named 'three'" in named.stderr


def test_a_ca_that_is_none_is_refused_by_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    folder.mkdir()
    for name in ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"):
        (folder / name).write_text("not a certificate")
    line = refused(tmp_path, f"--ca-dir={folder}")
    assert "ca-cert.pem is not a certificate in PEM" in line
    assert line.endswith("Nothing was created.")


@pytest.mark.parametrize("option", ["--kind-bin", "--kind-kubectl-bin", "--istioctl"])
def test_a_program_that_is_not_there_is_refused_before_an_engine_is_looked_for(tmp_path: Path, option: str) -> None:
    line = refused(tmp_path, "--images=published", f"{option}=/does/not/exist")
    assert line == f"{option} /does/not/exist: there is no such file. Nothing was created."


def test_a_choice_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    done = pytest_in(REPOSITORY, "suites/", "--provider=lxc", home=tmp_path)
    assert done.returncode == USAGE
    assert "--provider: invalid choice: 'lxc'" in done.stderr
    assert "podman" in done.stderr


def test_help_names_every_option_with_its_meaning(tmp_path: Path) -> None:
    text = pytest_in(REPOSITORY, "--help", home=tmp_path).stdout
    group = text.partition("Istio on two networks")[2].partition("\n\n")[0]
    for option in ("--provider", "--images", "--istio-version", "--hub", "--reuse", "--sweep"):
        assert option in group
    assert "--keep-cluster" in text, "pytest-kind's own"


# Runs pytest in a Python that writes down whatever would start a program.
COLLECT = """
import json, sys
started = []
EVENTS = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn")
sys.addaudithook(lambda event, arguments: event in EVENTS and started.append(event))
import pytest

class Collected:
    def pytest_collection_finish(self, session):
        self.ids = [item.nodeid for item in session.items]

collected = Collected()
status = pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[2:]], [collected])
with open(sys.argv[1], "w") as file:
    json.dump([int(status), started, collected.ids], file)
"""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, list[str], list[str]]:
    """Exit status, the programs that were started, the node ids of the collected tests."""
    folder = tmp_path_factory.mktemp("collection")
    subprocess.run(
        [sys.executable, "-c", COLLECT, folder / "found", "suites/", "--profile=all", f"--report-dir={folder}/new"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert not (folder / "new").exists()
    status, started, ids = json.loads((folder / "found").read_text())
    return status, started, ids


def test_collecting_starts_no_program(
    collection: tuple[int, list[str], list[str]],
) -> None:
    status, started, ids = collection
    assert (status, started) == (0, [])
    assert len(ids) >= len(MODULES)


def test_the_readme_shows_as_many_checks_as_a_run_without_options_has(
    collection: tuple[int, list[str], list[str]],
) -> None:
    _, _, ids = collection
    everyday = {one.name for one in catalogue.behaviours(SUITES) if one.profile in EVERYDAY}
    modules = [Path(nodeid.partition("::")[0]).stem for nodeid in ids]
    collected = sum(module in everyday for module in modules)
    claimed = sum(module in everyday - {OF_SEVERAL_PRIMARIES} for module in modules)
    readme = (REPOSITORY / "README.md").read_text()
    assert f"= {collected} checks, of which a mesh with one primary is\nasked {claimed}." in readme
    assert set(re.findall(r"\b(\d+) checks", readme)) == {str(collected), str(claimed)}


def test_the_readme_says_how_modules_become_checks(collection: tuple[int, list[str], list[str]]) -> None:
    _, _, ids = collection
    everyday = {one.name for one in catalogue.behaviours(SUITES) if one.profile in EVERYDAY}
    times = Counter(Path(nodeid.partition("::")[0]).stem for nodeid in ids)
    by_route = {Path(nodeid.partition("::")[0]).stem for nodeid in ids if "→" in nodeid} & everyday
    by_cluster = {name for name in everyday - by_route if times[name] == 2}
    once = {name for name in everyday if times[name] == 1}
    assert by_route | by_cluster | once == everyday
    text = " ".join((REPOSITORY / "README.md").read_text().split())
    assert f"Of the {len(MODULES)} modules, {len(everyday)} belong to the default profiles" in text
    checks = sum(times[name] for name in everyday)
    assert f"{len(by_route)} × 2 + {len(by_cluster)} × 2 + {len(once)} = {checks} checks" in text
    assert f"The other {len(MODULES) - len(everyday)} modules" in text


def test_of_three_clusters_paths_are_collected_for_every_pair_and_gateways_for_those_of_two_networks(
    tmp_path: Path,
) -> None:
    asked = ("--collect-only", "-q", "suites/routing", "--topology", "three-clusters")
    ids = pytest_in(REPOSITORY, *asked, home=tmp_path).stdout.splitlines()
    across = {"cluster1→cluster3", "cluster2→cluster3", "cluster3→cluster1", "cluster3→cluster2"}
    for name, routes in {
        "test_each_version_takes_its_own_path": {*across, "cluster1→cluster2", "cluster2→cluster1"},
        "test_gateway_passes_to_its_own_pods": across,
    }.items():
        assert {one.partition("[")[2].rstrip("]") for one in ids if f"::{name}[" in one} == routes


def test_of_two_managed_clusters_each_is_judged(tmp_path: Path) -> None:
    clusters = json.loads((MANIFESTS / "topologies" / "primary-remote.json").read_text())
    third = {
        **clusters[1],
        "clusterName": "third",
        "network": "third",
        "podSubnet": "10.30.0.0/16",
        "svcSubnet": "10.130.0.0/16",
    }
    (tmp_path / "mesh.json").write_text(json.dumps([*clusters, third]))
    asked = ("--collect-only", "-q", "suites/latent", "suites/discovery", "--topology", str(tmp_path / "mesh.json"))
    ids = pytest_in(REPOSITORY, *asked, home=tmp_path).stdout.splitlines()
    for name in ("test_new_proxies_reach_istiod", "test_remote_finds_istiod_behind_the_gateway"):
        assert [one.partition("[")[2] for one in ids if f"::{name}" in one] == [
            f"{clusters[1]['clusterName']}]",
            "third]",
        ]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_behaviour_is_collected_for_every_route_or_cluster_that_it_has(
    collection: tuple[int, list[str], list[str]], module: Path
) -> None:
    _, _, ids = collection
    name = f"{module.relative_to(REPOSITORY)}::{module.stem}"
    found = {nodeid.removeprefix(name) for nodeid in ids if nodeid.startswith(name)}
    signature = module.read_text().partition(f"def {module.stem}(")[2].partition(")")[0]
    if re.search(r"\b(cluster: Cluster|gateway_cluster: Cluster|cluster_name: str)", signature):
        assert found == {"[primary]", "[remote]"}
    elif re.search(
        r"route: Route|sample: Sample|traced_batch: TracedBatch|new_connections: New|admission: Au", signature
    ):
        assert (
            found
            == {f"[{route}]" for route in PRIMARY_REMOTE.routes}
            == {
                "[primary→remote]",
                "[remote→primary]",
            }
        )
    elif "flaw: BadSecret" in signature:
        assert found == {"[loopback-server]", "[refused-token]"}
    else:
        assert found == {""}


def test_collecting_checks_no_input_and_leaves_no_report(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    done = pytest_in(REPOSITORY, "suites/", "--collect-only", "-q", f"--report-dir={reports}", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not reports.exists()


def test_a_report_has_every_option_as_a_value_of_json() -> None:
    options = Options(
        kind=Path("/bin/kind"), contexts=("east", "west"), exempt=("test_a=no zone", "test_b=slow"), requests=200
    )
    content = options.as_report()
    assert json.loads(json.dumps(content)) == content
    assert content.keys() == {field.name for field in fields(Options)}
    assert (content["kind"], content["contexts"], content["requests"]) == ("/bin/kind", "east,west", 200)
    assert content["exempt"] == "test_a=no zone,test_b=slow"
    assert content["profiles"] == ",".join(EVERYDAY)
    assert (content["kubectl"], content["keep"]) == (None, False)


@pytest.mark.parametrize(
    ("options", "outlived"),
    [
        (Options(), False),
        (Options(keep=True), True),
        (Options(keep_on_failure=True), False),
        (Options(reuse=True), True),
        (Options(contexts=("east", "west")), True),
        (Options(mesh=Path("mesh.json")), True),
    ],
)
def test_a_mesh_that_is_kept_or_existed_before_outlives_the_run(options: Options, outlived: bool) -> None:
    assert options.outlived is outlived
    assert replace(options, requests=200, rebuild=True).outlived is outlived
