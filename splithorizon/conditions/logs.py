"""Access logs that are written in a format of the mesh's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from splithorizon.base.paths import MANIFESTS
from splithorizon.conditions.condition import Condition, Effect, Object
from splithorizon.conditions.policies import named
from splithorizon.conditions.reading import ClusterConditions, MeshConditions
from splithorizon.conditions.registry import rule
from splithorizon.diagnosis import scope
from splithorizon.kube import manifests
from splithorizon.traffic import workloads

_OWN_FORMAT = MANIFESTS / "foreign" / "own-access-log.yaml"


@rule
def log_format(mesh: MeshConditions) -> Iterator[Condition]:
    """Sidecars would log in a format that is not Istio's."""
    for plane in mesh.control_planes:
        if seen := _reformatted(plane, mesh):
            yield Condition(
                "access logs have a format of the mesh's own",
                seen,
                Effect.NEUTRALISED,
                "an EnvoyFilter of the run lets its own sidecars log in a known format",
                objects=tuple(manifests.load(_OWN_FORMAT)),
            )


def _reformatted(plane: ClusterConditions, mesh: MeshConditions) -> str:
    """What changes the format; empty where it is Istio's own."""
    if plane.mesh.get("accessLogFormat"):
        return f"accessLogFormat of the mesh configuration in {plane.name}"
    for provider in plane.mesh.get("extensionProviders") or []:
        # The run's Telemetry names this one.
        if provider.get("name") == "envoy" and (provider.get("envoyFileAccessLog") or {}).get("logFormat"):
            return f"extensionProviders of the mesh configuration in {plane.name}: envoy has a logFormat"
    for one in plane.all("EnvoyFilter"):
        if _touches_log(one) and scope.binds(one, plane.root_namespace, mesh.namespace, {"app": workloads.CLIENT}):
            return f"{named(plane, one)} changes access_log"
    return ""


def _touches_log(one: Object) -> bool:
    return any(
        _has_key(patch.get("patch"), "access_log") for patch in (one.get("spec") or {}).get("configPatches") or []
    )


def _has_key(value: Any, wanted: str) -> bool:
    if isinstance(value, Mapping):
        return wanted in value or any(_has_key(inner, wanted) for inner in value.values())
    return isinstance(value, list) and any(_has_key(inner, wanted) for inner in value)
