"""The undo log: one entry per change of a mesh, written before the change and deleted after its undo.

An entry is a file in the run's folder. For an object of an existing mesh it is also stored in a Secret in the namespace
of the object, with the same id, so that any machine can undo the changes of a run whose machine is lost. An undo
changes only fields that still have the value that the run gave them.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TypeVar

from splithorizon.base import commands, private_file, process
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube.api_server import NoAnswer, Refused
from splithorizon.kube.client import Kube, Object
from splithorizon.undo import backup, mesh_lease, ownership, remarks, reverting
from splithorizon.undo.change import Action, Change
from splithorizon.undo.not_restored import NotRestored
from splithorizon.undo.ownership import Scope

T = TypeVar("T")

_ENTRIES = "changes"
# Request timeout, a conflicting write, too many requests; errors from 500 on are retried as well.
_RETRIED = frozenset({408, 409, 429})
_numbers = count()


class Pending:
    """One entry of the undo log, in a file and, in an existing mesh, in a Secret; ``undo`` deletes both."""

    def __init__(self, kube: Kube, file: Path) -> None:
        """For ``record`` and ``pending_in``, which are to be used instead."""
        self._kube = kube
        self.file = file

    @property
    def change(self) -> Change:
        """Read the file, which another process may have updated. Raises EnvironmentBroke if it cannot be parsed."""
        try:
            return Change.from_json(self.file.read_text())
        except (OSError, UnicodeDecodeError, EnvironmentBroke) as error:
            raise EnvironmentBroke(f"{self.file} cannot be read", seen=type(error).__name__) from None

    def back_up(self) -> None:
        """Store the entry in a Secret, before the change; does nothing for an object that the run owns."""
        change = self.change
        if not change.backup:
            return

        def store() -> None:
            try:
                self._kube.create(backup.secret_of(change, self._scope), namespace=change.backup)
            except Refused as refused:
                # No other entry has this name: an earlier request succeeded, but its answer was lost.
                if refused.status != 409:
                    raise

        _with_retries(f"the undo of {change} is stored in the cluster", store)

    def update(self, *states: Object, uid: str = "", settled: bool) -> None:
        """Record the possible states after the request, or (``settled``) the state that the server returned."""
        change = self.change
        change = replace(change, left=list(states), uid=uid or change.uid, settled=settled)
        private_file.write(self.file, change.to_json())
        if change.backup:
            body = {"data": backup.data_of(change)}
            _with_retries(
                f"the undo of {change} is stored in the cluster",
                lambda: self._kube.patch("Secret", change.backup_name, change.backup, body),
            )

    def discard(self) -> None:
        """Delete the entry of a change that was not made."""
        backup.remove(self._kube, self.change)
        self.file.unlink(missing_ok=True)

    def undo(self) -> None:
        """Revert the change, or, if somebody else changed the object meanwhile, leave it alone and add a remark.

        Does nothing if another process has already undone it. Raises EnvironmentBroke if a request fails, and keeps the
        entry then.
        """
        try:
            change = self.change
        except EnvironmentBroke:
            if self.file.exists():
                raise
            return
        if not change.owned and (later := self._later_entry(change)):
            raise EnvironmentBroke(f"{change} is not restored: a later change of it must be undone first", seen=later)
        try:
            why = revert(self._kube, change)
        except EnvironmentBroke as problem:
            command = self._scope.restore_command if self._scope else ""
            raise EnvironmentBroke(
                f"{change} is not restored: {problem.what}", seen=problem.seen, next_command=command
            ) from problem
        if why:
            remarks.write(self.file.parents[1], change.id, remarks.left_alone(change, why))
        self.file.unlink(missing_ok=True)

    @property
    def _scope(self) -> Scope | None:
        return Scope.read(self.file.parents[1])

    def _later_entry(self, change: Change) -> str:
        for file in _files(self.file.parents[1]):
            if file.name > self.file.name and Pending(self._kube, file).change.target == change.target:
                return file.name
        return ""


def require_permitted(kube: Kube, namespace: str | None) -> None:
    """Raise EnvironmentBroke unless the run may change objects in this namespace now.

    In an existing mesh, outside of the run's own namespace, it has to hold the Lease of the mesh.
    """
    folder = kube.kubeconfig.parent
    scope = Scope.read(folder)
    if scope and scope.outside(namespace):
        mesh_lease.require_held(folder)


def record(
    kube: Kube,
    action: Action,
    kind: str,
    name: str,
    namespace: str | None,
    *,
    before: Object | None,
    left: Sequence[Object],
    uid: str = "",
) -> Pending:
    """Add an entry for the next change, in the private folder of the run, because it may contain secrets."""
    folder = kube.kubeconfig.parent
    scope = Scope.read(folder)
    outside = scope is not None and scope.outside(namespace)
    (folder / _ENTRIES).mkdir(mode=0o700, exist_ok=True)
    # The id begins with the time, because processes add entries in parallel and the last change is undone first.
    change = Change(
        id=f"{time.time_ns():020}-{os.getpid()}-{next(_numbers)}",
        run=ownership.run_of(folder),
        cluster=str(kube.cluster),
        action=action,
        kind=kind,
        name=name,
        namespace=namespace,
        before=before,
        left=list(left),
        uid=uid,
        owned=bool(scope and scope.owned),
        backup=(namespace or scope.clusters[kube.cluster].system_namespace) if scope and outside else "",
        kubeconfig=str(kube.kubeconfig),
        kubectl=kube.kubectl,
    )
    entry = Pending(kube, folder / _ENTRIES / f"{change.id}.json")
    private_file.write(entry.file, change.to_json())
    return entry


def pending_in(folder: Path) -> Iterator[Pending]:
    """The entries of the changes that are not undone, last change first; also entries that cannot be parsed."""
    for file in reversed(_files(folder)):
        yield Pending(_kube_of(file), file)


def is_pending(folder: Path) -> bool:
    """Whether an entry of this run is left."""
    return bool(_files(folder))


def restore(folder: Path) -> list[NotRestored]:
    """Undo the pending changes, last change first; return those that stay pending.

    After a timeout, the other changes of that cluster are not attempted, so that the total time is limited.
    """
    not_restored: list[NotRestored] = []
    unreachable: dict[str, str] = {}
    restore_command = _command(folder)
    for entry in pending_in(folder):
        try:
            change = entry.change
        except EnvironmentBroke as problem:
            # If the file is gone, a worker that is still running has undone the change.
            if entry.file.exists():
                not_restored.append(NotRestored(str(entry.file), str(problem), restore_command, pending=True))
            continue
        try:
            if why := unreachable.get(change.cluster):
                raise EnvironmentBroke(why)
            entry.undo()
        except EnvironmentBroke as problem:
            if isinstance(problem.__cause__, TimedOut):
                unreachable[change.cluster] = problem.seen or problem.what
            reason = problem.seen or problem.what
            not_restored.append(NotRestored(str(change), reason, restore_command, pending=True))
    return not_restored


def require_restored(folder: Path) -> None:
    """Raise EnvironmentBroke unless an existing mesh is in its state before the run; first attempt the pending undos.

    A test that changes the mesh calls this first, because it would otherwise observe an earlier change of this run.
    """
    scope = Scope.read(folder)
    if scope is None or scope.owned:
        return
    not_restored = [*restore(folder), *(entry for entry in remarks.read(folder) if entry.pending)]
    if not_restored:
        first = not_restored[0]
        what = f"{first.object} is not restored after an earlier change of this run: no further change is made"
        raise EnvironmentBroke(what, seen=first.reason, next_command=first.command)


def revert(kube: Kube, change: Change) -> str:
    """Revert one change and delete its Secret; return why the object was left alone, or an empty string.

    A request without an answer is repeated for up to a minute. Raises EnvironmentBroke if that does not succeed.
    """

    def attempt() -> str:
        why = reverting.revert_once(kube, change)
        backup.remove(kube, change)
        return why

    # Also when the run is cancelled.
    with process.cleaning_up():
        return _with_retries(f"{change} is restored", attempt)


def _with_retries(claim: str, act: Callable[[], T]) -> T:
    """Call an idempotent function, and again for up to a minute if the answer was lost or the server was busy."""

    def attempt() -> T:
        try:
            return act()
        except NoAnswer as no_answer:
            raise NotYet(str(no_answer)) from None
        except Refused as refused:
            if refused.status < 500 and refused.status not in _RETRIED:
                raise
            raise NotYet(str(refused)) from None

    return eventually(claim, attempt, within=timeouts().undo_retried)


def _files(folder: Path) -> list[Path]:
    return sorted((folder / _ENTRIES).glob("*.json"))


def _kube_of(file: Path) -> Kube:
    """The client of an entry's cluster; for an entry that cannot be parsed, a client that is never used."""
    with suppress(EnvironmentBroke, OSError, UnicodeDecodeError):
        change = Change.from_json(file.read_text())
        return Kube(Path(change.kubeconfig), change.cluster, kubectl=change.kubectl)
    return Kube(file.parents[1] / "none.kubeconfig", "unknown")


def _command(folder: Path) -> str:
    with suppress(EnvironmentBroke):
        if scope := Scope.read(folder):
            return scope.restore_command
    return shlex.join(commands.sweep())
