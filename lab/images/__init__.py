"""The images and host programs of a run, published by others or built here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageSet:
    """What the two clusters are made of, whichever way it was come by.

    ``to_load`` is imported into every node; it is empty where the node image holds everything. ``upstream_envoy``
    says that the sidecars lack the filters of Istio's own build.
    """

    mode: str
    node: str
    own_node: bool
    istio_hub: str
    istio_version: str
    samples: Mapping[str, str]
    to_load: tuple[str, ...]
    upstream_envoy: bool
    kind: Path
    kubectl: Path
    istioctl: Path
    versions: Mapping[str, str]
