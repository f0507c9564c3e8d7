"""The results of a run as a short conformance report, ``conformance.yaml``, after the manner of Gateway API's.

A project that collects such reports can compare meshes without reading evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from splithorizon.base import private_file
from splithorizon.run.catalogue import Profile
from splithorizon.run.report import BehaviourResult, RunReport, Unclaimed
from splithorizon.run.verdict import Verdict

NAME = "conformance.yaml"
API_VERSION = "splithorizon/v1alpha1"
_UNKNOWN = "unknown"


def write(report: RunReport, folder: Path) -> Path:
    """Write the conformance report atomically, and return its path. ``report`` has been redacted."""
    path = folder / NAME
    private_file.write(path, text(report), mode=private_file.SHARED)
    return path


def text(report: RunReport) -> str:
    """The conformance report as YAML."""
    return yaml.safe_dump(content(report), sort_keys=False, allow_unicode=True, width=140)


def content(report: RunReport) -> dict[str, Any]:
    """The conformance report as plain data."""
    versions = report.versions
    return {
        "apiVersion": API_VERSION,
        "kind": "ConformanceReport",
        "date": report.finished,
        "implementation": {
            "organization": "istio",
            "project": "istio",
            "version": ", ".join(dict.fromkeys(versions.istio.values())) or _UNKNOWN,
        },
        "suiteVersion": versions.splithorizon,
        "kubernetesVersion": versions.kubernetes or _UNKNOWN,
        "mode": str(report.options.get("network_mode") or "labels"),
        "clusters": [
            {
                "name": cluster.name,
                "network": cluster.network,
                "controlPlane": cluster.name if cluster.runs_istiod else cluster.control_plane,
            }
            for cluster in report.clusters
        ],
        "verdict": report.verdict.value,
        "profiles": [profile for name in _profiles(report) if (profile := _profile(report, name))],
    }


def _profiles(report: RunReport) -> Iterable[str]:
    known = [profile.value for profile in Profile]
    found = {result.profile for result in report.behaviours}
    return [*known, *sorted(found - {*known})]


def _profile(report: RunReport, name: str) -> dict[str, Any]:
    """A profile of which something ran, by behaviours: one that fails on any route has failed."""
    results = [result for result in report.behaviours if result.profile == name]
    verdicts: dict[str, list[Verdict]] = {}
    for result in results:
        verdicts.setdefault(result.behaviour, []).append(result.verdict)
    if not verdicts:
        return {}
    judged = {behaviour: _worst(found) for behaviour, found in verdicts.items()}
    skipped = {
        entry.behaviour: entry.reason
        for entry in report.not_claimed
        if entry.profile == name and entry.kind is not Unclaimed.NOT_ASKED_FOR and entry.behaviour not in judged
    }

    def having(verdict: Verdict) -> list[str]:
        return sorted(behaviour for behaviour, found in judged.items() if found is verdict)

    failed, unjudged = having(Verdict.NOT_CONFORMANT), having(Verdict.INCONCLUSIVE)
    if failed:
        outcome = "failure"
    elif unjudged:
        outcome = "inconclusive"
    else:
        outcome = "partial" if skipped else "success"
    found: dict[str, Any] = {
        "name": name or _UNKNOWN,
        "result": outcome,
        "statistics": {
            "Passed": len(having(Verdict.CONFORMANT)),
            "Failed": len(failed),
            "Inconclusive": len(unjudged),
            "Skipped": len(skipped) + len(having(Verdict.PARTIAL)),
        },
    }
    found |= {"failedTests": failed} if failed else {}
    found |= {"inconclusiveTests": unjudged} if unjudged else {}
    found |= {"skippedTests": [{"name": test, "reason": skipped[test]} for test in sorted(skipped)]} if skipped else {}
    return {**found, "summary": _summary(results)}


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    order = (Verdict.NOT_CONFORMANT, Verdict.INCONCLUSIVE, Verdict.PARTIAL, Verdict.CONFORMANT)
    return min(verdicts, key=order.index)


def _summary(results: list[BehaviourResult]) -> str:
    held = sum(result.verdict is Verdict.CONFORMANT for result in results)
    return f"{held} of {len(results)} checks conformant"
