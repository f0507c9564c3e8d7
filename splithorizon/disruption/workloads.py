"""Disruptions of helloworld in one cluster."""

from __future__ import annotations

from splithorizon.base.timeouts import current as timeouts
from splithorizon.disruption.deployments import DisruptedDeployment
from splithorizon.disruption.experiment import Experiment
from splithorizon.disruption.recovery import Recovery, Replacement
from splithorizon.mesh.cluster import Cluster
from splithorizon.traffic import workloads


class HelloworldDisruption:
    """Scales a cluster's helloworld, or replaces its pod."""

    def __init__(self, experiment: Experiment, cluster: Cluster) -> None:
        """Name the cluster; nothing is changed yet."""
        self._experiment = experiment
        self._cluster = cluster
        name = workloads.helloworld_of(cluster.info.version)
        self._deployment = DisruptedDeployment(experiment, cluster.kube, name, cluster.namespace)

    def scale(self, replicas: int) -> Recovery:
        """Run ``replicas`` pods; how long until exactly these are there and ready."""
        return self._deployment.scale(replicas)

    def replace_pod(self) -> Replacement:
        """Delete the one pod; the next one, and how long until it is ready."""
        (old,) = self._deployment.pods
        self._deployment.delete_pods([old])
        ready = self._deployment.measure_ready(within=timeouts().pod_replaced)
        pods = self._deployment.pods
        self._experiment.begin()
        name = pods[0]["metadata"]["name"] if pods else ""
        return Replacement(self._cluster.name, self._cluster.info.version, name, ready)
