"""The versions of Istio that proxies and control planes say they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from splithorizon.mesh.mesh import Mesh


@dataclass(frozen=True)
class ProxyVersion:
    """One connected proxy: its version, and that of the istiod that it is connected to; empty where one says none."""

    name: str
    version: str
    istiod: str


@dataclass(frozen=True)
class ProxyVersions:
    """The proxies of one cluster: ours and the network's gateways, and ``others`` of other workloads.

    ``control_planes`` has the version of each istiod of the mesh, by cluster and pod.
    """

    proxies: tuple[ProxyVersion, ...]
    others: tuple[ProxyVersion, ...]
    control_planes: Mapping[str, str]


def of_cluster(mesh: Mesh, name: str) -> ProxyVersions:
    """Ask every istiod that manages a cluster for its proxies there, and for its own version."""
    cluster = mesh[name]
    ours = {one.proxy.name for one in cluster.injected_pods}
    istiod = mesh.istiod_of(name)
    by_istiod, versions = istiod.proxies_by_istiod(), istiod.versions()
    connected = [
        (one.proxy, ProxyVersion(one.proxy, one.version, versions.get(pod, "")))
        for pod, proxies in by_istiod.items()
        for one in proxies
        if one.proxy in ours or one.cluster_id == cluster.info.cluster_id
    ]
    return ProxyVersions(
        tuple(one for proxy, one in connected if proxy in ours),
        tuple(one for proxy, one in connected if proxy not in ours),
        {f"{at}/{pod}": version for at, one in mesh.istiods.items() for pod, version in one.versions().items()},
    )
