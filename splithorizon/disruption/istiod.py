"""Disruptions of the istiod in one cluster."""

from __future__ import annotations

from datetime import UTC, datetime

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.disruption.deployments import DisruptedDeployment
from splithorizon.disruption.experiment import Experiment
from splithorizon.disruption.recovery import Recovery
from splithorizon.istio.names import REVISION_LABEL, revision_name
from splithorizon.mesh.cluster import Cluster

_RESTARTED = "kubectl.kubernetes.io/restartedAt"


class IstiodDisruption:
    """Restarts the istiod of the mesh's revision, or deletes its pods."""

    def __init__(self, experiment: Experiment, cluster: Cluster) -> None:
        """Name the cluster that runs it; nothing is changed yet."""
        self._experiment = experiment
        self._cluster = cluster

    @property
    def deployment(self) -> str:
        """The name of its Deployment; raises EnvironmentBroke where there is none."""
        revision = revision_name(self._experiment.mesh.info.revision_of(self._cluster.name))
        labels = f"app=istiod,{REVISION_LABEL}={revision}"
        found = self._cluster.kube.list("Deployment", self._cluster.system_namespace, labels)
        if not found:
            raise EnvironmentBroke(f"the {self._cluster} has no istiod of revision {revision}")
        return str(found[0]["metadata"]["name"])

    def restart(self) -> Recovery:
        """Restart istiod as `kubectl rollout restart` does; how long until the new one is ready.

        The annotation stays, as kubectl leaves it: to remove it would restart istiod once more.
        """
        at = {_RESTARTED: datetime.now(UTC).isoformat(timespec="seconds")}
        deployment = self._disrupted()
        deployment.restart({"spec": {"template": {"metadata": {"annotations": at}}}})
        return deployment.measure_ready(within=timeouts().istiod_replaced)

    def stop(self) -> Recovery:
        """Scale istiod to nothing; how long until no pod of it is there."""
        return self._disrupted().scale(0)

    def replace(self) -> Recovery:
        """Delete every istiod pod; how long until as many new ones are ready. There is nothing to undo."""
        deployment = self._disrupted()
        deployment.delete_pods(deployment.pods)
        return deployment.measure_ready(within=timeouts().istiod_replaced)

    def _disrupted(self) -> DisruptedDeployment:
        cluster = self._cluster
        return DisruptedDeployment(self._experiment, cluster.kube, self.deployment, cluster.system_namespace)
