"""Mesh-wide settings that decide where requests go, and who may know of a Service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from splithorizon.conditions import own_namespace
from splithorizon.conditions.condition import Condition, Effect, Object
from splithorizon.conditions.policies import named
from splithorizon.conditions.reading import ClusterConditions, MeshConditions
from splithorizon.conditions.registry import rule
from splithorizon.diagnosis import scope
from splithorizon.diagnosis.finding import shown
from splithorizon.traffic import workloads

EVENLY = "splithorizon-evenly"
"""The DestinationRule that takes the place of the mesh's for the run's own Services."""
_EVEN = {"simple": "LEAST_REQUEST", "localityLbSetting": {"enabled": False}}
# They change how often, or how fast, an endpoint is chosen.
_DECIDING = ("loadBalancer", "outlierDetection", "connectionPool", "portLevelSettings", "retryBudget")


@rule
def preferences(mesh: MeshConditions) -> Iterator[Condition]:
    """A rule or setting of the whole mesh prefers some endpoints: by locality, by health, by a hash."""
    for plane in mesh.control_planes:
        setting = plane.mesh.get("localityLbSetting") or {}
        rules = [one for one in plane.all("DestinationRule") if _means_ours(one, plane, mesh)]
        reasons = [
            f"{named(plane, one)}: spec.trafficPolicy.{key} {shown(policy[key])}"
            for one in rules
            for policy in [(one.get("spec") or {}).get("trafficPolicy") or {}]
            for key in _DECIDING
            if policy.get(key)
        ]
        if setting.get("distribute") and setting.get("enabled") is not False:
            reasons.append(f"localityLbSetting.distribute of the mesh configuration in {plane.name}")
        if not reasons:
            continue
        tls = next(
            (policy["tls"] for one in rules if (policy := one["spec"].get("trafficPolicy") or {}).get("tls")), None
        )
        yield Condition(
            "some endpoints are preferred mesh-wide",
            "; ".join(reasons[:3]),
            Effect.NEUTRALISED,
            f"DestinationRule {EVENLY} holds for the run's own Services in its place",
            objects=(evenly(mesh, tls),),
        )


def evenly(mesh: MeshConditions, tls: Mapping[str, Any] | None) -> Object:
    """A rule for every Service of the run: endpoints by their weights alone, and TLS as the mesh has it."""
    policy: dict[str, Any] = {"loadBalancer": _EVEN}
    if tls:
        policy["tls"] = dict(tls)
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": EVENLY},
        "spec": {"host": f"*.{mesh.namespace}.svc.{mesh.domain}", "exportTo": ["."], "trafficPolicy": policy},
    }


def _means_ours(one: Object, plane: ClusterConditions, mesh: MeshConditions) -> bool:
    spec = one.get("spec") or {}
    own = one["metadata"].get("namespace") or plane.root_namespace
    host = mesh.host(workloads.SERVICE)
    client = {"app": workloads.CLIENT}
    return (
        scope.host_matches(scope.full_host(str(spec.get("host", "")), own, mesh.domain), host)
        and scope.exported_to(spec.get("exportTo"), own, mesh.namespace)
        and ((spec.get("workloadSelector") or {}).get("matchLabels") or {}).items() <= client.items()
    )


@rule
def cluster_local(mesh: MeshConditions) -> Iterator[Condition]:
    """The mesh configuration keeps the run's Service in each cluster: nothing of what this suite claims could hold."""
    host = mesh.host(workloads.SERVICE)
    for plane in mesh.control_planes:
        pattern = _most_specific(plane.mesh.get("serviceSettings") or [], host)
        if pattern:
            yield Condition(
                "Services are local to their cluster",
                f"serviceSettings of the mesh configuration in {plane.name}: clusterLocal for {pattern}",
                Effect.REFUSED,
                f"{pattern} covers {host}, so that no request could leave its cluster: there is nothing to judge until "
                "an entry with clusterLocal: false covers the run's namespaces",
            )


def _most_specific(settings: Sequence[Mapping[str, Any]], host: str) -> str:
    """The pattern by which a host is local to its cluster; empty where it is not. The longest pattern decides."""
    found = {
        str(pattern): bool((one.get("settings") or {}).get("clusterLocal"))
        for one in settings
        for pattern in one.get("hosts") or []
        if scope.host_matches(str(pattern), host)
    }
    longest = max(found, key=lambda pattern: (not pattern.startswith("*"), len(pattern)), default="")
    return longest if found.get(longest) else ""


@rule
def exports(mesh: MeshConditions) -> Iterator[Condition]:
    """Services are not known outside their namespace, unless they say so."""
    for plane in mesh.control_planes:
        exported = plane.mesh.get("defaultServiceExportTo")
        if exported and "*" not in exported:
            yield Condition(
                "Services are not exported",
                f"defaultServiceExportTo {shown(exported)} of the mesh configuration in {plane.name}",
                Effect.NEUTRALISED,
                "the run's Services are exported to its own namespace and to the gateways'",
            )


@rule
def visible(mesh: MeshConditions) -> Iterator[Condition]:
    """A Sidecar of the root namespace hides the Services of each client's own namespace."""
    host = mesh.host(workloads.SERVICE)
    for plane in mesh.control_planes:
        for one in plane.all("Sidecar"):
            hosts = [str(name) for part in (one.get("spec") or {}).get("egress") or [] for name in part["hosts"]]
            mesh_wide = one["metadata"].get("namespace") == plane.root_namespace and not scope.selector_of(one)
            if mesh_wide and hosts and not any(_shows(name, mesh.namespace, host) for name in hosts):
                yield Condition(
                    "clients see the Services of some namespaces only",
                    f"{named(plane, one)}: egress {shown(hosts)}",
                    Effect.NEUTRALISED,
                    f"Sidecar {own_namespace.EGRESS} shows the run's own clients the Services of their namespace",
                    objects=(own_namespace.shown(),),
                )


def _shows(name: str, namespace: str, host: str) -> bool:
    """Whether a host of a Sidecar, as ``namespace/name``, means a host of a namespace to clients in it."""
    where, _, pattern = name.rpartition("/")
    return where in (".", "*", namespace) and scope.host_matches(pattern, host)


@rule
def outbound(mesh: MeshConditions) -> Iterator[Condition]:
    """Sidecars refuse to send to addresses that no Service has."""
    for plane in mesh.control_planes:
        if (plane.mesh.get("outboundTrafficPolicy") or {}).get("mode") == "REGISTRY_ONLY":
            yield Condition(
                "sidecars send to known Services only",
                f"outboundTrafficPolicy REGISTRY_ONLY of the mesh configuration in {plane.name}",
                Effect.CONSIDERED,
                "pods are dialled at their addresses past the client's sidecar",
            )
