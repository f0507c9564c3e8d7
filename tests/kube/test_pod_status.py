"""The readiness of pods and Deployments, and the reason for pods that are not ready."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from splithorizon.kube import pod_status

Object = dict[str, Any]

READY = {"type": "Ready", "status": "True"}
UNREADY = {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def container(name: str, **fields: Any) -> Object:
    return {"name": name, "image": f"{name}:1", **fields}


def state(name: str, *, ready: bool = True, restarts: int = 0, **fields: Any) -> Object:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": RUNNING, **fields}


def pod(name: str = "helloworld-v1-5c-x", **status: Any) -> Object:
    """A pod as Istio ≤ 1.26 injects it: the sidecar is a second container."""
    both = {"containers": [container("helloworld"), container("istio-proxy")]}
    healthy = {
        "phase": "Running",
        "conditions": [READY],
        "containerStatuses": [state("helloworld"), state("istio-proxy")],
    }
    init = [container("istio-init")]
    return {
        "metadata": {"name": name, "namespace": "sample"},
        "spec": {"initContainers": init, **both},
        "status": {
            **healthy,
            "initContainerStatuses": [state("istio-init")],
            **status,
        },
    }


def native(ready: bool = True) -> Object:
    """A pod as current Istio versions inject it: the sidecar is an init container that is restarted always."""
    made = pod()
    made["spec"] = {
        "initContainers": [
            container("istio-init"),
            container("istio-proxy", restartPolicy="Always"),
        ],
        "containers": [container("helloworld")],
    }
    made["status"]["initContainerStatuses"] = [
        state("istio-init"),
        state("istio-proxy", ready=ready),
    ]
    made["status"]["containerStatuses"] = [state("helloworld")]
    made["status"]["conditions"] = [READY if ready else UNREADY]
    return made


def warning(reason: str, message: str, *, at: int, kind: str = "Pod", name: str = "") -> Object:
    return {
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"kind": kind, "name": name or pod()["metadata"]["name"]},
        "firstTimestamp": f"2026-01-01T00:00:{at:02}Z",
        "metadata": {},
    }


def held() -> Object:
    """A pod whose sidecar is its first container, for which others wait, and which Istio's CNI plug-in redirects."""
    made = pod()
    made["spec"]["containers"].reverse()
    made["spec"]["initContainers"] = [container("istio-validation")]
    made["status"]["initContainerStatuses"] = [state("istio-validation")]
    return made


@pytest.mark.parametrize("made", [pod(), native(), held()], ids=["sidecar", "native sidecar", "held by its sidecar"])
def test_a_pod_with_its_sidecar_has_two_ready_containers(made: Object) -> None:
    readiness = pod_status.of_pod(made)
    assert readiness.ready
    assert readiness.reason == ""
    assert (readiness.containers_ready, readiness.containers, readiness.sidecar) == (2, 2, True)
    assert set(readiness.images) == {"helloworld:1", "istio-proxy:1"}
    assert (readiness.kind, readiness.namespace, readiness.name) == ("Pod", "sample", "helloworld-v1-5c-x")


def test_a_native_sidecar_that_is_not_ready_counts() -> None:
    readiness = pod_status.of_pod(native(ready=False))
    assert not readiness.ready
    assert readiness.containers_ready == 1
    assert "1 of 2 containers ready" in readiness.reason
    assert "container istio-proxy (istio-proxy:1), running" in readiness.reason
    assert "istio-init" not in readiness.reason


def test_a_pod_without_injection_is_ready_without_a_sidecar() -> None:
    made = pod()
    made["spec"]["containers"].pop()
    made["status"]["containerStatuses"].pop()
    readiness = pod_status.of_pod(made)
    assert readiness.ready
    assert (readiness.containers, readiness.sidecar) == (1, False)


def test_an_image_that_cannot_be_pulled_is_named_with_the_first_warning() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    bad = state("helloworld", ready=False) | {"state": waiting}
    made = pod(conditions=[UNREADY], containerStatuses=[bad, state("istio-proxy")])
    events = [
        warning("BackOff", "Error: ImagePullBackOff", at=9),
        warning("Failed", "Failed to pull image: no such host", at=3),
        warning("Unhealthy", "of another pod", at=1, name="sleep-1"),
        warning("Pulling", "no warning", at=0) | {"type": "Normal"},
    ]
    readiness = pod_status.of_pod(made, events)
    assert not readiness.ready
    assert readiness.reason == (
        "1 of 2 containers ready, phase Running; "
        "first warning Failed: Failed to pull image: no such host; "
        "container helloworld (helloworld:1), waiting (ImagePullBackOff: Back-off pulling image)"
    )


def test_a_crash_is_shown_with_its_exit_code_and_restarts() -> None:
    bad = state("helloworld", ready=False, restarts=4) | {
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 3, "message": "no CA\n"}},
    }
    readiness = pod_status.of_pod(pod(conditions=[UNREADY], containerStatuses=[bad, state("istio-proxy")]))
    assert readiness.restarts == 4
    assert readiness.reason.endswith(
        "container helloworld (helloworld:1), waiting (CrashLoopBackOff), "
        "terminated before (Error: exit 3: no CA), restarts: 4"
    )


def test_a_blocking_init_container_is_named_first() -> None:
    stuck = state("istio-init", ready=False) | {"state": {"terminated": {"reason": "Error", "exitCode": 1}}}
    waiting = [
        state(name, ready=False) | {"state": {"waiting": {"reason": "PodInitializing"}}}
        for name in ("helloworld", "istio-proxy")
    ]
    made = pod(
        phase="Pending",
        conditions=[UNREADY],
        initContainerStatuses=[stuck],
        containerStatuses=waiting,
    )
    reason = pod_status.of_pod(made).reason
    assert "0 of 2 containers ready, phase Pending" in reason
    assert "container istio-init (istio-init:1), terminated (Error: exit 1)" in reason
    assert reason.index("istio-init") < reason.index("container helloworld")


def test_an_unschedulable_pod_has_the_schedulers_reason() -> None:
    made = pod()
    scheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    made["status"] = {"phase": "Pending", "conditions": [scheduled]}
    reason = pod_status.of_pod(made).reason
    assert reason == (
        "0 of 2 containers ready, phase Pending; PodScheduled is False: Unschedulable: "
        "0/1 nodes are available: 1 Insufficient cpu."
    )


def test_a_pod_without_any_status_is_not_ready() -> None:
    made = pod()
    del made["status"]
    readiness = pod_status.of_pod(made)
    assert not readiness.ready
    assert readiness.reason == "0 of 2 containers ready, phase unknown"


def test_a_readiness_gate_is_named() -> None:
    gate = {"type": "example.com/gate", "status": "False", "message": "not yet"}
    reason = pod_status.of_pod(pod(conditions=[gate, UNREADY])).reason
    assert "2 of 2 containers ready" in reason
    assert "example.com/gate is False: not yet" in reason


def test_a_pod_that_is_being_deleted_is_not_ready() -> None:
    made = pod()
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    readiness = pod_status.of_pod(made)
    assert not readiness.ready
    assert "being deleted" in readiness.reason


def deployment(**status: Any) -> Object:
    rolled_out = {
        "observedGeneration": 2,
        "replicas": 1,
        "updatedReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
    }
    return {
        "metadata": {"name": "helloworld-v1", "namespace": "sample", "generation": 2},
        "spec": {
            "replicas": 1,
            "template": {"spec": {"containers": [container("helloworld")]}},
        },
        "status": {**rolled_out, **status},
    }


def test_a_deployment_is_ready_if_all_its_pods_are() -> None:
    readiness = pod_status.of_deployment(deployment(), [native()])
    assert readiness.ready
    assert (readiness.containers_ready, readiness.containers, readiness.sidecar) == (2, 2, True)
    assert readiness.images == ("helloworld:1",)


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 1},
        {"readyReplicas": 0},
        {"availableReplicas": 0},
        {"updatedReplicas": 0},
        {"replicas": 2},
    ],
    ids=lambda status: next(iter(status)),
)
def test_a_deployment_is_not_ready_during_its_rollout(status: Object) -> None:
    readiness = pod_status.of_deployment(deployment(**status), [pod()])
    assert not readiness.ready
    assert "of 1 replicas ready" in readiness.reason


def test_a_deployment_without_pods_is_never_ready() -> None:
    assert not pod_status.of_deployment(deployment(), []).ready
    nothing = deployment(replicas=0, updatedReplicas=0, readyReplicas=0, availableReplicas=0)
    nothing["spec"]["replicas"] = 0
    readiness = pod_status.of_deployment(nothing, [])
    assert not readiness.ready
    assert "0 of 0 replicas ready" in readiness.reason
    assert not readiness.sidecar


def test_a_pod_that_is_not_admitted_is_explained_by_events_of_the_replica_set() -> None:
    failure = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "failed calling webhook",
    }
    progressing = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
    set_name = "helloworld-v1-5c7d"
    events = [
        warning("FailedCreate", "of v10", at=1, kind="ReplicaSet", name="helloworld-v10-5c"),
        warning("FailedCreate", "no endpoints", at=4, kind="ReplicaSet", name=set_name),
    ]
    unhealthy = deployment(readyReplicas=0, conditions=[failure, progressing])
    assert pod_status.of_deployment(unhealthy, [], events).reason == (
        "0 of 1 replicas ready, 1 updated; first warning FailedCreate: no endpoints; "
        "ReplicaFailure is True: FailedCreate: failed calling webhook"
    )


def test_a_deployment_names_its_first_unready_pod() -> None:
    leaving = pod("old")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    readiness = pod_status.of_deployment(deployment(readyReplicas=0), [leaving, native(ready=False)])
    assert "pod helloworld-v1-5c-x: 1 of 2 containers ready" in readiness.reason
    assert "old" not in readiness.reason


def test_the_objects_are_not_changed() -> None:
    made, event = native(ready=False), warning("Failed", "x", at=1)
    before = copy.deepcopy((made, event))
    pod_status.of_pod(made, [event])
    assert (made, event) == before


@pytest.mark.parametrize(
    ("phase", "wanted"), [("Running", True), ("Pending", True), ("Failed", False), ("Succeeded", False)]
)
def test_a_pod_that_has_ended_for_good_is_none_of_those_that_have_to_be_ready(phase: str, wanted: bool) -> None:
    pod = {"metadata": {"name": "istiod-1"}, "status": {"phase": phase, "reason": "Evicted"}}
    assert pod_status.counts(pod) is wanted
    assert not pod_status.counts({**pod, "metadata": {"deletionTimestamp": "2026-11-27T00:00:00Z"}})
