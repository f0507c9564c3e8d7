"""Upgrades Istio in a mesh that was made here, phase by phase, while somebody watches it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from threading import Event

from lab import suite_run
from lab.install import Installation
from lab.kind import MeshCluster
from lab.topology import Topology
from splithorizon.base import private_file
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.base.timeouts import current as timeouts
from splithorizon.istio import discover, names
from splithorizon.istio.info import MeshInfo
from splithorizon.kube.client import Kube
from splithorizon.kube.rollout import await_rollout
from splithorizon.mesh.mesh import Mesh
from splithorizon.run.catalogue import Profile
from splithorizon.run.progress import Progress
from splithorizon.run.verdict import Verdict
from splithorizon.watch.phases import Phase, PhaseLog

_RELEASE = re.compile(r"(?P<major>\d+)\.(?P<minor>\d+)\.")


class Style(StrEnum):
    """How a control plane is upgraded: by a new one beside it, or by replacing it."""

    IN_PLACE = "in-place"
    REVISION = "revision"


# The minor versions that Istio documents to be skipped at once: https://istio.io/latest/docs/setup/upgrade
_MINORS_AT_ONCE = {Style.IN_PLACE: 1, Style.REVISION: 2}


def require_documented(before: str, after: str, style: Style) -> None:
    """Raise UsageProblem for a pair of versions that Istio does not document an upgrade of, in that style."""
    old, new = _RELEASE.match(before), _RELEASE.match(after)
    if old is None or new is None:
        why = f"of {before if old is None else after} no release is known"
    elif old["major"] != new["major"] or not 0 <= int(new["minor"]) - int(old["minor"]) <= _MINORS_AT_ONCE[style]:
        why = f"Istio documents {style} upgrades over at most {_MINORS_AT_ONCE[style]} minor versions, and none back"
    else:
        return
    raise UsageProblem(f"--upgrade-to {after} from {before}: {why}; --allow-skew tries it. Nothing was created.")


@dataclass(frozen=True)
class UpgradedMesh:
    """The mesh that is upgraded, and where what its upgrade writes goes."""

    topology: Topology
    clusters: Mapping[str, MeshCluster]
    kubes: Mapping[str, Kube]
    info: MeshInfo
    progress: Progress
    folder: Path
    """Of the run's own files."""


@dataclass(frozen=True)
class _Step:
    """One phase: its name, and what it does to the mesh."""

    name: str
    change: Callable[[], None]


@dataclass
class Upgrade:
    """The upgrade of a mesh, by the installation of each version in turn: one, and its earlier one for the way back."""

    mesh: UpgradedMesh
    installations: Sequence[Installation]
    reports: Path = Path("reports")
    """Where the reports of the core checks at the end of each phase go, each in a folder."""
    core_arguments: Sequence[str] = ()
    """Of the core checks, beside those that name the mesh."""
    broken: EnvironmentBroke | None = field(default=None, init=False)
    """Why it could not be carried out to its end."""

    def make(self, phases: PhaseLog, stop: Event) -> None:
        """Upgrade, phase by phase; where ``stop`` is set, end after the phase that goes on."""
        try:
            for step in (_Step("before the upgrade", lambda: None), *self._steps()):
                if stop.is_set():
                    return
                with phases.phase(step.name) as phase:
                    step.change()
                    phase.versions = self._versions()
                    self._judge(phase)
        except EnvironmentBroke as broken:
            self.broken = broken

    def upgraded(self) -> MeshInfo:
        """The mesh as it is now, with the version that its first istiod runs."""
        first = self.mesh.topology.control_planes[0].name
        versions = {**self.mesh.info.versions, **discover.versions_running(self.mesh.kubes[first])}
        return replace(self.mesh.info, versions=versions)

    def _steps(self) -> Iterator[_Step]:
        for place, installation in enumerate(self.installations):
            back = "back: " if place else ""
            for step in self._in_place(installation):
                yield replace(step, name=f"{back}{step.name}")

    def _in_place(self, installation: Installation) -> Iterator[_Step]:
        plans = self.mesh.topology
        for plan in plans.control_planes:
            yield _Step(f"istiod of {plan.name}", partial(self._control_plane, installation, plan.name))
        for plan in plans.managed:
            yield _Step(f"webhook of {plan.name}", partial(self._managed, installation, plan.name))
        for plan in plans:
            if plan.has_gateway:
                yield _Step(f"gateway of {plan.name}", partial(self._gateway, installation, plan.name))
        for plan in plans:
            yield _Step(f"workloads of {plan.name}", partial(self._workloads, plan.name))

    def _control_plane(self, installation: Installation, name: str) -> None:
        installation.control_plane(name)
        installation.await_control_plane(name)

    def _managed(self, installation: Installation, name: str) -> None:
        manager = self.mesh.info.clusters[self.mesh.topology[name].control_plane]
        installation.managed(name, manager.gateways[0].host)
        installation.await_injection(name)

    def _gateway(self, installation: Installation, name: str) -> None:
        installation.gateway(name)
        # Its template may be as before: then only a new pod gets the new version's proxy.
        self._restart(name, names.SYSTEM_NAMESPACE, names.EASTWEST_GATEWAY)
        installation.await_gateway(name)

    def _workloads(self, name: str) -> None:
        """Restart each Deployment of the namespace, one after the other."""
        namespace = self.mesh.info.namespace
        for deployment in self.mesh.kubes[name].list("Deployment", namespace):
            with self.mesh.progress.step(f"{deployment['metadata']['name']} restarted", cluster=name):
                self._restart(name, namespace, deployment["metadata"]["name"])

    def _restart(self, name: str, namespace: str, deployment: str) -> None:
        """Restart a Deployment as kubectl does, and wait until each of its pods is new and ready."""
        kube = self.mesh.kubes[name]
        restarted = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
        kube.patch(
            "Deployment", deployment, namespace, {"spec": {"template": {"metadata": {"annotations": restarted}}}}
        )
        await_rollout(kube, deployment, namespace, within=timeouts().workload_ready)

    def _versions(self) -> tuple[str, ...]:
        """Of each istiod, its own version, and how many proxies of which version are connected to it."""
        mesh = Mesh(self.mesh.info)
        return tuple(
            f"istiod of {plan.name} {discover.versions_running(self.mesh.kubes[plan.name]).get('istio', 'unknown')}, "
            f"its proxies: {_listed(mesh.istiods[plan.name].proxy_versions())}"
            for plan in self.mesh.topology.control_planes
        )

    def _judge(self, phase: Phase) -> None:
        """Run the core checks, and note their verdict."""
        file = self.mesh.folder / "mesh.json"
        private_file.write(file, self.mesh.info.to_json())
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
