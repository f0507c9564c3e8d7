"""A Deployment that an experiment scales, or whose pods it deletes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet
from splithorizon.disruption.experiment import Experiment
from splithorizon.disruption.recovery import Recovery
from splithorizon.kube import pod_status, rollout
from splithorizon.kube.client import Kube, Object, Objects
from splithorizon.undo import mutations


@dataclass(frozen=True)
class DisruptedDeployment:
    """One Deployment of the mesh; each change of it begins a measurement."""

    experiment: Experiment
    kube: Kube
    name: str
    namespace: str

    @property
    def pods(self) -> Objects:
        """Every pod of it, also those that are being deleted; raises EnvironmentBroke where there is no Deployment."""
        selector = self._object()["spec"]["selector"]["matchLabels"]
        return self.kube.list("Pod", self.namespace, ",".join(f"{key}={value}" for key, value in selector.items()))

    def delete_pods(self, pods: Objects) -> None:
        """Delete these pods and wait until they are gone."""
        self.experiment.begin()
        for pod in pods:
            name = pod["metadata"]["name"]
            mutations.delete_pod(self.kube, name, self.namespace, gone_within=_gone_within([pod]))

    def restart(self, body: Object) -> None:
        """Change its pod template for good, and wait for the rollout once everything else is undone."""
        self.await_at_the_end()
        self.experiment.begin()
        mutations.restart(self.kube, "Deployment", self.name, self.namespace, body)

    def measure_ready(self, *, within: float) -> Recovery:
        """How long after the last change it is rolled out."""
        probe = partial(rollout.require_rolled_out, self.kube, self.name, self.namespace)
        return self.experiment.measure(f"{self.name} is ready", probe, within=within, cluster=self.kube.cluster)

    def scale(self, replicas: int) -> Recovery:
        """Run ``replicas`` pods; how long until exactly these are there and ready."""
        self.await_at_the_end()
        self._raise_autoscaler(replicas)
        self.experiment.begin()
        body, within = {"spec": {"replicas": replicas}}, timeouts().pod_replaced
        if len(before := self.pods) > replicas:
            within = _gone_within(before)
        mutations.patch(self.kube, "Deployment", self.name, self.namespace, body, self.experiment.undo)

        def scaled() -> None:
            pods = self.pods
            ready = [pod for pod in pods if pod_status.of_pod(pod).ready]
            if len(ready) != replicas or len(pods) != replicas:
                events = self.kube.events(self.namespace)
                reasons = sorted({pod_status.of_pod(pod, events).reason for pod in pods} - {""})
                raise NotYet(f"{len(ready)} of {len(pods)} pods ready; {' '.join(reasons) or 'others do not come'}")

        cluster = self.kube.cluster
        state = f"the {cluster}'s {self.name} has {replicas} ready pods"
        return self.experiment.measure(state, scaled, within=within, cluster=cluster)

    def await_at_the_end(self) -> None:
        """Wait for its rollout once all changes of it are undone, and not after each of them."""
        changed = (self.kube.cluster, self.name, self.namespace)
        if changed not in self.experiment.rollouts:
            self.experiment.rollouts.add(changed)
            self.experiment.undo.callback(self._await_rollout)

    def _await_rollout(self) -> None:
        rollout.await_rollout(self.kube, self.name, self.namespace, within=timeouts().workload_ready)

    def _raise_autoscaler(self, replicas: int) -> None:
        """Let a HorizontalPodAutoscaler want as many pods: it would delete those above its bounds.

        It ignores a Deployment that has 0 replicas. The run's own Deployments have none.
        """
        if self.namespace == self.experiment.mesh.info.namespace:
            return
        for scaler in self.kube.list("HorizontalPodAutoscaler", self.namespace) if replicas else ():
            spec = scaler["spec"]
            if (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) == ("Deployment", self.name):
                body = {"spec": {"minReplicas": replicas, "maxReplicas": max(replicas, spec["maxReplicas"])}}
                name, undo = scaler["metadata"]["name"], self.experiment.undo
                mutations.patch(self.kube, "HorizontalPodAutoscaler", name, self.namespace, body, undo)

    def _object(self) -> Object:
        found = self.kube.get("Deployment", self.name, self.namespace)
        if found is None:
            raise EnvironmentBroke(f"there is no Deployment {self.namespace}/{self.name} in the {self.kube.cluster}")
        return found


def _gone_within(pods: Objects) -> float:
    """How many seconds the end of pods may take: a grace period is as long as it is, whatever --timeout-scale says."""
    longest = max(map(pod_status.grace_period, pods), default=0)
    return max(timeouts().pod_replaced, longest + timeouts().pod_removed)
