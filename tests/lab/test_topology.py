"""Two clusters, two networks: names that kind takes, ranges that do not meet."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import combinations

import pytest

from lab.topology import plan
from splithorizon.base.errors import UsageProblem

# kind's node is "<prefix>-primary-control-plane"; a host name has at most 63 characters.
LONGEST = "a" * (63 - len("-primary-control-plane"))


def test_the_clusters_are_named_by_prefix_in_kind_and_without_it_in_the_mesh() -> None:
    mesh = plan("lab")
    assert [cluster.kind_name for cluster in mesh] == ["lab-primary", "lab-remote"]
    assert [cluster.name for cluster in mesh] == ["primary", "remote"]
    assert [cluster.control_plane for cluster in mesh] == ["primary", "primary"]
    assert [cluster.version for cluster in mesh] == ["v1", "v2"]
    assert [cluster.network for cluster in mesh] == ["primary-network", "remote-network"]
    assert [cluster.cluster_id for cluster in mesh] == ["primary", "remote"]
    assert mesh.remote.node == "lab-remote-control-plane"


def test_a_cluster_is_found_by_its_name_in_the_mesh() -> None:
    mesh = plan("lab")
    assert mesh["primary"] is mesh.primary
    assert mesh["remote"] is mesh.remote
    with pytest.raises(KeyError):
        mesh["lab-primary"]


def test_no_two_ranges_of_the_mesh_overlap() -> None:
    ranges = [ip_network(text) for one in plan("lab") for text in (one.pod_subnet, one.service_subnet)]
    assert len(ranges) == 4
    assert all(one.is_private for one in ranges)
    assert not [(one, two) for one, two in combinations(ranges, 2) if one.overlaps(two)]


@pytest.mark.parametrize("prefix", ["a", "7", "splithorizon", "a-b.c", LONGEST])
def test_good_prefixes_give_names_that_a_host_can_have(prefix: str) -> None:
    assert all(len(cluster.node) <= 63 for cluster in plan(prefix))


@pytest.mark.parametrize(
    "prefix",
    ["", "Lab", "a_b", "a b", "-a", "a-", ".a", "a.", "a/b", "ä", "a\n", LONGEST + "a"],
    ids=repr,
)
def test_bad_prefixes_are_refused_in_one_line(prefix: str) -> None:
    with pytest.raises(UsageProblem) as problem:
        plan(prefix)
    said = str(problem.value)
    assert said.startswith(f"--cluster-name {prefix!r}: ")
    assert f"at most {len(LONGEST)}" in said
    assert said.endswith("Nothing was created.")
    assert "\n" not in said
