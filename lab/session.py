"""One run from its input to its end: what is checked first, what is created, and how it all goes again."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lab import gateway_address, orphans, preflight, topology
from lab.ca import Trust
from lab.engine import Engine, find, network, probe
from lab.engine.find import find_engine
from lab.images import supply
from lab.images.build import NODES
from lab.images.cache import Cache, size
from lab.images.cache import root as cache_root
from lab.kind import KIND_LABEL
from lab.provision import Provisioning, ProvisioningContext
from splithorizon.base import private_file, process
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.disruption import disruption
from splithorizon.istio.info import MeshInfo
from splithorizon.kube.client import Kube
from splithorizon.mesh import health
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import known_secrets
from splithorizon.run.existing_mesh import prepare
from splithorizon.run.journal import Entry, Journal, sole_use
from splithorizon.run.options import Options
from splithorizon.run.outcome import Outcome
from splithorizon.run.progress import Progress
from splithorizon.run.redaction import Redactor
from splithorizon.run.sweep import sweep, sweep_kept
from splithorizon.undo import mesh_lease, undo_log
from splithorizon.undo.not_restored import NotRestored
from splithorizon.undo.ownership import Scope

# Two clusters with a mesh each were measured at 3.3 GiB of memory and 4 GiB of disk; the images take 6 more.
MEMORY_GIB = 5.0
RUN_DISK_GIB = 6.0
_CACHE_DISK_GIB = 10.0


@dataclass
class Session:
    """Owns everything a run creates; ``close`` undoes it, once, however the run ended."""

    options: Options
    progress: Progress
    run_id: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcome: Outcome = field(default_factory=Outcome)
    facts: MeshInfo | None = None
    engine: Engine | None = None
    secrets: list[bytes] = field(default_factory=list, repr=False)
    _ground: ProvisioningContext | None = field(default=None, repr=False)
    _undo: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def report_folder(self) -> Path:
        """Where this run's report goes."""
        return self.options.reports / self.run_id

    def provision(self) -> MeshInfo:
        """Check the input, then create.

        Raises UsageProblem while nothing is created yet, and EnvironmentBroke from then on.
        """
        if self.options.mesh:
            self._require_report_folder()
            self.facts = MeshInfo.from_json(self.options.mesh.read_text())
            return self.facts
        facts = self._visit() if self.options.contexts else self._make()
        with self.progress.step("both clients know both versions"):
            health.wait_until_healthy(Mesh(facts))
        return facts

    def _make(self) -> MeshInfo:
        plan = topology.plan(self.options.cluster_name)
        supply.check(self.options)
        trust = Trust.read(self.options.ca_dir) if self.options.ca_dir else Trust.make()
        self.secrets += trust.secrets
        self._require_report_folder()
        self._undo.enter_context(sole_use(self.options.cluster_name, self.run_id))
        # Before memory and disk are looked at: dead runs' clusters hold some.
        for line in sweep_dead(self.progress):
            self.progress.say(f"a dead run: {line}")
        if not self.options.reuse:
            # Kept clusters have their memory and disk already.
            preflight.require_memory(MEMORY_GIB)
            cache = {} if supply.in_cache(self.options) else {cache_root(): _CACHE_DISK_GIB}
            preflight.require_disk({**cache, Path("/var"): RUN_DISK_GIB})
        preflight.warn_of_limits(self.progress.say)

        journal = Journal.open(self.run_id)
        # With what went wrong before it: the record of what could not be removed stays for the next sweep.
        self._undo.push(lambda _, error, __: self._close_journal(journal, gone=error is None))
        Scope(self.run_id, owned=True).write(journal.folder)
        with journal.passing("probe", probe.NAME), self.progress.step("container engine"):
            engine = find_engine(self.options.provider, run_folder=journal.folder, say=self.progress.say)
        self.engine = engine
        if not self.options.reuse:
            _refuse_foreign(engine, plan)
        building = f"splithorizon-import-{self.run_id}"
        with journal.passing("container", building, engine=engine.to_json()):
            images = supply.supply(self.options, engine, self.progress, container=building)
        if images.to_load and not self.options.reuse:
            with self.progress.step("images saved for the nodes"):
                engine.save(list(images.to_load), journal.folder / "images.tar")
        if self.options.keep:
            self._note_kept(journal, engine, plan)
        if not self.options.keep:
            journal.will_create("network", engine.network, engine=engine.to_json())
            self._undo.callback(network.remove, engine, engine.network)
        self._ground = ProvisioningContext(
            options=self.options,
            engine=engine,
            images=images,
            trust=trust,
            addressing=gateway_address.choose(self.options.gateway_address, engine),
            journal=journal,
            progress=self.progress,
        )
        try:
            self.facts = Provisioning(self._ground, self._undo, self.secrets).provision()
        finally:
            # Now: kind takes them out of the file when it deletes the cluster.
            self.secrets += known_secrets.of_run(journal.folder)
        if self.options.outlived:
            self._undo.callback(self._restore, journal)
        if self.options.reuse:
            for cluster in self.facts.clusters.values():
                self.secrets += known_secrets.of_mesh(Kube(cluster.kubeconfig, cluster.name))
        return self.facts

    def close(self) -> None:
        """Undo everything that was created, newest first; a second call finds nothing to do.

        What cannot be removed makes the run inconclusive, and its record stays for the next sweep.
        """
        with process.cleaning_up():
            try:
                self._undo.close()
            except EnvironmentBroke as problem:
                self.outcome.environment_broke(problem)
        self.progress.close()

    def _visit(self) -> MeshInfo:
        self._require_report_folder()
        for line in sweep_dead(self.progress):
            self.progress.say(f"a dead run: {line}")
        journal = Journal.open(self.run_id)
        self._undo.push(lambda _, error, __: self._close_journal(journal, gone=error is None))
        try:
            self.facts = prepare(self.options, journal, self._undo, self.progress, run_id=self.run_id)
            for cluster in self.facts.control_planes:
                kube = Kube(cluster.kubeconfig, cluster.name, kubectl=cluster.kubectl)
                self.secrets += known_secrets.of_remote_secrets(kube, cluster.system_namespace)
        finally:
            self.secrets += known_secrets.of_run(journal.folder)
        # Last on the stack: before our namespaces go, and while the mesh's Lease is held.
        self._undo.callback(self._restore, journal)
        return self.facts

    def _require_report_folder(self) -> None:
        try:
            self.report_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageProblem(f"--report-dir {self.options.reports}: {error.strerror}. Nothing was created.") from None

    def redact(self, text: str) -> str:
        """Blank every secret that is known so far, and whatever looks like one."""
        return Redactor(self.secrets).redact(text)

    def _restore(self, journal: Journal) -> None:
        """Undo what tests, or workers that were ended, left changed; what stays so makes the run inconclusive."""
        mesh_lease.forbid_changes(journal.folder)
        left: list[NotRestored] = []
        if undo_log.is_pending(journal.folder):
            with self.progress.step("changes of the mesh undone"):
                left = undo_log.restore(journal.folder)
        if self.facts:
            disruption.settle_remarks(Mesh(self.facts))
        changes = [*left, *undo_log.remarks(journal.folder)]
        for change in changes:
            self.outcome.could_not_restore(change)
        if still := [change for change in changes if change.pending]:
            problem = EnvironmentBroke(
                f"the mesh is not as it was before the run: {', '.join(change.object for change in still)}",
                seen=still[0].reason,
                next_command=still[0].command,
            )
            self.outcome.environment_broke(problem)

    def _close_journal(self, journal: Journal, *, gone: bool) -> None:
        # Once more before the folder goes: workers and plug-ins had tokens of their own since.
        self.secrets += known_secrets.of_run(journal.folder)
        if not self.outcome.is_misuse:
            self._save_logs(journal)
        if self._ground and self.options.keep and not self.outcome.is_misuse:
            self._tell_kept(self._ground)
        elif gone and not (self.options.outlived and undo_log.is_pending(journal.folder)):
            journal.close()

    def _save_logs(self, journal: Journal) -> None:
        """What kind and istioctl printed goes beside the report; nothing else of the folder does."""
        self.report_folder.mkdir(parents=True, exist_ok=True)
        for log in journal.folder.glob("*.log"):
            private_file.write(self.report_folder / log.name, self.redact(log.read_text()), mode=private_file.SHARED)

    def _note_kept(self, journal: Journal, engine: Engine, plan: topology.Topology) -> None:
        journal.keep()
        if self.options.reuse:
            # Its record names them too: the kubeconfigs beside it are of use for as long as they are there.
            for cluster in plan:
                journal.will_create("cluster", cluster.kind_name, engine=engine.to_json(), folder=str(journal.folder))

    def _tell_kept(self, ground: ProvisioningContext) -> None:
        """Say what stays and how it goes; the engine knows it also where the set-up failed."""
        plan = topology.plan(self.options.cluster_name)
        kept = [cluster for cluster in plan if _containers(ground.engine, cluster.kind_name)]
        for cluster in kept:
            kubeconfig = ground.journal.folder / f"{cluster.name}.kubeconfig"
            found = f"export KUBECONFIG={kubeconfig}" if kubeconfig.exists() else "a cluster without kubeconfig"
            self.progress.say(f"kept: {found}", role=cluster.name)
        if not kept:
            self.progress.say("nothing was kept: no cluster had been made yet")
            return
        environment = shlex.join(f"{name}={value}" for name, value in ground.engine.environment.items())
        names = " ".join(cluster.kind_name for cluster in kept)
        attach = "attach again with --reuse; " if self.facts else ""
        self.progress.say(f"{attach}remove them with: env {environment} {ground.images.kind} delete clusters {names}")


def sweep_dead(progress: Progress) -> Iterator[str]:
    """Remove what dead runs left, in both engines; yield what went and what could not.

    An existing mesh is not written to: of what a dead run left there the command is given that restores it.
    """

    def remove(entry: Entry) -> None:
        if entry.kind == "probe":
            for found in find.installed():
                probe.remove_remains(found)
            return
        engine = Engine.from_json(entry.facts["engine"])
        if entry.kind == "cluster":
            with progress.step(f"leftover cluster {entry.name} removed"):
                # First what may still be making it: kind, and the engine's command that kind started.
                orphans.end({entry.facts["folder"], f"{KIND_LABEL}={entry.name}"})
                for container in {topology.node_of(entry.name), *_containers(engine, entry.name)}:
                    engine.remove_container(container)
        elif entry.kind == "container":
            engine.remove_container(entry.name)
        elif entry.kind == "network":
            network.remove(engine, entry.name)

    yield from sweep(None, remove)


def sweep_all(options: Options, progress: Progress) -> Iterator[str]:
    """``--sweep``: dead runs' leftovers, then the sizes in the cache; with --rebuild the cache goes too."""
    yield from sweep_dead(progress)
    yield from sweep_kept(None, _stands)
    folder = cache_root()
    cache = Cache(folder, progress.say)
    if options.rebuild:
        yield from (f"removed {entry} ({freed / 2**20:.0f} MiB)" for entry, freed in cache.sweep(set()))
    for engine in find.installed():
        yield from _node_images(engine, remove=options.rebuild)
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield f"cached: {entry.name} ({size(entry) / 2**20:.0f} MiB)"
    yield f"cache: {folder} ({size(folder) / 2**20:.0f} MiB; remove it with --sweep --rebuild)"


def _node_images(engine: Engine, *, remove: bool) -> Iterator[str]:
    try:
        found = engine.images(NODES)
    except EnvironmentBroke:
        # An engine that is installed and does not run holds what cannot be asked for.
        return
    for name, held in found:
        if not remove:
            yield f"in {engine.provider}: {name} ({held})"
        elif engine.remove_image(name):
            yield f"removed {name} from {engine.provider} ({held})"
        else:
            yield f"{name} stays in {engine.provider}: a container uses it"


def _stands(entry: Entry) -> bool:
    return entry.kind == "cluster" and bool(_containers(Engine.from_json(entry.facts["engine"]), entry.name))


def _containers(engine: Engine, cluster_name: str) -> list[str]:
    return engine.containers(label=f"{KIND_LABEL}={cluster_name}")


def _refuse_foreign(engine: Engine, plan: topology.Topology) -> None:
    for cluster in plan:
        if _containers(engine, cluster.kind_name):
            raise UsageProblem(
                f"a kind cluster named {cluster.kind_name!r} is already there: attach to it with --reuse if an earlier "
                "run kept it, choose another --cluster-name, or remove it with: "
                f"kind delete cluster --name {cluster.kind_name}. Nothing was created."
            )
