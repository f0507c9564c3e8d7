"""Disruptions of the east-west gateway of one cluster's network."""

from __future__ import annotations

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.disruption.deployments import DisruptedDeployment
from splithorizon.disruption.observation import Observation
from splithorizon.disruption.recovery import Recovery
from splithorizon.istio.info import NetworkMode, status_with_address
from splithorizon.kube.client import Object, Objects
from splithorizon.mesh.cluster import Cluster
from splithorizon.undo import mutations

# A sidecar's own loopback: it refuses at once, where an unused address would hang.
_REFUSES = "127.0.0.9"


class GatewayDisruption:
    """Scales the gateway, deletes a pod of it, or gives istiod a wrong address of it."""

    def __init__(self, observation: Observation, cluster: Cluster) -> None:
        """Name the cluster; nothing is changed yet."""
        self._observation = observation
        self._experiment = observation.experiment
        self._cluster = cluster

    @property
    def deployments(self) -> set[tuple[str, str]]:
        """The name and namespace of every Deployment that makes gateway pods, also where there is no pod now."""
        return {
            (deployment["metadata"]["name"], pods.namespace)
            for pods in self._cluster.info.gateway_pods
            for deployment in self._cluster.kube.list("Deployment", pods.namespace)
            if dict(label.split("=", 1) for label in pods.labels.split(",")).items()
            <= deployment["spec"]["template"]["metadata"].get("labels", {}).items()
        }

    def scale(self, replicas: int) -> Recovery:
        """Run ``replicas`` gateway pods; how long until exactly these are there and ready."""
        return self._disrupted().scale(replicas)

    def lose_oldest_pod(self) -> Recovery:
        """Delete the gateway's oldest pod, which carries the traffic; how long until every version answers everyone."""
        deployment = self._disrupted()
        oldest = min(deployment.pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        deployment.delete_pods([oldest])
        return self._observation.until(self._observation.expected.everyone)

    def set_wrong_address(self) -> None:
        """Give istiod an address that refuses every connection, where this mesh says the gateway's address."""
        if self._experiment.mesh.info.network_mode is NetworkMode.MESH_NETWORKS:
            self._set_in_mesh_networks(_REFUSES)
        else:
            self._set_in_status(_REFUSES)

    def _disrupted(self) -> DisruptedDeployment:
        """The network's one gateway Deployment."""
        found = self.deployments
        if len(found) != 1:
            raise EnvironmentBroke(f"{len(found)} Deployments make the {self._cluster}'s gateway pods, not one")
        return DisruptedDeployment(self._experiment, self._cluster.kube, *found.pop())

    def _set_in_status(self, host: str) -> None:
        """Every Service that has an address of the network's gateways in its status gets another."""
        kube, known = self._cluster.kube, {address.host for address in self._cluster.info.gateways}
        services = [
            service
            for service in kube.list("Service")
            if known & {entry.get("ip") or entry.get("hostname") for entry in _ingress(service)}
        ]
        if not services:
            raise EnvironmentBroke(
                f"no Service of the {self._cluster} has its gateway's address in its status: {sorted(known)}"
            )
        self._experiment.begin()
        for service in services:
            name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
            status = status_with_address(host)
            mutations.patch_status(kube, "Service", name, namespace, status, self._experiment.undo)

    def _set_in_mesh_networks(self, host: str) -> None:
        ports = sorted({address.port for address in self._cluster.info.gateways})
        gateways = [{"address": host, "port": port} for port in ports]
        self._experiment.begin()
        mesh = self._experiment.mesh
        mesh.change_mesh_network(self._cluster.name, {"gateways": gateways}, self._experiment.undo)


def _ingress(service: Object) -> Objects:
    found: Objects = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return found
