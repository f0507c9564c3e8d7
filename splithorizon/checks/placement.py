"""Which version runs where."""

from __future__ import annotations

from collections.abc import Mapping

from splithorizon.checks.judging import CheckFailed, Evidence, require_samples
from splithorizon.diagnosis import causes


def versions_run_only_in(running: Mapping[str, Mapping[str, int]], expected: Mapping[str, str]) -> Evidence:
    """Each cluster runs pods of its version and of no other."""
    require_samples([version for versions in running.values() for version in versions], "helloworld pods")
    strangers = sorted({version for versions in running.values() for version in versions} - set(expected.values()))
    astray = [cluster for cluster in expected if set(running.get(cluster, ())) != {expected[cluster]}]
    astray += sorted(running.keys() - expected.keys())
    if astray:
        if strangers:
            why = causes.STRANGE_POD
        elif any(len(versions) > 1 for versions in running.values()):
            why = causes.BOTH_VERSIONS_EVERYWHERE
        else:
            why = causes.VERSION_MISPLACED
        raise CheckFailed(
            "each version runs in exactly one cluster",
            expected=", ".join(f"{version} only in {cluster}" for cluster, version in expected.items()),
            seen=", ".join(f"{cluster}: {dict(versions) or 'none'}" for cluster, versions in running.items()),
            samples=sum(sum(versions.values()) for versions in running.values()),
            causes=(why,),
            next_command=f"kubectl <{astray[0]}> -n <namespace> get pods -L version",
            where=astray[0],
        )
    pods = sum(sum(versions.values()) for versions in running.values())
    return Evidence(
        "each version runs in exactly one cluster",
        ", ".join(f"{version} in {cluster}" for cluster, version in expected.items()),
        {"pods": pods},
    )
