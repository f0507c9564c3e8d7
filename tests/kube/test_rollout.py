"""A rollout is waited for as long as waiting helps: what stays stuck ends the wait, with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base import waiting
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.kube.client import Kube
from splithorizon.kube.rollout import await_rollout, stuck
from tests.support.manual_clock import ManualClock
from tests.support.small_api import SmallApi, small_api

LABELS = {"app": "sleep"}
TEMPLATE = {"spec": {"containers": [{"name": "sleep", "image": "mirror/curl"}]}}
SPEC = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}


def pod(*, waiting_for: str = "", unschedulable: bool = False) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Pending", "conditions": []}
    if waiting_for:
        state = {"waiting": {"reason": waiting_for, "message": "as the kubelet says"}}
        status["containerStatuses"] = [{"name": "sleep", "image": "mirror/curl", "ready": False, "state": state}]
    if unschedulable:
        status["conditions"] = [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
        ]
    return {"metadata": {"name": "sleep-1", "namespace": "ours"}, "status": status}


def deployment(message: str = "") -> dict[str, Any]:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    return {"metadata": {"name": "sleep"}, "status": {"conditions": [failure] if message else []}}


@pytest.mark.parametrize(
    ("deployed", "pods", "said"),
    [
        (deployment(), [pod(waiting_for="ImagePullBackOff")], "sleep (mirror/curl) ImagePullBackOff"),
        (deployment(), [pod(waiting_for="InvalidImageName")], "InvalidImageName"),
        (deployment(), [pod(unschedulable=True)], "Unschedulable: 0/3 nodes"),
        (
            deployment('pods "sleep-x" is forbidden: violates PodSecurity "restricted:latest"'),
            [],
            "violates PodSecurity",
        ),
        (deployment('admission webhook "validate.kyverno.svc" denied the request: limits'), [], "denied the request"),
        (deployment("exceeded quota: compute, requested: limits.cpu=1"), [], "exceeded quota"),
        # They pass by themselves.
        (deployment("failed calling webhook: connection refused"), [], ""),
        (deployment(), [pod(waiting_for="ContainerCreating")], ""),
        (deployment(), [pod(waiting_for="ErrImagePull")], ""),
        (deployment(), [], ""),
    ],
)
def test_what_waiting_does_not_mend_is_told_apart(
    deployed: dict[str, Any], pods: list[dict[str, Any]], said: str
) -> None:
    assert bool(stuck(deployed, pods)) is bool(said)
    assert said in stuck(deployed, pods)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    manual = ManualClock()
    monkeypatch.setattr(waiting, "_clock", manual)
    return manual


@pytest.fixture
def api(tmp_path: Path) -> Iterator[SmallApi]:
    with small_api(tmp_path / "kubeconfig") as server:
        server.versioned = True
        server.put("Deployment", "sleep", "ours", spec=SPEC)
        yield server


def put_pod(api: SmallApi, **how: Any) -> None:
    found = pod(**how)
    spec = {"containers": [{"name": "sleep", "image": "mirror/curl"}]}
    api.put("Pod", "sleep-1", "ours", labels=LABELS, spec=spec, status=found["status"])


def waited(tmp_path: Path) -> None:
    await_rollout(Kube(tmp_path / "kubeconfig", "primary"), "sleep", "ours", within=180, give_up_after=45, longer=600)


def test_an_image_that_is_not_pulled_ends_the_wait_early(api: SmallApi, clock: ManualClock, tmp_path: Path) -> None:
    put_pod(api, waiting_for="ImagePullBackOff")
    with pytest.raises(EnvironmentBroke, match="ImagePullBackOff: as the kubelet says") as broken:
        waited(tmp_path)
    assert 45 <= clock.now() < 60
    assert "describe" in broken.value.next_command


def test_a_pod_that_is_slow_has_the_usual_time(api: SmallApi, clock: ManualClock, tmp_path: Path) -> None:
    put_pod(api, waiting_for="ContainerCreating")
    with pytest.raises(EnvironmentBroke, match="does not get ready"):
        waited(tmp_path)
    assert 180 <= clock.now() < 200


def test_a_node_that_an_autoscaler_adds_is_waited_for(api: SmallApi, clock: ManualClock, tmp_path: Path) -> None:
    put_pod(api, unschedulable=True)
    metadata = {"creationTimestamp": "2026-11-27T00:00:00Z"}
    event = api.put("Event", "e", "ours", involvedObject={"kind": "Pod", "name": "sleep-1"}, reason="TriggeredScaleUp")
    event["metadata"] |= metadata
    with pytest.raises(TimedOut):
        waited(tmp_path)
    assert clock.now() > 500
