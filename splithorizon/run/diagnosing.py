"""Asks for the root cause once a run has refuted something, and puts the answer into the report's form."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from splithorizon.checks.next_steps import render
from splithorizon.diagnosis import access, remains, root_cause
from splithorizon.diagnosis.finding import Case, Symptom
from splithorizon.diagnosis.reading import read
from splithorizon.diagnosis.root_cause import RootCause
from splithorizon.istio.info import MeshInfo
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import report
from splithorizon.run.report import BehaviourResult
from splithorizon.run.verdict import Verdict

STEP = "the mesh read for the root cause"
"""The name of the reading among a run's steps."""
_FAILED = (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE)
# A kubelet takes whole seconds, and its clock need not be ours.
_CLOCKS_DIFFER = timedelta(seconds=2)


@dataclass(frozen=True)
class Diagnosed:
    """What a report takes: the root causes, the first of them first; why there is none; and what was only noted."""

    causes: tuple[report.Diagnosis, ...] = ()
    reason: str = ""
    notes: tuple[report.Note, ...] = ()


def failed(results: Iterable[BehaviourResult]) -> list[BehaviourResult]:
    """The results that ask for a cause."""
    return [one for one in results if one.verdict in _FAILED]


def of_run(mesh: MeshInfo, results: Iterable[BehaviourResult], *, since: datetime) -> Diagnosed:
    """Read the mesh once and decide what the failed results follow from; logs are read ``since`` the run began.

    It takes as long as a reading may, and raises nothing: a reading that fails changes no verdict, and says so here.
    """
    results = failed(results)
    try:
        clusters, target, revision = access.of_mesh(Mesh(mesh))
        symptoms = tuple(Symptom(one.behaviour, one.route, one.failure, one.cause_ids, one.numbers) for one in results)
        if remains.removed(symptoms):
            found = remains.diagnose(clusters, symptoms)
        else:
            reading = read.read(clusters, target, revision, domain=mesh.domain, since=since - _CLOCKS_DIFFER)
            found = root_cause.diagnose(Case(reading, symptoms))
    except Exception as error:
        return Diagnosed(reason=f"the mesh could not be diagnosed: {type(error).__name__}: {error}"[:500])
    notes = tuple(
        report.Note(one.cause.id, tuple(report.Fact(fact.object, fact.field, fact.value) for fact in one.evidence))
        for one in found.notes
    )
    if not found.root_causes:
        return Diagnosed(reason=found.text, notes=notes)
    noticed = {one.behaviour for one in results if not one.latent}
    return Diagnosed(tuple(_for_report(one, mesh, noticed) for one in found.root_causes), notes=notes)


def _for_report(cause: RootCause, mesh: MeshInfo, noticed: Set[str]) -> report.Diagnosis:
    """``noticed`` are the failed behaviours that traffic needs."""
    finding = cause.finding
    explained = {*cause.consequences}
    return report.Diagnosis(
        cause_id=cause.id,
        text=finding.cause.text,
        evidence=tuple(report.Fact(fact.object, fact.field, fact.value) for fact in finding.evidence),
        witness=finding.witness,
        fix=render(finding.fix, mesh),
        consequences=cause.consequences,
        latent=not noticed or (bool(explained) and not explained & noticed),
    )
