"""What the clusters themselves are: their nodes, and what they admit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from splithorizon.conditions.condition import Condition, Effect
from splithorizon.conditions.reading import ClusterConditions, MeshConditions
from splithorizon.conditions.registry import rule

_TRIED = "amd64"
_REPELLING = ("NoSchedule", "NoExecute")


@rule
def nodes(mesh: MeshConditions) -> Iterator[Condition]:
    """Nodes of another kind than those that this suite is tried on."""
    for cluster in mesh.clusters:
        known = cluster.all("Node")
        kinds = Counter(f"{one.get('os')}/{one.get('architecture')}" for one in known if one.get("os"))
        others = {kind: count for kind, count in kinds.items() if kind != f"linux/{_TRIED}"}
        if others:
            yield Condition(
                "nodes of several kinds" if len(kinds) > 1 else "nodes of another kind",
                f"{cluster.name}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
                Effect.CONSIDERED,
                "the run's pods ask for Linux, and for images of the node's own architecture",
            )
        if known and not any(map(_takes_pods, known)):
            yield Condition(
                "no node takes pods",
                f"{cluster.name}: all {len(known)} nodes are cordoned, tainted, or do not run Linux",
                Effect.CONSIDERED,
                "the run's pods wait for a node to be added; a toleration is given by --overlay FILE",
            )


def _takes_pods(node: Mapping[str, Any]) -> bool:
    spec = node.get("spec") or {}
    repelled = any(taint.get("effect") in _REPELLING for taint in spec.get("taints") or [])
    return not spec.get("unschedulable") and not repelled and node.get("os") in ("linux", "")


@rule
def openshift(mesh: MeshConditions) -> Iterator[Condition]:
    """OpenShift chooses the user of a pod itself, and refuses a user that a pod names."""
    for cluster in mesh.clusters:
        if cluster.openshift:
            yield Condition(
                "OpenShift chooses the users of pods",
                f"{cluster.name} serves security.openshift.io",
                Effect.CONSIDERED,
                "the run's pods name no user there",
            )


def names_no_user(cluster: ClusterConditions) -> bool:
    """Whether pods have to leave their user to the platform."""
    return cluster.openshift
