"""The manifests of ``manifests/istio`` for one cluster of a topology: they are written for a primary and a remote."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from lab.topology import ClusterPlan, Topology
from splithorizon.base.paths import MANIFESTS
from splithorizon.istio.info import Address, NetworkMode
from splithorizon.istio.names import CONTROL_PLANE_ANNOTATION, NETWORK_LABEL, istiod_of
from splithorizon.kube import manifests
from splithorizon.kube.manifests import Object

FOLDER = MANIFESTS / "istio"
_NETWORK_VIEW = "ISTIO_META_REQUESTED_NETWORK_VIEW"


def namespace(plan: ClusterPlan, mode: NetworkMode) -> Object:
    """The system namespace: its network, and the cluster whose istiod manages it where that is another one."""
    metadata = {"labels": {NETWORK_LABEL: plan.network}}
    if not plan.runs_istiod:
        metadata["annotations"] = {CONTROL_PLANE_ANNOTATION: plan.control_plane}
    return _for_mode(_overlaid(plan, "{}-namespace", {"metadata": metadata}), "namespace", mode)


def control_plane(plan: ClusterPlan, *, manages_others: bool) -> Object:
    """What istioctl installs istiod by; ``manages_others`` where clusters without an istiod are to find it."""
    patch = {"spec": {"values": {"global": {**_global(plan), "externalIstiod": manages_others}}}}
    return _overlaid(plan, "{}", patch)


def managed(plan: ClusterPlan) -> Object:
    """What istioctl installs in a cluster whose istiod is in another one."""
    path = f"/inject/cluster/{plan.cluster_id}/net/{plan.network}"
    return _overlaid(
        plan, "{}", {"spec": {"values": {"global": _global(plan), "istiodRemote": {"injectionPath": path}}}}
    )


def gateway(plan: ClusterPlan, mode: NetworkMode) -> Object:
    """What istioctl installs the east-west gateway by."""
    found = _overlaid(plan, "{}-eastwest-gateway", {"spec": {"values": {"global": _global(plan)}}})
    (component,) = found["spec"]["components"]["ingressGateways"]
    component["label"][NETWORK_LABEL] = plan.network
    for one in component["k8s"]["env"]:
        if one["name"] == _NETWORK_VIEW:
            one["value"] = plan.network
    return _for_mode(found, "eastwest-gateway", mode)


def mesh_networks(topology: Topology, gateways: Mapping[str, Address]) -> Object:
    """The ConfigMap of an istiod that learns of networks from it: ``gateways`` are by the cluster's name."""
    (document,) = manifests.load(FOLDER / "mesh-networks.yaml")
    networks: dict[str, Object] = {}
    for plan in topology:
        network = networks.setdefault(plan.network, {"endpoints": [], "gateways": []})
        network["endpoints"].append({"fromRegistry": plan.cluster_id})
        if address := gateways.get(plan.name):
            network["gateways"].append({"address": address.host, "port": address.port})
    document["data"]["meshNetworks"] = yaml.safe_dump({"networks": networks})
    return document


def revision_route(revision: str) -> Object:
    """The way from the gateway to the istiod of a revision that is not the default one, by the name that it has."""
    text = (FOLDER / "expose-istiod-revision.yaml").read_text().replace("istiod-canary", istiod_of(revision))
    document: Object = yaml.safe_load(text)
    return document


def _global(plan: ClusterPlan) -> Object:
    return {"multiCluster": {"clusterName": plan.cluster_id}, "network": plan.network}


def _overlaid(plan: ClusterPlan, file: str, patch: Object) -> Object:
    """The manifest of the cluster's part, with the patch in it."""
    (document,) = manifests.load(FOLDER / f"{file.format('primary' if plan.runs_istiod else 'remote')}.yaml")
    return manifests.overlay(document, patch)


def _for_mode(document: Object, overlay: str, mode: NetworkMode) -> Object:
    if mode is NetworkMode.MESH_NETWORKS:
        (patch,) = manifests.load(FOLDER / "overlays" / "mesh-networks" / f"{overlay}.yaml")
        return manifests.overlay(document, patch)
    return document
