"""What a killed run left is gone after a sweep, and nothing else is."""

from __future__ import annotations

import signal

import pytest

from lab import topology
from lab.engine import Engine
from lab.kind import KIND_LABEL
from tests.machine.broken_off import STEPS, SUITE, left
from tests.machine.conftest import Starter, unused

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("step", ["clusters", "workloads"])
def test_a_killed_run_is_removed_by_a_sweep_and_nothing_else_is(start: Starter, podman: Engine, step: str) -> None:
    somebody_elses = unused("somebody-elses")
    label, foreign = f"{KIND_LABEL}={somebody_elses}", topology.node_of(somebody_elses)
    podman.run("create", "--name", foreign, "--label", label, _any_image(podman), within=60)
    try:
        run = start(*SUITE)
        run.reaches(STEPS[step])
        run.send(signal.SIGKILL)
        assert run.ends() == -signal.SIGKILL

        sweep = start("--sweep")

        assert sweep.ends() == 0, sweep.output
        assert left(podman) == [], sweep.output
        assert podman.containers(label=label) == [foreign]
    finally:
        podman.remove_container(foreign)


def _any_image(podman: Engine) -> str:
    (node, *_) = podman.run(
        "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=*/node", within=60
    ).stdout.split()
    return node
