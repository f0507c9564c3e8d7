"""The verdicts of checks and of runs."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """A verdict. A broken environment is inconclusive: neither conformant nor not conformant."""

    CONFORMANT = "conformant"
    NOT_CONFORMANT = "not conformant"
    PARTIAL = "partial"
    INCONCLUSIVE = "inconclusive"


def overall(verdicts: Iterable[Verdict], *, partial: bool) -> Verdict:
    """The verdict of a run. One refuted claim makes the mesh not conformant, even if other checks were inconclusive.

    ``partial`` says that something claimed was not run.
    """
    verdicts = list(verdicts)
    if Verdict.NOT_CONFORMANT in verdicts:
        return Verdict.NOT_CONFORMANT
    if not verdicts or Verdict.INCONCLUSIVE in verdicts:
        return Verdict.INCONCLUSIVE
    return Verdict.PARTIAL if partial or Verdict.PARTIAL in verdicts else Verdict.CONFORMANT
