"""Which clusters of a mesh a fault is injected into, and manifests with their names."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.istio import topology
from splithorizon.istio.topology import PRIMARY_REMOTE, Watch
from splithorizon.kube.client import Objects
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh

# The far version in a manifest: of a Service or Deployment, or as a label's value.
_FAR_VERSION = re.compile(rf"(helloworld-|version: ){PRIMARY_REMOTE.clusters[1].version}\b")


def watching(mesh: Mesh) -> Cluster:
    """The cluster whose istiod watches the one of ``watched`` by a remote secret."""
    return mesh[_found(topology.watch_across(mesh.info.clusters.values())).watching]


def watched(mesh: Mesh) -> Cluster:
    """The cluster whose remote secret, gateway or pods are broken: alone on its network where there is such a one."""
    return mesh[_found(topology.watch_across(mesh.info.clusters.values())).watched]


def managing(mesh: Mesh) -> Cluster:
    """The cluster whose istiod manages the one of ``managed``."""
    return mesh[_found(topology.watch_of_managed(mesh.info.clusters.values())).watching]


def managed(mesh: Mesh) -> Cluster:
    """A cluster whose istiod is in another one, for faults that assume it."""
    return mesh[_found(topology.watch_of_managed(mesh.info.clusters.values())).watched]


def kept_beside_watched(mesh: Mesh) -> Cluster:
    """The cluster whose gateway an istiod still has to know when it no longer watches another one."""
    shape = mesh.info.topology
    return mesh[topology.kept_beside(shape, _found(topology.watch_beside_another(shape)))]


def with_far_version(file: Path, far: Cluster) -> Objects:
    """The objects of a manifest, with the version of helloworld in the far cluster in place of v2."""
    return list(yaml.safe_load_all(_FAR_VERSION.sub(rf"\g<1>{far.info.version}", file.read_text())))


def _found(watch: Watch | None) -> Watch:
    if watch is None:
        raise EnvironmentBroke("the mesh has no clusters that the fault could break")
    return watch
