"""Intervals and probabilities are those of scipy.stats 1.17 and mpmath (60 digits)."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from splithorizon.base import statistics


@pytest.mark.parametrize(
    ("trials", "share", "alpha", "accepted"),
    [
        (1000, 0.5, 1e-6, (423, 577)),
        (800, 0.5, 1e-4, (345, 455)),
        (1000, 0.3, 1e-6, (231, 372)),
        (1000, 0.25, 1e-6, (185, 319)),
        (100, 0.3, 1e-6, (10, 53)),
        (41, 0.3, 1e-6, (1, 27)),
        (40, 0.3, 1e-6, (0, 27)),
        (30, 0.5, 1e-6, (3, 27)),
        (12, 1 / 3, 0.05, (1, 7)),
        (500, 0.01, 1e-3, (0, 14)),
        (100, 0.5, 1e-6, (26, 74)),
        (20, 0.5, 1e-6, (0, 20)),
        (21, 0.5, 1e-6, (1, 20)),
        (600, 0.25, 1e-6, (100, 204)),
        (1000, 0.1, 1e-6, (57, 149)),
        (1000, 0.01, 1e-6, (0, 29)),
        (5000, 0.5, 1e-6, (2327, 2673)),
        (10_000, 0.3333, 1e-6, (3104, 3565)),
        (10, 0.5, 0.05, (2, 8)),
        (20, 0.3, 0.01, (1, 12)),
        (100, 0.9, 1e-3, (79, 98)),
        (1, 0.5, 1e-6, (0, 1)),
        (0, 0.5, 1e-6, (0, 0)),
        (30, 0.0, 1e-6, (0, 0)),
        (30, 1.0, 1e-6, (30, 30)),
    ],
)
def test_interval(trials: int, share: float, alpha: float, accepted: tuple[int, int]) -> None:
    assert statistics.interval(trials, share, alpha) == accepted


@pytest.mark.parametrize("trials", [1, 20, 320])
def test_the_most_to_accept_is_the_lowest_count_beyond_which_there_is_no_more_than_the_false_alarm(trials: int) -> None:
    exact, alarm = Fraction(1, 100), Fraction(1, 10**6)
    chances = [math.comb(trials, count) * exact**count * (1 - exact) ** (trials - count) for count in range(trials + 1)]
    most = statistics.most(trials, 0.01)
    assert sum(chances[most + 1 :]) <= alarm < sum(chances[most:])
    assert statistics.most(0, 0.01) == 0


@pytest.mark.parametrize("alpha", [1e-6, 1e-4, 0.05])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("trials", [30, 100, 1000])
def test_the_interval_is_the_narrowest_with_this_false_alarm(trials: int, share: float, alpha: float) -> None:
    """Each tail has at most half the false alarm, and more than that with one more count."""
    low, high = statistics.interval(trials, share, alpha)
    exact = Fraction(str(share))
    chances = [math.comb(trials, count) * exact**count * (1 - exact) ** (trials - count) for count in range(trials + 1)]
    half = Fraction(str(alpha)) / 2
    assert sum(chances[:low]) <= half < sum(chances[: low + 1])
    assert sum(chances[high + 1 :]) <= half < sum(chances[high:])


@pytest.mark.parametrize(
    ("count", "trials", "share", "chance"),
    [
        (500, 1000, 0.5, 0.025225018178360802),
        (423, 1000, 0.5, 1.7243468611862406e-7),
        (422, 1000, 0.5, 1.2619355056778197e-7),
        (1, 5000, 0.001, 0.033639198998326415),
        (0, 1000, 0.5, 9.3326361850321888e-302),
    ],
)
def test_probability(count: int, trials: int, share: float, chance: float) -> None:
    assert statistics.probability(count, trials, share) == pytest.approx(chance, rel=1e-9)


@pytest.mark.parametrize(
    ("trials", "alpha", "true_share", "chance"),
    [
        (1000, 1e-6, 0.6, 0.07350950065128643),
        (1000, 1e-6, 0.65, 1.0457656e-6),
        (800, 1e-4, 0.6, 0.038910647),
    ],
)
def test_how_often_an_uneven_split_is_missed(trials: int, alpha: float, true_share: float, chance: float) -> None:
    low, high = statistics.interval(trials, 0.5, alpha)
    missed = sum(statistics.probability(k, trials, true_share) for k in range(low, high + 1))
    assert missed == pytest.approx(chance, rel=1e-7)


@pytest.mark.parametrize(
    ("count", "trials", "share", "p_value"),
    [
        (500, 1000, 0.5, 1.0),
        (577, 1000, 0.5, 1.25091792936974e-06),
        (578, 1000, 0.5, 9.060485571324878e-07),
        (600, 1000, 0.5, 2.728464156065947e-10),
        (0, 30, 0.5, 1.862645149230957e-09),
        (3, 20, 0.1, 0.4446498494011033),
        (180, 1000, 0.25, 1.3588537911804074e-07),
        (0, 5, 0.0, 1.0),
    ],
)
def test_p_value(count: int, trials: int, share: float, p_value: float) -> None:
    assert statistics.p_value(count, trials, share) == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.01, 1 / 3, 0.5, 1.0])
def test_probabilities_add_up(share: float) -> None:
    total = sum(statistics.probability(k, 1000, share) for k in range(1001))
    assert total == pytest.approx(1, rel=1e-9)


def test_missing_either_of_two_equal_sides() -> None:
    assert 2 * statistics.miss(30, 0.5) == pytest.approx(1.862645149230957e-09, rel=1e-12)


@pytest.mark.parametrize(
    ("table", "p_value"),
    [
        ((3, 4, 1, 4), 0.4857142857142857),  # Fisher's tea
        ((8, 10, 1, 6), 0.034965034965034975),
        ((1, 10, 11, 14), 0.002759456185220083),
        ((0, 1000, 0, 1000), 1.0),
        ((0, 5, 5, 5), 2 / 252),
        ((5, 5, 5, 5), 1.0),
        ((500, 1000, 500, 1000), 1.0),
    ],
)
def test_fishers_exact_test(table: tuple[int, int, int, int], p_value: float) -> None:
    count, trials, other, other_trials = table
    assert statistics.fisher(count, trials, other, other_trials) == pytest.approx(p_value, rel=1e-9)
    assert statistics.fisher(other, other_trials, count, trials) == pytest.approx(p_value, rel=1e-9)


def test_the_exact_rank_sum_test_counts_every_arrangement_ties_too() -> None:
    before, after = (3.0, 1.0, 2.0, 2.0), (2.0, 4.0, 3.0)
    values = [*before, *after]
    ranks = [sum(other < one for other in values) + (values.count(one) + 1) / 2 for one in values]
    seen = sum(ranks[len(before) :])
    sums = [sum(chosen) for chosen in itertools.combinations(ranks, len(after))]
    assert statistics.later(before, after) == pytest.approx(sum(one >= seen for one in sums) / len(sums))


def test_five_slower_runs_of_ten_are_as_unlikely_as_one_choice_of_five() -> None:
    assert statistics.later((1, 2, 3, 4, 5), (6, 7, 8, 9, 10)) == pytest.approx(1 / 252)
    assert statistics.later((6, 7, 8, 9, 10), (1, 2, 3, 4, 5)) == 1.0
    assert statistics.later((1.0,) * 5, (1.0,) * 5) == 1.0
    with pytest.raises(ValueError, match="both sides"):
        statistics.later((), (1.0,))


def test_p_values_are_corrected_for_their_number_after_holm() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


@pytest.mark.parametrize(("share", "missed", "trials"), [(1.0, 1e-12, 1), (1 / 2, 1e-12, 40), (1 / 3, 1e-12, 69)])
def test_the_smallest_sample_misses_no_more_often_than_asked_and_one_less_does(
    share: float, missed: float, trials: int
) -> None:
    assert statistics.smallest_sample(share, missed=missed) == trials
    assert statistics.miss(trials, share) <= missed
    assert trials == 1 or statistics.miss(trials - 1, share) > missed
