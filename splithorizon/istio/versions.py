"""Versions of Istio, and which proxies a control plane supports.

The rule is that of https://istio.io/latest/docs/releases/supported-releases/ (Control Plane/Data Plane Skew): the
control plane may be one minor version ahead of the data plane, and the data plane may not be ahead of the control
plane. That page has no rule for two control planes of one mesh: nothing is refuted by their distance.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_BEHIND = 1


def minor(version: str) -> int | None:
    """The minor version of Istio 1; None for a text that names none, such as a digest or the name of a build."""
    match = re.match(r"v?1\.(\d+)", version)
    return int(match[1]) if match else None


def tag_of(image: str) -> str:
    """The tag of an image's reference; empty where it has none, as by digest."""
    # The part before the last slash may name the port of a registry.
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def counted(versions: Iterable[str]) -> str:
    """How many of something have which version, as a table's cell has it."""
    found = Counter(version or "unknown" for version in versions)
    return ", ".join(f"{count} x {version}" for version, count in sorted(found.items()))


def is_supported(proxy: str, *, by: str) -> bool | None:
    """Whether a control plane of version ``by`` supports a proxy of this version; None where one names no version."""
    own, control_plane = minor(proxy), minor(by)
    if own is None or control_plane is None:
        return None
    return 0 <= control_plane - own <= _BEHIND
