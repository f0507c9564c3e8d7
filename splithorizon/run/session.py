"""One run on an existing mesh, from its input to its end: what it creates there, and how that is removed again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from splithorizon.base import private_file, process
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.disruption import watching
from splithorizon.istio.info import MeshInfo
from splithorizon.kube import repeats
from splithorizon.kube.client import Kube
from splithorizon.mesh import health
from splithorizon.mesh.mesh import Mesh
from splithorizon.run import known_secrets, plan
from splithorizon.run.existing_mesh import Explored, explore, look, prepare, require_free
from splithorizon.run.journal import Journal
from splithorizon.run.options import Options
from splithorizon.run.outcome import Outcome
from splithorizon.run.progress import Progress
from splithorizon.run.redaction import Redactor
from splithorizon.run.sweep import report_remains
from splithorizon.run.watch_report import WatchReport
from splithorizon.run.watching import watch
from splithorizon.undo import mesh_lease, remarks, undo_log
from splithorizon.undo.not_restored import NotRestored


@dataclass
class Session:
    """Owns everything a run creates; ``close`` undoes it, once, however the run ended.

    This class needs a mesh that ``options.contexts`` or ``options.mesh`` names. ``lab.session`` makes one.
    """

    options: Options
    progress: Progress
    run_id: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcome: Outcome = field(default_factory=Outcome)
    info: MeshInfo | None = None
    secrets: list[bytes] = field(default_factory=list, repr=False)
    repeated_reads: Mapping[str, int] = field(default_factory=dict)
    """How many reads of each cluster's API server were repeated, once the run has ended."""
    watched: WatchReport | None = None
    """What a watch before the checks saw; None without --watch."""
    _explored: Explored | None = field(default=None, repr=False)
    _journal: Journal | None = field(default=None, repr=False)
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
            self.info = MeshInfo.from_json(self.options.mesh.read_text())
            return self.info
        info = self._set_up()
        with self.progress.step("every client knows every version"):
            health.wait_until_healthy(Mesh(info))
        return info

    def watch(self, info: MeshInfo, stop: Event) -> MeshInfo:
        """Send on every route until ``stop`` is set or the time is over; return the mesh as it is then.

        Raises EnvironmentBroke where that cannot begin.
        """
        self.watched = watch(info, self.options, self.progress, stop)
        return info

    @property
    def kept(self) -> bool:
        """Whether what the run made stays when it is closed, as far as is decided."""
        return self.options.keep

    @property
    def outlived(self) -> bool:
        """Whether the mesh stays when the session is closed, as far as is decided."""
        return self.options.outlived or self.kept

    def keep_failed(self) -> None:
        """Keep what the run made, where it was asked to: the run is not conformant, or its set-up broke.

        Nothing is made here that could be kept so: the namespaces of a run go, or stay with --keep-cluster.
        """

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

    def redact(self, text: str) -> str:
        """Blank every secret that is known so far, and whatever looks like one."""
        return Redactor(self.secrets).redact(text)

    def explore(self) -> Explored:
        """Read an existing mesh, once: what its clusters are, and how it is made. Nothing is created in it.

        Raises UsageProblem where the contexts lead to no mesh that can be judged, EnvironmentBroke where it cannot be
        read.
        """
        if self._explored is None:
            if not self.options.dry_run:
                self._require_report_folder()
            for line in report_remains():
                self.progress.say(f"a dead run: {line}")
            self._journal = self._open_journal()
            try:
                self._explored = explore(self.options, self._journal.folder, self.progress, run_id=self.run_id)
            finally:
                self.secrets += known_secrets.of_run(self._journal.folder)
        return self._explored

    def plan(self, selected: Mapping[str, int], left_out: Mapping[str, str]) -> list[str]:
        """What a run on the existing mesh would do, in lines; nothing is created. Raises as ``explore`` does.

        ``selected`` has the number of checks of each collected behaviour, ``left_out`` the other ones with the reason.
        """
        explored = self.explore()
        prepared = look(explored, self.options, self.progress, run_id=self.run_id)
        require_free(explored, self.progress)
        return plan.lines(prepared, self.options, selected, left_out)

    def _set_up(self) -> MeshInfo:
        explored, journal = self.explore(), self._journal
        if journal is None:
            raise EnvironmentBroke("the run has no journal")
        try:
            self.info = prepare(
                explored, self.options, journal, self._undo, self.progress, leftover=self.outcome.could_not_restore
            )
            for cluster in (one.holding_secrets for one in self.info.control_planes):
                kube = Kube(cluster.kubeconfig, cluster.name, kubectl=cluster.kubectl)
                self.secrets += known_secrets.of_remote_secrets(kube, cluster.system_namespace)
        finally:
            self.secrets += known_secrets.of_run(journal.folder)
        # Last on the stack: before our namespaces go, and while the mesh's Lease is held.
        self._undo.callback(self._restore, journal)
        return self.info

    def _open_journal(self) -> Journal:
        journal = Journal.open(self.run_id)
        # With what went wrong before it: the record of what could not be removed stays for the next sweep.
        self._undo.push(lambda _, error, __: self._close_journal(journal, gone=error is None))
        return journal

    def _require_report_folder(self) -> None:
        try:
            self.report_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageProblem(f"--report-dir {self.options.reports}: {error.strerror}. Nothing was created.") from None

    def _restore(self, journal: Journal) -> None:
        """Undo what tests, or workers that were ended, left changed; what stays so makes the run inconclusive."""
        mesh_lease.forbid_changes(journal.folder)
        left: list[NotRestored] = []
        if undo_log.is_pending(journal.folder):
            with self.progress.step("changes of the mesh undone"):
                left = undo_log.restore(journal.folder)
        if self.info:
            watching.settle_remarks(Mesh(self.info))
        changes = [*left, *remarks.read(journal.folder)]
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
        self._save_logs(journal)
        if gone and not (self.outlived and undo_log.is_pending(journal.folder)):
            journal.close()

    def _save_logs(self, journal: Journal) -> None:
        """What child programs printed goes beside the report; nothing else of the folder does."""
        # Once more before the folder goes: workers and plug-ins have written further tokens since.
        self.secrets += known_secrets.of_run(journal.folder)
        self.repeated_reads = repeats.counted(journal.folder)
        if self.outcome.is_misuse or self.options.dry_run:
            return
        self.report_folder.mkdir(parents=True, exist_ok=True)
        for log in journal.folder.glob("*.log"):
            private_file.write(self.report_folder / log.name, self.redact(log.read_text()), mode=private_file.SHARED)
