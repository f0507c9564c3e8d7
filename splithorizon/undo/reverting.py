"""Undo one change of an object, field by field, unless somebody else changed the object meanwhile."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.waiting import NotYet
from splithorizon.kube.client import Kube, Object
from splithorizon.undo import ownership
from splithorizon.undo.change import Action, Change

_SET_BY_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_VALUE_LENGTH = 100
_FIELDS_SHOWN = 3


def revert_once(kube: Kube, change: Change) -> str:
    """Undo a change by at most one request that writes; return why the object was left alone, or an empty string.

    Raises NotYet while a deleted object is still there, EnvironmentBroke where the object cannot be restored.
    """
    current = kube.get(change.kind, change.name, change.namespace)
    match change.action:
        case Action.CREATE:
            return _undo_create(kube, change, current)
        case Action.DELETE:
            return _undo_delete(kube, change, current)
        case Action.PATCH | Action.PATCH_STATUS:
            return _undo_patch(kube, change, current)


def restorable(current: Object) -> Object:
    """An object without the fields that only the API server sets, so that it can be created again."""
    metadata = {key: value for key, value in current["metadata"].items() if key not in _SET_BY_THE_SERVER}
    return {key: value for key, value in current.items() if key != "status"} | {"metadata": metadata}


def project(current: Any, shape: Object) -> Object:
    """The fields of an object that ``shape`` has; None for a missing field."""
    fields = current if isinstance(current, Mapping) else {}
    return {
        key: project(fields.get(key), value) if isinstance(value, dict) and value else fields.get(key)
        for key, value in shape.items()
    }


def _undo_create(kube: Kube, change: Change, current: Object | None) -> str:
    if current is None:
        return ""
    metadata = current["metadata"]
    if not change.owned:
        ours = metadata["uid"] == change.uid if change.uid else _has_label_of(current, change.run)
        if not ours:
            created = change.uid or "unknown"
            return f"somebody replaced it: uid {metadata['uid']}, the object that the run created had uid {created}"
        if "deletionTimestamp" not in metadata and not any(
            _is_unchanged(current, left, change) for left in change.left
        ):
            return _changed(change, current)
    if "deletionTimestamp" not in metadata:
        kube.delete(change.kind, change.name, change.namespace, only=current)
    return ""


def _undo_delete(kube: Kube, change: Change, current: Object | None) -> str:
    before = change.before or {}
    if current is None:
        kube.create(before, namespace=change.namespace)
        return ""
    if current["metadata"]["uid"] == change.uid:
        if "deletionTimestamp" in current["metadata"]:
            raise NotYet("it is still being deleted")
        return ""
    content = restorable(current)
    if content == before:
        return ""
    if change.owned:
        kube.apply(before, namespace=change.namespace)
        return ""
    if _has_label_of(current, change.run):
        raise EnvironmentBroke(f"{change}: the object that the run created in its place still exists")
    return (
        f"somebody recreated it: uid {current['metadata']['uid']}, content {_digest(content)}; "
        f"before the run uid {change.uid}, content {_digest(before)}"
    )


def _undo_patch(kube: Kube, change: Change, current: Object | None) -> str:
    before = change.before or {}
    if current is None:
        if change.owned:
            raise EnvironmentBroke(f"{change} does not exist any more")
        return "somebody deleted it"
    shape = change.left[0]
    if _without_empty(project(current, shape)) == _without_empty(before):
        return ""
    if not change.owned:
        if current["metadata"]["uid"] != change.uid:
            return f"somebody recreated it: uid {current['metadata']['uid']}, before the run uid {change.uid}"
        if not any(_is_unchanged(current, left, change) for left in change.left):
            return _changed(change, current)
    body = _restoring_patch(current, before, shape)
    body["metadata"] = {**(body.get("metadata") or {}), "resourceVersion": current["metadata"]["resourceVersion"]}
    send = kube.patch_status if change.action is Action.PATCH_STATUS else kube.patch
    send(change.kind, change.name, change.namespace, body)
    return ""


def _restoring_patch(current: Any, before: Any, shape: Object) -> Object:
    """The merge patch from ``current`` to ``before`` for the fields of ``shape`` only.

    A mapping that the run added for its fields is removed as well, unless somebody added other fields to it.
    """
    now = current if isinstance(current, dict) else {}
    was = before if isinstance(before, dict) else {}
    body: Object = {}
    for key, inner in shape.items():
        if not (isinstance(inner, dict) and inner):
            body[key] = was.get(key)
        elif isinstance(was.get(key), dict) or _has_others(now.get(key), inner):
            body[key] = _restoring_patch(now.get(key), was.get(key), inner)
        else:
            body[key] = was.get(key)
    return body


def _has_others(value: Any, shape: Object) -> bool:
    """Whether a mapping has fields that ``shape`` does not have."""
    return bool(_without_empty(value) != _without_empty(project(value, shape)))


def _is_unchanged(current: Object, left: Object, change: Change) -> bool:
    """Whether the fields have the values that the run gave them.

    If the server's answer is not known, fields that it added by default are ignored.
    """
    fields = project(current, left)
    return _without_empty(fields) == _without_empty(left) if change.settled else _includes(fields, left)


def _includes(actual: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(_includes(actual.get(key), value) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(actual) == len(expected) and all(map(_includes, actual, expected))
    return bool(actual == expected)


def _without_empty(value: Any) -> Any:
    """The value without empty fields, which the API server does not store."""
    if isinstance(value, Mapping):
        fields = {key: _without_empty(field) for key, field in value.items()}
        return {key: field for key, field in fields.items() if field is not None} or None
    return None if value == [] else value


def _has_label_of(current: Object, run: str) -> bool:
    return (current["metadata"].get("labels") or {}).get(ownership.RUN) == ownership.label_value(run)


def _changed(change: Change, current: Object) -> str:
    """The fields that somebody changed, with both values; values of a Secret are shown as digests only."""
    left = change.left[-1]
    changes = [
        f"{path} is {_comparison(now, was, secret=change.kind == 'Secret')}"
        for path, now, was in _differences(project(current, left), left)
    ]
    more = [f"and {len(changes) - _FIELDS_SHOWN} more fields"] if len(changes) > _FIELDS_SHOWN else []
    return "somebody changed it meanwhile: " + "; ".join([*changes[:_FIELDS_SHOWN], *more])


def _differences(now: Any, left: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(now, dict) and isinstance(left, dict):
        for key in left:
            yield from _differences(now.get(key), left[key], f"{path}.{key}" if path else key)
    elif _without_empty(now) != _without_empty(left):
        yield path, now, left


def _comparison(now: Any, left: Any, *, secret: bool) -> str:
    if secret:
        return f"{_digest(now)}, the run left {_digest(left)}"
    if isinstance(now, str) and isinstance(left, str) and "\n" in now + left:
        lines = list(difflib.unified_diff(left.splitlines(), now.splitlines(), n=0, lineterm=""))
        changed = [line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@"]
        return "a text with changes since the run: " + " | ".join(
            line[:_VALUE_LENGTH] for line in changed[: 2 * _FIELDS_SHOWN]
        )
    return f"{_short(now)}, the run left {_short(left)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}… ({_digest(value)})"


def _digest(value: Any) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]}"
