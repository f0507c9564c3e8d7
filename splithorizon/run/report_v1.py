"""Converts reports of version 1, in which clusters are named by role, to version 2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = 1

_PRIMARY = "primary"
_CAUSE_OR_COMMAND = re.compile(r"^  (likely|try): ")
_PROFILE = re.compile(r"of profile (\w+), which was not asked for")
_UNCHANGED = (
    "run_id", "started", "finished", "command", "options", "versions", "totals", "verdict", "inconclusive_reason",
    "exit_status",
)  # fmt: skip


def converted(content: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the content of a report of version 1 to that of version 2.

    Raises KeyError, TypeError or AttributeError if a field of version 1 is missing or has another type. Values are not
    validated here.
    """
    return {
        **{name: content[name] for name in _UNCHANGED},
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
    unchanged = {name: value for name, value in cluster.items() if name not in {"role", "name"}}
    return {**unchanged, "name": role, "context": cluster["name"], **managed}


def _behaviour(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result whose failure no longer contains the cause and the command, which are separate fields."""
    lines = [line for line in result["failure"].splitlines() if not _CAUSE_OR_COMMAND.match(line)]
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
