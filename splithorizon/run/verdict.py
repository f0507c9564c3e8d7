"""The verdicts, of one check and of a run."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """What can be said: a broken environment is never a pass and never a failure."""

    CONFORMANT = "conformant"
    NOT_CONFORMANT = "not conformant"
    PARTIAL = "partial"
    INCONCLUSIVE = "inconclusive"


def overall(verdicts: Iterable[Verdict], *, partial: bool) -> Verdict:
    """The run's verdict: one refuted claim refutes the mesh, whatever else could not be judged."""
    found = list(verdicts)
    if Verdict.NOT_CONFORMANT in found:
        return Verdict.NOT_CONFORMANT
    if not found or Verdict.INCONCLUSIVE in found:
        return Verdict.INCONCLUSIVE
    return Verdict.PARTIAL if partial or Verdict.PARTIAL in found else Verdict.CONFORMANT
