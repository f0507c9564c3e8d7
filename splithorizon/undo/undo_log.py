"""The undo log: one entry per change of a mesh, written before the change and deleted after its undo.

An entry is a file in the run's folder. For an object of an existing mesh it is also stored in a Secret in the namespace
of the object, with the same id, so that any machine can undo the changes of a run whose machine is lost. An undo
changes only fields that still have the value that the run gave them.
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

_ENTRIES = "changes"
_REMARKS = "remarks"
_BACKUP_PREFIX = "splithorizon-undo-"
_ENTRY_KEY = "entry"
_WRITTEN = "splithorizon.io/written"
_ABOUT = "splithorizon.io/about"
_SET_BY_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
# Request timeout, a conflicting write, too many requests; errors from 500 on are retried as well.
_RETRIED = frozenset({408, 409, 429})
_VALUE_LENGTH = 100
_FIELDS_SHOWN = 3
_numbers = count()


class Action(StrEnum):
    """The kind of a change."""

    PATCH = "patch"
    PATCH_STATUS = "patch status"
    DELETE = "delete"
    CREATE = "create"


@dataclass(frozen=True)
class Change:
    """One change of one object, and everything that its undo needs.

    ``before`` has the values of the changed fields before the change, with None for a missing field. For a deleted
    object it has all fields. ``left`` has the possible states of these fields after the change: several while the
    answer to a request is not known. ``settled`` says whether ``left`` is the state that the API server returned.
    ``uid`` is that of the object, or empty for an object whose creation was not answered. ``backup`` is the namespace
    of the Secret with a copy of the entry, or empty.
    """

    id: str
    run: str
    cluster: str
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
        """Kind, namespace and name of the object, and its cluster."""
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name} of the {self.cluster}"

    @property
    def target(self) -> tuple[str, str, str | None, str]:
        """The identity of the object, to find other changes of it."""
        return self.cluster, self.kind, self.namespace, self.name

    @property
    def backup_name(self) -> str:
        """The name of the Secret with the copy of the entry."""
        return f"{_BACKUP_PREFIX}{ownership.name_part(self.run)}-{self.id}"

    def to_json(self) -> str:
        """The entry as it is stored in the run's folder and in the Secret."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Change:
        """Parse the result of ``to_json``; raises EnvironmentBroke for anything else."""
        try:
            content = json.loads(text)
            # An entry that an older version has left in a mesh names the cluster by its role.
            if "role" in content:
                content["cluster"] = content.pop("role")
            return cls(**{**content, "action": Action(content["action"])})
        except (ValueError, TypeError, KeyError) as error:
            raise EnvironmentBroke("an entry of the undo log cannot be read", seen=type(error).__name__) from None


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
                self._kube.create(_backup_of(change, self._scope), namespace=change.backup)
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
            body = {"data": _data(change)}
            _with_retries(
                f"the undo of {change} is stored in the cluster",
                lambda: self._kube.patch("Secret", change.backup_name, change.backup, body),
            )

    def discard(self) -> None:
        """Delete the entry of a change that was not made."""
        _remove_backup(self._kube, self.change)
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
            remark(self.file.parents[1], change.id, left_alone(change, why))
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
    not_restored = [*restore(folder), *(entry for entry in remarks(folder) if entry.pending)]
    if not_restored:
        first = not_restored[0]
        what = f"{first.object} is not restored after an earlier change of this run: no further change is made"
        raise EnvironmentBroke(what, seen=first.reason, next_command=first.command)


def remark(folder: Path, name: str, content: NotRestored) -> None:
    """Store a remark for the summary of the run, which another process may write."""
    (folder / _REMARKS).mkdir(mode=0o700, exist_ok=True)
    private_file.write(folder / _REMARKS / f"{name}.json", json.dumps(asdict(content)))


def forget_remark(folder: Path, name: str) -> None:
    """Delete a remark that is no longer true, if it exists."""
    (folder / _REMARKS / f"{name}.json").unlink(missing_ok=True)


def has_remark(folder: Path, name: str) -> bool:
    """Whether there is a remark of this name."""
    return (folder / _REMARKS / f"{name}.json").exists()


def remarks(folder: Path) -> list[NotRestored]:
    """The remarks for the summary, oldest first; for one that cannot be parsed, the name of its file."""
    result = []
    for file in sorted((folder / _REMARKS).glob("*.json")):
        try:
            result.append(NotRestored(**json.loads(file.read_text())))
        except (OSError, ValueError, TypeError) as error:
            result.append(NotRestored(str(file), f"it cannot be read: {type(error).__name__}", "", pending=False))
    return result


def left_alone(change: Change, why: str) -> NotRestored:
    """The remark about an object that somebody else changed, with the command that shows the object."""
    words = [change.kubectl, *(["--namespace", change.namespace] if change.namespace else [])]
    return NotRestored(
        str(change), why, " ".join([*words, "get", change.kind.lower(), change.name, "-o", "yaml"]), pending=False
    )


def revert(kube: Kube, change: Change) -> str:
    """Revert one change and delete its Secret; return why the object was left alone, or an empty string.

    A request without an answer is repeated for up to a minute. Raises EnvironmentBroke if that does not succeed.
    """

    def attempt() -> str:
        why = _revert(kube, change)
        _remove_backup(kube, change)
        return why

    # Also when the run is cancelled.
    with process.cleaning_up():
        return _with_retries(f"{change} is restored", attempt)


def backups(kube: Kube) -> list[Object]:
    """The Secrets in a cluster with entries of any run's undo log, newest first."""
    owned = kube.list("Secret", labels=ownership.SELECTOR)
    secrets = [secret for secret in owned if secret["metadata"]["name"].startswith(_BACKUP_PREFIX)]

    def written(secret: Object) -> str:
        return str(secret["metadata"].get("annotations", {}).get(_WRITTEN, ""))

    return sorted(secrets, key=written, reverse=True)


def entry_of(backup: Object) -> Change:
    """The entry in a Secret of ``backups``; raises EnvironmentBroke if there is none."""
    metadata = backup["metadata"]
    try:
        text = base64.b64decode(backup["data"][_ENTRY_KEY]).decode()
    except (KeyError, TypeError, ValueError) as error:
        what = f"Secret {metadata['namespace']}/{metadata['name']} has no entry of an undo log"
        raise EnvironmentBroke(what, seen=type(error).__name__) from None
    return Change.from_json(text)


def restorable(current: Object) -> Object:
    """An object without the fields that only the API server sets, so that it can be created again."""
    metadata = {key: value for key, value in current["metadata"].items() if key not in _SET_BY_THE_SERVER}
    return {key: value for key, value in current.items() if key != "status"} | {"metadata": metadata}


def project(current: Any, shape: Object) -> Object:
    """The fields of an object that ``shape`` has; None for a missing field."""
    fields = current if isinstance(current, Mapping) else {}
    return {
        key: project(fields.get(key), value) if isinstance(value, dict) and value else fields.get(key)
        for key, value in shape.items()
    }


def _revert(kube: Kube, change: Change) -> str:
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
        ours = metadata["uid"] == change.uid if change.uid else _has_label_of(current, change.run)
        if not ours:
            created = change.uid or "unknown"
            return f"somebody replaced it: uid {metadata['uid']}, the object that the run created had uid {created}"
        if "deletionTimestamp" not in metadata and not any(
            _is_unchanged(current, left, change) for left in change.left
        ):
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
            raise NotYet("it is still being deleted")
        return ""
    content = restorable(current)
    if content == before:
        return ""
    if change.owned:
        kube.apply(before, namespace=change.namespace)
        return ""
    if _has_label_of(current, change.run):
        raise EnvironmentBroke(f"{change}: the object that the run created in its place still exists")
    return (
        f"somebody recreated it: uid {current['metadata']['uid']}, content {_digest(content)}; "
        f"before the run uid {change.uid}, content {_digest(before)}"
    )


def _undo_patch(kube: Kube, change: Change, current: Object | None) -> str:
    before = change.before or {}
    if current is None:
        if change.owned:
            raise EnvironmentBroke(f"{change} does not exist any more")
        return "somebody deleted it"
    shape = change.left[0]
    if _without_empty(project(current, shape)) == _without_empty(before):
        return ""
    if not change.owned:
        if current["metadata"]["uid"] != change.uid:
            return f"somebody recreated it: uid {current['metadata']['uid']}, before the run uid {change.uid}"
        if not any(_is_unchanged(current, left, change) for left in change.left):
            return _changed(change, current)
    body = _restoring_patch(current, before, shape)
    body["metadata"] = {**(body.get("metadata") or {}), "resourceVersion": current["metadata"]["resourceVersion"]}
    send = kube.patch_status if change.action is Action.PATCH_STATUS else kube.patch
    send(change.kind, change.name, change.namespace, body)
    return ""


def _restoring_patch(current: Any, before: Any, shape: Object) -> Object:
    """The merge patch from ``current`` to ``before`` for the fields of ``shape`` only.

    A mapping that the run added for its fields is removed as well, unless somebody added other fields to it.
    """
    now = current if isinstance(current, dict) else {}
    was = before if isinstance(before, dict) else {}
    body: Object = {}
    for key, inner in shape.items():
        if not (isinstance(inner, dict) and inner):
            body[key] = was.get(key)
        elif isinstance(was.get(key), dict) or _has_others(now.get(key), inner):
            body[key] = _restoring_patch(now.get(key), was.get(key), inner)
        else:
            body[key] = was.get(key)
    return body


def _has_others(value: Any, shape: Object) -> bool:
    """Whether a mapping has fields that ``shape`` does not have."""
    return bool(_without_empty(value) != _without_empty(project(value, shape)))


def _is_unchanged(current: Object, left: Object, change: Change) -> bool:
    """Whether the fields have the values that the run gave them.

    If the server's answer is not known, fields that it added by default are ignored.
    """
    fields = project(current, left)
    return _without_empty(fields) == _without_empty(left) if change.settled else _includes(fields, left)


def _includes(actual: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(_includes(actual.get(key), value) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(actual) == len(expected) and all(map(_includes, actual, expected))
    return bool(actual == expected)


def _without_empty(value: Any) -> Any:
    """The value without empty fields, which the API server does not store."""
    if isinstance(value, Mapping):
        fields = {key: _without_empty(field) for key, field in value.items()}
        return {key: field for key, field in fields.items() if field is not None} or None
    return None if value == [] else value


def _has_label_of(current: Object, run: str) -> bool:
    return (current["metadata"].get("labels") or {}).get(ownership.RUN) == ownership.label_value(run)


def _changed(change: Change, current: Object) -> str:
    """The fields that somebody changed, with both values; values of a Secret are shown as digests only."""
    left = change.left[-1]
    changes = [
        f"{path} is {_comparison(now, was, secret=change.kind == 'Secret')}"
        for path, now, was in _differences(project(current, left), left)
    ]
    more = [f"and {len(changes) - _FIELDS_SHOWN} more fields"] if len(changes) > _FIELDS_SHOWN else []
    return "somebody changed it meanwhile: " + "; ".join([*changes[:_FIELDS_SHOWN], *more])


def _differences(now: Any, left: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(now, dict) and isinstance(left, dict):
        for key in left:
            yield from _differences(now.get(key), left[key], f"{path}.{key}" if path else key)
    elif _without_empty(now) != _without_empty(left):
        yield path, now, left


def _comparison(now: Any, left: Any, *, secret: bool) -> str:
    if secret:
        return f"{_digest(now)}, the run left {_digest(left)}"
    if isinstance(now, str) and isinstance(left, str) and "\n" in now + left:
        lines = list(difflib.unified_diff(left.splitlines(), now.splitlines(), n=0, lineterm=""))
        changed = [line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@"]
        return "a text with changes since the run: " + " | ".join(
            line[:_VALUE_LENGTH] for line in changed[: 2 * _FIELDS_SHOWN]
        )
    return f"{_short(now)}, the run left {_short(left)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}… ({_digest(value)})"


def _digest(value: Any) -> str:
    return f"sha256:{hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]}"


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


def _backup_of(change: Change, scope: Scope | None) -> Object:
    labels = ownership.labels(change.run)
    restore = shlex.join(commands.sweep(*(scope.contexts if scope else ())))
    about = (
        f"Run {change.run} of splithorizon changes {change}. If the run did not undo that, "
        f"`{restore}` undoes it from any machine, and deletes this Secret."
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
    return {_ENTRY_KEY: base64.b64encode(change.to_json().encode()).decode()}


def _remove_backup(kube: Kube, change: Change) -> None:
    if change.backup:
        kube.delete("Secret", change.backup_name, change.backup)


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
