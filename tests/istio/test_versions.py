"""Which proxies a control plane supports: its own minor version and the one before it."""

from __future__ import annotations

import pytest

from splithorizon.istio import versions


@pytest.mark.parametrize(
    ("proxy", "control_plane", "supported"),
    [
        ("1.29.1", "1.29.0", True),
        ("1.28.9", "1.29.1", True),
        ("1.27.9", "1.29.1", False),
        ("1.30.0", "1.29.9", False),
        ("v1.29-alpha.1", "1.29.1", True),
        ("sha256:1.20", "1.29.1", None),
        ("", "1.29.1", None),
        ("1.29.1", "latest", None),
    ],
)
def test_a_proxy_is_at_most_one_minor_version_behind(proxy: str, control_plane: str, supported: bool | None) -> None:
    assert versions.is_supported(proxy, by=control_plane) is supported


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("istio/pilot:1.29.1", "1.29.1"),
        ("localhost:5000/istio/pilot:1.29.1-distroless", "1.29.1-distroless"),
        ("localhost:5000/istio/pilot", ""),
        ("istio/pilot:1.29.1@sha256:0123", "1.29.1"),
        ("localhost:5000/istio/pilot@sha256:0123", ""),
        ("", ""),
    ],
)
def test_the_tag_of_an_image_is_no_port_and_no_digest(image: str, tag: str) -> None:
    assert versions.tag_of(image) == tag


def test_versions_are_counted() -> None:
    assert versions.counted(["1.29.1", "", "1.29.1"]) == "2 x 1.29.1, 1 x unknown"
