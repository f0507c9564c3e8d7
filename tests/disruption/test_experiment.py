"""What the disruptions of one test share: the undos, the moment of the last change, names of the run's own."""

from __future__ import annotations

import time

from splithorizon.disruption.experiment import Experiment


def test_what_is_made_in_a_system_namespace_has_the_runs_id_in_its_name(experiment: Experiment) -> None:
    name = experiment.name_for("remote-api-server")
    assert name == "splithorizon-remote-api-server-20261127-031200-ab12"
    assert len(name) <= 63, "a Service's name"


def test_a_restore_undoes_everything_and_begins_a_measurement(experiment: Experiment) -> None:
    undone: list[str] = []
    experiment.undo.callback(undone.append, "first")
    experiment.undo.callback(undone.append, "second")
    experiment.rollouts.add(("primary", "istiod", "istio-system"))
    before = time.monotonic()
    experiment.restore()
    after = time.monotonic()
    assert undone == ["second", "first"]
    assert experiment.rollouts == set()
    measured = experiment.measure("it holds", lambda: None, within=60, cluster="primary")
    assert measured.seconds <= time.monotonic() - before
    assert measured.seconds >= 0
    assert after >= before
