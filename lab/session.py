"""One run that makes its clusters, from its input to its end: what it creates, and how that is removed again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from lab import gateway_address, preflight, topology
from lab.ca import Trust
from lab.engine import Engine, network, probe
from lab.engine.find import find_engine
from lab.images import ImageSet, supply
from lab.images.cache import root as cache_root
from lab.phased_change import PhasedChange
from lab.provision import Provisioning, ProvisioningContext, upgrade_archive
from lab.sole_use import sole_use
from lab.sweep import containers_of, sweep_dead
from lab.upgrade import Style, allowed_skew
from splithorizon.base.errors import UsageProblem
from splithorizon.istio.info import MeshCondition, MeshInfo
from splithorizon.kube.client import Kube
from splithorizon.run import known_secrets
from splithorizon.run.journal import Journal
from splithorizon.run.session import Session
from splithorizon.run.watching import watch
from splithorizon.undo.ownership import Scope

_CACHE_DISK_GIB = 10.0


def memory_gib(clusters: int) -> float:
    """What is required of memory: two clusters with a mesh in them were measured at 3.3 GiB."""
    return 1.0 + 2.0 * clusters


def disk_gib(clusters: int) -> float:
    """What a run requires of disk beside the images: two clusters were measured at 4 GiB."""
    return 3.0 * clusters


@dataclass
class LabSession(Session):
    """A run that makes clusters and a mesh in them, where its options name no existing one."""

    _ground: ProvisioningContext | None = field(default=None, repr=False)
    _change: PhasedChange | None = field(default=None, repr=False)
    _skew: tuple[MeshCondition, ...] = ()

    def _set_up(self) -> MeshInfo:
        return super()._set_up() if self.options.contexts else self._make()

    def _make(self) -> MeshInfo:
        plan = topology.plan(self.options.cluster_name, self.options.topology)
        supply.check(self.options)
        trust = Trust.read(self.options.ca_dir, plan.names) if self.options.ca_dir else Trust.make(plan.names)
        self.secrets += trust.secrets
        self._require_report_folder()
        self._undo.enter_context(sole_use(self.options.cluster_name, self.run_id))
        # Before memory and disk are looked at: dead runs' clusters hold some.
        for line in sweep_dead(self.progress):
            self.progress.say(f"a dead run: {line}")
        if not self.options.reuse:
            # Kept clusters have their memory and disk already.
            preflight.require_memory(memory_gib(len(self.options.topology.clusters)))
            cache = {} if supply.in_cache(self.options) else {cache_root(): _CACHE_DISK_GIB}
            preflight.require_disk({**cache, Path("/var"): disk_gib(len(self.options.topology.clusters))})
        preflight.warn_of_limits(self.progress.say)

        journal = self._open_journal()
        Scope(self.run_id, owned=True).write(journal.folder)
        with journal.passing("probe", probe.NAME), self.progress.step("container engine"):
            engine = find_engine(self.options.provider, run_folder=journal.folder, say=self.progress.say)
        if not self.options.reuse:
            _refuse_foreign(engine, plan)
        with journal.passing("container", self._import_container, engine=engine.to_json()):
            images = supply.supply(self.options, engine, self.progress, container=self._import_container)
        if images.to_load and not self.options.reuse:
            with self.progress.step("images saved for the nodes"):
                engine.save(list(images.to_load), journal.folder / "images.tar")
        if self.options.keep:
            self._note_kept(journal, engine, plan)
        if not self.options.keep:
            journal.will_create("network", engine.network, engine=engine.to_json())
            self._undo.callback(self._remove_network, journal, engine)
        target = self._supply_upgrade(journal, engine, images) if self.options.upgrade_to else None
        self._ground = ProvisioningContext(
            options=self.options,
            engine=engine,
            images=images,
            trust=trust,
            addressing=gateway_address.choose(self.options.gateway_address, engine),
            journal=journal,
            progress=self.progress,
        )
        provisioning = Provisioning(self._ground, self._undo, self.secrets)
        try:
            self.info = provisioning.provision()
        finally:
            # Now: kind takes them out of the file when it deletes the cluster.
            self.secrets += known_secrets.of_run(journal.folder)
        self.info = replace(self.info, conditions=(*self.info.conditions, *self._skew))
        self._change = self._planned_change(provisioning, self.info, target)
        self._undo.callback(self._restore_outlived, journal)
        if self.options.reuse:
            for cluster in self.info.clusters.values():
                self.secrets += known_secrets.of_mesh(Kube(cluster.kubeconfig, cluster.name))
        return self.info

    @property
    def _import_container(self) -> str:
        """The temporary container in which a node image is assembled."""
        return f"splithorizon-import-{self.run_id}"

    def _planned_change(
        self, provisioning: Provisioning, info: MeshInfo, target: ImageSet | None
    ) -> PhasedChange | None:
        """What the run changes itself while it watches; ``target`` are the images of the version to upgrade to."""
        change: PhasedChange | None = None
        if target is not None:
            change = provisioning.plan_upgrade(info, target)
        elif self.options.rotate_root:
            after = Trust.make(tuple(info.clusters))
            self.secrets += after.secrets
            change = provisioning.plan_rotation(info, after)
        if change is not None:
            change.reports = self.report_folder / "phases"
            same = {"--timeout-scale": self.options.timeout_scale, "--requests": self.options.requests}
            change.core_arguments = [text for name, value in same.items() for text in (name, str(value))]
        return change

    def _supply_upgrade(self, journal: Journal, engine: Engine, before: ImageSet) -> ImageSet:
        """The images of the version that the run upgrades to; Istio's are saved for the nodes."""
        with journal.passing("container", self._import_container, engine=engine.to_json()):
            images = supply.supply_upgrade(
                self.options, engine, self.progress, upgrade_archive(journal.folder), container=self._import_container
            )
        style = Style(self.options.upgrade_style)
        self._skew = allowed_skew(before.istio_version, images.istio_version, style, allow=self.options.allow_skew)
        return images

    def watch(self, info: MeshInfo, stop: Event) -> MeshInfo:
        """As of any session; what the options let the run change is changed meanwhile."""
        if self._change is None:
            return super().watch(info, stop)
        self.watched = watch(info, self.options, self.progress, stop, self._change)
        if self._change.broken is not None:
            raise self._change.broken
        self.info = self._change.changed()
        return self.info

    @property
    def kept(self) -> bool:
        """As of any session; also where a run that failed keeps its clusters."""
        return super().kept or (self._ground is not None and self._ground.journal.keeps)

    def keep_failed(self) -> None:
        """With --keep-on-failure record that the clusters stay, before anything is removed.

        A run that is killed before this is removed by the next sweep, and one that is killed after it is not.
        """
        if self.options.keep_on_failure and not self.options.reuse and self._ground is not None:
            self._ground.journal.keep()

    def _remove_network(self, journal: Journal, engine: Engine) -> None:
        if not journal.keeps:
            network.remove(engine, engine.network)

    def _restore_outlived(self, journal: Journal) -> None:
        """Undo what tests left changed; in clusters that go, nobody needs it."""
        if self.outlived:
            self._restore(journal)

    def _close_journal(self, journal: Journal, *, gone: bool) -> None:
        if self._ground and journal.keeps and not self.outcome.is_misuse:
            self._save_logs(journal)
            self._tell_kept(self._ground)
        else:
            super()._close_journal(journal, gone=gone)

    def _note_kept(self, journal: Journal, engine: Engine, plan: topology.Topology) -> None:
        journal.keep()
        if self.options.reuse:
            # Its record names them too: the kubeconfigs beside it are of use for as long as they are there.
            for cluster in plan:
                journal.will_create("cluster", cluster.kind_name, engine=engine.to_json(), folder=str(journal.folder))

    def _tell_kept(self, ground: ProvisioningContext) -> None:
        """Say what stays and how it goes; the engine knows it also where the set-up failed."""
        plan = topology.plan(self.options.cluster_name, self.options.topology)
        kept = [cluster for cluster in plan if containers_of(ground.engine, cluster.kind_name)]
        for cluster in kept:
            kubeconfig = ground.journal.folder / f"{cluster.name}.kubeconfig"
            found = f"export KUBECONFIG={kubeconfig}" if kubeconfig.exists() else "a cluster without kubeconfig"
            self.progress.say(f"kept: {found}", cluster=cluster.name)
        if not kept:
            self.progress.say("nothing was kept: no cluster had been made yet")
            return
        environment = shlex.join(f"{name}={value}" for name, value in ground.engine.environment.items())
        names = " ".join(cluster.kind_name for cluster in kept)
        attach = "attach again with --reuse; " if self.info else ""
        self.progress.say(f"{attach}remove them with: env {environment} {ground.images.kind} delete clusters {names}")


def _refuse_foreign(engine: Engine, plan: topology.Topology) -> None:
    for cluster in plan:
        if containers_of(engine, cluster.kind_name):
            raise UsageProblem(
                f"a kind cluster named {cluster.kind_name!r} is already there: attach to it with --reuse if an earlier "
                "run kept it, choose another --cluster-name, or remove it with: "
                f"kind delete cluster --name {cluster.kind_name}. Nothing was created."
            )
