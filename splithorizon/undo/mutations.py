"""Changes of a cluster. Each is checked for permission and recorded with its undo before it is made."""

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
from splithorizon.undo import ownership, shared_namespace, undo_log
from splithorizon.undo.change import Action, Change
from splithorizon.undo.ownership import Scope
from splithorizon.undo.reverting import project, restorable
from splithorizon.undo.undo_log import record, require_permitted


def patch(kube: Kube, kind: str, name: str, namespace: str | None, body: Object, undo: ExitStack) -> None:
    """Merge ``body`` into an object; the undo restores exactly the replaced fields."""
    _patch(kube, Action.PATCH, kind, name, namespace, body, undo)


def patch_status(kube: Kube, kind: str, name: str, namespace: str | None, body: Object, undo: ExitStack) -> None:
    """Merge ``body``, which has only ``status``, into an object's status; the undo restores the replaced fields."""
    _patch(kube, Action.PATCH_STATUS, kind, name, namespace, body, undo)


def remove_label(kube: Kube, kind: str, name: str, namespace: str | None, label: str, undo: ExitStack) -> None:
    """Remove one label; the undo adds it again."""
    patch(kube, kind, name, namespace, {"metadata": {"labels": {label: None}}}, undo)


def delete(kube: Kube, kind: str, name: str, namespace: str | None, undo: ExitStack) -> None:
    """Delete an object; the undo creates it again as it was, unless somebody else created it."""
    require_permitted(kube, namespace)
    current = _read(kube, kind, name, namespace)
    uid = str(current["metadata"].get("uid", ""))
    entry = record(kube, Action.DELETE, kind, name, namespace, before=restorable(current), left=[], uid=uid)
    undo.callback(entry.undo)
    entry.back_up()
    kube.delete(kind, name, namespace)


def delete_pod(kube: Kube, name: str, namespace: str, *, gone_within: float) -> None:
    """Delete a pod that its controller replaces: there is nothing to undo."""
    require_permitted(kube, namespace)
    kube.delete("Pod", name, namespace, gone_within=gone_within)


def restart(kube: Kube, kind: str, name: str, namespace: str, body: Object) -> None:
    """Change a pod template as ``kubectl rollout restart`` does. There is no undo: it would restart the pods."""
    require_permitted(kube, namespace)
    kube.patch(kind, name, namespace, body)


def apply(kube: Kube, documents: Iterable[Object] | Path, namespace: str, undo: ExitStack) -> None:
    """Create objects with the label of the run; the undo deletes them. One that this run created before is changed.

    Raises EnvironmentBroke if an object exists that this run did not create.
    """
    for document in manifests.load(documents) if isinstance(documents, Path) else documents:
        _create(kube, document, namespace, undo)


def change_created(kube: Kube, kind: str, name: str, namespace: str | None, body: Object) -> None:
    """Merge ``body`` into an object that this run created by ``apply``, whose undo still deletes it."""
    require_permitted(kube, namespace)
    if (entry := _created_before(kube, kind, name, namespace)) is None:
        raise EnvironmentBroke(f"this run created no {kind} {namespace}/{name} in the {kube.cluster}")
    left = entry.change.left[-1]
    planned = manifests.overlay(left, body)
    entry.update(left, planned, settled=False)
    entry.update(project(kube.patch(kind, name, namespace, body), planned), settled=True)


def mesh_config(kube: Kube, name: str, namespace: str, settings: Object, undo: ExitStack) -> None:
    """Set fields of the mesh configuration in istiod's ConfigMap, which istiod watches; the undo restores the text."""
    config = yaml.safe_load(_read(kube, "ConfigMap", name, namespace)["data"]["mesh"])
    patch(kube, "ConfigMap", name, namespace, {"data": {"mesh": yaml.safe_dump(config | settings)}}, undo)


def mesh_network(kube: Kube, name: str, namespace: str, network: str, settings: Object, undo: ExitStack) -> None:
    """Set fields of one network in meshNetworks of istiod's ConfigMap; the undo restores the text."""
    networks = yaml.safe_load(_read(kube, "ConfigMap", name, namespace)["data"]["meshNetworks"])
    networks["networks"][network] |= settings
    patch(kube, "ConfigMap", name, namespace, {"data": {"meshNetworks": yaml.safe_dump(networks)}}, undo)


def inverse(before: Any, body: Object) -> Object:
    """The merge patch that restores ``before`` after ``body`` was merged into it."""
    original = before if isinstance(before, dict) else {}
    return {
        key: inverse(original.get(key), value) if isinstance(value, dict) and isinstance(original.get(key), dict)
        else original.get(key)
        for key, value in body.items()
    }  # fmt: skip


def _patch(
    kube: Kube, action: Action, kind: str, name: str, namespace: str | None, body: Object, undo: ExitStack
) -> None:
    require_permitted(kube, namespace)
    current = _read(kube, kind, name, namespace)
    uid = str(current["metadata"].get("uid", ""))
    entry = record(kube, action, kind, name, namespace, before=inverse(current, body), left=[body], uid=uid)
    undo.callback(entry.undo)
    entry.back_up()
    send = kube.patch_status if action is Action.PATCH_STATUS else kube.patch
    entry.update(project(send(kind, name, namespace, body), body), settled=True)


def _create(kube: Kube, document: Object, namespace: str, undo: ExitStack) -> None:
    name, target_namespace = document["metadata"]["name"], namespace_of(document, namespace)
    require_permitted(kube, target_namespace)
    labelled = _labelled(kube.kubeconfig.parent, document, target_namespace)
    entry = record(kube, Action.CREATE, document["kind"], name, target_namespace, before=None, left=[labelled])
    undo.callback(entry.undo)
    entry.back_up()
    if entry.change.owned:
        (created,) = kube.apply(labelled, namespace=namespace)
    else:
        try:
            created = kube.create(labelled, namespace=namespace)
        except Refused as refused:
            if refused.status == 409:
                entry.discard()
                kind = document["kind"]
                if _created_before(kube, kind, name, target_namespace):
                    # The undo of its creation deletes the object, whatever it contains then.
                    change_created(kube, kind, name, target_namespace, document)
                    return
                raise EnvironmentBroke(
                    f"{kind} {target_namespace}/{name} of the {kube.cluster} already exists, and this run did not "
                    "create it: it is not changed",
                    next_command=f"{kube.kubectl} get {kind.lower()} {name} --namespace {target_namespace} -o yaml",
                ) from None
            raise
    entry.update(project(created, labelled), uid=str(created["metadata"].get("uid", "")), settled=True)


def _labelled(folder: Path, document: Object, namespace: str | None) -> Object:
    """The object with the label of its run, and in a namespace of somebody else with all that ``owned`` adds."""
    scope = Scope.read(folder)
    if scope and (labels := scope.labels_in(namespace)):
        return shared_namespace.owned(document, labels)
    run = ownership.label_value(ownership.run_of(folder))
    return manifests.overlay(document, {"metadata": {"labels": {ownership.RUN: run}}})


def _created_before(kube: Kube, kind: str, name: str, namespace: str | None) -> undo_log.Pending | None:
    """The entry of this run's creation of an object that is not undone; None where it created none."""
    pending = undo_log.pending_in(kube.kubeconfig.parent)
    return next((entry for entry in pending if _creates(entry.change, kube, kind, name, namespace)), None)


def _creates(change: Change, kube: Kube, kind: str, name: str, namespace: str | None) -> bool:
    return change.action is Action.CREATE and change.target == (str(kube.cluster), kind, namespace, name)


def _read(kube: Kube, kind: str, name: str, namespace: str | None) -> Object:
    current = kube.get(kind, name, namespace)
    if current is None:
        what = f"{kind} {name} of the {kube.cluster} cannot be changed, because it does not exist"
        raise EnvironmentBroke(f"{what}: the mesh is not in the state that the change needs")
    return current
