"""What a cluster was made as, in labels of its node: a run that attaches to a kept one has to ask for the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.topology import ClusterPlan
from splithorizon.base.errors import UsageProblem

_PREFIX = "splithorizon.io/"


def node_labels(plan: ClusterPlan) -> dict[str, str]:
    """The labels of the cluster's node that tell its place in the topology."""
    return {
        f"{_PREFIX}network": plan.network,
        f"{_PREFIX}control-plane": plan.control_plane,
        f"{_PREFIX}east-west-gateway": "yes" if plan.has_gateway else "no",
    }


def require_made_as(plan: ClusterPlan, node: Mapping[str, Any] | None) -> None:
    """Raise UsageProblem where a kept cluster has another place in its topology than the plan gives it.

    A node without these labels, as an earlier version of the suite made it, is not compared.
    """
    labels = (node["metadata"].get("labels") or {}) if node else {}
    wanted = node_labels(plan)
    other = [label for label, value in wanted.items() if labels.get(label, value) != value]
    if other:
        made, asked = (
            ", ".join(f"{label.removeprefix(_PREFIX)} {values[label]}" for label in other)
            for values in (labels, wanted)
        )
        raise UsageProblem(
            f"--reuse: the kept cluster {plan.kind_name!r} was made with {made}, and --topology asks for {asked}: say "
            "the --topology of the run that kept it, or choose another --cluster-name. Nothing was changed."
        )
