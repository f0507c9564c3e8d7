"""Exact binomial statistics for a fixed number of independent requests; nothing is approximated."""

from __future__ import annotations

import math

# The chance that one statistical check calls a sound mesh unsound.
FALSE_ALARM = 1e-6


def probability(count: int, trials: int, share: float) -> float:
    """The chance of exactly ``count`` of ``trials`` falling to something with that share."""
    if share in {0.0, 1.0}:
        return float(count == trials * share)
    log = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return math.exp(log + count * math.log(share) + (trials - count) * math.log1p(-share))


def interval(trials: int, share: float, false_alarm: float = FALSE_ALARM) -> tuple[int, int]:
    """The counts to accept, ends included: each tail outside has at most half the false alarm."""
    low, below = 0, 0.0
    while (below := below + probability(low, trials, share)) <= false_alarm / 2:
        low += 1
    high, above = trials, 0.0
    while (above := above + probability(high, trials, share)) <= false_alarm / 2:
        high -= 1
    return low, high


def p_value(count: int, trials: int, share: float) -> float:
    """The chance of a count that is no likelier than this one (two-sided)."""
    # What is as likely as the count belongs to it, whatever the last bit of a logarithm says.
    bound = probability(count, trials, share) * (1 + 1e-7)
    chances = (probability(other, trials, share) for other in range(trials + 1))
    return min(1.0, math.fsum(chance for chance in chances if chance <= bound))


def miss(trials: int, share: float) -> float:
    """The chance that something with that share of the answers gives none of them."""
    return (1.0 - share) ** trials
