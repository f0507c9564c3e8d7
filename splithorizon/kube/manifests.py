"""Loads manifests as dictionaries, merges overlays into them and replaces images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from splithorizon.base.errors import UsageProblem

Object = dict[str, Any]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


def load(path: Path) -> list[Object]:
    """Read every document of a YAML file that is not empty; raises UsageProblem if the file cannot be read."""
    try:
        parsed = list(yaml.load_all(path.read_bytes(), Loader=_LOADER))
    except (OSError, yaml.YAMLError) as error:
        raise UsageProblem(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    documents = [document for document in parsed if document is not None]
    if not all(isinstance(document, dict) for document in documents):
        raise UsageProblem(f"{path} has a document that is not a mapping")
    return documents


def overlay(base: Object, patch: Mapping[str, Any]) -> Object:
    """Merge ``patch`` into a copy of ``base``.

    Mappings are merged. Lists are merged by name if all their items have a name. Anything else is replaced, and null
    removes a key.
    """
    merged = deepcopy(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def with_images(documents: Iterable[Object], images: Mapping[str, str]) -> list[Object]:
    """Copy the documents, and replace each container's image that is a key of ``images``."""
    copies = deepcopy(list(documents))
    for container in _containers(copies):
        container["image"] = images.get(container["image"], container["image"])
    return copies


def images(documents: Iterable[Object]) -> set[str]:
    """The images of all containers in the documents."""
    return {container["image"] for container in _containers(list(documents))}


def _merge(base: Any, patch: Any) -> Any:
    if isinstance(patch, Mapping):
        return overlay(base if isinstance(base, dict) else {}, patch)
    if _named(base) and _named(patch):
        patches = {item["name"]: item for item in patch}
        known = [overlay(item, patches.pop(item["name"], {})) for item in base]
        return known + [overlay({}, item) for item in patches.values()]
    return deepcopy(patch)


def _named(value: Any) -> bool:
    if not value or not isinstance(value, list):
        return False
    return all(isinstance(item, dict) and "name" in item for item in value)


def _containers(value: Any) -> Iterable[Object]:
    """Every container below ``value`` that has an image."""
    if isinstance(value, list):
        for item in value:
            yield from _containers(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in _CONTAINER_LISTS:
                yield from (container for container in inner or [] if "image" in container)
            else:
                yield from _containers(inner)
