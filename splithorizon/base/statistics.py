"""Exact binomial statistics for a fixed number of independent requests, without approximation."""

from __future__ import annotations

import math

# The probability that one statistical check refutes a claim that is true.
FALSE_ALARM = 1e-6


def probability(count: int, trials: int, share: float) -> float:
    """The probability of exactly ``count`` successes in ``trials``, each with probability ``share``."""
    if share in {0.0, 1.0}:
        return float(count == trials * share)
    log = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return math.exp(log + count * math.log(share) + (trials - count) * math.log1p(-share))


def interval(trials: int, share: float, false_alarm: float = FALSE_ALARM) -> tuple[int, int]:
    """The lowest and the highest count to accept; each tail beyond them has at most half of ``false_alarm``."""
    low, below = 0, 0.0
    while (below := below + probability(low, trials, share)) <= false_alarm / 2:
        low += 1
    high, above = trials, 0.0
    while (above := above + probability(high, trials, share)) <= false_alarm / 2:
        high -= 1
    return low, high


def p_value(count: int, trials: int, share: float) -> float:
    """The two-sided p-value: the probability of all counts that are at most as likely as this one."""
    # Equally likely counts must be included in spite of rounding errors of the logarithms.
    limit = probability(count, trials, share) * (1 + 1e-7)
    chances = (probability(other, trials, share) for other in range(trials + 1))
    return min(1.0, math.fsum(chance for chance in chances if chance <= limit))


def miss(trials: int, share: float) -> float:
    """The probability of no success in ``trials``, each with probability ``share``."""
    return (1.0 - share) ** trials
