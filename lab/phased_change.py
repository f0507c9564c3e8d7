"""A change of a mesh that was made here, phase by phase, while somebody watches it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from lab import suite_run
from lab.topology import Topology
from splithorizon.base import private_file
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import discover, names
from splithorizon.istio.info import MeshInfo
from splithorizon.kube.client import Kube
from splithorizon.kube.rollout import await_rollout
from splithorizon.mesh.mesh import Mesh
from splithorizon.run.catalogue import Profile
from splithorizon.run.progress import Progress
from splithorizon.run.verdict import Verdict
from splithorizon.watch.phases import Phase, PhaseLog


@dataclass(frozen=True)
class ChangedMesh:
    """The mesh that is changed, and where what is written meanwhile goes."""

    topology: Topology
    kubes: Mapping[str, Kube]
    info: MeshInfo
    progress: Progress
    folder: Path
    """Of the run's own files."""

    def restart(self, name: str, namespace: str, deployment: str) -> None:
        """Restart a Deployment of a cluster as kubectl does, and wait until each of its pods is new and ready."""
        annotations = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
        changed = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        with self.progress.step(f"{deployment} restarted", cluster=name):
            self.kubes[name].patch("Deployment", deployment, namespace, changed)
            self.await_replaced(name, namespace, deployment)

    def await_replaced(self, name: str, namespace: str, deployment: str) -> None:
        """Wait until each pod of a Deployment is new and ready, and each old one gone.

        An old one that drains cuts its connections only when it ends: that is still the change's own doing.
        """
        kube = self.kubes[name]
        await_rollout(kube, deployment, namespace, within=timeouts().workload_ready)
        selector = (kube.get("Deployment", deployment, namespace) or {})["spec"]["selector"]["matchLabels"]
        labels = ",".join(f"{key}={value}" for key, value in selector.items())

        def none_ends() -> None:
            ending = [pod for pod in kube.list("Pod", namespace, labels) if "deletionTimestamp" in pod["metadata"]]
            if ending:
                raise NotYet(f"{', '.join(pod['metadata']['name'] for pod in ending)} still ends")

        eventually(f"the old pods of the {name}'s {deployment} are gone", none_ends, within=timeouts().pod_replaced)

    def restart_workloads(self, name: str) -> None:
        """Restart each Deployment of the workloads' namespace of a cluster, one after the other."""
        for deployment in self.kubes[name].list("Deployment", self.info.namespace):
            self.restart(name, self.info.namespace, deployment["metadata"]["name"])

    def restart_proxies(self, name: str) -> None:
        """Restart a cluster's gateway, and then its workloads."""
        if self.topology[name].has_gateway:
            self.restart(name, names.SYSTEM_NAMESPACE, names.EASTWEST_GATEWAY)
        self.restart_workloads(name)


@dataclass(frozen=True)
class Step:
    """One phase: its name, and what it does to the mesh."""

    name: str
    change: Callable[[], None] = lambda: None


@dataclass
class PhasedChange(ABC):
    """A change of a mesh in steps. At the end of each the core checks run, and the versions are read."""

    mesh: ChangedMesh
    reports: Path = field(default=Path("reports"), kw_only=True)
    """Where the reports of the core checks go, each in a folder."""
    core_arguments: Sequence[str] = field(default=(), kw_only=True)
    """Of the core checks, beside those that name the mesh."""
    broken: EnvironmentBroke | None = field(default=None, init=False)
    """Why it could not be carried out to its end."""

    @abstractmethod
    def steps(self) -> Iterator[Step]:
        """The steps, in their order."""

    def make(self, phases: PhaseLog, stop: Event) -> None:
        """Make it, phase by phase; where ``stop`` is set, end after the phase that goes on."""
        try:
            for step in (Step("before the change"), *self.steps()):
                if stop.is_set():
                    return
                with phases.phase(step.name) as phase:
                    step.change()
                    phase.versions = self._versions()
                    self._judge(phase)
        except EnvironmentBroke as broken:
            self.broken = broken

    def changed(self) -> MeshInfo:
        """The mesh as it is now, with the version that its first istiod runs."""
        first = self.mesh.topology.control_planes[0].name
        versions = {**self.mesh.info.versions, **discover.versions_running(self.mesh.kubes[first])}
        return replace(self.mesh.info, versions=versions)

    def _versions(self) -> tuple[str, ...]:
        """Of each cluster with istiod the version of every istiod pod, and of how many proxies it has which."""
        istiods = Mesh(self.mesh.info).istiods
        return tuple(
            f"{', '.join(f'{pod} of {name} {version}' for pod, version in sorted(istiods[name].versions().items()))}, "
            f"their proxies: {_listed(istiods[name].proxy_versions())}"
            for name in (plan.name for plan in self.mesh.topology.control_planes)
        )

    def _judge(self, phase: Phase) -> None:
        """Run the core checks, and note their verdict."""
        file = self.mesh.folder / "mesh.json"
        private_file.write(file, self.changed().to_json())
        with self.mesh.progress.step(f"core checks: {phase.name}"):
            found = suite_run.judged(
                file,
                ["suites/", "--profile", Profile.CORE.value, *self.core_arguments],
                folder=self.reports / re.sub(r"\W+", "-", phase.name),
                log=self.mesh.folder / "core-checks.log",
                within=timeouts().suite_run,
            )
        phase.core = found.verdict.value
        refuted = [one.behaviour for one in found.behaviours if one.verdict is Verdict.NOT_CONFORMANT]
        phase.refuted = tuple(dict.fromkeys(refuted))


def _listed(by_cluster: Mapping[str, Mapping[str, int]]) -> str:
    proxies = sum((Counter(counts) for counts in by_cluster.values()), Counter[str]())
    return ", ".join(f"{count} of {version}" for version, count in sorted(proxies.items())) or "none"
