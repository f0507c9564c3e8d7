"""The summary shows a mesh engineer which claims hold, which do not and why, and what to run next."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath

import pytest

from splithorizon.run.markdown import markdown
from splithorizon.run.progress import StepTime
from splithorizon.run.report import (
    Condition,
    Diagnosis,
    Fact,
    NotClaimed,
    RunReport,
    Totals,
    Unclaimed,
)
from splithorizon.run.summary import WIDTH, summary
from splithorizon.run.verdict import Verdict
from splithorizon.undo.not_restored import NotRestored
from tests.support.run_reports import GREEN, PATH_CLAIM, RED, RESULTS, STEPS, WRONG, result


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
    claim = [number for number, line in enumerate(lines) if "A far network's version" in line]
    assert len(claim) == 1, "the claim is printed once"
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
    assert all(line.startswith(("        istioctl", "    'suites/")) for line in wide), "only commands, to be copied"
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


def test_long_words_stay_in_their_column() -> None:
    endless = replace(RESULTS[0], claim="x" * 300, key_number="z" * 90, area="a" * 20)
    lines = summary(replace(GREEN, behaviours=(endless,)))
    assert max(map(len, lines)) <= WIDTH
    assert sum(line.count("x" * 10) > 0 for line in lines) > 5
    assert sum(line.count("z") for line in lines) == 90


def test_a_failure_says_what_why_and_what_next() -> None:
    lines = summary(RED)
    assert any(line == "NOT CONFORMANT: of 4 checks 1 not conformant, 3 conformant" for line in lines)
    start = next(number for number, line in enumerate(lines) if line.startswith("✗ routing: A far network's version"))
    assert lines[start + 2 : start + 11] == [
        "    The far version is reached through its gateway.",
        "      expected: 172.18.0.3:15443",
        "      seen:     30 of 1,000 requests left the client towards 10.20.0.7:5000 (a pod IP)",
        "      samples:  1000",
        '      likely:   namespace istio-system in cluster "remote" lacks topology.istio.io/network',
        "      look further:",
        f"        {WRONG.next_command}",
        "        (the run has removed its clusters: add --keep-cluster to keep them for this command)",
        "",
    ]
    text = "\n".join(lines)
    for said in ("30 of 1,000 requests", "lacks topology.istio.io/network", WRONG.next_command):
        assert text.count(said) == 1, "printed once"


HOOKS = replace(
    result("test_new_pods_are_injected", "New pods are injected.", area="latent", route="remote"),
    verdict=Verdict.NOT_CONFORMANT, latent=True, failure="refused", likely_cause="no Service", next_command="kubectl x",
)  # fmt: skip


def test_what_is_latent_is_called_so_and_traffic_whole_where_nothing_else_failed() -> None:
    cause = Diagnosis("webhook-leads-nowhere", "the webhook names a Service that is not there", latent=True)
    run = replace(RED, behaviours=(*RESULTS, HOOKS), diagnosis=cause)
    lines = summary(run)
    assert "ROOT CAUSE, LATENT: the webhook names a Service that is not there (webhook-leads-nowhere)" in lines
    counted = lines.index("NOT CONFORMANT: of 5 checks 1 not conformant, 4 conformant")
    whole = "1 of 1 not conformant are latent: traffic is whole, and the next pod, proxy or token fails"
    assert lines[counted + 1] == f"  {whole}"
    title = lines.index("✗ latent: New pods are injected (remote)")
    assert lines[title + 1] == "    latent: traffic does not need it now, and the next pod, proxy or token fails"
    assert whole in markdown(run)
    assert "**Root cause, latent**" in markdown(run)


def test_traffic_is_not_called_whole_where_it_failed_too_or_was_not_asked() -> None:
    both = "\n".join(summary(replace(RED, behaviours=(WRONG, *RESULTS[1:], HOOKS))))
    assert "1 of 2 not conformant are latent\n" in both
    assert "traffic is whole" not in both
    assert "traffic is whole" not in "\n".join(summary(replace(RED, behaviours=(HOOKS,))))


def test_replies_that_were_not_joined_are_counted() -> None:
    text = "\n".join(summary(replace(RED, totals=Totals(requests=1000, joined=998, unjoined=2))))
    assert "1,000 requests, 998 joined to their own log line, 2 not" in text


def test_the_middle_of_a_traceback_is_left_out_and_no_command_is_shortened() -> None:
    long = replace(WRONG, failure="\n".join(f"line {number}" for number in range(50)))
    lines = [line.strip() for line in summary(replace(RED, behaviours=(long,)))]
    assert [line for line in lines if re.match(r"line \d|… ", line)] == [
        *(f"line {number}" for number in range(8)),
        "… 26 more lines in report.json …",
        *(f"line {number}" for number in range(34, 50)),
    ]
    assert WRONG.next_command in lines


REMOVED = "(the run has removed "


@pytest.mark.parametrize(
    ("options", "command", "said"),
    [
        ({}, "kubectl -n istio-system get pods", f"{REMOVED}its clusters: add --keep-cluster"),
        ({"keep": True}, "kubectl -n sample get pods", ""),
        ({"reuse": True}, "kubectl -n sample get pods", ""),
        ({"mesh": "/mesh.json"}, "kubectl -n sample get pods", ""),
        ({"contexts": "a,b"}, "kubectl -n sample get pods", f"{REMOVED}namespace sample: add --keep-cluster"),
        (
            {"contexts": "a,b", "namespace": "sample"},
            "kubectl -n sample get pods",
            f"{REMOVED}its objects from namespace sample: add --keep-cluster to keep them",
        ),
        ({"contexts": "a,b"}, "istioctl pc e d.sample", f"{REMOVED}namespace sample: add --keep-cluster"),
        ({"contexts": "a,b"}, "kubectl -n samples get pods", ""),
        ({"contexts": "a,b"}, "kubectl -n istio-system get pods", ""),
        ({"contexts": "a,b", "keep": True}, "kubectl -n sample get pods", ""),
    ],
)
def test_a_command_that_needs_what_the_run_removed_has_a_hint_how_to_keep_it(
    options: dict[str, str | bool], command: str, said: str
) -> None:
    run = replace(RED, options=options, behaviours=(replace(WRONG, next_command=command),))
    for lines in (summary(run), markdown(run).splitlines()):
        after = [line.strip() for line in lines[[line.strip() for line in lines].index(command) + 1 :]]
        hints = [line for line in after if line.startswith(REMOVED)]
        assert [line.startswith(said) for line in hints] == ([True] if said else [])


def test_what_was_not_restored_comes_first_and_then_the_root_cause() -> None:
    command = "kubectl --context east apply -f " + "/a/very/long/path" * 10
    run = replace(
        RED,
        not_restored=(
            NotRestored(
                "primary ConfigMap istio-system/istio", "somebody changed it meanwhile", "kubectl get it", pending=False
            ),
            NotRestored("remote Secret istio-system/istio-remote", "the API server is away", command),
        ),
        diagnosis=Diagnosis(
            "network-label-missing",
            "a namespace lacks its network",
            (Fact("remote Namespace istio-system", "metadata.labels", "{}"),),
            "kubectl label namespace istio-system topology.istio.io/network=remote-network",
            ("test_each_version_takes_its_own_path",),
        ),
        conditions=(Condition("clock", "0.1 s apart", "certificates are judged exactly"),),
    )
    assert summary(run)[:18] == [
        "",
        "NOT RESTORED: remote Secret istio-system/istio-remote: the API server is away",
        "  restore it with:",
        f"    {command}",
        "LEFT ALONE: primary ConfigMap istio-system/istio: somebody changed it meanwhile",
        "  show it with:",
        "    kubectl get it",
        "",
        "ROOT CAUSE: a namespace lacks its network (network-label-missing)",
        "    remote Namespace istio-system: metadata.labels: {}",
        "    explains: test_each_version_takes_its_own_path",
        "    kubectl label namespace istio-system topology.istio.io/network=remote-network",
        "",
        "Istio 1.29.1 in primary and remote · Kubernetes 1.34.4 · podman 4.3.1 · built images",
        "primary-network: pods 10.10.0.0/16, gateway 172.18.0.2:15443",
        "remote-network: pods 10.20.0.0/16, gateway 172.18.0.3:15443",
        "clock: 0.1 s apart (certificates are judged exactly)",
        "",
    ]
    text = markdown(run)
    places = [text.index(said) for said in ("**Not restored**", command, "**Root cause**", "of 4 checks", "| area |")]
    assert places == sorted(places)


def test_what_was_not_asked_for_is_a_count_by_profile() -> None:
    out = [
        *(
            NotClaimed(f"test_{n}", "of profile disruptive, …", Unclaimed.NOT_ASKED_FOR, "disruptive")
            for n in range(12)
        ),
        *(NotClaimed(f"test_c{n}", "of profile cleanup, …", Unclaimed.NOT_ASKED_FOR, "cleanup") for n in range(3)),
        NotClaimed("test_x", "it takes the mesh away", Unclaimed.NOT_ALLOWED, "cleanup"),
        *(NotClaimed(f"test_k{n}", "not run: left out", Unclaimed.NOT_RUN, "core") for n in range(30)),
        NotClaimed("test_one_network", "the mesh has one network", Unclaimed.NOT_OFFERED, "core"),
        NotClaimed("test_weighed", "exempt: our zones are weighted", Unclaimed.EXEMPT, "extended"),
    ]
    lines = summary(replace(GREEN, not_claimed=tuple(out)))
    start = lines.index("CONFORMANT: of 4 checks 4 conformant")
    assert lines[start + 2 : start + 8] == [
        "  not asked for: 12 disruptive, 3 cleanup",
        "  not allowed: 1 cleanup (it takes the mesh away)",
        "  not run: 30 core (left out)",
        "  not offered: test_one_network (the mesh has one network)",
        "  exempt: test_weighed (our zones are weighted)",
        "",
    ]


def test_a_reason_that_is_the_failure_of_a_check_is_not_repeated() -> None:
    unjudged = replace(WRONG, verdict=Verdict.INCONCLUSIVE, failure="the API server is away", likely_cause="")
    run = replace(
        GREEN,
        verdict=Verdict.INCONCLUSIVE,
        inconclusive_reason=unjudged.failure,
        behaviours=(unjudged, *RESULTS[1:]),
        exit_status=10,
    )
    text = " ".join(" ".join(summary(run)).split())
    assert text.count("the API server is away") == 1
    assert f"because: routing: {PATH_CLAIM.rstrip('.')} (primary→remote): see below" in text


def test_colours_are_added_and_change_no_character() -> None:
    escapes = re.compile(r"\x1b\[[0-9;]*m")
    coloured = summary(RED, colour=True)
    assert [escapes.sub("", line).rstrip() for line in coloured] == summary(RED)
    assert any("\x1b[31m✗ not conformant" in line for line in coloured)
    assert not any("\x1b" in line for line in summary(RED))


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    odd = replace(WRONG, claim="[bold]it holds[/bold] :smile:", failure="[red]seen[/red]", next_command="kubectl [x]")
    text = "\n".join(summary(replace(RED, behaviours=(odd,))))
    for said in ("[bold]it holds[/bold] :smile:", "[red]seen[/red]", "kubectl [x]"):
        assert said in text


def test_an_inconclusive_run_has_its_reason() -> None:
    broken = replace(
        GREEN,
        verdict=Verdict.INCONCLUSIVE,
        inconclusive_reason="kind create cluster failed: no space left on device",
        next_command="kind get nodes",
        behaviours=(),
        clusters=(),
        totals=Totals(),
        steps=STEPS[:2],
        not_claimed=(NotClaimed("test_failover", "needs --allow-disruption"),),
        exit_status=10,
    )
    lines = summary(broken)
    assert "INCONCLUSIVE: no check ran" in lines
    assert "  because: kind create cluster failed: no space left on device" in lines
    assert "    kind get nodes" in lines
    assert "  not offered: test_failover (needs --allow-disruption)" in lines
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


def test_changes_not_restored_come_first_with_their_commands_unwrapped() -> None:
    lines = summary(replace(GREEN, not_restored=LOST))[1:7]
    assert lines == [
        "NOT RESTORED: Secret mesh/s of the primary: the API server does not answer",
        "  restore it with:",
        f"    pytest --sweep {'x' * 110}",
        "LEFT ALONE: ConfigMap mesh/istio of the primary: somebody changed it meanwhile",
        "  show it with:",
        "    kubectl get it",
    ]
    page = markdown(replace(GREEN, not_restored=LOST)).splitlines()
    assert page[2] == "**Not restored**: Secret mesh/s of the primary: the API server does not answer"
    assert page[4:7] == ["```sh", f"pytest --sweep {'x' * 110}", "```"]


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


ENGINE = StepTime("container engine", None, 0.3, 100.5, "done")


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (STEPS[:5], "112.5 s = set-up 86.0 s + checks 26.5 s + removal 0.0 s"),
        (STEPS[5:], "112.5 s = set-up 0.0 s + checks 101.0 s + removal 11.5 s"),
        ((ENGINE, *STEPS[5:]), "112.5 s = set-up 100.8 s + checks 0.2 s + removal 11.5 s"),
    ],
    ids=["kept", "removed only", "as long before the first step"],
)
def test_phases_where_one_is_missing(steps: tuple[StepTime, ...], line: str) -> None:
    assert any(line in shown for shown in summary(replace(GREEN, steps=steps)))


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
    # But the last line, which names a test.
    assert [len(line) for line in plain[:-1]] == [len(line) for line in summary(RED)[:-1]]
    text = "\n".join(plain)
    assert "primary>remote" in text
    assert "x not conformant" in text
    assert "###" in text
    assert "?" not in text


def test_ascii_translates_nothing_within_a_command() -> None:
    both = (WRONG, replace(WRONG, route="remote→primary", nodeid=WRONG.nodeid.replace(WRONG.route, "remote→primary")))
    elsewhere = replace(
        WRONG, behaviour="test_z", nodeid="suites/routing/test_z.py::test_z", next_command="kubectl → x"
    )
    lines = summary(replace(RED, behaviours=(*both, elsewhere, *RESULTS[1:])), unicode=False)
    start = lines.index("run again what did not pass:")
    assert lines[start + 1 :] == [
        "  pytest --istio-version=1.29.1 \\",
        "    suites/routing/test_each_version_takes_its_own_path.py \\",
        "    suites/routing/test_z.py::test_z",
    ]
    (missing,) = [line.strip() for line in lines if "cannot show" in line]
    assert missing == (
        "(this terminal cannot show the characters of this command: copy it from reports/run-1/report.json)"
    )
    assert sum(WRONG.next_command in line for line in lines) == 2, "as it is"


def test_the_folder_may_lie_elsewhere() -> None:
    assert any("/srv/ci/r1/report.json" in line for line in summary(GREEN, folder=PurePath("/srv/ci/r1")))
