"""Upgrades Istio in a mesh that was made here, phase by phase, while somebody watches it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from splithorizon.kube.client import Kube, Object
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


_TAG = "stable"


def revision_of(version: str) -> str:
    """The name of the revision of a version, which has to be part of a DNS name."""
    return re.sub(r"[^a-z0-9]+", "-", version.lower())


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
    change: Callable[[], None] = lambda: None


@dataclass
class Upgrade:
    """The upgrade of a mesh from one installation to another, and back where that is asked for."""

    mesh: UpgradedMesh
    style: Style
    before: Installation
    after: Installation
    back: bool = False
    reports: Path = Path("reports")
    """Where the reports of the core checks at the end of each phase go, each in a folder."""
    core_arguments: Sequence[str] = ()
    """Of the core checks, beside those that name the mesh."""
    broken: EnvironmentBroke | None = field(default=None, init=False)
    """Why it could not be carried out to its end."""

    def make(self, phases: PhaseLog, stop: Event) -> None:
        """Upgrade, phase by phase; where ``stop`` is set, end after the phase that goes on."""
        try:
            for step in (_Step("before the upgrade"), *self._steps()):
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

    @property
    def phase_names(self) -> list[str]:
        """What is changed, in the order of the phases after the one before the upgrade."""
        return [step.name for step in self._steps()]

    def _steps(self) -> Iterator[_Step]:
        return self._in_place() if self.style is Style.IN_PLACE else self._by_revision()

    def _in_place(self) -> Iterator[_Step]:
        for installation in (self.after, self.before) if self.back else (self.after,):
            yield from _towards(installation, self._control_planes(installation))
            yield from _towards(installation, self._gateways(installation))
            yield from _towards(installation, (self._workloads(name) for name in self.mesh.topology.names))

    def _by_revision(self) -> Iterator[_Step]:
        """With a revision tag that the workloads ask for: it moves in one cluster after the other."""
        before, after = self.before, self.after
        yield _Step(f"tag {_TAG} on the old revision", self._begin_tag)
        yield from _towards(after, self._control_planes(after))
        yield from _towards(after, self._gateways(after))
        yield from _towards(after, (self._workloads(name, after) for name in self._managed_last))
        if self.back:
            yield from _towards(before, (self._workloads(name, before) for name in reversed(self._managed_last)))
            yield from _towards(before, self._gateways(before))
        left = after if self.back else before
        yield _Step(f"istiod {left.version} removed", partial(self._remove, left))

    def _control_planes(self, installation: Installation) -> Iterator[_Step]:
        for plan in self.mesh.topology.control_planes:
            yield _Step(f"istiod of {plan.name}", partial(self._control_plane, installation, plan.name))
        for plan in self.mesh.topology.managed:
            yield _Step(f"webhook of {plan.name}", partial(self._managed, installation, plan.name))

    def _gateways(self, installation: Installation) -> Iterator[_Step]:
        for plan in self.mesh.topology:
            if plan.has_gateway:
                yield _Step(f"gateway of {plan.name}", partial(self._gateway, installation, plan.name))

    def _workloads(self, name: str, tagged: Installation | None = None) -> _Step:
        """``tagged`` is what the cluster's tag is moved to before its workloads are restarted."""
        return _Step(f"workloads of {name}", partial(self._restart_workloads, name, tagged))

    @property
    def _managed_last(self) -> tuple[str, ...]:
        """The clusters that run istiod first: the webhook of a cluster without one moves last."""
        plans = self.mesh.topology
        return tuple(plan.name for plan in (*plans.control_planes, *plans.managed))

    def _control_plane(self, installation: Installation, name: str) -> None:
        installation.control_plane(name)
        installation.await_control_plane(name)
        gateways = {one.name: one.gateways[0] for one in self.mesh.info.clusters.values() if one.gateways}
        installation.set_mesh_networks(name, gateways)
        if installation.revision and self.mesh.topology.manages_others(name):
            installation.expose_revision(name)

    def _managed(self, installation: Installation, name: str) -> None:
        manager = self.mesh.info.clusters[self.mesh.topology[name].control_plane]
        installation.managed(name, manager.gateways[0].host)
        installation.await_injection(name)

    def _gateway(self, installation: Installation, name: str) -> None:
        template = self._gateway_template(name)
        installation.gateway(name)
        # Only a new pod gets the new version's proxy.
        if self._gateway_template(name) == template:
            self._restart(name, names.SYSTEM_NAMESPACE, names.EASTWEST_GATEWAY)
        installation.await_gateway(name)

    def _gateway_template(self, name: str) -> Object | None:
        deployment = self.mesh.kubes[name].get("Deployment", names.EASTWEST_GATEWAY, names.SYSTEM_NAMESPACE)
        return deployment["spec"]["template"] if deployment else None

    def _begin_tag(self) -> None:
        """Let the workloads' namespace ask for the tag, which leads to what injects its sidecars already."""
        labels = {"istio-injection": None, names.REVISION_LABEL: _TAG}
        for name, kube in self.mesh.kubes.items():
            self.before.set_tag(name, _TAG)
            kube.patch("Namespace", self.mesh.info.namespace, None, {"metadata": {"labels": labels}})

    def _restart_workloads(self, name: str, tagged: Installation | None) -> None:
        """Restart each Deployment of the namespace, one after the other."""
        if tagged is not None:
            tagged.set_tag(name, _TAG)
            self._note_revision(name, tagged.revision)
        namespace = self.mesh.info.namespace
        for deployment in self.mesh.kubes[name].list("Deployment", namespace):
            with self.mesh.progress.step(f"{deployment['metadata']['name']} restarted", cluster=name):
                self._restart(name, namespace, deployment["metadata"]["name"])

    def _note_revision(self, name: str, revision: str) -> None:
        """From here on the cluster is judged by the istiod of this revision."""
        info = self.mesh.info
        clusters = {**info.clusters, name: replace(info.clusters[name], revision=revision)}
        first = self.mesh.topology.control_planes[0].name
        self.mesh = replace(self.mesh, info=replace(info, clusters=clusters, revision=clusters[first].revision))

    def _remove(self, installation: Installation) -> None:
        for name in reversed(self._managed_last):
            installation.remove_control_plane(name)

    def _restart(self, name: str, namespace: str, deployment: str) -> None:
        """Restart a Deployment as kubectl does, and wait until each of its pods is new and ready."""
        kube = self.mesh.kubes[name]
        annotations = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
        changed = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        kube.patch("Deployment", deployment, namespace, changed)
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


def _towards(installation: Installation, steps: Iterable[_Step]) -> Iterator[_Step]:
    """The steps with the version that they lead to in their names: the way back has steps of the same names."""
    for step in steps:
        yield replace(step, name=f"{step.name} to {installation.version}")


def _listed(by_cluster: Mapping[str, Mapping[str, int]]) -> str:
    proxies = sum((Counter(counts) for counts in by_cluster.values()), Counter[str]())
    return ", ".join(f"{count} of {version}" for version, count in sorted(proxies.items())) or "none"
