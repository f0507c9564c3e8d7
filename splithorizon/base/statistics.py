"""Exact statistics, without approximation: of a fixed number of independent requests, and of two runs compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

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


def most(trials: int, share: float, false_alarm: float = FALSE_ALARM) -> int:
    """The highest count to accept: that more of ``trials`` succeed has a probability of at most ``false_alarm``."""
    above = 0.0
    for count in range(trials, 0, -1):
        above += probability(count, trials, share)
        if above > false_alarm:
            return count
    return 0


def p_value(count: int, trials: int, share: float) -> float:
    """The two-sided p-value: the probability of all counts that are at most as likely as this one."""
    # Equally likely counts must be included in spite of rounding errors of the logarithms.
    limit = probability(count, trials, share) * (1 + 1e-7)
    chances = (probability(other, trials, share) for other in range(trials + 1))
    return min(1.0, math.fsum(chance for chance in chances if chance <= limit))


def miss(trials: int, share: float) -> float:
    """The probability of no success in ``trials``, each with probability ``share``."""
    return (1.0 - share) ** trials


def smallest_sample(share: float, *, missed: float) -> int:
    """The fewest trials, each with probability ``share``, that all fail with at most the probability ``missed``."""
    trials = 1
    while miss(trials, share) > missed:
        trials += 1
    return trials


def fisher(count: int, trials: int, other_count: int, other_trials: int) -> float:
    """The two-sided p-value of Fisher's exact test that two counts have the same share."""
    successes = count + other_count
    low, high = max(0, successes - other_trials), min(trials, successes)

    def chance(first: int) -> float:
        log = _log_choose(trials, first) + _log_choose(other_trials, successes - first)
        return math.exp(log - _log_choose(trials + other_trials, successes))

    # As in p_value: equally likely tables must be included in spite of rounding errors.
    limit = chance(count) * (1 + 1e-7)
    return min(1.0, math.fsum(one for one in map(chance, range(low, high + 1)) if one <= limit))


def later(before: Sequence[float], after: Sequence[float]) -> float:
    """The one-sided p-value of the exact rank-sum test that ``after`` is no larger than ``before``; ties share a rank.

    Raises ValueError if a side is empty.
    """
    if not before or not after:
        raise ValueError("a rank-sum test needs values on both sides")
    values = sorted([*before, *after])
    # Twice the mean rank, so that it is a whole number.
    ranks = {value: 2 * values.index(value) + values.count(value) + 1 for value in set(values)}
    # By the number of values chosen: how many choices have each sum of ranks.
    ways: list[Counter[int]] = [Counter({0: 1}), *(Counter[int]() for _ in after)]
    for value in values:
        for chosen in range(len(after), 0, -1):
            for total, number in ways[chosen - 1].items():
                ways[chosen][total + ranks[value]] += number
    seen = sum(ranks[value] for value in after)
    found = ways[len(after)]
    return sum(number for total, number in found.items() if total >= seen) / found.total()


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value corrected for their number after Holm, in the order given."""
    corrected, worst = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = worst
    return corrected


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
