"""Which kept clusters a run may attach to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.kept_cluster import node_labels, require_made_as
from lab.kind import config
from lab.topology import ClusterPlan, plan, read
from splithorizon.base.errors import UsageProblem
from tests.lab.test_topology import images
from tests.support.fake_engine import fake_engine


def node_of(made: ClusterPlan) -> dict[str, Any]:
    return {"metadata": {"labels": {"kubernetes.io/os": "linux", **node_labels(made)}}}


def test_kind_writes_on_each_node_what_the_cluster_is_made_as(tmp_path: Path) -> None:
    engine = fake_engine(tmp_path)
    for cluster in plan("lab", read("three-clusters-two-gateways")):
        document = config(cluster, images=images(own_node=True), engine=engine)
        assert [node["labels"] for node in document["nodes"]] == [node_labels(cluster)]


def test_a_cluster_is_taken_as_what_it_was_made() -> None:
    for cluster in plan("lab", read("three-clusters")):
        require_made_as(cluster, node_of(cluster))


@pytest.mark.parametrize("node", [None, {"metadata": {}}, {"metadata": {"labels": {"kubernetes.io/os": "linux"}}}])
def test_a_cluster_without_these_labels_is_not_compared(node: Mapping[str, Any] | None) -> None:
    require_made_as(plan("lab")["remote"], node)


@pytest.mark.parametrize(
    ("name", "made", "asked", "difference"),
    [
        (
            "cluster2",
            "three-clusters",
            "multi-primary",
            "made with network network1, control-plane cluster1, and --topology asks for network network2, "
            "control-plane cluster2:",
        ),
        (
            "cluster2",
            "three-clusters-two-gateways",
            "three-clusters",
            "made with east-west-gateway no, and --topology asks for east-west-gateway yes:",
        ),
    ],
)
def test_a_cluster_of_another_topology_is_refused(name: str, made: str, asked: str, difference: str) -> None:
    kept, wanted = (plan("lab", read(one))[name] for one in (made, asked))
    with pytest.raises(UsageProblem, match=f"'lab-{name}' was {difference}"):
        require_made_as(wanted, node_of(kept))
