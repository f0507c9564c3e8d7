"""The benchmark's arithmetic, and a dry run of its script, in which scripts stand for all programs of clusters."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench import Half, Pair, Step
from bench.__main__ import environment_by_hand, main
from lab import topology
from lab.ca import Trust
from lab.engine import Engine
from lab.images import ImageSet
from splithorizon.run.progress import StepTime
from splithorizon.run.report import BehaviourResult, RunReport, Versions
from splithorizon.run.verdict import Verdict

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "bench" / "by_hand.sh"
PLAN = topology.plan("by-hand")


def pair(by_hand: float, suite: float) -> Pair:
    return Pair(Half(by_hand, by_hand / 2, (Step("istiod", 12.0),)), Half(suite, suite, (Step("istiod", 10.0),)))


PAIRS = [pair(200, 60), pair(100, 50), pair(160, 64)]


def test_the_ratio_is_the_suites_share_of_the_time_by_hand() -> None:
    assert [each.ratio for each in PAIRS] == pytest.approx([0.3, 0.5, 0.4])


def test_the_median_is_of_the_pairs_ratios_and_not_the_ratio_of_medians() -> None:
    content = bench.as_json([pair(100, 20), pair(200, 100), pair(300, 90)], cores=2)
    assert content["ratio"] == {"median": 0.3, "min": 0.2, "max": 0.5}
    assert content["suite"]["median"] / content["by_hand"]["median"] == pytest.approx(0.45)


def test_the_table_holds_every_run_and_the_goal() -> None:
    head, by_hand, suite, ratio, _ = bench.table(PAIRS, 2)
    assert re.split(r" {2,}", head.strip()) == ["run 1", "run 2", "run 3", "median", "min", "max"]
    assert by_hand.split()[2::2] == ["200.0", "100.0", "160.0", "160.0", "100.0", "200.0"]
    assert suite.split()[2::2] == ["60.0", "50.0", "64.0", "60.0", "50.0", "64.0"]
    assert ratio.split() == ["ratio", "0.300", "0.500", "0.400", "0.400", "0.300", "0.500", "goal", "≤", "0.45"]
    assert len({len(row.partition("   goal")[0]) for row in (head, by_hand, suite, ratio)}) == 1


def test_one_pair_is_its_own_median() -> None:
    assert bench.as_json(PAIRS[:1], cores=2)["ratio"] == {"median": 0.3, "min": 0.3, "max": 0.3}
    assert len(bench.table(PAIRS[:1], 2)) == 5


def test_the_lowest_ratio_is_that_of_cores_that_are_always_busy() -> None:
    assert [each.floor(2) for each in PAIRS] == pytest.approx([0.15, 0.25, 0.2])
    assert bench.as_json(PAIRS, cores=4)["floor"] == pytest.approx({"median": 0.1, "min": 0.075, "max": 0.125})
    *_, floor = bench.table(PAIRS, 2)
    assert floor.split()[1:7] == ["0.150", "0.250", "0.200", "0.200", "0.150", "0.250"]
    assert floor.endswith("if all 2 cores are always busy")


def test_idle_time_and_waiting_for_disks_do_not_count_as_busy() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [1, 2, 3, 1000, 1000, 4, 5, 1000, 0, 0]
    stat = " ".join(["cpu ", *(str(field * ticks) for field in fields)])
    assert bench.cores_worked(f"{stat}\ncpu0 9 9 9 9 9 9 9 9 9 9\n") == 15


@pytest.mark.parametrize(("seconds", "middle"), [([3, 1, 2], 2), ([4, 1, 3, 2], 2), ([5], 5)])
def test_the_median_run_is_one_of_the_runs(seconds: list[float], middle: float) -> None:
    assert bench.median_run([Half(each, each, ()) for each in seconds]).seconds == middle


def test_where_time_went_is_six_steps_longest_first() -> None:
    steps = tuple(Step(f"step {number}", number) for number in (3, 1, 8, 2, 5, 7, 4, 6))
    head, *rest = bench.where_time_went("by hand", Half(36.0, 50.0, steps))
    assert head == "by hand, of 36.0 s:"
    assert [line.split()[-1] for line in rest] == ["8", "7", "6", "5", "4", "3"]


def test_everything_measured_is_in_the_json() -> None:
    content = json.loads(json.dumps(bench.as_json(PAIRS, cores=2)))
    assert content["cores"] == 2
    assert content["goal"] == 0.45
    assert [(run["by_hand"]["seconds"], run["suite"]["seconds"]) for run in content["runs"]] == [
        (200, 60), (100, 50), (160, 64),
    ]  # fmt: skip
    assert content["runs"][0]["by_hand"]["worked"] == 100
    assert content["runs"][0]["suite"]["steps"] == [{"name": "istiod", "seconds": 10.0}]


def test_steps_by_hand_last_until_the_next_begins() -> None:
    output = "@ 100.5 kind cluster, primary\nCreating @ 7.0 no\n@ 130.25 istiod\n@ 131.0 end\n"
    assert bench.steps_by_hand(output) == (Step("kind cluster, primary", 29.75), Step("istiod", 0.75))


@pytest.mark.parametrize("output", ["", "@ 100.5 kind cluster\n@ 110.0 istiod\n"])
def test_a_script_that_stopped_half_way_gives_no_steps(output: str) -> None:
    with pytest.raises(ValueError, match="did not complete"):
        bench.steps_by_hand(output)


def test_the_suites_steps_are_its_reports_and_its_checks() -> None:
    result = BehaviourResult("routing", "b", "c", "n", Verdict.CONFORMANT, 2.5)
    report = RunReport(
        run_id="r", started="2026-11-23T02:31:00.000Z", finished="2026-11-23T02:32:52.500Z", command=("pytest",),
        versions=Versions("0.1.0", "3.11.2"), verdict=Verdict.CONFORMANT, exit_status=0,
        steps=(StepTime("istiod", "primary", 1.0, 9.5, "done"), StepTime("deleted", None, 20.0, 1.5, "done")),
        behaviours=(result, replace(result, behaviour="d", seconds=0.5)),
    )  # fmt: skip
    steps = [(step.name, step.seconds) for step in bench.steps_of_suite(report)]
    assert steps == [("istiod, primary", 9.5), ("deleted", 1.5), ("checks", 3.0)]


@pytest.mark.parametrize("runs", ["0", "-1", "x"])
def test_no_runs_at_all_are_refused_before_anything_begins(runs: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--runs", runs])
    assert ended.value.code == 2


# Stands for every program that talks to a cluster: writes down how it was called and what it was given, and says
# what the real one would say to the few calls whose answer the script reads. The CA is openssl's own.
RECORDER = """#!/bin/bash
call="${0##*/} $*"
echo "$call" >>"$CALLS"
[[ $call != *"-f -" ]] || sed 's/^/  | /' >>"$CALLS"
if [[ -n $BROKEN && $call == *"$BROKEN"* ]]; then
  echo "Error: $call" >&2
  exit 1
fi
case $call in
  *"route show default"*) printf 'unreachable default metric 0\\ndefault via 10.89.0.1 dev eth0 metric 100\\n' ;;
  *"get nodes"*) [[ $call == *remote* ]] && printf 10.89.0.3 || printf 10.89.0.2 ;;
  *caBundle*) printf LS0t ;;
  *"get pod "*) printf sleep-1 ;;
  *"-- curl"*) echo "Hello version: v$((1 + $(wc -l <"$CALLS") % VERSIONS)), instance: x" ;;
  *" logs "*) echo "\\"GET /hello HTTP/1.1\\" 200 \\"10.89.0.2:$UPSTREAM_PORT\\"" ;;
  *create-remote-secret*) echo "kind: Secret" ;;
esac
"""
# Keys of 4096 bits, three a run, take seconds.
QUICK_OPENSSL = f"""#!/bin/bash
exec {shutil.which("openssl")} "${{@/#4096/$KEY_BITS}}"
"""


class DryRun:
    """One run of the script among recorders."""

    def __init__(self, folder: Path, **environment: str) -> None:
        programs = folder / "programs"
        self.folder = folder / "run"
        self.folder.mkdir()
        programs.mkdir()
        recorders = dict.fromkeys(("podman", "kind", "kubectl", "istioctl"), RECORDER)
        for name, text in {**recorders, "openssl": QUICK_OPENSSL}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        engine = Engine(provider="podman", command=programs / "podman", environment={}, lacks_resource_capability=False)
        variables = environment_by_hand(engine, images(programs), PLAN, self.folder)
        calls = folder / "calls"
        calls.touch()
        answers = {"KEY_BITS": "2048", "CALLS": str(calls), "BROKEN": "", "VERSIONS": "2", "UPSTREAM_PORT": "15443"}
        self.done = subprocess.run(
            ["bash", str(SCRIPT)],
            cwd=self.folder,
            env={"PATH": f"{programs}:{os.environ['PATH']}", **variables, **answers, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.calls = calls.read_text().splitlines()

    def index(self, part: str) -> int:
        """Where the first call with that part stands."""
        return next(at for at, call in enumerate(self.calls) if part in call)


def images(programs: Path) -> ImageSet:
    samples = {
        "istio/examples-helloworld-v1:1.0": "local/hello-v1:build",
        "istio/examples-helloworld-v2:1.0": "local/hello-v2:build",
        "curlimages/curl:8.16.0": "local/curl:build",
    }
    return ImageSet(
        mode="built", node="local/node:key", own_node=True, istio_hub="local", istio_version="1.29.1",
        samples=samples, to_load=(), upstream_envoy=True, kind=programs / "kind", kubectl=programs / "kubectl",
        istioctl=programs / "istioctl", versions={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> DryRun:
    run = DryRun(tmp_path_factory.mktemp("by-hand"))
    assert run.done.returncode == 0, run.done.stdout + run.done.stderr
    return run


def test_by_hand_says_its_steps_to_the_end(dry_run: DryRun) -> None:
    names = [step.name for step in bench.steps_by_hand(dry_run.done.stdout)]
    assert names[0] == "kind cluster, primary"
    assert names[-1] == "clusters deleted"


def test_by_hand_closes_each_network_before_anything_else_happens_there(dry_run: DryRun) -> None:
    for cluster in PLAN:
        created = dry_run.index(f"kind create cluster --name {cluster.kind_name} --image local/node:key")
        assert dry_run.calls[created + 1 : created + 6] == [
            f"podman exec {cluster.node} ip route replace {cluster.service_subnet} dev eth0 scope link",
            f"podman exec {cluster.node} ip route replace unreachable default metric 0",
            f"podman exec {cluster.node} ip route show default",
            f"podman exec {cluster.node} ip route del default via 10.89.0.1 dev eth0 metric 100",
            f"podman exec {cluster.node} sysctl --quiet --write net.ipv4.icmp_ratelimit=0",
        ]


def test_by_hand_closes_networks_as_the_suite_does() -> None:
    # By hand the two clusters are on a network each: there is nothing to join.
    isolating, _, rest = (REPOSITORY / "lab/network_isolation.py").read_text().partition("def join(")
    commands = re.findall(r"in_node\(([^*)]+)", isolating + rest.partition("\n\n\n")[2])
    words = [re.findall(r'"([^"]+)"', command) for command in commands]
    assert len(words) == 5
    script = SCRIPT.read_text()
    for command in words:
        assert all(word in script for word in command), command


def test_by_hand_makes_a_trust_that_the_suite_itself_would_take(dry_run: DryRun) -> None:
    trust = Trust.read(dry_run.folder)
    assert trust.files["primary"]["ca-cert.pem"] != trust.files["remote"]["ca-cert.pem"]
    assert dry_run.folder.joinpath("primary", "ca-key.pem").stat().st_mode & 0o077 == 0


def test_by_hand_installs_in_the_order_that_each_step_needs(dry_run: DryRun) -> None:
    kind_primary, kind_remote = (
        f"--context=kind-{PLAN['primary'].kind_name}",
        f"--context=kind-{PLAN['remote'].kind_name}",
    )
    order = [
        "kind create cluster --name by-hand-primary",
        "kind create cluster --name by-hand-remote",
        f"kubectl {kind_primary} create secret generic cacerts",
        f"kubectl {kind_remote} create secret generic cacerts",
        "primary.yaml -f",
        "primary-eastwest-gateway.yaml",
        "expose-istiod.yaml",
        "cross-network-gateway.yaml",
        "strict-mtls.yaml",
        '{"ip":"10.89.0.2"}',
        "--set values.global.remotePilotAddress=10.89.0.2",
        f"istioctl create-remote-secret {kind_remote} --name=remote --server=https://10.89.0.3:6443",
        "  | kind: Secret",
        f"kubectl {kind_remote} get mutatingwebhookconfigurations",
        "remote-eastwest-gateway.yaml",
        '{"ip":"10.89.0.3"}',
        "helloworld-service.yaml",
        "wait --for=condition=available",
        "-- curl",
        " logs ",
        "kind delete cluster --name by-hand-remote",
        "kind delete cluster --name by-hand-primary",
    ]
    positions = [dry_run.index(part) for part in order]
    assert positions == sorted(positions)
    installed = [call for call in dry_run.calls if call.startswith("istioctl install")]
    assert len(installed) == 4
    assert all("--set hub=local --set tag=1.29.1" in call for call in installed)


def test_by_hand_applies_every_manifest_that_the_suite_applies(dry_run: DryRun) -> None:
    used = set(re.findall(r"manifests/(\S+\.yaml)", "\n".join(dry_run.calls)))
    folder = REPOSITORY / "manifests"
    of_the_other_mode, of_an_upgrade = "istio/mesh-networks.yaml", "istio/expose-istiod-revision.yaml"
    applied = {str(file.relative_to(folder)) for file in (folder / "istio").glob("*.yaml")}
    wanted = applied - {of_the_other_mode, of_an_upgrade}
    assert wanted <= used
    assert all((folder / file).is_file() for file in used)


def test_by_hand_runs_the_suites_own_images(dry_run: DryRun) -> None:
    images = [call.split()[-1] for call in dry_run.calls if re.match(r"  \| +image: ", call)]
    assert images == ["local/hello-v2:build", "local/curl:build", "local/hello-v1:build", "local/curl:build"]


def test_by_hand_calls_twenty_times_from_each_side(dry_run: DryRun) -> None:
    for cluster in PLAN:
        part = f"--context=kind-{cluster.kind_name} exec -n sample -c sleep sleep-1 -- curl"
        assert sum(part in call for call in dry_run.calls) == 20


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"BROKEN": "ip route del"}, "Error: podman exec"),
        ({"BROKEN": "remote-eastwest-gateway.yaml"}, "Error: istioctl install"),
        ({"BROKEN": "create-remote-secret"}, "Error: istioctl create-remote-secret"),
        ({"BROKEN": "-- curl"}, "Error: kubectl"),
        ({"VERSIONS": "1"}, "no reply of v2 at kind-by-hand-primary"),
        ({"UPSTREAM_PORT": "5000"}, "no request of kind-by-hand-primary went to a gateway"),
        ({"HUB": ""}, "HUB"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else value.replace(" ", "-"),
)
def test_by_hand_fails_where_a_step_does(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    run = DryRun(tmp_path, KEY_BITS="1024", **environment)
    assert run.done.returncode != 0
    assert said in run.done.stderr
    assert not any(call.startswith("kind delete") for call in run.calls)
    with pytest.raises(ValueError, match="did not complete"):
        bench.steps_by_hand(run.done.stdout)
