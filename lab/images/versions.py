"""The versions that can be built without a registry, from ``images/versions.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from splithorizon.base.errors import UsageProblem

IMAGES = Path(__file__).resolve().parents[2] / "images"

_PSEUDO_VERSION = re.compile(r"v0\.0\.0-\d{14}-[0-9a-f]{12}")


@dataclass(frozen=True)
class IstioSource:
    """A version of Istio on the Go module proxy. ``module`` is None if the repository has no go.mod for it."""

    version: str
    pseudo_version: str
    module: Path | None

    @property
    def revision(self) -> str:
        """The commit of the version, as twelve hexadecimal digits."""
        return self.pseudo_version.rsplit("-", 1)[1]


@dataclass(frozen=True)
class Versions:
    """The parsed version file, or what it says with another Kubernetes."""

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
    kubernetes_others: dict[str, str]
    """The versions of Kubernetes that are not the default, each with the etcd that its kubeadm runs."""

    @property
    def kubernetes_folder(self) -> str:
        """Where go.mod and go.sum are below ``images/kubernetes``; empty for the default, which has them there."""
        return self.kubernetes if self.kubernetes in self.kubernetes_others else ""

    def with_kubernetes(self, wanted: str | None) -> Versions:
        """The same with a version of Kubernetes in the version file; by default, the default's.

        Raises UsageProblem for a version that is not in the file: what it is compiled of is pinned there.
        """
        if wanted is None or wanted == self.kubernetes:
            return self
        if wanted in self.kubernetes_others:
            return replace(self, kubernetes=wanted, etcd=self.kubernetes_others[wanted])
        known = ", ".join(sorted((self.kubernetes, *self.kubernetes_others), reverse=True))
        raise UsageProblem(
            f"unknown Kubernetes version {wanted!r}: images/versions.toml lists {known}. Nothing was created."
        )

    def istio(self, wanted: str | None) -> IstioSource:
        """The source of a release or snapshot in the version file, or of a pseudo-version; by default, the default's.

        A pseudo-version to which the file gives a name is what is named. Raises UsageProblem for anything else: the
        module proxy serves Istio by pseudo-version only, so that the commit of a release has to be in the file.
        """
        names = {pseudo_version: name for name, pseudo_version in self.istio_releases.items()}
        version = names.get(wanted or "", wanted or self.istio_default)
        if version in self.istio_releases:
            return IstioSource(version, self.istio_releases[version], IMAGES / "istio" / version)
        if _PSEUDO_VERSION.fullmatch(version):
            return IstioSource(version, version, None)
        known = ", ".join(sorted(self.istio_releases, reverse=True))
        raise UsageProblem(
            f"unknown Istio version {version!r}: images/versions.toml lists {known}; "
            "a Go pseudo-version (v0.0.0-<time>-<commit>) of istio.io/istio also works, and with --images published "
            "any version in the registry. "
            "Nothing was created."
        )


def load(path: Path = IMAGES / "versions.toml") -> Versions:
    """Read the version file."""
    content = tomllib.loads(path.read_text())
    return Versions(
        kubernetes=content["kubernetes"]["version"],
        coredns=content["kubernetes"]["coredns"],
        etcd=content["kubernetes"]["etcd"],
        pause=content["kubernetes"]["pause"],
        kind=content["kind"]["version"],
        envoy=content["envoy"]["version"],
        debian_suite=content["debian"]["suite"],
        node_packages=tuple(content["debian"]["node_packages"]),
        userland_packages=tuple(content["debian"]["userland_packages"]),
        istio_default=content["istio"]["default"],
        istio_releases=dict(content["istio"]["releases"]),
        helloworld=content["samples"]["helloworld"],
        curl=content["samples"]["curl"],
        kubernetes_others={version: its["etcd"] for version, its in content["kubernetes"]["others"].items()},
    )
