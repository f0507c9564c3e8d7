"""Whether a mesh is healthy, and how long it is waited for: not longer than something changes."""

from __future__ import annotations

import pytest

from splithorizon.mesh import health
from splithorizon.mesh.health import Lacking, Stays, steady
from splithorizon.mesh.mesh import Mesh
from tests.support.existing_mesh import TwoClusters, answers
from tests.support.manual_clock import ManualClock

OWN = {"primary": ("v1",), "remote": ("v2",)}


def batches(clusters: TwoClusters) -> int:
    """How many batches the client of the primary has sent."""
    return len([path for _, path, *_ in clusters.primary.asked if path.endswith("/exec")])


def test_each_client_is_answered_by_every_version(clusters: TwoClusters, mesh: Mesh) -> None:
    answers(clusters, lambda cluster, service: ("v1", "v2") if service == "helloworld" else OWN[cluster])
    assert health.is_healthy(mesh)


def test_a_broken_mesh_is_waited_for_and_a_known_one_is_not(
    clusters: TwoClusters, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(clusters, lambda cluster, _: OWN[cluster])
    clock = ManualClock.installed(monkeypatch)
    assert not health.is_healthy(mesh)
    assert clock.time > 0
    asked = batches(clusters)
    assert not health.is_healthy(mesh, patiently=False)
    assert batches(clusters) - asked == 1


def test_a_state_that_stays_is_not_waited_for_any_longer() -> None:
    moments = iter([0.0, 1.0, 5.0, 12.0, 20.0, 21.9, 22.0])
    states = iter([("3 of 40", "a"), ("5 of 40", "a"), ("5 of 40", "b"), ("4 of 40", "b"), ("3", "b"), ("3", "b")])

    def probe() -> None:
        raise Lacking(*next(states))

    look = steady(probe, 10, clock=lambda: next(moments))
    for _ in range(5):
        with pytest.raises(Lacking):
            look()
    # Ten seconds after it began to be so.
    with pytest.raises(Stays):
        look()


def test_a_state_that_ends_well_is_no_error() -> None:
    steady(lambda: None, 10)()
