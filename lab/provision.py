"""From options to a mesh with workloads: every step as early as what it needs is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lab import kept_cluster, network_isolation, topology
from lab.ca import Trust
from lab.engine import Engine, network
from lab.gateway_address import Addressing, address
from lab.images import ImageSet
from lab.install import Installation
from lab.kind import MeshCluster
from lab.phased_change import ChangedMesh
from lab.root_rotation import RootRotation
from lab.upgrade import Style, Upgrade, revision_of
from splithorizon.base import parallel, private_file, process
from splithorizon.base.errors import Cancelled
from splithorizon.base.timeouts import current as timeouts
from splithorizon.istio import discover, names
from splithorizon.istio.info import Address, ClusterInfo, MeshInfo, NetworkMode
from splithorizon.istio.topology import Watch
from splithorizon.kube.client import Kube
from splithorizon.kube.rollout import await_rollout
from splithorizon.mesh import snapshot
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from splithorizon.traffic import workloads

T = TypeVar("T")

# As many as there are at most: each waits in a thread of its own for what it needs.
_STEPS_OF_A_CLUSTER = 20


def upgrade_archive(folder: Path) -> Path:
    """The tar of Istio's images of the version that a run upgrades to, in the run's folder."""
    return folder / "upgrade.tar"


@dataclass(frozen=True)
class ProvisioningContext:
    """What a set-up stands on once nothing can be wrong with the input any more."""

    options: Options
    engine: Engine
    images: ImageSet
    trust: Trust
    addressing: Addressing
    journal: Journal
    progress: Progress


class Provisioning:
    """Creates the clusters and a mesh in them; every undo is on the stack before its create."""

    def __init__(self, ground: ProvisioningContext, undo: ExitStack, secrets: list[bytes]) -> None:
        """Plan the run; nothing is created yet. Secrets that come to be are added to ``secrets``."""
        self._ground = ground
        self._undo = undo
        self._topology = topology.plan(ground.options.cluster_name, ground.options.topology)
        self._clusters = {
            plan.name: MeshCluster(
                plan,
                engine=ground.engine,
                images=ground.images,
                folder=ground.journal.folder,
            )
            for plan in self._topology
        }
        self._kubes = {name: Kube(cluster.kubeconfig_path, name) for name, cluster in self._clusters.items()}
        self._secrets = secrets
        self._installation = self._installation_of(ground.images)

    @property
    def installation(self) -> Installation:
        """What the mesh was made by."""
        return self._installation

    @property
    def trust(self) -> Trust:
        """The CAs of its clusters."""
        return self._ground.trust

    def _installation_of(self, images: ImageSet, revision: str = "") -> Installation:
        ground = self._ground
        return Installation(
            self._topology,
            self._clusters,
            self._kubes,
            images,
            ground.trust,
            addressing=ground.addressing,
            network_mode=NetworkMode(ground.options.network_mode),
            access_log_encoding=ground.options.access_log_encoding,
            progress=ground.progress,
            folder=ground.journal.folder,
            secrets=self._secrets,
            revision=revision,
        )

    def plan_upgrade(self, info: MeshInfo, images: ImageSet) -> Upgrade:
        """Load another version's images into the nodes; return the upgrade to it, of which nothing has begun.

        Raises EnvironmentBroke where they cannot be loaded.
        """
        options, archive = self._ground.options, upgrade_archive(self._ground.journal.folder)
        with self._ground.progress.step(f"images of Istio {images.istio_version} loaded into the nodes"):
            parallel.for_each(self._clusters, lambda name: self._clusters[name].load_archive(archive))
        style = Style(options.upgrade_style)
        revision = revision_of(images.istio_version) if style is Style.REVISION else ""
        after = self._installation_of(images, revision)
        return Upgrade(self.changed_mesh(info), style, self._installation, after, options.upgrade_back)

    def plan_rotation(self, info: MeshInfo, after: Trust) -> RootRotation:
        """The rotation from the mesh's root to another one, of which nothing has begun."""
        return RootRotation(self.changed_mesh(info), self._ground.trust, after)

    def changed_mesh(self, info: MeshInfo) -> ChangedMesh:
        """The mesh, as a change of it in phases takes it."""
        ground = self._ground
        return ChangedMesh(self._topology, self._kubes, info, ground.progress, folder=ground.journal.folder)

    def provision(self) -> MeshInfo:
        """Bring everything up, or attach to what was kept.

        Raises UsageProblem before anything is created, EnvironmentBroke and Cancelled afterwards.
        """
        reuse = self._ground.options.reuse
        if reuse:
            for cluster in self._clusters.values():
                cluster.require()
        with ThreadPoolExecutor(max_workers=_STEPS_OF_A_CLUSTER * len(self._clusters)) as pool:
            steps = _Steps(pool)
            try:
                gateways = self._attach() if reuse else self._create(steps)
            except BaseException:
                process.cancel_all()
                raise
        return self._info(gateways)

    def _attach(self) -> dict[str, Address]:
        found: dict[str, Address] = {}
        for name, cluster in self._clusters.items():
            with self._ground.progress.step("attached to the kept cluster", cluster=name):
                cluster.attach()
                kept_cluster.require_made_as(cluster.plan, self._kubes[name].get("Node", cluster.plan.node))
        for name, cluster in self._clusters.items():
            # A restarted node has its default route again.
            network_isolation.apply(cluster)
            if cluster.plan.has_gateway:
                found[name] = address(self._kubes[name])
        for name in self._clusters:
            self._join_network(name)
        return found

    def _create(self, steps: _Steps) -> dict[str, Address]:
        journal = self._ground.journal
        created: dict[str, Future[None]] = {}
        self._undo.callback(self._delete)
        for name, cluster in self._clusters.items():
            facts = {"engine": self._ground.engine.to_json(), "folder": str(journal.folder)}
            journal.will_create("cluster", cluster.plan.kind_name, **facts)
            created[name] = steps.begin(partial(self._create_cluster, cluster))

        installation, plans = self._installation, self._topology
        connected = {
            plan.name: steps.begin(
                partial(self._join_network, plan.name),
                created[plan.name],
                *(created[one.name] for one in plans.others_on_network_of(plan.name)),
            )
            for plan in plans
        }
        recorded = {name: steps.begin(partial(self._snapshot, name), created[name]) for name in self._clusters}
        prepared = {name: steps.begin(partial(installation.prepare, name), recorded[name]) for name in self._clusters}
        namespaced = {name: steps.begin(partial(self._make_namespace, name), recorded[name]) for name in self._clusters}
        ready: dict[str, tuple[Future[Any], ...]] = {}
        """What a cluster needs before a pod of it gets a sidecar."""
        gateways: dict[str, Future[Address]] = {}
        exposed: dict[str, tuple[Future[Any], ...]] = {}
        for name in (plan.name for plan in plans.control_planes):
            installed = steps.begin(partial(installation.control_plane, name), prepared[name])
            istiod = steps.begin(partial(installation.await_control_plane, name), prepared[name])
            exposed[name] = (istiod, steps.begin(partial(installation.expose, name), istiod))
            # istioctl replaces the injection webhooks last of all: a pod that is asked for meanwhile gets no sidecar.
            rooted = steps.begin(partial(self._await_root, name), istiod, namespaced[name])
            ready[name] = (istiod, installed, rooted)
            if plans[name].has_gateway:
                gateways[name] = self._begin_gateway(steps, name, ready[name])
        joined = {
            watch: steps.begin(
                partial(installation.remote_secret, watch), prepared[watch.watched], prepared[watch.watching]
            )
            for watch in plans.watches
        }
        for plan in plans.managed:
            name, manager = plan.name, plan.control_plane
            reached_at = self._begin_address(steps, manager, gateways[manager], created[manager])
            installed = steps.begin(partial(self._install_managed, name, reached_at), prepared[name])
            watched = joined[Watch(manager, name)]
            injected = steps.begin(partial(installation.await_injection, name), watched)
            # Its webhook calls istiod through the manager's gateway: a pod that is asked for earlier is refused, and
            # Kubernetes then waits longer and longer before it asks again.
            istiod, exposure = exposed[manager]
            rooted = steps.begin(partial(self._await_root, name), watched, istiod, namespaced[name])
            # istioctl exchanges the webhook at its end: of a pod that is asked for in between none may be called.
            ready[name] = (installed, injected, rooted, exposure, gateways[manager])
            if plan.has_gateway:
                gateways[name] = self._begin_gateway(steps, name, ready[name])
        for name in self._clusters:
            deployed = steps.begin(partial(self._deploy, name), *ready[name], connected[name])
            steps.begin(partial(self._await_workloads, name), deployed)
        for name in (plan.name for plan in plans.control_planes):
            steps.begin(partial(self._set_mesh_networks, name, gateways), *gateways.values())
        steps.finish()
        return {name: found.result() for name, found in gateways.items()}

    def _begin_gateway(self, steps: _Steps, name: str, needs: tuple[Future[Any], ...]) -> Future[Address]:
        steps.begin(partial(self._installation.gateway, name), *needs)
        return steps.begin(partial(self._installation.await_gateway, name), *needs)

    def _begin_address(self, steps: _Steps, name: str, gateway: Future[Address], created: Future[None]) -> Future[str]:
        """Where clusters that an istiod manages reach it; that of a node is known before there is a gateway."""
        if self._ground.addressing is Addressing.LOAD_BALANCER:
            return steps.begin(lambda: gateway.result().host)
        return steps.begin(lambda: self._clusters[name].address, created)

    def _install_managed(self, name: str, reached_at: Future[str]) -> None:
        self._installation.managed(name, reached_at.result())

    def _set_mesh_networks(self, name: str, gateways: Mapping[str, Future[Address]]) -> None:
        self._installation.set_mesh_networks(name, {one: found.result() for one, found in gateways.items()})

    def _join_network(self, name: str) -> None:
        """Route to the pods of the other clusters of the network."""
        if others := [self._clusters[plan.name] for plan in self._topology.others_on_network_of(name)]:
            with self._ground.progress.step("pods of its network reached", cluster=name):
                network_isolation.join(self._clusters[name], others)

    def _create_cluster(self, cluster: MeshCluster) -> None:
        progress, name = self._ground.progress, cluster.plan.name
        with progress.step("kind cluster", cluster=name):
            with network.approached(self._ground.engine):
                cluster.create()
            network_isolation.apply(cluster)
        archive = self._ground.journal.folder / "images.tar"
        if archive.exists():
            with progress.step("images loaded into the node", cluster=name):
                cluster.load_archive(archive)

    def _snapshot(self, name: str) -> None:
        """Record what the new cluster holds, to compare it with what an installation leaves."""
        if not self._ground.options.snapshot_before_install:
            return
        with self._ground.progress.step("new cluster recorded", cluster=name):
            found = snapshot.before_install(self._kubes[name], within=timeouts().bare_cluster_settled)
            private_file.write(self._snapshot_file(name), json.dumps(found))

    def _snapshot_file(self, name: str) -> Path:
        return self._ground.journal.folder / f"{name}-before-install.json"

    def _delete(self) -> None:
        if self._ground.journal.keeps:
            return
        with self._ground.progress.step("kind clusters deleted"):
            parallel.for_each(self._clusters, lambda name: self._clusters[name].delete())

    def _make_namespace(self, name: str) -> None:
        with self._ground.progress.step("workloads' namespace", cluster=name):
            workloads.make_namespace(self._kubes[name], self._clusters[name].plan.version)

    def _await_root(self, name: str) -> None:
        self._installation.await_root(name, names.SYSTEM_NAMESPACE, workloads.NAMESPACE)

    def _deploy(self, name: str) -> None:
        with self._ground.progress.step("workloads applied", cluster=name):
            versions = [cluster.plan.version for cluster in self._clusters.values()]
            own = self._clusters[name].plan.version
            self._kubes[name].apply(workloads.fitted(own, self._ground.images.samples, versions=versions))

    def _await_workloads(self, name: str) -> None:
        """Wait until the client can send; whether all else is ready is for the readiness suite to judge."""
        with self._ground.progress.step("workloads ready", cluster=name):
            for deployment in (workloads.CLIENT, workloads.helloworld_of(self._clusters[name].plan.version)):
                await_rollout(self._kubes[name], deployment, workloads.NAMESPACE, within=timeouts().workload_ready)

    def _info(self, gateways: dict[str, Address]) -> MeshInfo:
        clusters = {
            name: ClusterInfo(
                name=name,
                context=cluster.plan.kind_name,
                cluster_id=cluster.plan.cluster_id,
                network=cluster.plan.network,
                control_plane=cluster.plan.control_plane,
                version=cluster.plan.version,
                kubeconfig=Path(cluster.kubeconfig_path),
                kubectl=self._kubes[name].kubectl,
                node_address=cluster.address,
                pod_subnet=cluster.plan.pod_subnet,
                service_subnet=cluster.plan.service_subnet,
                gateways=(gateways[name],) if name in gateways else (),
                gateway_pods=ClusterInfo.gateway_pods if cluster.plan.has_gateway else (),
                snapshot_before_install=self._snapshot_file(name)
                if self._ground.options.snapshot_before_install
                else None,
                sender_image=self._sender_image(name),
            )
            for name, cluster in self._clusters.items()
        }
        images = self._ground.images
        return MeshInfo(
            clusters=clusters,
            versions=self._versions(),
            namespace=workloads.NAMESPACE,
            kind=images.kind,
            istioctl=images.istioctl,
            network_mode=self._network_mode(),
            provider=self._ground.engine.provider,
            images_mode=images.mode,
        )

    def _sender_image(self, name: str) -> str:
        """That of the node image; kept clusters may be of one that has none."""
        if self._ground.options.reuse:
            return workloads.sender_image(self._kubes[name])
        return self._ground.images.sender

    def _versions(self) -> dict[str, str]:
        """As they run; of kept clusters, which may be of other images than those asked for, nothing else is known."""
        images = self._ground.images.versions
        known = {"istio": images["istio"]} if self._ground.options.reuse else images
        return {**known, **discover.versions_running(self._first_control_plane)}

    @property
    def _first_control_plane(self) -> Kube:
        return self._kubes[self._topology.control_planes[0].name]

    def _network_mode(self) -> NetworkMode:
        """As it was installed; kept clusters may be of the other mode than the one that is asked for."""
        asked = NetworkMode(self._ground.options.network_mode)
        if not self._ground.options.reuse:
            return asked
        networks = discover.mesh_networks(self._first_control_plane, names.SYSTEM_NAMESPACE, revision="")
        found = NetworkMode.MESH_NETWORKS if networks else NetworkMode.LABELS
        if found is not asked:
            self._ground.progress.say(
                f"the kept mesh is judged in network mode {found.value}, as it was installed, not {asked.value}"
            )
        return found


class _Steps:
    """Steps that begin as soon as those they need have ended well."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._begun: list[Future[Any]] = []

    def begin(self, step: Callable[[], T], *needs: Future[Any]) -> Future[T]:
        def when_ready() -> T:
            for need in needs:
                need.result()
            return step()

        begun = self._pool.submit(when_ready)
        self._begun.append(begun)
        return begun

    def finish(self) -> None:
        """Wait for all of them; the first failure ends the waiting.

        Of several, the one that was begun first is raised, and Cancelled only where there is nothing else:
        a step that was stopped because of another must not hide the other's reason.
        """
        ended, _ = wait(self._begun, return_when=FIRST_EXCEPTION)
        failures = [error for step in self._begun if step in ended and (error := step.exception())]
        if failures:
            raise min(failures, key=lambda error: isinstance(error, Cancelled))
