"""Policies of the root namespace that bind the run's own pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from splithorizon.conditions import behaviours
from splithorizon.conditions.authorization import Match, Request, is_enforced, matches
from splithorizon.conditions.condition import Condition, Effect, Object
from splithorizon.conditions.reading import ClusterConditions, MeshConditions
from splithorizon.conditions.registry import rule
from splithorizon.diagnosis import scope
from splithorizon.traffic import workloads

ADMIT = "splithorizon-admitted"
"""The AuthorizationPolicy that admits the run's own clients."""


@rule
def authorization(mesh: MeshConditions) -> Iterator[Condition]:
    """Requests are refused unless a policy admits them, or a policy refuses them or asks another service."""
    for plane in mesh.control_planes:
        allowing = []
        for policy in plane.all("AuthorizationPolicy"):
            if not is_enforced(policy) or not _binds(policy, plane, mesh):
                continue
            spec = policy.get("spec") or {}
            action = str(spec.get("action") or "ALLOW")
            if action == "ALLOW":
                allowing.append(policy)
            elif action in ("DENY", "CUSTOM"):
                yield from _refusing(policy, action, plane, mesh)
        if allowing:
            first = allowing[0]
            rules = (first.get("spec") or {}).get("rules")
            more = f" and {len(allowing) - 1} more" if len(allowing) > 1 else ""
            yield Condition(
                "requests need a policy that admits them",
                f"{named(plane, first)}{more}" + ("" if rules else " has no rules: it admits nobody"),
                Effect.NEUTRALISED,
                f"AuthorizationPolicy {ADMIT} admits the run's clients to its pods",
                objects=(admitting(mesh.namespace),),
            )


def admitting(namespace: str) -> Object:
    """A policy that admits every identity of the run's namespace, in any cluster."""
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": ADMIT},
        "spec": {"action": "ALLOW", "rules": [{"from": [{"source": {"namespaces": [namespace]}}]}]},
    }


def named(cluster: ClusterConditions, one: Object) -> str:
    """An object as a sentence names it: kind, cluster, namespace and name."""
    metadata = one["metadata"]
    where = "/".join(filter(None, (cluster.name, metadata.get("namespace", ""), metadata["name"])))
    return f"{one.get('kind', 'object')} {where}"


def _refusing(policy: Object, action: str, plane: ClusterConditions, mesh: MeshConditions) -> Iterator[Condition]:
    groups: Mapping[tuple[str, ...], tuple[Request, ...]] = {
        behaviours.ANSWERED: (_request(plane, mesh, "GET", "/hello", workloads.SERVICE, workloads.PORT),),
        behaviours.PROTOCOLS: tuple(
            _request(plane, mesh, method, path, "echo", port)
            for method, path, port in (
                ("GET", "/echo", 5002),
                ("POST", "/echo", 5002),
                ("GET", "/echo", 5012),
                ("POST", "/grpc.health.v1.Health/Check", 5003),
            )
        ),
    }
    hit = {group: max(matches(policy, one) for one in requests) for group, requests in groups.items()}
    left_out = tuple(name for group, found in hit.items() if found is not Match.NO for name in group)
    if not left_out:
        return
    asks = (
        f"asks {((policy.get('spec') or {}).get('provider') or {}).get('name', 'another service')} about"
        if action == "CUSTOM"
        else "denies"
    )
    may = "" if max(hit.values()) is Match.YES else "may, by what is not known beforehand: "
    yield Condition(
        "a policy of the mesh decides about the run's requests",
        f"{named(plane, policy)} {may}{asks} them",
        Effect.NOT_CLAIMED,
        f"{named(plane, policy)} {may}{asks} the run's requests, and no policy of another namespace overrules it",
        behaviours=left_out,
    )


def _request(
    plane: ClusterConditions, mesh: MeshConditions, method: str, path: str, service: str, port: int
) -> Request:
    account = workloads.CLIENT
    principal = f"{plane.trust_domain}/ns/{mesh.namespace}/sa/{account}"
    return Request(principal, mesh.namespace, account, mesh.host(service), port, method, path)


def _binds(policy: Object, plane: ClusterConditions, mesh: MeshConditions) -> bool:
    """Whether a policy of the root namespace binds a pod of helloworld."""
    versions = [f"v{number}" for number, _ in enumerate(mesh.clusters, start=1)]
    pods = [{"app": workloads.SERVICE, "version": version} for version in versions]
    return any(scope.binds(policy, plane.root_namespace, mesh.namespace, labels) for labels in pods)
