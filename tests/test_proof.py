"""What the proof demands of a run, and that no behaviour is left without a fault."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from proof import CONTROL, Proven, apart, missing, table, together, unsound, verdicts_of
from proof.__main__ import Proof, main
from splithorizon.changes import inverse
from splithorizon.errors import Cancelled, EnvironmentBroke
from splithorizon.faults import every_fault
from splithorizon.faults.registry import Fault
from splithorizon.manifests import overlay
from splithorizon.mesh.facts import MeshFacts
from splithorizon.mesh.model import Mesh
from splithorizon.options import Options
from splithorizon.progress import Progress
from splithorizon.report import BehaviourResult, RunReport, Versions
from splithorizon.session import Session
from splithorizon.verdict import Verdict, overall

REPOSITORY = Path(__file__).resolve().parents[1]
DISRUPTIVE = {path.stem for path in (REPOSITORY / "suites" / "resilience").glob("test_*.py")}
BEHAVIOURS = sorted(path.stem for path in (REPOSITORY / "suites").rglob("test_*.py"))


def nothing(_: Mesh, __: ExitStack) -> None:
    """No fault at all."""


FAULT = Fault("secret-missing", "It is gone.", {"test_both_versions_answer": "secret is missing"}, nothing)


def result(behaviour: str, verdict: Verdict, *, route: str = "", cause: str = "") -> BehaviourResult:
    failure = "it does not hold" if verdict is not Verdict.CONFORMANT else ""
    return BehaviourResult(
        area="routing", behaviour=behaviour, claim="It holds.", nodeid=f"{behaviour}[{route}]", verdict=verdict,
        seconds=1.0, route=route, failure=failure, likely_cause=cause or "unknown", next_command="kubectl get pods",
    )  # fmt: skip


def run(*results: BehaviourResult) -> RunReport:
    verdict = overall([one.verdict for one in results], partial=False)
    return RunReport(
        run_id="1", started="2026-11-23T02:31:00.000Z", finished="2026-11-23T02:32:52.500Z", command=("pytest",),
        versions=Versions("0.1.0", "3.11.2"), verdict=verdict, exit_status=0, behaviours=results,
        inconclusive_reason="it does not hold" if verdict is Verdict.INCONCLUSIVE else "",
    )  # fmt: skip


SOUND = result(CONTROL, Verdict.CONFORMANT)
GREEN = result("test_both_versions_answer", Verdict.CONFORMANT, route="remote→primary")
RED = result("test_both_versions_answer", Verdict.NOT_CONFORMANT, route="primary→remote", cause="the secret is missing")


def test_a_fault_is_detected_by_one_route_with_its_cause() -> None:
    assert missing(FAULT, run(SOUND, GREEN, RED)) == []


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ((SOUND, GREEN), "conformant, where not conformant is demanded"),
        ((SOUND,), "not run"),
        ((SOUND, result(FAULT.breaks[0], Verdict.INCONCLUSIVE, cause="secret is missing")), "inconclusive, where"),
        ((SOUND, result(FAULT.breaks[0], Verdict.NOT_CONFORMANT, cause="something else")), "does not name the cause"),
        ((RED,), "the control, is not conformant"),
        ((RED, result(CONTROL, Verdict.NOT_CONFORMANT)), "the control, is not conformant"),
    ],
)
def test_anything_less_is_no_proof(results: tuple[BehaviourResult, ...], told: str) -> None:
    (problem,) = missing(FAULT, run(*results))
    assert told in problem


def test_one_route_that_is_red_makes_a_behaviour_red() -> None:
    report = run(SOUND, GREEN, RED)
    assert verdicts_of(report) == {CONTROL: Verdict.CONFORMANT, FAULT.breaks[0]: Verdict.NOT_CONFORMANT}
    assert unsound(report) == ["test_both_versions_answer (primary→remote): not conformant"]


def test_the_table_shows_who_was_to_break_and_what_was_not_proven() -> None:
    verdicts = verdicts_of(run(SOUND, GREEN, RED))
    lines = table(
        [Proven(FAULT, verdicts, 4.2, 5.0, ()), Proven(FAULT, {CONTROL: Verdict.CONFORMANT}, 9.0, 1.0, ("no",))]
    )
    assert lines[0].split() == ["1", "both_versions_answer"]
    proven, not_proven = (line for line in lines if line.startswith(FAULT.name))
    assert proven.split()[:3] == ["secret-missing", "(✗)", "·"]
    assert "NOT PROVEN" in not_proven
    assert "NOT PROVEN" not in proven


def test_a_fault_that_was_seen_in_parts_is_told_as_one() -> None:
    fault = replace(FAULT, causes={"test_a": "x", "test_b": "y"})
    one, other = apart(fault)
    assert (one.causes, other.causes) == ({"test_a": "x"}, {"test_b": "y"})
    red, green = Verdict.NOT_CONFORMANT, Verdict.CONFORMANT
    (told,) = together(
        [
            Proven(one, {"test_a": red, CONTROL: green}, 4.0, 9.0, ()),
            Proven(other, {"test_b": green, CONTROL: red}, 7.0, 2.0, ("no",)),
        ]
    )
    assert told.fault.causes == fault.causes
    assert told.verdicts == {"test_a": red, "test_b": green, CONTROL: red}
    assert (told.detected_after, told.healed_after, told.problems) == (7.0, 9.0, ("no",))


def test_what_mostly_waits_stands_first_and_what_ends_a_mesh_is_kept_for_the_end() -> None:
    proof = Proof(every_fault(), [])
    disrupting = [any(name in fault.breaks for name in DISRUPTIVE) for fault in proof.passing]
    assert disrupting == sorted(disrupting, reverse=True)
    assert 0 < sum(disrupting) < len(disrupting)
    assert {behaviour for fault in proof.ending for behaviour in fault.breaks} == {"test_uninstalling_leaves_nothing"}
    assert {fault.name for fault in (*proof.passing, *proof.ending)} == {fault.name for fault in every_fault()}
    assert all(len(fault.breaks) == 1 for fault in proof.passing if DISRUPTIVE.intersection(fault.breaks))


class Failing(Session):
    """A session whose set-up ends as its run's id says."""

    def provision(self) -> MeshFacts:
        if self.run_id == "stopped":
            raise Cancelled("the run is being stopped")
        raise EnvironmentBroke("kind failed")


def test_what_kept_one_mesh_from_going_on_is_told_and_nothing_is_begun_any_more() -> None:
    sessions = [Failing(Options(), Progress(print), run_id=name) for name in ("stopped", "broken")]
    proof = Proof(every_fault(), sessions)
    with pytest.raises(EnvironmentBroke, match="kind failed"):
        proof.run()
    assert [*proof.passing, *proof.ending] == []


@pytest.mark.parametrize(
    ("asked", "told"), [(["--only", "nobody"], "--only nobody"), (["--meshes", "0"], "--meshes 0")]
)
def test_nothing_to_prove_is_no_proof(asked: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked) == 4
    assert f"{told}: nothing to prove. Nothing was created." in capsys.readouterr().err


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_behaviour_has_a_fault_that_breaks_it(behaviour: str) -> None:
    assert [fault.name for fault in every_fault() if behaviour in fault.breaks]


@pytest.mark.parametrize("fault", every_fault(), ids=lambda fault: fault.name)
def test_a_fault_names_behaviours_that_there_are_and_says_what_it_does(fault: Fault) -> None:
    assert fault.breaks
    assert set(fault.breaks) <= set(BEHAVIOURS)
    assert len(fault.story) > 40
    assert all(fault.causes.values())


def test_faults_have_names_of_their_own() -> None:
    names = [fault.name for fault in every_fault()]
    assert len(set(names)) == len(names)


def test_every_manifest_of_a_fault_is_used() -> None:
    code = "".join(path.read_text() for path in (REPOSITORY / "splithorizon" / "faults").glob("*.py"))
    manifests = list((REPOSITORY / "manifests" / "faults").glob("*.yaml"))
    assert manifests
    assert [path.name for path in manifests if path.name not in code] == []


def test_an_inverse_leads_back() -> None:
    before = {"a": {"kept": 1, "changed": 2, "removed": 3}, "list": [1, 2]}
    body = {"a": {"changed": 5, "removed": None, "added": {"x": 1}}, "list": [9], "new": {"y": None}}
    broken = overlay(before, body)
    assert broken != before
    assert overlay(broken, inverse(before, body)) == before
