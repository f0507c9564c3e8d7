"""The data of what a run costs is about the behaviours that there are."""

from __future__ import annotations

from splithorizon.base.paths import SUITES
from splithorizon.run import catalogue, costs
from splithorizon.run.catalogue import EVERYDAY

# A behaviour of meshes with several primaries, and one that is new: they join the table with the next measured run.
UNMEASURED = {"test_a_rule_binds_the_clients_of_its_own_primary", "test_proxy_versions_are_supported"}


def test_every_everyday_behaviour_is_measured_and_no_other() -> None:
    everyday = {one.name for one in catalogue.behaviours(SUITES) if one.profile in EVERYDAY}
    assert costs.SECONDS.keys() == everyday - UNMEASURED
    assert all(0 < seconds <= 60 for seconds in costs.SECONDS.values())
