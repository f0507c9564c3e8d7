"""The images and host programs of a run, pulled from a registry or built on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageSet:
    """The images, host programs and versions that clusters are made of.

    ``to_load`` is loaded into every node; it is empty if the node image already holds all images. ``upstream_envoy``
    says that sidecars run upstream Envoy, which lacks the filters of Istio's build.
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
    sender: str = ""
    """The image of a watch's sender; no registry has one."""
