"""A Deployment is scaled with its autoscaler, its pods are deleted, and its rollout is awaited once, at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.disruption.deployments import DisruptedDeployment
from splithorizon.disruption.experiment import Experiment
from tests.support.existing_mesh import NAMESPACE, TwoClusters

LABELS = {"app": "helloworld"}
CONTAINERS = {"containers": [{"name": "helloworld", "image": "i"}]}
SPEC = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": {"spec": CONTAINERS}}


def pod(clusters: TwoClusters, name: str, *, ready: bool = True) -> None:
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "helloworld", "ready": ready, "restartCount": 0}],
    }
    clusters.primary.put("Pod", name, NAMESPACE, labels=LABELS, spec=CONTAINERS, status=status)


@pytest.fixture
def kept(clusters: TwoClusters) -> Callable[[str], dict[str, Any]]:
    """An object of the namespace as it is now."""

    def read(kind: str) -> dict[str, Any]:
        (found,) = clusters.primary.kept(kind, NAMESPACE)
        return found

    return read


@pytest.fixture
def deployment(clusters: TwoClusters, experiment: Experiment) -> DisruptedDeployment:
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    clusters.primary.put("Deployment", "helloworld-v1", NAMESPACE, spec=dict(SPEC), status=status)
    kube = experiment.mesh["primary"].kube
    return DisruptedDeployment(experiment, kube, "helloworld-v1", NAMESPACE)


def test_it_is_scaled_with_its_autoscaler_and_both_are_undone(
    clusters: TwoClusters,
    experiment: Experiment,
    deployment: DisruptedDeployment,
    kept: Callable[[str], dict[str, Any]],
) -> None:
    target = {"kind": "Deployment", "name": "helloworld-v1"}
    spec = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 1}
    clusters.primary.put("HorizontalPodAutoscaler", "ours", NAMESPACE, spec=spec)
    pod(clusters, "one")
    pod(clusters, "two")
    assert deployment.scale(2).reached
    assert kept("Deployment")["spec"]["replicas"] == 2
    bounds = kept("HorizontalPodAutoscaler")["spec"]
    assert (bounds["minReplicas"], bounds["maxReplicas"]) == (2, 2)
    # No controller rolls it out here: the wait at the end gives up.
    with timeouts.shortened(0.001), pytest.raises(EnvironmentBroke, match="helloworld-v1 is ready"):
        experiment.restore()
    assert kept("Deployment")["spec"]["replicas"] == 1
    bounds = kept("HorizontalPodAutoscaler")["spec"]
    assert (bounds["minReplicas"], bounds["maxReplicas"]) == (1, 1)


def test_pods_that_do_not_come_are_named_with_the_time(
    clusters: TwoClusters, experiment: Experiment, deployment: DisruptedDeployment
) -> None:
    pod(clusters, "one", ready=False)
    with timeouts.shortened(0.001):
        recovery = deployment.scale(1)
        experiment.undo.pop_all()
    assert not recovery.reached
    assert recovery.cluster == "primary"
    assert "0 of 1 pods ready" in recovery.last_seen


def test_a_pod_that_ends_has_its_grace_period_whatever_the_scale(
    clusters: TwoClusters, experiment: Experiment, deployment: DisruptedDeployment
) -> None:
    spec = {**CONTAINERS, "terminationGracePeriodSeconds": 1}
    clusters.primary.put("Pod", "one", NAMESPACE, labels=LABELS, spec=spec, status={"phase": "Running"})
    with timeouts.shortened(0.001):
        recovery = deployment.scale(0)
        experiment.undo.pop_all()
    assert not recovery.reached, "no controller deletes it here"
    assert recovery.within == pytest.approx(1.015)


def test_two_changes_of_one_deployment_are_awaited_once(
    experiment: Experiment, deployment: DisruptedDeployment
) -> None:
    deployment.await_at_the_end()
    deployment.await_at_the_end()
    assert experiment.rollouts == {("primary", "helloworld-v1", NAMESPACE)}
    with timeouts.shortened(0.001), pytest.raises(EnvironmentBroke, match="helloworld-v1 is ready") as failed:
        experiment.restore()
    assert not isinstance(failed.value.__context__, TimedOut), "it was awaited again"


def test_pods_are_deleted_and_waited_for(clusters: TwoClusters, deployment: DisruptedDeployment) -> None:
    pod(clusters, "one")
    deployment.delete_pods(deployment.pods)
    assert clusters.primary.kept("Pod", NAMESPACE) == []


def test_a_deployment_that_is_not_there_is_named(experiment: Experiment) -> None:
    gone = DisruptedDeployment(experiment, experiment.mesh["primary"].kube, "gone", NAMESPACE)
    with pytest.raises(EnvironmentBroke, match=f"there is no Deployment {NAMESPACE}/gone in the primary"):
        _ = gone.pods
