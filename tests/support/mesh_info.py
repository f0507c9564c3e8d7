"""The description of a mesh of two clusters, with kubeconfigs in a folder."""

from __future__ import annotations

from pathlib import Path

from lab.topology import plan
from splithorizon.istio.info import Address, ClusterInfo, MeshInfo, NetworkMode
from splithorizon.kube.kubeconfig import kubectl


def mesh_info(
    folder: Path, *, network_mode: NetworkMode = NetworkMode.LABELS, owned: bool = True, namespace: str = "sample"
) -> MeshInfo:
    clusters = {
        cluster.name: ClusterInfo(
            name=cluster.name,
            context=cluster.kind_name,
            cluster_id=cluster.cluster_id,
            network=cluster.network,
            control_plane=cluster.control_plane,
            version=cluster.version,
            kubeconfig=folder / f"{cluster.name}.kubeconfig",
            kubectl=kubectl(folder / f"{cluster.name}.kubeconfig"),
            node_address=f"172.18.0.{number}",
            pod_subnet=cluster.pod_subnet,
            service_subnet=cluster.service_subnet,
            gateways=(Address(f"172.18.0.{number}", 15443),),
        )
        for number, cluster in enumerate(plan("lab"), start=2)
    }
    return MeshInfo(
        clusters=clusters,
        namespace=namespace,
        network_mode=network_mode,
        owned=owned,
        kind=folder / "kind",
        versions={"istio": "1.29.1", "kubernetes": "1.34.4"},
        provider="podman",
        images_mode="built",
    )
