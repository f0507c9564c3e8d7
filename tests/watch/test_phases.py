from __future__ import annotations

import pytest

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.watch.phases import Phase, PhaseLog


def test_a_moment_lies_in_one_phase_or_in_none() -> None:
    log = PhaseLog([Phase("istiod", 10, 20), Phase("gateway", 25)])
    moments = {5: None, 10: 0, 20: 0, 22: None, 25: 1, 99: 1}
    assert {moment: log.at(moment) for moment in moments} == moments


def test_a_phase_lasts_as_long_as_its_block() -> None:
    log = PhaseLog()
    with log.phase("istiod") as phase:
        went_on = log.at(phase.began + 60)
    assert went_on == 0
    assert log.at(phase.began) == 0
    assert log.at(phase.began + 60) is None
    assert phase.broke == ""


def test_what_breaks_in_a_phase_is_noted_and_raised_on() -> None:
    log = PhaseLog()
    with pytest.raises(EnvironmentBroke), log.phase("istiod"):
        raise EnvironmentBroke("istioctl failed")
    assert log.phases[0].broke == "istioctl failed"
    assert log.phases[0].ended is not None
