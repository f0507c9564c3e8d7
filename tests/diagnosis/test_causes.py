"""The registry of causes is consistent, checks name all causes, and faults demand causes that checks can name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from docs import tables
from proof.faults import every_fault
from proof.faults.registry import fault
from splithorizon.checks import next_steps
from splithorizon.diagnosis import causes, unjudged
from splithorizon.diagnosis.causes import REGISTRY, Cause, Registry
from splithorizon.run import catalogue
from splithorizon.run.verdict import Verdict
from splithorizon.traffic.proxy_log import AccessLogSilent, AccessLogUnreadable
from tests.support.mesh_info import mesh_info

SUITES = Path(__file__).resolve().parents[2] / "suites"
BEHAVIOURS = {one.name: one for one in catalogue.behaviours(SUITES)}
UNJUDGED = (AccessLogUnreadable("unreadable"), AccessLogSilent("silent"))


def test_an_id_is_given_once() -> None:
    registry = Registry()
    first = registry.add("lost", "it is lost")
    with pytest.raises(ValueError, match="cause 'lost' is already registered: it is lost"):
        registry.add("lost", "it is lost again")
    assert list(registry) == [first]
    assert registry["lost"] is first
    assert ("lost" in registry, "found" in registry, len(registry)) == (True, False, 1)


def test_every_constant_is_registered_under_its_own_name() -> None:
    constants = {name: value for name, value in vars(causes).items() if isinstance(value, Cause)}
    assert len(constants) == len(REGISTRY) > 80
    assert {name: one.id for name, one in constants.items()} == {
        name: name.lower().replace("_", "-") for name in constants
    }


@pytest.mark.parametrize("cause", REGISTRY, ids=lambda cause: cause.id)
def test_a_cause_is_a_clause_and_its_next_step_a_whole_command(cause: Cause, tmp_path: Path) -> None:
    assert 10 < len(cause.text) <= 120
    assert not cause.text.endswith(".")
    if cause.next_step:
        command = next_steps.render(cause.next_step.format(near="primary", far="remote"), mesh_info(tmp_path))
        assert command.startswith(("kubectl --", "istioctl --"))
        assert not set("<>{}") & set(command)


def test_no_two_causes_say_the_same() -> None:
    assert len({cause.text for cause in REGISTRY}) == len(REGISTRY)


def test_every_cause_can_be_named_by_a_check_of_some_behaviour() -> None:
    """Read off the source, as the tables of the suites are; what no check names helps nobody."""
    named = {cause for one in BEHAVIOURS.values() for cause in tables.causes_of(one)}
    named |= {cause for error in UNJUDGED for cause in unjudged.causes_of(error)}
    assert [cause.id for cause in REGISTRY if cause not in named] == []


DEMANDS = [(one, behaviour) for one in every_fault() for behaviour in one.breaks if one.causes[behaviour]]


@pytest.mark.parametrize(("one", "behaviour"), DEMANDS, ids=lambda value: getattr(value, "name", value))
def test_a_fault_demands_a_cause_that_the_checks_of_the_behaviour_can_name(one: object, behaviour: str) -> None:
    (demanding,) = (known for known in every_fault() if known is one)
    named = (
        tables.causes_of(BEHAVIOURS[behaviour])
        if demanding.verdict is Verdict.NOT_CONFORMANT
        else [cause for error in UNJUDGED for cause in unjudged.causes_of(error)]
    )
    assert demanding.causes[behaviour] in {cause.id for cause in named}


def test_a_fault_without_a_cause_is_refused() -> None:
    with pytest.raises(ValueError, match="test_a, test_b: the cause is missing"):
        fault("test_a", "test_b")


@pytest.mark.parametrize("one", BEHAVIOURS.values(), ids=lambda one: one.name)
def test_a_behaviour_names_registered_faults_that_refute_it(one: catalogue.Behaviour) -> None:
    assert wrong_names(one) == []


def test_a_behaviour_that_names_no_registered_fault_is_noticed() -> None:
    known = next(iter(BEHAVIOURS.values()))
    assert wrong_names(replace(known, breaks_when=("no-such-fault",))) == ["no-such-fault"]
    # It makes the test inconclusive, and refutes nothing.
    path = BEHAVIOURS["test_each_version_takes_its_own_path"]
    assert wrong_names(replace(path, breaks_when=("access-log-off",))) == ["access-log-off"]


def wrong_names(one: catalogue.Behaviour) -> list[str]:
    """The names in ``breaks_when`` that are no registered fault, or one that is not to refute the behaviour."""
    refuting = {
        known.name for known in every_fault() if one.name in known.breaks and known.verdict is Verdict.NOT_CONFORMANT
    }
    return [name for name in one.breaks_when if name not in refuting]


@pytest.mark.parametrize("mode", ["labels", "mesh-networks"])
def test_every_behaviour_names_a_fault_of_each_network_mode(mode: str) -> None:
    available = {one.name for one in every_fault() if mode in one.modes}
    assert [one.name for one in BEHAVIOURS.values() if not available & {*one.breaks_when}] == []
