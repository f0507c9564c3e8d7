"""The undo log: what a run changed in a mesh, written down before the change and kept until it is undone.

An entry lies in the run's folder and, for an object of an existing mesh, also in a Secret beside that object, under one
id: any machine can undo what a lost one changed. An undo touches only what the run itself left there.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from splithorizon.base import commands, private_file, process
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube.api_server import NoAnswer, Refused
from splithorizon.kube.client import Kube, Object
from splithorizon.undo import mesh_lease, ownership
from splithorizon.undo.not_restored import NotRestored
from splithorizon.undo.ownership import Scope

T = TypeVar("T")

_PENDING = "changes"
_REMARKS = "remarks"
_BACKUP = "splithorizon-undo-"
_ENTRY = "entry"
_WRITTEN = "splithorizon.io/written"
_ABOUT = "splithorizon.io/about"
_MADE_BY_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
# Too many requests, a timeout, somebody wrote in the same moment; and every error of the server's own.
_PASSES = frozenset({408, 409, 429})
_SHOWN = 100
_FIELDS_SHOWN = 3
_numbers = count()


class Action(StrEnum):
    """What a run did to an object."""

    PATCH = "patch"
    PATCH_STATUS = "patch status"
    DELETE = "delete"
    CREATE = "create"


@dataclass(frozen=True)
class Change:
    """One change of one object, and what its undo needs.

    ``before`` holds the fields as they were (of a deleted object all of them; None stands for a field that was not
    there), ``left`` the states in which the run may have left just these fields: several while a request is on its way.
    ``settled`` tells whether ``left`` is what the API server answered. ``uid`` is the object's, of a created one as
    soon as it is known. ``backup`` is the namespace of the Secret in the cluster, empty without one.
    """

    id: str
    run: str
    role: str
    action: Action
    kind: str
    name: str
    namespace: str | None
    before: Object | None
    left: list[Object]
    uid: str = ""
    settled: bool = False
    owned: bool = False
    backup: str = ""
    kubeconfig: str = ""
    kubectl: str = ""

    def __str__(self) -> str:
        """Name the object, as a person looks for it."""
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name} of the {self.role}"

    @property
    def target(self) -> tuple[str, str, str | None, str]:
        """The object, whatever was done to it."""
        return self.role, self.kind, self.namespace, self.name

    @property
    def backup_name(self) -> str:
        """The name of the Secret in the cluster."""
        return f"{_BACKUP}{ownership.name_part(self.run)}-{self.id}"

    def to_json(self) -> str:
        """As it is written down, in the run's folder and in the cluster."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Change:
        """Read what ``to_json`` wrote; raises EnvironmentBroke for anything else."""
        try:
            content = json.loads(text)
            return cls(**{**content, "action": Action(content["action"])})
        except (ValueError, TypeError, KeyError) as error:
            raise EnvironmentBroke("an entry of the undo log cannot be read", seen=type(error).__name__) from None


class Pending:
    """One entry of the undo log, on disk and in the cluster; ``undo`` takes the change back and strikes it out."""

    def __init__(self, kube: Kube, file: Path) -> None:
        """Use ``record`` or ``pending_in`` instead."""
        self._kube = kube
        self.file = file

    @property
    def change(self) -> Change:
        """Read it from disk: another process may have written it last. Raises EnvironmentBroke for half of one."""
        try:
            return Change.from_json(self.file.read_text())
        except (OSError, UnicodeDecodeError, EnvironmentBroke) as error:
            raise EnvironmentBroke(f"{self.file} cannot be read", seen=type(error).__name__) from None

    def back_up(self) -> None:
        """Store the entry in the cluster, before the change; nothing to do in a mesh that the run owns."""
        change = self.change
        if not change.backup:
            return

        def store() -> None:
            try:
                self._kube.create(_backup_of(change, self._scope), namespace=change.backup)
            except Refused as refused:
                # An answer was lost: its name is this entry's alone.
                if refused.status != 409:
                    raise

        _persistently(f"the undo of {change} is stored in the cluster", store)

    def left(self, *states: Object, uid: str = "", settled: bool) -> None:
        """Note in which states the run leaves the object: before the request what it asks, afterwards what it got."""
        change = self.change
        change = replace(change, left=list(states), uid=uid or change.uid, settled=settled)
        private_file.write(self.file, change.to_json())
        if change.backup:
            body = {"data": _data(change)}
            _persistently(
                f"the undo of {change} is stored in the cluster",
                lambda: self._kube.patch("Secret", change.backup_name, change.backup, body),
            )

    def strike_out(self) -> None:
        """Forget an entry whose change did not happen."""
        _remove_backup(self._kube, self.change)
        self.file.unlink(missing_ok=True)

    def undo(self) -> None:
        """Take the change back, or leave the object alone where somebody else changed it, which is noted.

        Nothing to do where another process did it. Raises EnvironmentBroke, with the entry kept, where the cluster
        does not let us.
        """
        try:
            change = self.change
        except EnvironmentBroke:
            if self.file.exists():
                raise
            return
        if not change.owned and (later := self._later(change)):
            raise EnvironmentBroke(f"{change} is not as before: a later change of it is to be undone first", seen=later)
        try:
            why = take_back(self._kube, change)
        except EnvironmentBroke as problem:
            command = self._scope.restore_command if self._scope else ""
            raise EnvironmentBroke(
                f"{change} is not as before: {problem.what}", seen=problem.seen, next_command=command
            ) from problem
        if why:
            remark(self.file.parents[1], change.id, left_alone(change, why))
        self.file.unlink(missing_ok=True)

    @property
    def _scope(self) -> Scope | None:
        return Scope.read(self.file.parents[1])

    def _later(self, change: Change) -> str:
        for file in _files(self.file.parents[1]):
            if file.name > self.file.name and Pending(self._kube, file).change.target == change.target:
                return file.name
        return ""


def permit(kube: Kube, namespace: str | None) -> None:
    """Let a change begin. Outside of our own namespace in an existing mesh the run has to hold the mesh's Lease.

    Raises EnvironmentBroke where it does not.
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
    """Write a change down in the run's folder, where secrets may lie, before it is made."""
    folder = kube.kubeconfig.parent
    scope = Scope.read(folder)
    outside = scope is not None and scope.outside(namespace)
    (folder / _PENDING).mkdir(mode=0o700, exist_ok=True)
    # By its time, for workers write side by side and the last change has to be undone first.
    change = Change(
        id=f"{time.time_ns():020}-{os.getpid()}-{next(_numbers)}",
        run=ownership.run_of(folder),
        role=str(kube.role),
        action=action,
        kind=kind,
        name=name,
        namespace=namespace,
        before=before,
        left=list(left),
        uid=uid,
        owned=bool(scope and scope.owned),
        backup=(namespace or scope.clusters[kube.role].system_namespace) if scope and outside else "",
        kubeconfig=str(kube.kubeconfig),
        kubectl=kube.kubectl,
    )
    entry = Pending(kube, folder / _PENDING / f"{change.id}.json")
    private_file.write(entry.file, change.to_json())
    return entry


def pending_in(folder: Path) -> Iterator[Pending]:
    """What a run changed and has not undone, last change first; half-written entries too."""
    for file in reversed(_files(folder)):
        yield Pending(_kube_of(file), file)


def is_pending(folder: Path) -> bool:
    """Whether a change of this run is not undone, or cannot be read."""
    return bool(_files(folder))


def restore(folder: Path) -> list[NotRestored]:
    """Undo what is pending, last change first; return what stays pending.

    A cluster that did not answer in time is not asked again, so that all of it is bounded.
    """
    left: list[NotRestored] = []
    silent: dict[str, str] = {}
    scope_command = _command(folder)
    for entry in pending_in(folder):
        try:
            change = entry.change
        except EnvironmentBroke as problem:
            # A worker that is still there may have undone it in this moment.
            if entry.file.exists():
                left.append(NotRestored(str(entry.file), str(problem), scope_command, pending=True))
            continue
        try:
            if why := silent.get(change.role):
                raise EnvironmentBroke(why)
            entry.undo()
        except EnvironmentBroke as problem:
            if isinstance(problem.__cause__, TimedOut):
                silent[change.role] = problem.seen or problem.what
            left.append(NotRestored(str(change), problem.seen or problem.what, scope_command, pending=True))
    return left


def require_restored(folder: Path) -> None:
    """Let a test begin to change an existing mesh only as it was before the run; tries once more what is pending.

    Raises EnvironmentBroke where something is not as it was: what was seen then would be this run's own doing.
    """
    scope = Scope.read(folder)
    if scope is None or scope.owned:
        return
    left = [*restore(folder), *(one for one in remarks(folder) if one.pending)]
    if left:
        what = f"{left[0].object} is not as before an earlier change of this run: nothing more is changed"
        raise EnvironmentBroke(what, seen=left[0].reason, next_command=left[0].command)


def remark(folder: Path, name: str, found: NotRestored) -> None:
    """Keep something for the run's summary, for the process that writes it."""
    (folder / _REMARKS).mkdir(mode=0o700, exist_ok=True)
    private_file.write(folder / _REMARKS / f"{name}.json", json.dumps(asdict(found)))


def forget_remark(folder: Path, name: str) -> None:
    """Take back a remark that is no longer true; nothing happens where there is none."""
    (folder / _REMARKS / f"{name}.json").unlink(missing_ok=True)


def has_remark(folder: Path, name: str) -> bool:
    """Whether there is a remark of this name."""
    return (folder / _REMARKS / f"{name}.json").exists()


def remarks(folder: Path) -> list[NotRestored]:
    """What is kept for the summary, oldest first; of one that cannot be read, its file."""
    found = []
    for file in sorted((folder / _REMARKS).glob("*.json")):
        try:
            found.append(NotRestored(**json.loads(file.read_text())))
        except (OSError, ValueError, TypeError) as error:
            found.append(NotRestored(str(file), f"it cannot be read: {type(error).__name__}", "", pending=False))
    return found


def left_alone(change: Change, why: str) -> NotRestored:
    """What is said of an object that somebody else changed, with the command that shows it."""
    words = [change.kubectl, *(["--namespace", change.namespace] if change.namespace else [])]
    return NotRestored(
        str(change), why, " ".join([*words, "get", change.kind.lower(), change.name, "-o", "yaml"]), pending=False
    )


def take_back(kube: Kube, change: Change) -> str:
    """Undo one change and remove its copy in the cluster; return why the object was left alone, or nothing.

    A request without answer is sent again, for a minute. Raises EnvironmentBroke where the cluster does not let us.
    """

    def attempt() -> str:
        why = _take_back(kube, change)
        _remove_backup(kube, change)
        return why

    # Even of a run that is being stopped.
    with process.cleaning_up():
        return _persistently(f"{change} is as before", attempt)


def backups(kube: Kube) -> list[Object]:
    """The Secrets in a cluster that hold entries of any run's undo log, newest first."""
    found = [
        one for one in kube.list("Secret", labels=ownership.SELECTOR) if one["metadata"]["name"].startswith(_BACKUP)
    ]
    return sorted(found, key=lambda one: str(one["metadata"].get("annotations", {}).get(_WRITTEN, "")), reverse=True)


def entry_of(backup: Object) -> Change:
    """The entry that a Secret in a cluster holds; raises EnvironmentBroke where it holds none."""
    metadata = backup["metadata"]
    try:
        text = base64.b64decode(backup["data"][_ENTRY]).decode()
    except (KeyError, TypeError, ValueError) as error:
        what = f"Secret {metadata['namespace']}/{metadata['name']} holds no entry of an undo log"
        raise EnvironmentBroke(what, seen=type(error).__name__) from None
    return Change.from_json(text)


def restorable(found: Object) -> Object:
    """An object without what the API server alone writes, as it is made again."""
    metadata = {key: value for key, value in found["metadata"].items() if key not in _MADE_BY_THE_SERVER}
    return {key: value for key, value in found.items() if key != "status"} | {"metadata": metadata}


def project(found: Any, shape: Object) -> Object:
    """The fields of an object that ``shape`` names; None for one that is not there."""
    known = found if isinstance(found, Mapping) else {}
    return {
        key: project(known.get(key), value) if isinstance(value, dict) and value else known.get(key)
        for key, value in shape.items()
    }


def _take_back(kube: Kube, change: Change) -> str:
    current = kube.get(change.kind, change.name, change.namespace)
    match change.action:
        case Action.CREATE:
            return _undo_create(kube, change, current)
        case Action.DELETE:
            return _undo_delete(kube, change, current)
        case Action.PATCH | Action.PATCH_STATUS:
            return _undo_patch(kube, change, current)


def _undo_create(kube: Kube, change: Change, current: Object | None) -> str:
    if current is None:
        return ""
    metadata = current["metadata"]
    if not change.owned:
        ours = metadata["uid"] == change.uid if change.uid else _is_of(current, change.run)
        if not ours:
            return (
                f"it is no longer the one that the run made: uid {metadata['uid']}, the run's {change.uid or 'unknown'}"
            )
        if "deletionTimestamp" not in metadata and not any(_is_left(current, left, change) for left in change.left):
            return _changed(change, current)
    if "deletionTimestamp" not in metadata:
        kube.delete(change.kind, change.name, change.namespace, only=current)
    return ""


def _undo_delete(kube: Kube, change: Change, current: Object | None) -> str:
    before = change.before or {}
    if current is None:
        kube.create(before, namespace=change.namespace)
        return ""
    if current["metadata"]["uid"] == change.uid:
        if "deletionTimestamp" in current["metadata"]:
            raise NotYet("it is still on its way out")
        return ""
    found = restorable(current)
    if found == before:
        return ""
    if change.owned:
        kube.apply(before, namespace=change.namespace)
        return ""
    if _is_of(current, change.run):
        raise EnvironmentBroke(f"{change}: what the run made in its place is still there")
    return (
        f"somebody made it again: uid {current['metadata']['uid']}, content {_digest(found)}; "
        f"before the run uid {change.uid}, content {_digest(before)}"
    )


def _undo_patch(kube: Kube, change: Change, current: Object | None) -> str:
    before = change.before or {}
    if current is None:
        if change.owned:
            raise EnvironmentBroke(f"there is no {change} any more")
        return "somebody deleted it"
    shape = change.left[0]
    if _bare(project(current, shape)) == _bare(before):
        return ""
    if not change.owned:
        if current["metadata"]["uid"] != change.uid:
            return f"somebody made it again: uid {current['metadata']['uid']}, before the run {change.uid}"
        if not any(_is_left(current, left, change) for left in change.left):
            return _changed(change, current)
    body = _back(current, before, shape)
    body["metadata"] = {**(body.get("metadata") or {}), "resourceVersion": current["metadata"]["resourceVersion"]}
    send = kube.patch_status if change.action is Action.PATCH_STATUS else kube.patch
    send(change.kind, change.name, change.namespace, body)
    return ""


def _back(current: Any, before: Any, shape: Object) -> Object:
    """The merge patch that leads from ``current`` back to ``before`` in the fields of ``shape``, and in no other.

    What the run made around a field goes with it, unless somebody put something beside it.
    """
    known, was = (one if isinstance(one, dict) else {} for one in (current, before))
    body: Object = {}
    for key, inner in shape.items():
        if not (isinstance(inner, dict) and inner):
            body[key] = was.get(key)
        elif isinstance(was.get(key), dict) or _bare(known.get(key)) != _bare(project(known.get(key), inner)):
            body[key] = _back(known.get(key), was.get(key), inner)
        else:
            body[key] = was.get(key)
    return body


def _is_left(current: Object, left: Object, change: Change) -> bool:
    """Whether the fields are as the run left them; before the server's answer, but for what it fills in."""
    found = project(current, left)
    return _bare(found) == _bare(left) if change.settled else _includes(found, left)


def _includes(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_includes(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_includes, found, wanted))
    return bool(found == wanted)


def _bare(value: Any) -> Any:
    """Without empty fields: the API server keeps none, whether they were given or not."""
    if isinstance(value, Mapping):
        inner = {key: _bare(one) for key, one in value.items()}
        return {key: one for key, one in inner.items() if one is not None} or None
    return None if value == [] else value


def _is_of(found: Object, run: str) -> bool:
    return (found["metadata"].get("labels") or {}).get(ownership.RUN) == ownership.label_value(run)


def _changed(change: Change, current: Object) -> str:
    """Say which fields somebody changed, with both values; those of a Secret by digests alone."""
    left = change.left[-1]
    shown = [
        f"{path} is {_both(now, was, secret=change.kind == 'Secret')}"
        for path, now, was in _differences(project(current, left), left)
    ]
    more = [f"and {len(shown) - _FIELDS_SHOWN} more fields"] if len(shown) > _FIELDS_SHOWN else []
    return "somebody changed it meanwhile: " + "; ".join([*shown[:_FIELDS_SHOWN], *more])


def _differences(now: Any, left: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(now, dict) and isinstance(left, dict):
        for key in left:
            yield from _differences(now.get(key), left[key], f"{path}.{key}" if path else key)
    elif _bare(now) != _bare(left):
        yield path, now, left


def _both(now: Any, left: Any, *, secret: bool) -> str:
    if secret:
        return f"{_digest(now)}, the run left {_digest(left)}"
    if isinstance(now, str) and isinstance(left, str) and "\n" in now + left:
        lines = list(difflib.unified_diff(left.splitlines(), now.splitlines(), n=0, lineterm=""))
        changed = [line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@"]
        return "another text than the run left: " + " | ".join(line[:_SHOWN] for line in changed[: 2 * _FIELDS_SHOWN])
    return f"{_short(now)}, the run left {_short(left)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({_digest(value)})"


def _digest(value: Any) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]}"


def _persistently(claim: str, act: Callable[[], T]) -> T:
    """Do what may be done twice, again for a minute where the answer was lost or the server was busy."""

    def attempt() -> T:
        try:
            return act()
        except NoAnswer as silence:
            raise NotYet(str(silence)) from None
        except Refused as refused:
            if refused.status < 500 and refused.status not in _PASSES:
                raise
            raise NotYet(str(refused)) from None

    return eventually(claim, attempt, within=timeouts().undo_retried)


def _backup_of(change: Change, scope: Scope | None) -> Object:
    labels = ownership.labels(change.run)
    restore = shlex.join(commands.sweep(*(scope.contexts if scope else ())))
    about = (
        f"Run {change.run} of splithorizon changes {change}. Should it not have undone that, "
        f"`{restore}` does, from any machine, and removes this Secret."
    )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "splithorizon.io/undo",
        "metadata": {
            "name": change.backup_name,
            "namespace": change.backup,
            "labels": labels,
            "annotations": {_WRITTEN: change.id, "splithorizon.io/time": _now(), _ABOUT: about},
        },
        "data": _data(change),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _data(change: Change) -> Object:
    return {_ENTRY: base64.b64encode(change.to_json().encode()).decode()}


def _remove_backup(kube: Kube, change: Change) -> None:
    if change.backup:
        kube.delete("Secret", change.backup_name, change.backup)


def _files(folder: Path) -> list[Path]:
    return sorted((folder / _PENDING).glob("*.json"))


def _kube_of(file: Path) -> Kube:
    """The client by which an entry's change was made; of half an entry, one that is never used."""
    with suppress(EnvironmentBroke, OSError, UnicodeDecodeError):
        change = Change.from_json(file.read_text())
        return Kube(Path(change.kubeconfig), change.role, kubectl=change.kubectl)
    return Kube(file.parents[1] / "none.kubeconfig", "unknown")


def _command(folder: Path) -> str:
    with suppress(EnvironmentBroke):
        if scope := Scope.read(folder):
            return scope.restore_command
    return shlex.join(commands.sweep())
