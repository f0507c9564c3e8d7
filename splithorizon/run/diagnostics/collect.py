"""Collects the state of a mesh into a folder, within bounds of time and size, with what could not be read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from splithorizon.base import private_file
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.diagnosis.access import ClusterAccess, Target
from splithorizon.diagnosis.reading import objects
from splithorizon.diagnosis.reading.budget import Budget
from splithorizon.diagnosis.reading.control_plane import Pod, asked, envoy, istiod
from splithorizon.diagnosis.reading.model import Object, labels_of, name_of, namespace_of
from splithorizon.diagnosis.reading.read import chosen
from splithorizon.kube.api_resources import path_of
from splithorizon.run.diagnostics import masked

COLLECTION_BYTES = 20_000_000
"""What one collection may write."""
FILE = "collected.json"
"""What was collected, as data, in the folder of the collection."""

Redact = Callable[[str], str]

# Requests to one API server at a time, as for a diagnosis.
_AT_ONCE = 8
_LOG_LINES = "5000"
_LOG_BYTES = 1_000_000
_MORE_KINDS = ("ReplicaSet", "ConfigMap", "Secret", "ServiceAccount")
# In this order, because the last ones are large.
_ENVOY_PAGES = {
    "clusters": "/clusters?format=json",
    "listeners": "/listeners?format=json",
    "server-info": "/server_info",
    "stats": "/stats?format=json&usedonly",
    "config-dump": "/config_dump?include_eds",
}
_ISTIOD_PAGES = ("syncz", "clusterz", "networkz", "mesh", "push_status", "endpointShardz", "registryz")
_UNREADABLE = (EnvironmentBroke, ValueError, KeyError, TypeError, AttributeError, OSError)
_CONTAINERS = ("initContainerStatuses", "containerStatuses")


@dataclass(frozen=True)
class Collected:
    """One collection: why it was made, what is in it, what could not be read, and what it cost."""

    title: str
    files: tuple[tuple[str, int], ...] = ()
    """Each file by its path in the folder, with its size in bytes."""
    unread: tuple[tuple[str, str], ...] = ()
    """What could not be read, and why."""
    seconds: float = 0.0

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(size for _, size in self.files)


def collect(
    clusters: Sequence[ClusterAccess],
    target: Target,
    revision: str,
    folder: Path,
    *,
    title: str,
    since: datetime,
    redact: Redact,
    seconds: float | None = None,
    size: int = COLLECTION_BYTES,
) -> Collected:
    """Read every cluster side by side and write what it answers, redacted, into a folder for each.

    Logs begin at ``since``. Nothing is created or changed in the mesh. What cannot be read, or has no room, is listed;
    nothing is raised for it. The last file written is ``collected.json``.
    """
    begun = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    budget = Budget(timeouts().diagnostics_collected if seconds is None else seconds, size)
    store = _Store(folder, redact, size)
    with ExitStack() as stack:
        pools = {one.name: stack.enter_context(ThreadPoolExecutor(_AT_ONCE)) for one in clusters}
        readers = [
            _Reader(one, target, revision or "default", since.astimezone(UTC), budget, store, pools[one.name])
            for one in clusters
        ]
        # The first round finds the pods that the second asks; no cluster waits for another.
        for read in (_Reader.objects_and_events, _Reader.logs_and_pages):
            for future in [future for reader in readers for future in read(reader)]:
                future.result()
    found = Collected(title, store.files, store.unread, round(time.monotonic() - begun, 1))
    private_file.write(folder / FILE, json.dumps(asdict(found), indent=1), mode=private_file.SHARED)
    return found


def load(folder: Path) -> Collected:
    """What a collection has; raises OSError or ValueError for a folder without one."""
    content = json.loads((folder / FILE).read_text("utf-8"))
    return Collected(
        str(content["title"]),
        tuple((str(name), int(size)) for name, size in content["files"]),
        tuple((str(what), str(why)) for what, why in content["unread"]),
        float(content["seconds"]),
    )


@dataclass
class _Store:
    """Writes redacted files as long as there is room, from several threads."""

    folder: Path
    redact: Redact
    size: int
    _files: dict[str, int] = field(default_factory=dict)
    _unread: dict[str, str] = field(default_factory=dict)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def files(self) -> tuple[tuple[str, int], ...]:
        return tuple(sorted(self._files.items()))

    @property
    def unread(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(self._unread.items()))

    def keep(self, path: str, text: str) -> None:
        """Write a file, or note that it has no room."""
        content = self.redact(text)
        size = len(content.encode())
        with self._mutex:
            if size > self.size:
                self._unread[path] = f"{size} bytes have no room"
                return
            self.size -= size
            self._files[path] = size
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        private_file.write(file, content, mode=private_file.SHARED)

    def miss(self, what: str, error: BaseException) -> None:
        """Note what could not be read, and why."""
        reason = error.seen or error.what if isinstance(error, EnvironmentBroke) else f"{type(error).__name__}: {error}"
        with self._mutex:
            self._unread[what] = self.redact(str(reason))[:300]


@dataclass
class _Reader:
    """Reads one cluster."""

    access: ClusterAccess
    target: Target
    revision: str
    since: datetime
    budget: Budget
    store: _Store
    pool: ThreadPoolExecutor
    _pods: dict[tuple[str, str], Object] = field(default_factory=dict)
    _services: list[Object] = field(default_factory=list)

    def objects_and_events(self) -> Iterator[Future[None]]:
        """Begin to read the objects and events of the namespaces, and the pods that are read after them."""
        namespaces = tuple(dict.fromkeys((self.target.namespace, self.access.system_namespace)))
        for namespace in namespaces:
            yield self._submit(f"events/{namespace}.txt", partial(self._events, namespace))
        known = [*objects.kinds(self.access, self.target)]
        known += [(kind, namespace, "") for kind in _MORE_KINDS for namespace in namespaces]
        for kind, where, labels in known:
            name = ".".join(part for part in (kind, where, "labelled" if labels else "") if part)
            yield self._submit(f"objects/{name}.json", partial(self._objects, kind, where, labels))

    def logs_and_pages(self) -> Iterator[Future[None]]:
        """Begin to read the pods' logs, then the pages of istiod and of the proxies."""
        for pod in self._pods.values():
            yield from (self._submit(path, step) for path, step in self._logs(pod))
        for pod in self._pods.values():
            if labels_of(pod).get("app") == "istiod":
                where = istiod(namespace_of(pod), name_of(pod))
                for page in _ISTIOD_PAGES:
                    yield self._submit_page(f"istiod/{name_of(pod)}/{page}.json", where, f"/debug/{page}")
        asked_pods = {
            (namespace_of(pod), name_of(pod)): kind
            for kind, pod in chosen({"Pod": tuple(self._pods.values()), "Service": tuple(self._services)}, self.target)
        }
        for page, path in _ENVOY_PAGES.items():
            for (namespace, name), kind in asked_pods.items():
                yield self._submit_page(f"envoy/{kind.lower()}-{name}/{page}.json", envoy(namespace, name), path)

    def _submit(self, path: str, step: Callable[[], str]) -> Any:
        return self.pool.submit(self._attempt, f"{self.access.name}/{path}", step)

    def _submit_page(self, path: str, pod: Pod, page: str) -> Any:
        def step() -> str:
            return _json(masked.of_envoy(asked(self.access.kube, pod, page, self.budget)))

        return self._submit(path, step)

    def _attempt(self, path: str, step: Callable[[], str]) -> None:
        try:
            if text := step():
                self.store.keep(path, text)
        except _UNREADABLE as error:
            self.store.miss(path, error)

    def _objects(self, kind: str, namespace: str | None, labels: str) -> str:
        """The objects of a kind, as JSON; nothing where there are none."""
        found = objects.listed(self.access.kube, kind, namespace, labels, self.budget)
        if kind == "Secret":
            found = [masked.of_secret(one) for one in found]
        if kind == "Pod":
            self._pods |= {(namespace_of(one), name_of(one)): one for one in found}
        if kind == "Service":
            self._services += found
        return _json(found) if found else ""

    def _events(self, namespace: str) -> str:
        """The events of a namespace, a line each, oldest first."""
        found = objects.listed(self.access.kube, "Event", namespace, "", self.budget)
        return "".join(sorted(f"{_event(one)}\n" for one in found))

    def _logs(self, pod: Object) -> Iterator[tuple[str, Callable[[], str]]]:
        """The logs of each container, and of the one before it where it was restarted."""
        status = pod.get("status") or {}
        name = f"{namespace_of(pod)}.{name_of(pod)}"
        for container in (one for kind in _CONTAINERS for one in status.get(kind) or []):
            said = container["name"]
            yield f"logs/{name}.{said}.log", partial(self._log, pod, said)
            if container.get("restartCount"):
                yield f"logs/{name}.{said}.previous.log", partial(self._log, pod, said, previous=True)

    def _log(self, pod: Object, container: str, *, previous: bool = False) -> str:
        query = [("container", container), ("tailLines", _LOG_LINES), ("limitBytes", str(_LOG_BYTES))]
        # What a container said before it was restarted counts whenever it said it.
        query += [("previous", "true")] if previous else [("sinceTime", f"{self.since:%Y-%m-%dT%H:%M:%SZ}")]
        path = f"{path_of('Pod', namespace_of(pod), name_of(pod))}/log"
        limit = min(self.budget.limit, 2 * _LOG_BYTES)
        answer = self.access.kube.read(path, query, limit=limit, within=self.budget.seconds)
        self.budget.spend(len(answer))
        return answer.decode(errors="replace")


def _event(event: Mapping[str, Any]) -> str:
    """An event in one line, which begins with its time."""
    moment = (
        event.get("lastTimestamp") or event.get("eventTime") or (event.get("metadata") or {}).get("creationTimestamp")
    )
    subject = event.get("involvedObject") or {}
    count = f" x{event['count']}" if (event.get("count") or 1) > 1 else ""
    what = f"{subject.get('kind', '')}/{subject.get('name', '')}"
    message = " ".join(str(event.get("message", "")).split())
    return f"{moment or '-'} {event.get('type', '')} {event.get('reason', '')} {what}{count}: {message}"


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
