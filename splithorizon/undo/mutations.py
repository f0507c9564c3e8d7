"""Changes of a cluster that can be undone: each is permitted, written down with its undo, and only then made."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube import manifests
from splithorizon.kube.api_resources import namespace_of
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, Object
from splithorizon.undo import ownership, undo_log
from splithorizon.undo.undo_log import Action, permit, project, record, restorable


def patch(kube: Kube, kind: str, name: str, namespace: str | None, body: Object, undo: ExitStack) -> None:
    """Merge ``body`` into an object; the undo puts back exactly what it replaced."""
    _patch(kube, Action.PATCH, kind, name, namespace, body, undo)


def patch_status(kube: Kube, kind: str, name: str, namespace: str | None, body: Object, undo: ExitStack) -> None:
    """Merge ``body``, which holds ``status``, into an object's status; the undo puts back exactly what it replaced."""
    _patch(kube, Action.PATCH_STATUS, kind, name, namespace, body, undo)


def remove_label(kube: Kube, kind: str, name: str, namespace: str | None, label: str, undo: ExitStack) -> None:
    """Take one label away."""
    patch(kube, kind, name, namespace, {"metadata": {"labels": {label: None}}}, undo)


def delete(kube: Kube, kind: str, name: str, namespace: str | None, undo: ExitStack) -> None:
    """Delete an object; the undo makes it again as it was, unless somebody else did."""
    permit(kube, namespace)
    found = _read(kube, kind, name, namespace)
    uid = str(found["metadata"].get("uid", ""))
    entry = record(kube, Action.DELETE, kind, name, namespace, before=restorable(found), left=[], uid=uid)
    undo.callback(entry.undo)
    entry.back_up()
    kube.delete(kind, name, namespace)


def delete_pod(kube: Kube, name: str, namespace: str, *, gone_within: float) -> None:
    """Delete a pod, for which its controller makes another: there is nothing to undo."""
    permit(kube, namespace)
    kube.delete("Pod", name, namespace, gone_within=gone_within)


def restart(kube: Kube, kind: str, name: str, namespace: str, body: Object) -> None:
    """Change a pod template as ``kubectl rollout restart`` does: an undo would restart the pods once more."""
    permit(kube, namespace)
    kube.patch(kind, name, namespace, body)


def apply(kube: Kube, documents: Iterable[Object] | Path, namespace: str, undo: ExitStack) -> None:
    """Make objects that are not there yet, labelled with the run; the undo deletes them.

    Raises EnvironmentBroke where one is there that this run did not make.
    """
    for document in manifests.load(documents) if isinstance(documents, Path) else documents:
        _create(kube, document, namespace, undo)


def change_created(kube: Kube, kind: str, name: str, namespace: str, body: Object) -> None:
    """Merge ``body`` into an object that this run made by ``apply``, whose undo stays that it is deleted."""
    permit(kube, namespace)
    entry = next(
        (one for one in undo_log.pending_in(kube.kubeconfig.parent) if _makes(one.change, kube, kind, name, namespace)),
        None,
    )
    if entry is None:
        raise EnvironmentBroke(f"this run made no {kind} {namespace}/{name} in the {kube.role}")
    left = entry.change.left[-1]
    planned = manifests.overlay(left, body)
    entry.left(left, planned, settled=False)
    entry.left(project(kube.patch(kind, name, namespace, body), planned), settled=True)


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


def _patch(
    kube: Kube, action: Action, kind: str, name: str, namespace: str | None, body: Object, undo: ExitStack
) -> None:
    permit(kube, namespace)
    found = _read(kube, kind, name, namespace)
    uid = str(found["metadata"].get("uid", ""))
    entry = record(kube, action, kind, name, namespace, before=inverse(found, body), left=[body], uid=uid)
    undo.callback(entry.undo)
    entry.back_up()
    send = kube.patch_status if action is Action.PATCH_STATUS else kube.patch
    entry.left(project(send(kind, name, namespace, body), body), settled=True)


def _create(kube: Kube, document: Object, namespace: str, undo: ExitStack) -> None:
    name, space = document["metadata"]["name"], namespace_of(document, namespace)
    permit(kube, space)
    run = ownership.run_of(kube.kubeconfig.parent)
    wanted = manifests.overlay(document, {"metadata": {"labels": {ownership.RUN: ownership.label_value(run)}}})
    entry = record(kube, Action.CREATE, document["kind"], name, space, before=None, left=[wanted])
    undo.callback(entry.undo)
    entry.back_up()
    if entry.change.owned:
        (made,) = kube.apply(wanted, namespace=namespace)
    else:
        try:
            made = kube.create(wanted, namespace=namespace)
        except Refused as refused:
            if refused.status == 409:
                entry.strike_out()
                raise EnvironmentBroke(
                    f"{document['kind']} {space}/{name} of the {kube.role} is there already, and not this run's: "
                    "it is left alone",
                    next_command=f"{kube.kubectl} get {document['kind'].lower()} {name} --namespace {space} -o yaml",
                ) from None
            raise
    entry.left(project(made, wanted), uid=str(made["metadata"].get("uid", "")), settled=True)


def _makes(change: undo_log.Change, kube: Kube, kind: str, name: str, namespace: str) -> bool:
    return change.action is Action.CREATE and change.target == (str(kube.role), kind, namespace, name)


def _read(kube: Kube, kind: str, name: str, namespace: str | None) -> Object:
    found = kube.get(kind, name, namespace)
    if found is None:
        raise EnvironmentBroke(f"no {kind} {name} in the {kube.role} to break: the mesh is not as it should be before")
    return found
