"""Changes of a cluster that can be taken back: each registers its undo, and writes it down, before it acts."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from splithorizon import manifests
from splithorizon.errors import EnvironmentBroke
from splithorizon.kinds import namespace_of
from splithorizon.kube import Kube, Object
from splithorizon.pending import Way, written_down

_MADE_BY_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")


def patch(kube: Kube, kind: str, name: str, namespace: str | None, body: Object, undo: ExitStack) -> None:
    """Merge ``body`` into an object; the undo puts back exactly what it replaced."""
    before = inverse(_read(kube, kind, name, namespace), body)
    undo.callback(written_down(kube, Way.PATCH, kind, name, namespace, before))
    kube.patch(kind, name, namespace, body)


def patch_status(kube: Kube, kind: str, name: str, namespace: str | None, body: Object, undo: ExitStack) -> None:
    """Merge ``body``, which holds ``status``, into an object's status; the undo puts back exactly what it replaced."""
    before = inverse(_read(kube, kind, name, namespace), body)
    undo.callback(written_down(kube, Way.PATCH_STATUS, kind, name, namespace, before))
    kube.patch_status(kind, name, namespace, body)


def remove_label(kube: Kube, kind: str, name: str, namespace: str | None, label: str, undo: ExitStack) -> None:
    """Take one label away."""
    patch(kube, kind, name, namespace, {"metadata": {"labels": {label: None}}}, undo)


def delete(kube: Kube, kind: str, name: str, namespace: str | None, undo: ExitStack) -> None:
    """Delete an object; the undo applies it again as it was."""
    found = _read(kube, kind, name, namespace)
    metadata = {key: value for key, value in found["metadata"].items() if key not in _MADE_BY_THE_SERVER}
    again = {key: value for key, value in found.items() if key != "status"} | {"metadata": metadata}
    undo.callback(written_down(kube, Way.APPLY, kind, name, namespace, again))
    kube.delete(kind, name, namespace)


def apply(kube: Kube, documents: Iterable[Object] | Path, namespace: str, undo: ExitStack) -> None:
    """Apply documents; the undo deletes them."""
    for document in manifests.load(documents) if isinstance(documents, Path) else documents:
        name, space = document["metadata"]["name"], namespace_of(document, namespace)
        undo.callback(written_down(kube, Way.DELETE, document["kind"], name, space))
        kube.apply(document, namespace=namespace)


def mesh_config(kube: Kube, name: str, namespace: str, settings: Object, undo: ExitStack) -> None:
    """Set fields of istiod's mesh configuration, which it reads again by itself; the undo puts back the very text."""
    config = yaml.safe_load(_read(kube, "ConfigMap", name, namespace)["data"]["mesh"])
    patch(kube, "ConfigMap", name, namespace, {"data": {"mesh": yaml.safe_dump(config | settings)}}, undo)


def mesh_network(kube: Kube, name: str, namespace: str, network: str, told: Object, undo: ExitStack) -> None:
    """Tell istiod something else of one network in its ConfigMap; the undo puts back the very text."""
    networks = yaml.safe_load(_read(kube, "ConfigMap", name, namespace)["data"]["meshNetworks"])
    networks["networks"][network] |= told
    patch(kube, "ConfigMap", name, namespace, {"data": {"meshNetworks": yaml.safe_dump(networks)}}, undo)


def inverse(before: Any, body: Object) -> Object:
    """The merge patch that leads back to ``before`` once ``body`` has been merged into it."""
    known = before if isinstance(before, dict) else {}
    return {
        key: inverse(known.get(key), value) if isinstance(value, dict) and isinstance(known.get(key), dict)
        else known.get(key)
        for key, value in body.items()
    }  # fmt: skip


def _read(kube: Kube, kind: str, name: str, namespace: str | None) -> Object:
    found = kube.get(kind, name, namespace)
    if found is None:
        raise EnvironmentBroke(f"no {kind} {name} in the {kube.role} to break: the mesh is not as it should be before")
    return found
