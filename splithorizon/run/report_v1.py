"""Reports of version 1, which named two clusters by their roles, as reports of version 2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = 1

_PRIMARY = "primary"
_ADVICE = re.compile(r"^  (likely|try): ")
_PROFILE = re.compile(r"of profile (\w+), which was not asked for")
_KEPT = (
    "run_id", "started", "finished", "command", "options", "versions", "totals", "verdict", "inconclusive_reason",
    "exit_status",
)  # fmt: skip


def converted(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a version 1 report in the form of version 2.

    Raises KeyError, TypeError or AttributeError where it lacks what version 1 has; what it holds is not judged here.
    """
    return {
        **{name: content[name] for name in _KEPT},
        "schema_version": 2,
        "clusters": [_cluster(cluster) for cluster in content["topology"].get("clusters", [])],
        "steps": [
            {**{name: value for name, value in step.items() if name != "role"}, "cluster": step["role"]}
            for step in content["steps"]
        ],
        "behaviours": [_behaviour(result) for result in content["behaviours"]],
        "not_claimed": [_not_claimed(entry) for entry in content["not_claimed"]],
    }


def _cluster(cluster: Mapping[str, Any]) -> dict[str, Any]:
    role = cluster["role"]
    managed = {} if role == _PRIMARY else {"runs_istiod": False, "control_plane": _PRIMARY}
    kept = {name: value for name, value in cluster.items() if name not in {"role", "name"}}
    return {**kept, "name": role, "context": cluster["name"], **managed}


def _behaviour(result: Mapping[str, Any]) -> dict[str, Any]:
    """The failure without the cause and the command, which have fields of their own."""
    lines = [line for line in result["failure"].splitlines() if not _ADVICE.match(line)]
    command = result["next_command"]
    failure = "\n".join(lines)
    return {**result, "failure": failure.removesuffix(f". Try: {command}") if command else failure}


def _not_claimed(entry: Mapping[str, Any]) -> dict[str, Any]:
    reason = entry["reason"]
    if profile := _PROFILE.fullmatch(reason):
        return {**entry, "kind": "not asked for", "profile": profile[1]}
    for kind in ("exempt", "not run"):
        if reason.startswith(f"{kind}: "):
            return {**entry, "kind": kind}
    return {**entry, "kind": "not offered"}
