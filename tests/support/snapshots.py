"""What two small API servers hold, as text, and in which fields it differs from what they held before."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.controllers import OWNER
from tests.support.existing_mesh import TwoClusters

Object = dict[str, Any]

GONE = "gone"
# Two objects of the same content differ in these, and no client can write them.
_WRITTEN_BY_THE_SERVER = ("uid", "resourceVersion", "generation", "creationTimestamp")


@dataclass(frozen=True)
class Made:
    """An object that was not there before, by fields that it has to have."""

    fields: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        """Whether an object has these fields."""
        return _has(other, self.fields)


def snapshot(mesh: TwoClusters) -> dict[str, str]:
    """Every object of both clusters as JSON, by cluster, kind and name, without what the API server alone writes.

    The pods of a Deployment stand together under its name: those that replace others have other names and addresses.
    """
    found: dict[str, Any] = {}
    for role, api in mesh.apis.items():
        with api.mutex:
            for kept in api.objects.values():
                name, place = _named(role, kept)
                if place is None:
                    found[name] = _lasting(kept)
                else:
                    found.setdefault(place, []).append(_pod(kept))
    return {name: json.dumps(kept, sort_keys=True) for name, kept in found.items()}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    """The fields that are no longer as before, with their present values; a new object as a whole.

    A text in which another document lies (a kubeconfig, a mesh configuration) is compared field by field.
    """
    found: dict[str, Any] = {}
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            found[name] = GONE
        elif name not in before:
            found[name] = json.loads(after[name])
        else:
            kind = name.split()[1]
            found |= {
                f"{name}: {path}": value
                for path, value in _differences(kind, json.loads(before[name]), json.loads(after[name]))
            }
    return found


def without_pods(found: Mapping[str, Any]) -> dict[str, Any]:
    """Without the pods of Deployments that differ themselves: controllers made these."""
    changed = {name.partition(": ")[0] for name in found if " Deployment " in name}
    return {
        name: value
        for name, value in found.items()
        if name.partition(": ")[0].replace(" Pods of ", " Deployment ") not in changed or " Pods of " not in name
    }


def _named(role: str, kept: Object) -> tuple[str, str | None]:
    metadata = kept["metadata"]
    space = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    owner = metadata[OWNER][0]["name"] if metadata.get(OWNER) else ""
    return f"{role} {kept['kind']} {space}{metadata['name']}", f"{role} Pods of {space}{owner}" if owner else None


def _lasting(kept: Object) -> Object:
    metadata = {key: value for key, value in kept["metadata"].items() if key not in _WRITTEN_BY_THE_SERVER}
    return {**kept, "metadata": metadata}


def _pod(kept: Object) -> Object:
    metadata = {key: value for key, value in _lasting(kept)["metadata"].items() if key != "name"}
    return {"metadata": metadata, "spec": kept["spec"], "conditions": kept["status"]["conditions"]}


def _differences(kind: str, was: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    texts = was, now
    was, now = _opened(kind, path, was), _opened(kind, path, now)
    if was == now and texts[0] != texts[1]:
        # The same content, written in another way.
        yield path, texts[1]
    elif isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            inner = f"{path}.{key}" if path else key
            if key not in now:
                yield inner, GONE
            else:
                yield from _differences(kind, was.get(key, GONE), now[key], inner)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _differences(kind, one, other, f"{path}.{number}" if path else str(number))
    elif was != now:
        yield path, now


def _opened(kind: str, path: str, value: Any) -> Any:
    if not isinstance(value, str) or value == GONE:
        return value
    if kind == "Secret" and path.startswith("data.") and path.count(".") == 1:
        return yaml.safe_load(base64.b64decode(value))
    return yaml.safe_load(value) if path in ("data.mesh", "data.meshNetworks") else value


def _has(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, dict) and all(_has(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_has, found, wanted))
    return bool(found == wanted)
