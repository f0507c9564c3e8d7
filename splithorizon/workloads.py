"""The seed's workloads: helloworld v1 only in the primary, v2 only in the remote, a client in both."""

from __future__ import annotations

from collections.abc import Mapping

from splithorizon import manifests
from splithorizon.kube import Kube
from splithorizon.topology import MANIFESTS, Role

NAMESPACE = "sample"
SERVICE = "helloworld"
PORT = 5000
CLIENT = "sleep"
VERSION_OF = {Role.PRIMARY: "v1", Role.REMOTE: "v2"}

_WORKLOADS = MANIFESTS / "workloads"


def deploy(kube: Kube, role: Role, images: Mapping[str, str]) -> None:
    """Apply a cluster's workloads; ``images`` maps the published names to what this run uses."""
    stems = ("namespace", "helloworld-service", f"helloworld-{VERSION_OF[role]}", "sleep")
    documents = [document for stem in stems for document in manifests.load(_WORKLOADS / f"{stem}.yaml")]
    kube.apply(manifests.with_images(documents, images))
