"""What the proof demands of a run, and that no behaviour is left without a fault."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from lab import topology
from lab.session import LabSession
from proof import (
    CONTROL,
    Proven,
    account,
    apart,
    as_json,
    cause_ids_of,
    core_seconds_of,
    missing,
    table,
    together,
    undiagnosed,
    unrefuted,
    unsound,
    verdicts_of,
)
from proof.__main__ import Proof, asked_for, main
from proof.faults import every_fault, registry
from proof.faults.registry import Assumes, Cite, Fault
from proof.peers import Judged
from splithorizon.base.errors import Cancelled, EnvironmentBroke
from splithorizon.diagnosis.causes import REGISTRY, Cause
from splithorizon.diagnosis.root_causes import READ
from splithorizon.istio.info import MeshInfo
from splithorizon.istio.topology import PRIMARY_REMOTE, Topology
from splithorizon.kube.manifests import overlay
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import report
from splithorizon.run.catalogue import Behaviour, Profile
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress, StepTime
from splithorizon.run.report import BehaviourResult, Diagnosis, RunReport, Versions
from splithorizon.run.verdict import Verdict, overall
from splithorizon.undo.mutations import inverse

REPOSITORY = Path(__file__).resolve().parents[2]
DISRUPTIVE = {path.stem for path in (REPOSITORY / "suites" / "resilience").glob("test_*.py")}
BEHAVIOURS = sorted(path.stem for path in (REPOSITORY / "suites").rglob("test_*.py"))


def nothing(_: Mesh, __: ExitStack) -> None:
    """No fault at all."""


FAULT = Fault("secret-missing", "It is gone.", {"test_both_versions_answer": "secret-missing"}, nothing)


def result(behaviour: str, verdict: Verdict, *causes: str, route: str = "") -> BehaviourResult:
    failure = "it does not hold" if verdict is not Verdict.CONFORMANT else ""
    return BehaviourResult(
        area="routing", behaviour=behaviour, claim="It holds.", nodeid=f"{behaviour}[{route}]", verdict=verdict,
        seconds=1.0, route=route, failure=failure, cause_ids=causes, likely_cause="it is broken",
        next_command="kubectl get pods",
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
RED = result("test_both_versions_answer", Verdict.NOT_CONFORMANT, "secret-missing", route="primary→remote")
OPEN = replace(RED, cause_ids=("gateway-gone", "secret-missing", "port-closed"))


@pytest.mark.parametrize("red", [RED, OPEN], ids=["alone", "among others"])
def test_a_fault_is_detected_by_one_route_with_its_cause(red: BehaviourResult) -> None:
    assert missing(FAULT, run(SOUND, GREEN, red)) == []


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ((SOUND, GREEN), "conformant, where not conformant is demanded"),
        ((SOUND,), "not run"),
        ((SOUND, result(FAULT.breaks[0], Verdict.INCONCLUSIVE, "secret-missing")), "inconclusive, where"),
        (
            (SOUND, result(FAULT.breaks[0], Verdict.NOT_CONFORMANT, "gateway-gone", "port-closed")),
            "test_both_versions_answer lacks the cause secret-missing; it carries gateway-gone, port-closed",
        ),
        ((SOUND, result(FAULT.breaks[0], Verdict.NOT_CONFORMANT)), "it carries none; it says: it does not hold"),
        (
            (SOUND, RED, result(FAULT.breaks[0], Verdict.NOT_CONFORMANT, "gateway-gone", route="remote→primary")),
            "test_both_versions_answer (remote→primary) lacks the cause secret-missing",
        ),
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
    assert not any("told apart from" in line for line in lines)


def proven_by(*results: BehaviourResult, fault: Fault = FAULT) -> Proven:
    """What a run shows of a fault, as the proof keeps it."""
    report = run(SOUND, *results)
    return Proven(fault, verdicts_of(report), 4.2, 5.0, tuple(missing(fault, report)), cause_ids_of(fault, report))


def test_causes_that_a_failure_leaves_open_are_marked_and_listed() -> None:
    one = proven_by(GREEN, OPEN)
    assert one.problems == ()
    assert one.indistinguishable(FAULT.breaks[0]) == ("gateway-gone", "port-closed")
    lines = table([one])
    (row,) = (line for line in lines if line.startswith(f"{FAULT.name} "))
    assert row.split()[:3] == ["secret-missing", "(✗)*", "·"]
    assert any(line.startswith("* the failure carries other causes") for line in lines)
    assert lines[-1] == "secret-missing, both_versions_answer: cannot be told apart from: gateway-gone, port-closed"
    assert as_json(one)["cannot_be_told_apart_from"] == {FAULT.breaks[0]: ["gateway-gone", "port-closed"]}


def test_causes_of_all_routes_that_are_red_are_open() -> None:
    other = result(FAULT.breaks[0], Verdict.NOT_CONFORMANT, "secret-missing", "third", route="remote→primary")
    assert proven_by(OPEN, other).cause_ids[FAULT.breaks[0]] == (
        "gateway-gone",
        "secret-missing",
        "port-closed",
        "third",
    )


def test_the_columns_of_the_table_stand_below_their_numbers() -> None:
    names = [f"test_{letter}" for letter in "abcdefghijkl"]
    fault = replace(FAULT, causes=dict.fromkeys(names, "secret-missing"))
    red = [result(name, Verdict.NOT_CONFORMANT, "secret-missing", "other") for name in names]
    lines = table([proven_by(*red, fault=fault)])
    head = next(line for line in lines if "red after" in line)
    row = next(line for line in lines if line.startswith(FAULT.name))
    ends = [place for place, glyph in enumerate(row) if glyph == "*"]
    assert [row[end - 3 : end + 1] for end in ends] == ["(✗)*"] * len(names)
    assert [head[: end + 1].split()[-1] for end in ends] == [str(number) for number in range(1, len(names) + 1)]


def demanded_of(fault: Fault) -> list[BehaviourResult]:
    """The failures of a run in which each behaviour that the fault breaks carries the fault's cause alone."""
    return [result(name, fault.verdict, cause) for name, cause in fault.causes.items()]


# Of the others a check demands no cause: the diagnosis of the run decides.
NAMED = [one for one in every_fault() if all(one.causes.values()) and one.causes]
PAIRS = [
    (one, other)
    for one in NAMED
    for other in NAMED
    if one.name < other.name and set(one.causes.values()).isdisjoint(other.causes.values())
]


@pytest.mark.parametrize("one", NAMED, ids=lambda fault: fault.name)
def test_the_causes_of_two_faults_that_are_told_apart_cannot_be_swapped(one: Fault) -> None:
    others = [other if first is one else first for first, other in PAIRS if one in (first, other)]
    assert others
    report = run(SOUND, *demanded_of(one))
    assert missing(replace(one, spares_local=False), report) == []
    for other in others:
        (foreign, *_) = other.causes.values()
        swapped = replace(one, causes=dict.fromkeys(one.causes, foreign), spares_local=False)
        assert len(missing(swapped, report)) == len(one.breaks), f"{foreign} passes for {one.name}"


BEHAVIOUR = Behaviour(Path("suites/routing/test_both_versions_answer.py"), "It holds", (FAULT.name,), Profile.CORE)


def test_a_behaviour_that_its_fault_refutes_is_well_named() -> None:
    assert unrefuted([BEHAVIOUR], [proven_by(RED)]) == []


@pytest.mark.parametrize(
    ("behaviour", "proven"),
    [
        (BEHAVIOUR, proven_by(GREEN)),
        (BEHAVIOUR, proven_by(result(FAULT.breaks[0], Verdict.INCONCLUSIVE, "secret-missing"))),
        (BEHAVIOUR, proven_by()),
        (replace(BEHAVIOUR, path=Path("suites/routing/test_other.py")), proven_by(RED)),
        (
            replace(BEHAVIOUR, path=Path("suites/routing/test_other.py")),
            proven_by(RED, result("test_other", Verdict.NOT_CONFORMANT)),
        ),
        (replace(BEHAVIOUR, breaks_when=("another", FAULT.name)), proven_by(GREEN)),
    ],
    ids=["sound", "inconclusive", "not run", "another behaviour", "by chance", "the second of two"],
)
def test_a_behaviour_that_its_fault_does_not_refute_is_told(behaviour: Behaviour, proven: Proven) -> None:
    assert unrefuted([behaviour], [proven]) == [
        f"{behaviour.name} names the fault secret-missing, which does not refute it"
    ]


def test_a_proof_with_a_misnamed_fault_fails() -> None:
    undecided = "root cause not decided yet: 1 (secret-missing)"
    assert account([proven_by(RED)], [BEHAVIOUR]) == (["1 of 1 faults proven", undecided], True)
    elsewhere = replace(BEHAVIOUR, path=Path("suites/routing/test_other.py"))
    said = "test_other names the fault secret-missing, which does not refute it"
    assert account([proven_by(RED)], [elsewhere]) == ([said, "1 of 1 faults proven", undecided], False)


def test_a_proof_with_a_fault_that_was_not_detected_fails() -> None:
    lines, sound = account([proven_by(RED), proven_by(GREEN)], [])
    assert lines == [
        "secret-missing: test_both_versions_answer: conformant, where not conformant is demanded",
        "1 of 2 faults proven",
        "root cause not decided yet: 2 (secret-missing, secret-missing)",
    ]
    assert not sound


def test_a_fault_that_was_not_injected_says_nothing_of_who_names_it() -> None:
    assert unrefuted([replace(BEHAVIOUR, breaks_when=("another",))], [proven_by(GREEN)]) == []


def test_a_fault_that_was_seen_in_parts_is_told_as_one() -> None:
    fault = replace(FAULT, causes={"test_a": "x", "test_b": "y"})
    one, other = apart(fault)
    assert (one.causes, other.causes) == ({"test_a": "x"}, {"test_b": "y"})
    red, green = Verdict.NOT_CONFORMANT, Verdict.CONFORMANT
    (told,) = together(
        [
            Proven(one, {"test_a": red, CONTROL: green}, 4.0, 9.0, (), {"test_a": ("x", "z")}),
            Proven(other, {"test_b": green, CONTROL: red}, 7.0, 2.0, ("no",), {"test_b": ()}),
        ]
    )
    assert told.fault.causes == fault.causes
    assert told.cause_ids == {"test_a": ("x", "z"), "test_b": ()}
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


class Failing(LabSession):
    """A session whose set-up ends as its run's id says."""

    def provision(self) -> MeshInfo:
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
    ("asked", "told"),
    [
        (["--only", "nobody"], "--only nobody"),
        (["--only", "nobody", "--only", "no one"], "--only nobody --only no one"),
        (["--meshes", "0"], "--meshes 0"),
    ],
)
def test_nothing_to_prove_is_no_proof(asked: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked) == 4
    assert f"{told}: nothing to prove. Nothing was created." in capsys.readouterr().err


def test_faults_are_chosen_by_any_of_several_texts() -> None:
    asked = Namespace(only=["ports-misn", "remote-named-tw"], network_mode="labels", disruptive=True)
    names = {fault.name for fault in asked_for(asked, PRIMARY_REMOTE)}
    assert names == {"ports-misnamed", "remote-named-twice"}
    everything = Namespace(only=None, network_mode="labels", disruptive=True)
    assert names < {fault.name for fault in asked_for(everything, PRIMARY_REMOTE)}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_behaviour_has_a_fault_that_breaks_it(behaviour: str) -> None:
    assert [fault.name for fault in every_fault() if behaviour in fault.breaks]


@pytest.mark.parametrize("fault", every_fault(), ids=lambda fault: fault.name)
def test_a_fault_names_behaviours_that_there_are_and_says_what_it_does(fault: Fault) -> None:
    assert bool(fault.breaks) is not fault.sound
    assert set(fault.breaks) <= set(BEHAVIOURS)
    assert len(fault.story) > 40
    assert {*filter(None, fault.causes.values())} <= {cause.id for cause in REGISTRY}


@pytest.mark.parametrize("fault", every_fault(), ids=lambda fault: fault.name)
def test_a_fault_has_a_root_cause_with_what_it_cites_or_a_reason_for_none(fault: Fault) -> None:
    assert sum(map(bool, (fault.root_cause, fault.undecided, fault.sound))) == 1
    assert bool(fault.cites) is bool(fault.root_cause)
    if fault.root_cause:
        assert fault.root_cause in REGISTRY or fault.root_cause in READ


ROOT = Diagnosis(
    "secret-missing", "it is missing", (report.Fact("Secret primary/istio-system/remote", "data", "not there"),)
)
DECIDED = replace(FAULT, root_cause="secret-missing", cites=(Cite("Secret primary/", "data", "not there"),))


def test_a_fault_that_is_the_one_root_cause_is_diagnosed() -> None:
    assert undiagnosed(DECIDED, replace(run(SOUND, RED), diagnosis=ROOT)) == []
    assert undiagnosed(FAULT, run(SOUND, RED)) == [], "none is demanded"


def test_a_fault_that_is_two_has_two_root_causes_in_any_order() -> None:
    other = replace(
        ROOT, cause_id="networks-joined", evidence=(report.Fact("Pod remote/x", "status.podIP", "answers"),)
    )
    both = replace(
        DECIDED, beside=("networks-joined",), cites=(*DECIDED.cites, Cite("Pod remote/", "podIP", "answers"))
    )
    for first, second in ((ROOT, other), (other, ROOT)):
        assert undiagnosed(both, replace(run(SOUND, RED), diagnosis=first, other_causes=(second,))) == []
    (problem,) = undiagnosed(both, replace(run(SOUND, RED), diagnosis=ROOT))
    assert problem == "the root cause is secret-missing, where secret-missing, networks-joined are demanded"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "the root cause is none, where secret-missing alone is demanded"),
        ({"undiagnosed": "no known cause fits"}, "the root cause is no known cause fits"),
        ({"diagnosis": replace(ROOT, cause_id="gateway-gone")}, "the root cause is gateway-gone"),
        (
            {"diagnosis": ROOT, "other_causes": (replace(ROOT, cause_id="gateway-gone"),)},
            "the root cause is secret-missing, gateway-gone",
        ),
        ({"diagnosis": replace(ROOT, evidence=())}, "does not cite Secret primary/: data: not there"),
        (
            {"diagnosis": replace(ROOT, evidence=(report.Fact("Secret remote/a", "data", "not there"),))},
            "does not cite Secret primary/: data: not there",
        ),
    ],
    ids=["none", "unknown", "another", "two", "no evidence", "of another object"],
)
def test_anything_less_is_no_diagnosis(fields: dict[str, object], told: str) -> None:
    (problem,) = undiagnosed(DECIDED, replace(run(SOUND, RED), **fields))  # type: ignore[arg-type]  # each its own
    assert told in problem


def test_a_sound_control_has_no_failure_and_no_root_cause() -> None:
    control = replace(FAULT, causes={}, sound=True)
    assert undiagnosed(control, run(SOUND, GREEN)) == []
    assert undiagnosed(control, run(SOUND, RED)) == ["test_both_versions_answer (primary→remote): not conformant"]
    accused = replace(run(SOUND, GREEN), diagnosis=ROOT)
    assert undiagnosed(control, accused) == ["a sound mesh has the root cause secret-missing"]


def test_the_table_names_the_root_cause_and_counts_what_is_undecided() -> None:
    decided = replace(proven_by(RED, fault=DECIDED), root_causes=("secret-missing",))
    other = replace(proven_by(RED), fault=replace(FAULT, name="other", undecided="nothing shows it"))
    decided_row, other_row = (
        line for line in table([decided, other]) if line.split()[:1] in (["secret-missing"], ["other"])
    )
    assert decided_row.endswith("secret-missing")
    assert other_row.endswith("(none; undecided)")
    lines, _ = account([decided, other], [])
    assert lines[-1] == "root cause not decided yet: 1 (other)"
    assert as_json(decided)["root_causes"] == ["secret-missing"]
    assert as_json(other)["undecided"] == "nothing shows it"


def test_a_root_cause_without_what_it_cites_is_refused() -> None:
    with pytest.raises(ValueError, match="secret-missing: what the evidence must cite is missing"):
        registry.fault("test_a", root_cause=Cause("secret-missing", "it is missing"))


def test_faults_have_names_of_their_own() -> None:
    names = [fault.name for fault in every_fault()]
    assert len(set(names)) == len(names)


def test_every_manifest_of_a_fault_is_used() -> None:
    code = "".join(path.read_text() for path in (REPOSITORY / "proof" / "faults").glob("*.py"))
    manifests = list((REPOSITORY / "manifests" / "faults").glob("*.yaml"))
    assert manifests
    assert [path.name for path in manifests if path.name not in code] == []


def test_an_inverse_leads_back() -> None:
    before = {"a": {"kept": 1, "changed": 2, "removed": 3}, "list": [1, 2]}
    body = {"a": {"changed": 5, "removed": None, "added": {"x": 1}}, "list": [9], "new": {"y": None}}
    broken = overlay(before, body)
    assert broken != before
    assert overlay(broken, inverse(before, body)) == before


def test_the_time_of_the_core_is_that_of_its_behaviours_and_the_diagnosis() -> None:
    core = [replace(one, profile="core", seconds=seconds) for one, seconds in ((SOUND, 2.0), (RED, 30.5))]
    other = replace(result("test_other", Verdict.CONFORMANT), profile="extended", seconds=99.0)
    steps = (
        StepTime("the mesh read for the root cause", None, 31.0, 2.5, "done"),
        StepTime("x", None, 0.0, 7.0, "done"),
    )
    assert core_seconds_of(replace(run(*core, other), steps=steps)) == 35.0
    assert core_seconds_of(run(core[0], other)) is None, "the control alone is not the core"


def test_the_table_has_the_time_of_the_core_and_what_others_noticed() -> None:
    peers = {"analyze": Judged(("IST0170 …",), True), "curls": Judged(("primary gets 503",)), "proxy-status": Judged()}
    one, slow = (replace(proven_by(GREEN, RED), peers=peers, core_seconds=seconds) for seconds in (35.0, 51.2))
    lines = table([one, slow, proven_by(GREEN, RED)])
    head = next(line for line in lines if "red after" in line)
    assert head.split()[-5:] == ["analyze", "curls", "proxy-status", "root", "cause"]
    rows = [line.split() for line in lines if line.startswith(FAULT.name)]
    assert [row[3:5] for row in rows] == [["35.0", "s"], ["51.2", "s"], ["-", "4.2"]]
    assert rows[0][9:12] == ["named", "noticed", "·"]
    assert as_json(one)["peers"] == {
        "analyze": {"noticed": True, "named": True},
        "curls": {"noticed": True, "named": False},
        "proxy-status": {"noticed": False, "named": False},
    }
    assert "core took more than 45 s: 1 (secret-missing)" in account([one, slow], [])[0]
    assert account([slow], [])[1], "a goal refutes nothing"
    parts = together([replace(one, core_seconds=None), slow])
    assert (parts[0].core_seconds, parts[0].peers) == (51.2, peers)


def cites_of(assumes: Assumes, cite: Cite, shape: Topology) -> Cite:
    fault = replace(every_fault()[0], assumes=assumes, cites=(cite,)).in_shape(shape)
    (found,) = fault.cites
    return found


def test_what_a_fault_cites_has_the_names_of_the_mesh_that_it_is_in() -> None:
    shape, anything = topology.read("multi-primary"), Assumes.ANYTHING
    cited = Cite("Secret primary/istio-system/istio-remote-secret-remote-before", "data.remote", "on remote-network")
    assert cites_of(anything, cited, PRIMARY_REMOTE) == cited
    assert cites_of(anything, cited, shape) == Cite(
        "Secret cluster1/istio-system/istio-remote-secret-cluster2-before", "data.cluster2", "on network2"
    )
    unchanged = Cite("remotes", "spec.remotely", "a-remote")
    assert cites_of(anything, unchanged, shape) == unchanged


def test_of_three_clusters_a_fault_breaks_the_one_alone_on_its_network_or_one_that_is_managed() -> None:
    shape = topology.read("three-clusters")
    cited = Cite("Pod remote/sample/helloworld-v2", "on remote-network", "v2 and v1 of primary")
    assert cites_of(Assumes.ANYTHING, cited, shape) == Cite(
        "Pod cluster3/sample/helloworld-v3", "on network2", "v3 and v1 of cluster1"
    )
    assert cites_of(Assumes.MANAGED, cited, shape) == Cite(
        "Pod cluster2/sample/helloworld-v2", "on network1", "v2 and v1 of cluster1"
    )


def test_a_fault_says_in_which_meshes_it_means_something() -> None:
    shapes = [PRIMARY_REMOTE, topology.read("multi-primary"), topology.read("three-clusters")]
    held = {one: [one.holds(shape) for shape in shapes] for one in Assumes}
    assert held == {
        Assumes.ANYTHING: [True, True, True],
        Assumes.MANAGED: [True, False, True],
        Assumes.MANAGED_ALONE: [True, False, False],
        Assumes.SEVERAL_PRIMARIES: [False, True, True],
        Assumes.WATCH_BESIDE_ANOTHER: [False, False, True],
    }
    assumed = {fault.name: fault.assumes for fault in every_fault() if fault.assumes is not Assumes.ANYTHING}
    assert assumed["istiod-address-stale"] is Assumes.MANAGED
    assert assumed["remote-without-istiod"] is Assumes.MANAGED_ALONE
    assert assumed["answered-by-another-rule"] is Assumes.SEVERAL_PRIMARIES
