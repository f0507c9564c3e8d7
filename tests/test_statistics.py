"""Exact means exact: intervals and probabilities as scipy.stats 1.17 gives them."""

from __future__ import annotations

import pytest

from splithorizon import statistics


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
    ],
)
def test_interval(trials: int, share: float, alpha: float, accepted: tuple[int, int]) -> None:
    assert statistics.interval(trials, share, alpha) == accepted


def test_the_interval_keeps_its_promise_on_both_sides() -> None:
    low, high = statistics.interval(1000, 0.5)

    def below(count: int) -> float:
        return sum(statistics.probability(k, 1000, 0.5) for k in range(count))

    half = statistics.FALSE_ALARM / 2
    assert below(low) <= half < below(low + 1)
    assert high == 1000 - low


def test_how_often_an_uneven_split_is_missed() -> None:
    low, high = statistics.interval(1000, 0.5)
    missed = sum(statistics.probability(k, 1000, 0.6) for k in range(low, high + 1))
    assert missed == pytest.approx(0.07350950065128643, rel=1e-9)


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


@pytest.mark.parametrize(("share", "needed"), [(0.5, 30), (1 / 3, 52), (0.1, 197)])
def test_trials_needed(share: float, needed: int) -> None:
    assert statistics.trials_needed(share, 1e-9) == needed
    assert statistics.miss(needed, share) <= 1e-9 < statistics.miss(needed - 1, share)
