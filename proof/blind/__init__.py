"""Faults by somebody who has not read the causes: a shell script each, and what the suite says of a mesh with it.

The registered faults of ``proof.faults`` are written beside the causes, and so prove the causes that are there. These
are not: what they show is how often the diagnosis is right, silent or wrong about a fault that nobody prepared it for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from splithorizon.run.report import Diagnosis, RunReport
from splithorizon.run.verdict import Verdict

FOLDER = Path(__file__).resolve().parent
_LIBRARY = "lib.sh"
DEFAULT_SHAPE = "primary-remote"
_KINDS = ("fault", "unknowable", "sound")


class BadHeader(ValueError):
    """A script whose head does not say what is broken, what the right answer is, and of which kind it is."""


@dataclass(frozen=True)
class BlindFault:
    """One script; called with ``inject`` it breaks the mesh, called with ``undo`` it restores it."""

    name: str
    script: Path
    broken: str
    """What is broken, or unusual, in a sentence."""
    answer: str
    """The right answer: object, field and value."""
    kind: str
    """``fault``; ``unknowable`` where no object has the cause; ``sound`` where nothing is broken."""
    shape: str = DEFAULT_SHAPE
    """The name of the topology that it is written for."""


def every_fault(folder: Path = FOLDER) -> tuple[BlindFault, ...]:
    """All scripts by name; raises BadHeader for one without a complete head."""
    return tuple(_read(path) for path in sorted(folder.glob("*.sh")) if path.name != _LIBRARY)


def _read(path: Path) -> BlindFault:
    comment = []
    for line in path.read_text().splitlines()[1:]:
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    fields = dict(
        re.findall(r"(\w+)(?:, twice)?: (.*?)(?= (?:Broken|Unusual|Answer|Kind|Shape)\b[^:]*: |$)", " ".join(comment))
    )
    broken = fields.get("Broken") or fields.get("Unusual")
    answer, kind = fields.get("Answer"), fields.get("Kind")
    if not broken or not answer or kind not in _KINDS:
        raise BadHeader(f"{path.name}: its head needs Broken or Unusual, Answer, and Kind: one of {', '.join(_KINDS)}")
    return BlindFault(path.stem, path, broken, answer, kind, fields.get("Shape", DEFAULT_SHAPE))


def row(fault: BlindFault, said: RunReport | None, *, problem: str = "") -> Mapping[str, Any]:
    """What one run said of a mesh with this fault; ``problem`` is why there is none. A reader judges it."""
    head = {"name": fault.name, "kind": fault.kind, "answer": fault.answer, "problem": problem}
    if said is None:
        return head
    refuted = sorted(
        {f"{one.behaviour} {one.route}".strip() for one in said.behaviours if one.verdict is Verdict.NOT_CONFORMANT}
    )
    return {
        **head,
        "run": said.run_id,
        "verdict": said.verdict.value,
        "inconclusive_reason": said.inconclusive_reason,
        "refuted": refuted,
        "likely": sorted({cause for one in said.behaviours for cause in one.cause_ids}),
        "diagnosis": _diagnosis(said.diagnosis),
        "other_causes": [_diagnosis(one) for one in said.other_causes],
        "undiagnosed": said.undiagnosed,
        "notes": [one.cause_id for one in said.notes],
    }


def _diagnosis(diagnosis: Diagnosis | None) -> Mapping[str, Any] | None:
    return asdict(diagnosis) if diagnosis else None
