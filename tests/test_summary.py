"""The end-of-run summary tells a mesh engineer what held, what did not, and what to type next."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import PurePath

import pytest

from splithorizon.not_restored import NotRestored
from splithorizon.progress import StepTime
from splithorizon.report import BehaviourResult, NotClaimed, RunReport, Totals
from splithorizon.summary import WIDTH, markdown, rerun_command, summary
from splithorizon.verdict import Verdict

pytest_plugins = ["pytester"]

STEPS = (
    StepTime("podman", None, 0.0, 1.5, "done"),
    StepTime("kind cluster", "primary", 2.0, 46.1, "done"),
    StepTime("kind cluster", "remote", 2.0, 48.0, "done"),
    StepTime("istiod", "primary", 48.1, 12.0, "done"),
    StepTime("workloads ready", "remote", 60.0, 26.0, "done"),
    StepTime("kind cluster deleted", "primary", 101.0, 9.0, "done"),
    StepTime("kind cluster deleted", "remote", 101.0, 11.4, "done"),
)


def result(stem: str, claim: str, *, area: str = "routing", route: str = "", key_number: str = "") -> BehaviourResult:
    """Make a conformant one."""
    case = f"[{route}]".replace("→", "\\u2192") if route else ""
    return BehaviourResult(
        area=area,
        behaviour=stem,
        claim=claim,
        route=route,
        nodeid=f"suites/{area}/{stem}.py::{stem}{case}",
        verdict=Verdict.CONFORMANT,
        seconds=4.6,
        key_number=key_number,
    )


def words(command: str) -> list[str]:
    """Split a command as a shell does; shlex knows nothing of lines that go on."""
    return shlex.split(command.replace("\\\n", ""))


PATH_CLAIM = "The far version is reached through its network's gateway, and the near version straight at its pod."
RESULTS = (
    result(
        "test_each_version_takes_its_own_path",
        PATH_CLAIM,
        route="primary→remote",
        key_number="1,000 of 1,000 joined",
    ),
    result(
        "test_workloads_are_ready",
        "helloworld and the client are ready.",
        area="readiness",
        route="primary",
    ),
    result(
        "test_each_version_takes_its_own_path",
        PATH_CLAIM,
        route="remote→primary",
        key_number="1,000 of 1,000 joined",
    ),
    result(
        "test_each_version_runs_in_one_cluster",
        "v1 runs only in the primary, v2 only in the remote.",
        area="placement",
    ),
)
GREEN = RunReport(
    run_id="run-1",
    started="2026-11-23T02:31:00.000Z",
    finished="2026-11-23T02:32:52.500Z",
    command=("pytest", "suites/", "--istio-version=1.29.1"),
    versions={
        "splithorizon": "0.1.0",
        "python": "3.11.2",
        "provider": "podman",
        "engine": "4.3.1",
        "kubernetes": "1.34.4",
        "istio": {"primary": "1.29.1", "remote": "1.29.1"},
        "images": "built",
    },
    topology={
        "clusters": [
            {
                "network": "primary-network",
                "pod_subnet": "10.10.0.0/16",
                "gateway_addresses": ["172.18.0.2:15443"],
            },
            {
                "network": "remote-network",
                "pod_subnet": "10.20.0.0/16",
                "gateway_addresses": ["172.18.0.3:15443"],
            },
        ]
    },
    steps=STEPS,
    behaviours=RESULTS,
    totals=Totals(2000, 2000, 0),
    verdict=Verdict.CONFORMANT,
    exit_status=0,
)
WRONG = replace(
    RESULTS[0],
    verdict=Verdict.NOT_CONFORMANT,
    key_number="30 of 1,000 past the gateway",
    failure="primary→remote: 30 of 1,000 requests left the client towards 10.20.0.7:5000 "
    "(a pod IP), expected 172.18.0.3:15443.",
    likely_cause='namespace istio-system in cluster "remote" lacks topology.istio.io/network',
    next_command="istioctl --kubeconfig /run/user/0/splithorizon-0/runs/run-1/primary.kubeconfig "
    "proxy-config endpoint sleep.sample",
)
RED = replace(GREEN, verdict=Verdict.NOT_CONFORMANT, behaviours=(WRONG, *RESULTS[1:]), exit_status=1)


def test_a_conformant_run_at_a_glance() -> None:
    lines = summary(GREEN)
    text = "\n".join(lines)
    assert "CONFORMANT: of 4 checks 4 conformant" in lines
    assert "  2,000 requests, 2,000 joined to their own log line, 0 not" in lines
    assert "Istio 1.29.1 in primary and remote · Kubernetes 1.34.4 · podman 4.3.1 · built images" in lines
    assert "primary-network: pods 10.10.0.0/16, gateway 172.18.0.2:15443" in lines
    assert "remote-network: pods 10.20.0.0/16, gateway 172.18.0.3:15443" in lines
    assert "reports/run-1/report.json" in text
    assert "reports/run-1/junit.xml" in text
    assert "run again" not in text


def test_the_table_groups_routes_under_their_claim() -> None:
    lines = summary(GREEN)
    claim = [number for number, line in enumerate(lines) if "The far version" in line]
    assert len(claim) == 1, "the claim is told once"
    routes = [line.split() for line in lines[claim[0] :] if "→" in line]
    assert [(route[0], route[2], route[-1]) for route in routes] == [
        ("primary→remote", "conformant", "4.6"),
        ("remote→primary", "conformant", "4.6"),
    ]
    placement = next(line for line in lines if line.startswith("placement"))
    assert "✓ conformant" in placement, "no route, so one line"
    areas = [line.split()[0] for line in lines if line.split(" ")[0] in {"placement", "readiness", "routing"}]
    assert areas == ["placement", "readiness", "routing"]


@pytest.mark.parametrize("run", [GREEN, RED], ids=["green", "red"])
def test_columns_are_aligned_and_narrow(run: RunReport) -> None:
    lines = summary(run)
    wide = [line for line in lines if len(line) > WIDTH]
    assert all(line.startswith(("    look:   istioctl", "  'suites/")) for line in wide), (
        "only commands, which are to be copied"
    )
    head = next(line for line in lines if line.startswith("area"))
    column = head.index("verdict")
    glyphs = [
        line.index(glyph) for line in lines for glyph in "✓✗" if f"{glyph} " in line and not line.startswith(glyph)
    ]
    assert set(glyphs) == {column}
    seconds = {len(line) for line in lines if line.endswith(" 4.6")}
    assert seconds == {WIDTH}
    assert head.endswith("seconds")
    assert len(head) == WIDTH


def test_words_as_long_as_they_come_stay_in_their_column() -> None:
    endless = replace(RESULTS[0], claim="x" * 300, key_number="z" * 90, area="a" * 20)
    lines = summary(replace(GREEN, behaviours=(endless,)))
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.count("x" * 10) > 0 for line in lines) > 5
    assert sum(line.count("z") for line in lines) == 90


def test_a_failure_says_what_why_and_what_next() -> None:
    lines = summary(RED)
    assert any(line == "NOT CONFORMANT: of 4 checks 1 not conformant, 3 conformant" for line in lines)
    start = next(number for number, line in enumerate(lines) if line.startswith("✗ routing: The far version"))
    told = "\n".join(lines[start:])
    assert "towards 10.20.0.7:5000 (a pod IP)" in told
    assert 'likely: namespace istio-system in cluster "remote" lacks' in told
    assert f"look:   {WRONG.next_command}" in told, "in one piece, to be copied"
    said_already = replace(WRONG, failure=f"{WRONG.failure} Likely: {WRONG.likely_cause}. Try: {WRONG.next_command}")
    assert "likely:" not in "\n".join(summary(replace(RED, behaviours=(said_already,))))


def test_replies_that_were_not_joined_are_counted() -> None:
    text = "\n".join(summary(replace(RED, totals=Totals(requests=1000, joined=998, unjoined=2))))
    assert "1,000 requests, 998 joined to their own log line, 2 not" in text


def test_a_long_failure_is_cut_and_the_rest_is_in_the_file() -> None:
    long = replace(WRONG, failure="\n".join(f"line {number}" for number in range(50)))
    text = "\n".join(summary(replace(RED, behaviours=(long,))))
    assert "line 7" in text
    assert "line 8" not in text
    assert "42 more lines in report.json" in text


def test_an_inconclusive_run_says_what_broke() -> None:
    broken = replace(
        GREEN,
        verdict=Verdict.INCONCLUSIVE,
        inconclusive_reason="kind create cluster failed: no space left on device",
        behaviours=(),
        topology={},
        totals=Totals(),
        steps=STEPS[:2],
        not_claimed=(NotClaimed("test_failover", "needs --allow-disruption"),),
        exit_status=10,
    )
    lines = summary(broken)
    assert "INCONCLUSIVE: no check ran" in lines
    assert "  because: kind create cluster failed: no space left on device" in lines
    assert "  not claimed: test_failover (needs --allow-disruption)" in lines
    assert lines[-2:] == ["run again:", "  pytest suites/ --istio-version=1.29.1"]
    assert any(line.startswith("time: 112.5 s = set-up 112.5 s + checks 0.0 s") for line in lines)


LOST = (
    NotRestored(
        "ConfigMap mesh/istio of the primary", "somebody changed it meanwhile", "kubectl get it", pending=False
    ),
    NotRestored(
        "Secret mesh/s of the primary", "the API server does not answer", f"pytest --sweep {'x' * 110}", pending=True
    ),
)


def test_what_was_not_restored_is_the_first_thing_said_with_its_command_in_one_piece() -> None:
    first, second, third, fourth = summary(replace(GREEN, not_restored=LOST))[1:5]
    assert first == "NOT RESTORED: Secret mesh/s of the primary: the API server does not answer"
    assert second == f"  restore it with: pytest --sweep {'x' * 110}"
    assert third == "LEFT ALONE: ConfigMap mesh/istio of the primary: somebody changed it meanwhile"
    assert fourth == "  look at it with: kubectl get it"
    lines = markdown(replace(GREEN, not_restored=LOST)).splitlines()
    assert lines[2:5] == ["```text", first, second]


def test_time_is_shown_by_phase_and_side_by_side() -> None:
    lines = summary(GREEN)
    assert "time: 112.5 s = set-up 86.0 s + checks 15.0 s + removal 11.5 s; the longest steps:" in lines
    bars = {
        line[: line.index(" s |")].rstrip("0123456789. ").strip(): line.split("|")[1]
        for line in lines
        if line.endswith("|")
    }
    assert len({len(bar) for bar in bars.values()}) == 1
    primary, remote = bars["[primary] kind cluster"], bars["[remote] kind cluster"]
    assert primary.index("█") == remote.index("█"), "they began together"
    assert remote.count("█") > primary.count("█")
    assert bars["[primary] istiod"].index("█") >= primary.rindex("█"), "istiod came after its cluster"
    assert bars["[remote] kind cluster deleted"].endswith("█"), "with it the run ended"


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (STEPS[:5], "112.5 s = set-up 86.0 s + checks 26.5 s + removal 0.0 s"),
        (STEPS[5:], "112.5 s = set-up 0.0 s + checks 101.0 s + removal 11.5 s"),
    ],
    ids=["kept", "removed only"],
)
def test_phases_where_one_is_missing(steps: tuple[StepTime, ...], line: str) -> None:
    assert any(line in told for told in summary(replace(GREEN, steps=steps)))


def test_a_failed_step_is_shown_however_short() -> None:
    many = tuple(StepTime(f"step {number}", None, number, 5.0 + number, "done") for number in range(20))
    lines = summary(replace(GREEN, steps=(*many, StepTime("istiod", "primary", 30.0, 0.2, "failed"))))
    bars = [line for line in lines if line.endswith("|")]
    assert len(bars) == 8
    assert any(line.startswith("  [primary] istiod, failed ") for line in bars)


def test_no_steps_and_no_time_at_all_still_sum_up() -> None:
    assert not any("time:" in line for line in summary(replace(GREEN, steps=())))
    instant = replace(GREEN, finished=GREEN.started, steps=(StepTime("podman", None, 0.0, 0.0, "done"),))
    assert any("time: 0.0 s" in line for line in summary(instant))


def test_ascii_keeps_every_column() -> None:
    plain = summary(RED, unicode=False)
    assert all(line.isascii() for line in plain)
    assert [len(line) for line in plain] == [len(line) for line in summary(RED)]
    text = "\n".join(plain)
    assert "primary>remote" in text
    assert "x not conformant" in text
    assert "###" in text
    assert "?" not in text


def test_the_rerun_keeps_options_and_drops_what_passed() -> None:
    run = replace(
        RED,
        command=(
            "pytest",
            "suites/",
            "-n",
            "2",
            "--hub=127.0.0.1:5000/istio",
            "-k",
            "path or ready",
        ),
    )
    assert rerun_command(run).splitlines() == [
        "pytest -n 2 --hub=127.0.0.1:5000/istio -k 'path or ready' \\",
        f"  '{WRONG.nodeid}'",
    ]
    by_file = replace(RED, command=("pytest", "./suites/routing/test_x.py::test_x", "/work/main/suites", "-v"))
    assert words(rerun_command(by_file)) == ["pytest", "-v", WRONG.nodeid]


def test_the_rerun_attaches_to_clusters_that_were_kept() -> None:
    kept = replace(RED, options={"keep": True, "reuse": False}, command=("pytest", "suites/", "--keep-cluster"))
    assert words(rerun_command(kept))[:3] == ["pytest", "--keep-cluster", "--reuse"]
    again = replace(kept, options={"keep": True, "reuse": True}, command=("pytest", "--keep-cluster", "--reuse"))
    assert words(rerun_command(again)).count("--reuse") == 1


def test_the_rerun_really_runs_the_failures_and_nothing_else(pytester: pytest.Pytester) -> None:
    suite = pytester.mkpydir("suites") / "test_paths.py"
    suite.write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('route', ['primary→remote', 'remote→primary'])\n"
        "def test_path(route):\n    assert route == 'primary→remote'\n"
        "def test_other():\n    pass\n",
        encoding="utf-8",
    )
    first = pytester.inline_run("suites/", "-q", "-p", "no:cacheprovider")
    calls = [found for found in first.getreports("pytest_runtest_logreport") if found.when == "call"]
    assert [found.outcome for found in calls] == ["passed", "failed", "passed"]
    verdicts = {"passed": Verdict.CONFORMANT, "failed": Verdict.NOT_CONFORMANT}
    results = tuple(replace(WRONG, nodeid=found.nodeid, verdict=verdicts[found.outcome]) for found in calls)
    run = replace(RED, command=(sys.executable, "-m", "pytest", "suites/", "-v"), behaviours=results)
    second = pytester.run("sh", "-c", rerun_command(run))
    assert second.parseoutcomes() == {"failed": 1}
    second.stdout.fnmatch_lines(["*[[]remote\\u2192primary[]] FAILED*"])


def test_the_folder_may_lie_elsewhere() -> None:
    assert any("/srv/ci/r1/report.json" in line for line in summary(GREEN, folder=PurePath("/srv/ci/r1")))


def test_markdown_shows_the_same_and_lets_nothing_through() -> None:
    sly = replace(
        WRONG,
        claim="a | b <script>alert(1)</script>",
        failure="seen:\n```\nfenced\n```",
        key_number="1\n2",
        likely_cause="x",
    )
    text = markdown(replace(RED, behaviours=(sly, *RESULTS[1:])))
    assert text.startswith("## splithorizon: ✗ NOT CONFORMANT\n")
    assert "<script>" not in text
    assert "a \\| b &lt;script&gt;" in text
    assert "| 1<br>2 |" in text
    assert "\n````text\nseen:\n```\nfenced\n```\nlikely: x\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| routing")]
    assert len(rows) == 2
    assert all(line.replace("\\|", "").count("|") == 7 for line in rows)
    assert text.count("<details") == text.count("</details>") == 2
    assert "set-up 86.0 s" in text
    assert "| [remote] kind cluster | 2.0 | 48.0 |" in text
    assert f"  '{WRONG.nodeid}'" in text


def test_markdown_of_a_run_that_broke() -> None:
    broken = replace(
        GREEN,
        verdict=Verdict.INCONCLUSIVE,
        inconclusive_reason="node <gone>",
        behaviours=(),
        steps=(),
        topology={},
    )
    text = markdown(broken)
    assert "## splithorizon: ? INCONCLUSIVE" in text
    assert "Because: node &lt;gone&gt;" in text
    assert "| area |" not in text
    assert "```sh\npytest suites/ --istio-version=1.29.1\n```" in text
