"""What holds in a namespace that was there before the run (``--namespace``), and binds the run's own pods too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from splithorizon.conditions.condition import Condition, Effect, Object
from splithorizon.conditions.policies import named
from splithorizon.conditions.reading import ClusterConditions, MeshConditions
from splithorizon.conditions.registry import rule
from splithorizon.diagnosis import scope
from splithorizon.traffic import workloads

EGRESS = "splithorizon-egress"
"""The Sidecar by which the run's own clients see the Services of their namespace."""


@rule
def network_policies(mesh: MeshConditions) -> Iterator[Condition]:
    """A NetworkPolicy closes the run's pods, and none opens them again."""
    for cluster in mesh.clusters:
        for direction in ("Ingress", "Egress"):
            binding = [
                one
                for one in _own(cluster, mesh, "NetworkPolicy")
                if direction in _directions(one) and any(_selects(one, labels) for labels in _pods(mesh))
            ]
            if not binding:
                continue
            is_open = any({} in ((one.get("spec") or {}).get(direction.lower()) or []) for one in binding)
            yield Condition(
                "a NetworkPolicy binds the run's pods",
                f"{named(cluster, binding[0])}, policyTypes {direction}",
                Effect.CONSIDERED if is_open else Effect.REFUSED,
                f"another rule admits all {direction.lower()}" if is_open else
                f"it admits some {direction.lower()} only, and what it stops would look like a fault of the mesh: add "
                "a NetworkPolicy with podSelector app.kubernetes.io/managed-by=splithorizon, ingress: [{}] and egress: "
                "[{}], or name another namespace",
            )  # fmt: skip


def _directions(policy: Object) -> Sequence[str]:
    spec = policy.get("spec") or {}
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _selects(policy: Object, labels: Mapping[str, str]) -> bool:
    return scope.matches_labels((policy.get("spec") or {}).get("podSelector") or {}, labels)


@rule
def plain_text(mesh: MeshConditions) -> Iterator[Condition]:
    """The namespace has another mode of mutual TLS than the mesh: without it no request crosses the networks."""
    for plane in mesh.control_planes:
        for one in _own(plane, mesh, "PeerAuthentication"):
            mode = ((one.get("spec") or {}).get("mtls") or {}).get("mode")
            if not _binds(one, plane, mesh):
                continue
            if mode == "PERMISSIVE":
                yield Condition(
                    "the namespace takes plain text", f"{named(plane, one)}: mtls PERMISSIVE", Effect.NOT_CLAIMED,
                    f"{named(plane, one)} admits plain text in the namespace",
                    behaviours=("test_plain_text_is_refused",),
                )  # fmt: skip
            elif mode == "DISABLE":
                yield Condition(
                    "mutual TLS is off in the namespace", f"{named(plane, one)}: mtls DISABLE", Effect.REFUSED,
                    "gateways pass mutual TLS alone, so that no request could reach the run's pods from another "
                    "network: name another namespace",
                )  # fmt: skip


@rule
def egress(mesh: MeshConditions) -> Iterator[Condition]:
    """A Sidecar says which Services the clients of the namespace see."""
    for plane in mesh.control_planes:
        for one in _own(plane, mesh, "Sidecar"):
            if not _binds(one, plane, mesh):
                continue
            if scope.selector_of(one):
                yield Condition(
                    "a Sidecar selects the run's pods", named(plane, one), Effect.REFUSED,
                    "of two Sidecars that select a pod Istio takes one: name another namespace",
                )  # fmt: skip
            else:
                yield Condition(
                    "a Sidecar restricts what clients see", named(plane, one), Effect.NEUTRALISED,
                    f"Sidecar {EGRESS} shows the run's own clients the Services of their namespace",
                    objects=(shown(),),
                )  # fmt: skip


def shown() -> dict[str, Any]:
    """A Sidecar that shows clients the Services of their own namespace."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": EGRESS},
        "spec": {"egress": [{"hosts": ["./*"]}]},
    }


@rule
def rules_for_our_hosts(mesh: MeshConditions) -> Iterator[Condition]:
    """A rule of the namespace is about a host of the run's, which could not be told from a fault of the mesh."""
    ours = (workloads.SERVICE, workloads.HEADLESS, "echo", workloads.CLIENT, *workloads.RULE_SERVICES)
    hosts = [mesh.host(name) for name in ours]
    for plane in mesh.control_planes:
        for one in (*_own(plane, mesh, "VirtualService"), *_own(plane, mesh, "DestinationRule")):
            spec = one.get("spec") or {}
            rules = spec.get("hosts") or [spec.get("host", "")]
            # A DestinationRule for many hosts is replaced for the run's own, as one of the root namespace is.
            exact = one.get("kind") == "DestinationRule"
            met = [
                str(name)
                for name in rules
                for host in hosts
                if scope.rule_means(one, str(name), host, mesh.domain) and not (exact and str(name).startswith("*"))
            ]
            if met and "mesh" in (spec.get("gateways") or ["mesh"]):
                yield Condition(
                    "a rule of the namespace binds the run's Services", f"{named(plane, one)}: {met[0]}",
                    Effect.REFUSED, "what the run sees would follow that rule: name another namespace",
                )  # fmt: skip


@rule
def quotas(mesh: MeshConditions) -> Iterator[Condition]:
    """A ResourceQuota limits what the namespace may hold."""
    for cluster in mesh.clusters:
        for one in _own(cluster, mesh, "ResourceQuota"):
            status = one.get("status") or {}
            used = status.get("used") or {}
            room = [f"{used.get(key, '0')} of {hard} {key}" for key, hard in (status.get("hard") or {}).items()]
            yield Condition(
                "a ResourceQuota limits the namespace",
                f"{named(cluster, one)}: {', '.join(room) or 'not counted yet'}",
                Effect.CONSIDERED,
                "what the run needs at once is compared with what is left, before the first write",
            )


def _own(cluster: ClusterConditions, mesh: MeshConditions, kind: str) -> list[Object]:
    """The objects of one kind in the namespace, where it was there before the run."""
    if not mesh.namespace_exists:
        return []
    found = (dict(one) for one in cluster.all(kind) if one["metadata"].get("namespace") == mesh.namespace)
    return [{"kind": kind, **one} for one in found]


def _pods(mesh: MeshConditions) -> list[Mapping[str, str]]:
    versions = [f"v{number}" for number, _ in enumerate(mesh.clusters, start=1)]
    helloworld = [{"app": workloads.SERVICE, "version": version} for version in versions]
    return [{**labels, **mesh.object_labels} for labels in ({"app": workloads.CLIENT}, *helloworld)]


def _binds(policy: Object, plane: ClusterConditions, mesh: MeshConditions) -> bool:
    return any(scope.binds(policy, plane.root_namespace, mesh.namespace, labels) for labels in _pods(mesh))
