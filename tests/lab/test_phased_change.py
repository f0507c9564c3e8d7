from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Timer

import pytest

from lab import suite_run, topology
from lab.phased_change import ChangedMesh, PhasedChange, Step
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.client import Kube
from splithorizon.run.progress import Progress
from splithorizon.run.report import RunReport
from splithorizon.watch.phases import Phase, PhaseLog
from tests.support.mesh_info import mesh_info
from tests.support.run_reports import GREEN
from tests.support.small_api import small_api


@dataclass
class OneStep(PhasedChange):
    def steps(self) -> Iterator[Step]:
        yield Step("a step")


def change(folder: Path, kubes: dict[str, Kube]) -> OneStep:
    shape = topology.plan("lab", PRIMARY_REMOTE)
    return OneStep(ChangedMesh(shape, kubes, mesh_info(folder), Progress(print), folder))


def test_a_change_that_is_stopped_begins_no_further_phase(tmp_path: Path) -> None:
    stop, phases = Event(), PhaseLog()
    stop.set()
    made = change(tmp_path, {})
    made.make(phases, stop)
    assert phases.phases == []
    assert made.broken is None


def test_what_breaks_ends_the_change_with_its_phase_and_the_reason(tmp_path: Path) -> None:
    phases = PhaseLog()
    with small_api(tmp_path / "kubeconfig"):
        kubes = {name: Kube(tmp_path / "kubeconfig", name) for name in ("primary", "remote")}
        made = change(tmp_path, kubes)
        made.make(phases, Event())
    assert [phase.name for phase in phases.phases] == ["before the change"]
    assert made.broken is not None
    assert phases.phases[0].broke == str(made.broken)


def test_the_version_of_every_istiod_pod_is_named_beside_those_of_their_proxies(tmp_path: Path) -> None:
    def istiod(pod: str, command: list[str]) -> str:
        version = "1.29.1" if pod.endswith("istiod-new") else "1.28.3"
        if "version" in command:
            return json.dumps({"clientVersion": {"version": version}})
        proxy = {"proxy": f"{version}.sample", "cluster_id": "primary", "istio_version": version}
        return json.dumps([proxy])

    with small_api(tmp_path / "primary.kubeconfig") as server:
        server.versioned, server.execute = True, istiod
        for name in ("istiod-old", "istiod-new"):
            server.put("Pod", name, "istio-system", labels={"app": "istiod"}, status={"phase": "Running"})
        kubes = {"primary": Kube(tmp_path / "primary.kubeconfig", "primary")}
        versions = change(tmp_path, kubes)._versions()
    assert versions == (
        "istiod-new of primary 1.29.1, istiod-old of primary 1.28.3, their proxies: 1 of 1.28.3, 1 of 1.29.1",
    )


def test_core_is_told_the_version_that_runs_by_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, str]] = []

    def judged(file: Path, *_: object, **__: object) -> RunReport:
        told.append(json.loads(file.read_text())["versions"])
        return GREEN

    monkeypatch.setattr(suite_run, "judged", judged)
    with small_api(tmp_path / "primary.kubeconfig") as server:
        server.objects["/version"] = {"gitVersion": "v1.34.4"}
        server.execute = lambda *_: "[]"
        containers = [{"name": "discovery", "image": "registry.example/pilot:1.30.0"}]
        server.put(
            "Pod", "istiod-new", "istio-system", labels={"app": "istiod"}, status={"phase": "Running"},
            spec={"containers": containers},
        )  # fmt: skip
        server.objects["/api/v1/pods"] = {"items": server.kept("Pod")}
        kubes = {"primary": Kube(tmp_path / "primary.kubeconfig", "primary")}
        made = change(tmp_path, kubes)
        made._judge(Phase("after", 0.0))
    assert made.mesh.info.versions["istio"] == "1.29.1"
    assert [one["istio"] for one in told] == ["1.30.0"]


def test_a_restart_has_ended_when_the_old_pods_are_gone(tmp_path: Path) -> None:
    with small_api(tmp_path / "kubeconfig") as server:
        server.versioned = True
        pods: dict[str, list[str]] = {"containers": []}
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": "helloworld"}}, "template": {"spec": pods}}
        server.put("Deployment", "helloworld", "sample", spec=spec, status={"observedGeneration": 9, **counts})
        for name in ("old", "new"):
            ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            server.put("Pod", name, "sample", labels={"app": "helloworld"}, spec=pods, status=ready)
        old = path_of("Pod", "sample", "old")
        server.objects[old]["metadata"]["deletionTimestamp"] = "2026-11-27T22:00:00Z"
        Timer(0.5, server.objects.pop, [old]).start()
        mesh = change(tmp_path, {"primary": Kube(tmp_path / "kubeconfig", "primary")}).mesh
        mesh.restart("primary", "sample", "helloworld")
        assert [pod["metadata"]["name"] for pod in server.kept("Pod")] == ["new"]
        (restarted,) = server.kept("Deployment")
    assert "kubectl.kubernetes.io/restartedAt" in restarted["spec"]["template"]["metadata"]["annotations"]
