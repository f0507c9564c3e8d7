"""What can be built on a machine without a registry: the versions that ``images/versions.toml`` names."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from splithorizon.base.errors import UsageProblem

IMAGES = Path(__file__).resolve().parents[2] / "images"

_PSEUDO_VERSION = re.compile(r"v0\.0\.0-\d{14}-[0-9a-f]{12}")


@dataclass(frozen=True)
class IstioSource:
    """One version of Istio as the Go module proxy serves it; ``module`` is None where none is committed."""

    version: str
    pseudo_version: str
    module: Path | None

    @property
    def revision(self) -> str:
        """The commit that the version was made from, twelve hexadecimal digits."""
        return self.pseudo_version.rsplit("-", 1)[1]


@dataclass(frozen=True)
class Versions:
    """The parsed version file."""

    kubernetes: str
    coredns: str
    etcd: str
    pause: str
    kind: str
    envoy: str
    debian_suite: str
    node_packages: tuple[str, ...]
    userland_packages: tuple[str, ...]
    istio_default: str
    istio_releases: dict[str, str]
    helloworld: str
    curl: str

    def istio(self, wanted: str | None) -> IstioSource:
        """Find the source of a release of the version file, or of a pseudo-version.

        Raises UsageProblem for anything else: the module proxy knows Istio by pseudo-version only,
        so a release that the file does not list cannot be looked up.
        """
        version = wanted or self.istio_default
        if version in self.istio_releases:
            return IstioSource(version, self.istio_releases[version], IMAGES / "istio" / version)
        if _PSEUDO_VERSION.fullmatch(version):
            return IstioSource(version, version, None)
        known = ", ".join(sorted(self.istio_releases, reverse=True))
        raise UsageProblem(
            f"unknown Istio version {version!r}: images/versions.toml lists {known}; "
            "a Go pseudo-version (v0.0.0-<time>-<commit>) of istio.io/istio works too, and with --images published "
            "whatever the registry has. "
            "Nothing was created."
        )


def load(path: Path = IMAGES / "versions.toml") -> Versions:
    """Read the version file."""
    found = tomllib.loads(path.read_text())
    return Versions(
        kubernetes=found["kubernetes"]["version"],
        coredns=found["kubernetes"]["coredns"],
        etcd=found["kubernetes"]["etcd"],
        pause=found["kubernetes"]["pause"],
        kind=found["kind"]["version"],
        envoy=found["envoy"]["version"],
        debian_suite=found["debian"]["suite"],
        node_packages=tuple(found["debian"]["node_packages"]),
        userland_packages=tuple(found["debian"]["userland_packages"]),
        istio_default=found["istio"]["default"],
        istio_releases=dict(found["istio"]["releases"]),
        helloworld=found["samples"]["helloworld"],
        curl=found["samples"]["curl"],
    )
