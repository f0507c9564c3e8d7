"""What a cluster holds, object by object, so that before and after can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube.client import Kube, Object, Objects

Snapshot = Mapping[str, str]
"""Of each object its kind, namespace and name, and a digest of what was asked of it."""

# They come and go by themselves, or are what a controller makes of an object that is looked at itself.
_FLEETING = frozenset({
    "CertificateSigningRequest", "ComponentStatus", "Endpoints", "Event", "Lease", "NodeMetrics", "PodMetrics",
})  # fmt: skip
_KEPT_BY_THE_SERVER = frozenset({"creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"})
# istiod renews its leadership every few seconds.
_LEADER = "control-plane.alpha.kubernetes.io/leader"


@dataclass(frozen=True)
class Remains:
    """How a cluster differs from what it was before the installation, after waiting ``within`` seconds at most."""

    cluster: str
    objects: int
    """How many it held before."""
    differences: tuple[str, ...]
    going: tuple[str, ...]
    """Namespaces that are deleted and still there."""
    stuck: tuple[str, ...]
    """Those of them that finalizers hold, each with which."""
    within: float


def take(kube: Kube) -> Snapshot:
    """Read every object of every kind that the API server lists, but for what a controller made of another."""
    return dict(
        _entry(kind, item)
        for group, resource, kind in _listed(kube)
        for item in _items(kube, f"{group}/{resource}")
        if not _made_of_another(item)
    )


def before_install(kube: Kube, *, within: float) -> Snapshot:
    """Wait until a new cluster's nodes are ready and two snapshots in a row are the same; return the last.

    Raises EnvironmentBroke where that does not come ``within`` seconds.
    """
    seen: Snapshot = {}

    def at_rest() -> Snapshot:
        nonlocal seen
        waiting = [node["metadata"]["name"] for node in kube.list("Node") if not _ready(node)]
        before, seen = seen, take(kube)
        if waiting or differences(before, seen):
            raise NotYet(", ".join([f"{name} is not ready" for name in waiting] or differences(before, seen)[:3]))
        return seen

    return eventually(f"the new {kube.cluster} cluster is at rest", at_rest, within=within, every=2)


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What is left, gone or changed, by name."""
    left = [f"left: {name}" for name in after.keys() - before.keys()]
    gone = [f"gone: {name}" for name in before.keys() - after.keys()]
    changed = [f"changed: {name}" for name in before.keys() & after.keys() if before[name] != after[name]]
    return [*sorted(left), *sorted(gone), *sorted(changed)]


def _listed(kube: Kube) -> Iterator[tuple[str, str, str]]:
    """Each kind once, by its group's preferred version."""
    groups = json.loads(kube.request("/apis"))["groups"]
    paths = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    for path in paths:
        for resource in json.loads(kube.request(path))["resources"]:
            if "list" in resource["verbs"] and resource["kind"] not in _FLEETING:
                yield path, resource["name"], resource["kind"]


def _items(kube: Kube, path: str) -> Objects:
    items: Objects = json.loads(kube.request(path))["items"]
    return items


def _made_of_another(item: Object) -> bool:
    return any(owner.get("controller") for owner in item["metadata"].get("ownerReferences", ()))


def _entry(kind: str, item: Object) -> tuple[str, str]:
    metadata = {name: value for name, value in item["metadata"].items() if name not in _KEPT_BY_THE_SERVER}
    annotations = {name: value for name, value in metadata.get("annotations", {}).items() if name != _LEADER}
    asked = {**item, "metadata": {**metadata, "annotations": annotations}, "status": None}
    name = f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]
    return f"{kind} {name}", hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _ready(node: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in node["status"].get("conditions", ())
    )
