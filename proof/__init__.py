"""Proves that the checks can fail: breaks a healthy mesh in every registered way, and demands what they then say.

This module is what was seen and the table of it; ``python -m proof`` breaks and mends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from proof.faults.registry import Fault
from proof.peers import Judged
from splithorizon.run.catalogue import Behaviour, Profile
from splithorizon.run.diagnosing import STEP as DIAGNOSIS_STEP
from splithorizon.run.report import RunReport
from splithorizon.run.verdict import Verdict

CONTROL = "test_local_traffic_stays_local"
CORE_SECONDS = 45.0
"""What the core may take with any fault. It is a goal and refutes nothing: a loaded machine is slower."""

_GLYPH = {
    Verdict.CONFORMANT: "·",
    Verdict.NOT_CONFORMANT: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.PARTIAL: "~",
}
_OPEN = "*"
# One glyph speaks for a behaviour's every route: the first of these that one of them came to.
_WORST_FIRST = (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE, Verdict.PARTIAL, Verdict.CONFORMANT)


@dataclass(frozen=True)
class Proven:
    """One fault, and what every behaviour said while it was there."""

    fault: Fault
    verdicts: Mapping[str, Verdict]
    detected_after: float
    """Seconds from the fault to the end of the run that detected it."""
    healed_after: float
    """Seconds from the undo to the end of the run that was sound again."""
    problems: tuple[str, ...]
    """What was demanded and not seen; empty where the fault was detected as it must be."""
    cause_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each behaviour that it must break, the causes that its failures carried."""
    root_causes: tuple[str, ...] = ()
    """The root causes that the run reported, by id."""
    core_seconds: float | None = None
    """Seconds that the core behaviours took with the fault, and the diagnosis; None where they were not asked."""
    peers: Mapping[str, Judged] = field(default_factory=dict)
    """What others that were asked noticed of the fault, by their names."""

    def indistinguishable(self, behaviour: str) -> tuple[str, ...]:
        """The causes that a behaviour's failures carried beside the fault's: its checks cannot tell them apart."""
        demanded = self.fault.causes.get(behaviour)
        if not demanded:
            return ()
        return tuple(one for one in self.cause_ids.get(behaviour, ()) if one != demanded)


def verdicts_of(report: RunReport) -> dict[str, Verdict]:
    """Each behaviour's worst verdict over its routes."""
    found: dict[str, list[Verdict]] = {}
    for result in report.behaviours:
        found.setdefault(result.behaviour, []).append(result.verdict)
    return {name: _worst(seen) for name, seen in found.items()}


def missing(fault: Fault, report: RunReport) -> list[str]:
    """What a report lacks to show that a fault was detected: verdict, cause, and local traffic left alone."""
    lacking = []
    for behaviour in fault.breaks:
        results = [result for result in report.behaviours if result.behaviour == behaviour]
        if not any(result.verdict is fault.verdict for result in results):
            seen = ", ".join(result.verdict for result in results) or "not run"
            lacking.append(f"{behaviour}: {seen}, where {fault.verdict} is demanded")
            continue
        for result in results:
            # A failure of one route with the right cause does not excuse a wrong one on another route.
            wanted = fault.causes[behaviour]
            if wanted and result.verdict is fault.verdict and wanted not in result.cause_ids:
                where = f" ({result.route})" if result.route else ""
                carried = ", ".join(result.cause_ids) or f"none; it says: {result.failure}"
                lacking.append(f"{behaviour}{where} lacks the cause {wanted}; it carries {carried}")
    if fault.spares_local and verdicts_of(report).get(CONTROL) is not Verdict.CONFORMANT:
        lacking.append(f"{CONTROL}, the control, is not conformant")
    return lacking


def undiagnosed(fault: Fault, report: RunReport) -> list[str]:
    """What the diagnosis of a report lacks: the fault as the one root cause, with evidence of what it changed."""
    found = report.diagnosis
    said = [one.cause_id for one in (*([found] if found else []), *report.other_causes)]
    if fault.sound:
        wrong = unsound(report)
        return [*wrong, *([f"a sound mesh has the root cause {', '.join(said)}"] if said else [])]
    if not fault.root_cause:
        return []
    wanted = [fault.root_cause, *fault.beside]
    if found is None or sorted(said) != sorted(wanted):
        shown = ", ".join(said) or report.undiagnosed or "none"
        demanded = f"{fault.root_cause} alone is" if not fault.beside else f"{', '.join(wanted)} are"
        return [f"the root cause is {shown}, where {demanded} demanded"]
    facts = [fact for one in (found, *report.other_causes) for fact in one.evidence]
    return [
        f"the evidence of {', '.join(wanted)} does not cite {cite}"
        for cite in fault.cites
        if not any(cite.is_met_by(fact.object, fact.field, fact.value) for fact in facts)
    ]


def core_seconds_of(report: RunReport) -> float | None:
    """The seconds that a report gives for the core behaviours and the diagnosis; None for less than all of them.

    What only this run asks beside the core is left out, and so is what pytest itself takes.
    """
    core = [result for result in report.behaviours if result.profile == Profile.CORE]
    if {result.behaviour for result in core} == {CONTROL}:
        return None
    diagnosis = [step.seconds for step in report.steps if step.name == DIAGNOSIS_STEP]
    return round(sum([*(result.seconds for result in core), *diagnosis]), 1)


def cause_ids_of(fault: Fault, report: RunReport) -> dict[str, tuple[str, ...]]:
    """The causes that the failures of each behaviour carried that the fault must break, over all routes."""
    carried: dict[str, list[str]] = {behaviour: [] for behaviour in fault.breaks}
    for result in report.behaviours:
        if result.behaviour in carried and result.verdict is fault.verdict:
            carried[result.behaviour] += result.cause_ids
    return {behaviour: tuple(dict.fromkeys(ids)) for behaviour, ids in carried.items()}


def unrefuted(behaviours: Iterable[Behaviour], proven: Iterable[Proven]) -> list[str]:
    """The behaviours that a fault did not refute which they name as the one that must; of faults that were injected."""
    injected = {one.fault.name: one for one in proven}
    return [
        f"{behaviour.name} names the fault {name}, which does not refute it"
        for behaviour in behaviours
        for name in behaviour.breaks_when
        if name in injected and not _refutes(injected[name], behaviour.name)
    ]


def _refutes(one: Proven, behaviour: str) -> bool:
    return behaviour in one.fault.breaks and one.verdicts.get(behaviour) is Verdict.NOT_CONFORMANT


def unsound(report: RunReport) -> list[str]:
    """The behaviours that keep a report from calling the mesh sound."""
    return [
        f"{result.behaviour}{f' ({result.route})' if result.route else ''}: {result.verdict}"
        for result in report.behaviours
        if result.verdict is not Verdict.CONFORMANT
    ]


def apart(fault: Fault) -> list[Fault]:
    """The same fault once for each behaviour that it breaks, for those that leave the mesh unfit for the next."""
    return [replace(fault, causes={behaviour: cause}) for behaviour, cause in fault.causes.items()]


def together(proven: Iterable[Proven]) -> list[Proven]:
    """What was seen of a fault in parts, as of one: each behaviour's worst verdict, the longest times, all problems."""
    parts: dict[str, list[Proven]] = {}
    for one in proven:
        parts.setdefault(one.fault.name, []).append(one)
    return [_joined(ones) for ones in parts.values()]


def _joined(parts: Sequence[Proven]) -> Proven:
    causes = {behaviour: cause for one in parts for behaviour, cause in one.fault.causes.items()}
    behaviours = {behaviour for one in parts for behaviour in one.verdicts}
    return Proven(
        replace(parts[0].fault, causes=causes),
        {name: _worst([one.verdicts[name] for one in parts if name in one.verdicts]) for name in sorted(behaviours)},
        max(one.detected_after for one in parts),
        max(one.healed_after for one in parts),
        tuple(problem for one in parts for problem in one.problems),
        {behaviour: ids for one in parts for behaviour, ids in one.cause_ids.items()},
        tuple(dict.fromkeys(cause for one in parts for cause in one.root_causes)),
        max((one.core_seconds for one in parts if one.core_seconds is not None), default=None),
        {name: judged for one in parts for name, judged in one.peers.items()},
    )


def table(proven: Sequence[Proven]) -> list[str]:
    """Faults down, behaviours across: red, inconclusive or green, and which of them was demanded."""
    behaviours = sorted({behaviour for one in proven for behaviour in one.verdicts})
    keys = [f"{number:>3}  {name.removeprefix('test_')}" for number, name in enumerate(behaviours, start=1)]
    width = max(len(one.fault.name) for one in proven)
    head = (
        " " * width
        + "".join(f"{number:>5}" for number in range(1, len(behaviours) + 1))
        + "      core  red after  green after  "
        + "".join(f"{name}  " for name in _asked(proven))
        + "root cause"
    )
    rows = []
    for one in proven:
        cells = "".join(f"{_cell(one, behaviour):>5}" for behaviour in behaviours)
        core = f"{one.core_seconds:>6.1f} s" if one.core_seconds is not None else f"{'-':>8}"
        times = f"{core} {one.detected_after:>8.1f} s {one.healed_after:>10.1f} s  "
        noticed = "".join(f"{_noticed(one, name):<{len(name)}}  " for name in _asked(proven))
        unproven = "  NOT PROVEN" if one.problems else ""
        rows.append(f"{one.fault.name:<{width}}{cells}  {times}{noticed}{_root_cause(one)}{unproven}")
    legend = [
        "✗ not conformant, ? inconclusive, · conformant; (✗) or (?) is what the fault must come to",
        f"{_OPEN} the failure carries other causes beside the fault's: its checks cannot tell them apart",
        "root cause: what the run's diagnosis names; (undecided) where none is demanded yet",
        f"core: seconds of the core behaviours and the diagnosis with the fault; the goal is {CORE_SECONDS:g} at most",
        *(
            ["analyze and others: what people use instead; named the cause, noticed something, or nothing (·)"]
            if _asked(proven)
            else []
        ),
    ]
    unclear = [
        f"{one.fault.name}, {behaviour.removeprefix('test_')}: cannot be told apart from: {', '.join(others)}"
        for one in proven
        for behaviour in one.fault.breaks
        if (others := one.indistinguishable(behaviour))
    ]
    return [*keys, "", head, *rows, "", *legend, *(["", *unclear] if unclear else [])]


def _asked(proven: Iterable[Proven]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in proven for name in one.peers))


def _noticed(one: Proven, peer: str) -> str:
    judged = one.peers.get(peer)
    if judged is None:
        return "-"
    if judged.named:
        return "named"
    return "noticed" if judged.noticed else "·"


def account(proven: Sequence[Proven], behaviours: Iterable[Behaviour]) -> tuple[list[str], bool]:
    """What is wrong with a proof, line by line, with the count of the faults proven; and whether nothing is wrong."""
    problems = [f"{one.fault.name}: {problem}" for one in proven for problem in one.problems]
    problems += unrefuted(behaviours, proven)
    held = sum(not one.problems for one in proven)
    undecided = [one.fault.name for one in proven if not one.fault.root_cause and not one.fault.sound]
    lines = [*problems, f"{held} of {len(proven)} faults proven"]
    if undecided:
        lines.append(f"root cause not decided yet: {len(undecided)} ({', '.join(undecided)})")
    if slow := [one.fault.name for one in proven if (one.core_seconds or 0) > CORE_SECONDS]:
        lines.append(f"core took more than {CORE_SECONDS:g} s: {len(slow)} ({', '.join(slow)})")
    return lines, not problems


def as_json(one: Proven) -> dict[str, object]:
    """One fault for a program that reads."""
    return {
        "fault": one.fault.name,
        "story": one.fault.story,
        "must_break": list(one.fault.breaks),
        "demanded": one.fault.verdict,
        "causes": dict(one.fault.causes),
        "cannot_be_told_apart_from": {
            behaviour: list(one.indistinguishable(behaviour)) for behaviour in one.fault.breaks
        },
        "root_cause_demanded": one.fault.root_cause,
        "undecided": one.fault.undecided,
        "root_causes": list(one.root_causes),
        "verdicts": dict(one.verdicts),
        "core_seconds": one.core_seconds,
        "peers": {name: {"noticed": judged.noticed, "named": judged.named} for name, judged in one.peers.items()},
        "detected_after": round(one.detected_after, 1),
        "healed_after": round(one.healed_after, 1),
        "problems": list(one.problems),
    }


def _worst(verdicts: Collection[Verdict]) -> Verdict:
    return next(worst for worst in _WORST_FIRST if worst in verdicts)


def root_causes_of(report: RunReport) -> tuple[str, ...]:
    """The root causes that a run reported, by id, the first of them first."""
    first = [report.diagnosis] if report.diagnosis else []
    return tuple(one.cause_id for one in (*first, *report.other_causes))


def _root_cause(one: Proven) -> str:
    said = " and ".join(one.root_causes) or "none"
    if one.fault.sound or one.fault.root_cause:
        return said
    return f"({said}; undecided)"


def _cell(one: Proven, behaviour: str) -> str:
    glyph = _GLYPH[one.verdicts[behaviour]] if behaviour in one.verdicts else " "
    if behaviour not in one.fault.breaks:
        return f"{glyph}  "
    return f"({glyph}){_OPEN if one.indistinguishable(behaviour) else ' '}"
