"""Changes of one host each: made at once, looked at, undone at once; what breaks off in one is its own alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import pytest

from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.mesh import isolated_changes
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.isolated_changes import IsolatedChange
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.pinned import PinnedByClusterLocal, PinnedBySubsets
from splithorizon.mesh.security import AdmittedByPrincipal
from splithorizon.traffic import workloads
from tests.support.existing_mesh import TwoClusters, answers

STEPS = ("apply", "await_effect", "look", "undone", "await_undone", "look_again")


@dataclass(eq=False)
class Recorded(IsolatedChange[tuple[str, ...]]):
    """Notes each of its steps in a list that several share."""

    name: str
    noted: list[tuple[str, str]]
    breaks_at: str = ""
    waited_in: list[Cluster] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def apply(self, undo: ExitStack) -> None:
        undo.callback(self.note, "undone")
        self.note("apply")

    def await_effect(self, cluster: Cluster) -> None:
        self.waited_in.append(cluster)
        self.note("await_effect")

    def look(self) -> None:
        self.note("look")

    def await_undone(self, cluster: Cluster) -> None:
        self.waited_in.append(cluster)
        self.note("await_undone")

    def look_again(self) -> None:
        self.note("look_again")

    def note(self, step: str) -> None:
        with self.lock:
            self.noted.append((step, self.name))
        if step == self.breaks_at:
            raise EnvironmentBroke(f"{step} of {self.name}")

    def _seen(self) -> tuple[str, ...]:
        return tuple(step for step, name in self.noted if name == self.name)


def make(mesh: Mesh, *changes: IsolatedChange[Any]) -> None:
    with ExitStack() as undo, timeouts.shortened(0.01):
        isolated_changes.make_all(mesh, changes, undo)


def test_every_change_takes_a_step_before_any_takes_the_next(mesh: Mesh) -> None:
    noted: list[tuple[str, str]] = []
    changes = [Recorded(mesh, name, noted) for name in "ab"]
    make(mesh, *changes)
    assert list(dict.fromkeys(step for step, _ in noted)) == [*STEPS]
    assert sorted(noted, key=lambda one: STEPS.index(one[0])) == noted
    assert [{*one.waited_in} for one in changes] == [{*mesh}, {*mesh}]


@pytest.mark.parametrize("step", ["apply", "look", "look_again"])
def test_a_change_that_breaks_off_takes_no_further_step_is_undone_and_harms_no_other(mesh: Mesh, step: str) -> None:
    noted: list[tuple[str, str]] = []
    broken, whole = Recorded(mesh, "broken", noted, breaks_at=step), Recorded(mesh, "whole", noted)
    make(mesh, broken, whole)
    assert {*whole.seen} == {*STEPS}
    with pytest.raises(EnvironmentBroke, match=f"{step} of broken"):
        assert broken.seen
    later = STEPS[STEPS.index(step) + 1 :]
    assert {one for one, name in noted if name == "broken"} == {*STEPS} - ({*later} - {"undone"})


@pytest.mark.parametrize("kind", [PinnedBySubsets, PinnedByClusterLocal])
def test_a_pinned_client_is_judged_by_its_own_name_of_helloworld(
    clusters: TwoClusters, mesh: Mesh, kind: Callable[[Mesh], PinnedBySubsets | PinnedByClusterLocal]
) -> None:
    asked: list[str] = []

    def answering(cluster: str, service: str) -> tuple[str, ...]:
        asked.append(service)
        return ("v1",) if cluster == "primary" else ("v2",)

    answers(clusters, answering)
    change = kind(mesh)
    with timeouts.shortened(0.01):
        for cluster in mesh:
            change.await_effect(cluster)
    assert {*asked} == {change.service}
    assert change.service in workloads.RULE_SERVICES


def test_an_admission_is_waited_for_at_both_names(clusters: TwoClusters, mesh: Mesh) -> None:
    asked: list[str] = []

    def answering(_: str, service: str) -> tuple[str, ...]:
        asked.append(service)
        return ("v1", "v2")

    answers(clusters, answering)
    with timeouts.shortened(0.01):
        AdmittedByPrincipal(mesh).await_effect(mesh["primary"])
    assert {*asked} == {workloads.FOR_NOBODY, workloads.FOR_CLIENT}
