"""A mesh that is upgraded by revision while it is watched: each phase has its requests, versions and core checks.

The version stays the same, so that no second Istio has to be compiled: what is upgraded is everything else.
"""

from __future__ import annotations

import pytest

from tests.machine.conftest import Starter, unused

pytestmark = [pytest.mark.engine, pytest.mark.long]


def test_an_upgrade_by_revision_is_judged_phase_by_phase(start: Starter) -> None:
    run = start(
        "suites/placement", "--provider", "podman", "--images", "built", "--cluster-name", unused("upgraded"),
        "--upgrade-to", "1.29.1", "--upgrade-style", "revision", "--rate", "5", "--budget", "lost=2%,cuts=9",
        "--requests", "100",
    )  # fmt: skip

    assert run.ends() == 0, run.output
    watch = run.report["watch"]
    assert [phase["name"] for phase in watch["phases"]] == [
        "before the change",
        "tag stable on the old revision",
        "istiod of primary to 1.29.1",
        "webhook of remote to 1.29.1",
        "gateway of primary to 1.29.1",
        "gateway of remote to 1.29.1",
        "workloads of primary to 1.29.1",
        "workloads of remote to 1.29.1",
        "istiod 1.29.1 removed",
    ]
    assert {phase["core"] for phase in watch["phases"]} == {"conformant"}, run.output
    for phase in watch["phases"]:
        assert all(route["sent"] > 0 for route in phase["routes"]), phase
    # Every request is in one phase, but for those that began in the moments between two.
    for number, route in enumerate(watch["routes"]):
        assert route["sent"] == route["answered"] + route["lost"]
        in_phases = sum(phase["routes"][number]["sent"] for phase in watch["phases"])
        assert 0.95 * route["sent"] <= in_phases <= route["sent"]
    assert run.report["versions"]["istio"] == {"primary": "1.29.1", "remote": "1.29.1"}
