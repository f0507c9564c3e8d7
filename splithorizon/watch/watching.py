"""Watches a mesh: follows the senders' logs, reads what changes, and keeps the accounts until it is stopped.

Threads read and put what they read into one queue; a single thread takes it from there and keeps the accounts.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, Queue
from threading import Event as Flag
from threading import Thread

from splithorizon.base import parallel
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.topology import Route
from splithorizon.kube.client import Kube, Object, Objects
from splithorizon.kube.log_follower import LogFollower, LogLine
from splithorizon.kube.pod_status import SIDECAR
from splithorizon.kube.rollout import await_rollout
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import sender, workloads
from splithorizon.traffic.sender import Stream
from splithorizon.undo import mutations
from splithorizon.watch import changes
from splithorizon.watch.changes import ChangeFinder, ClusterReader, Reader, Seen
from splithorizon.watch.events import Change, EventLog
from splithorizon.watch.joining import SenderLogs
from splithorizon.watch.kept_connections import KeptConnection
from splithorizon.watch.phases import Phase, PhaseLog
from splithorizon.watch.route_requests import RouteRequests


@dataclass
class Sender:
    """One pod that sends, its logs, and the connections that it keeps."""

    cluster: str
    pod: str
    logs: SenderLogs
    kept: dict[tuple[Stream, str], KeptConnection] = field(default_factory=dict)
    heard: float = 0.0
    gone: bool = False


@dataclass
class Watched:
    """What a watch saw. Times are seconds since 1970 by the watch's clock."""

    began: float
    ended: float
    rate: float
    requests: Mapping[Route, RouteRequests]
    kept: Mapping[Route, Mapping[Stream, list[KeptConnection]]]
    events: EventLog
    restarted: Mapping[str, int]
    """By cluster, the gateway and helloworld pods that were replaced or restarted."""
    streams: tuple[Stream, ...]
    not_seen: tuple[str, ...] = ()
    """What was not seen, in sentences."""
    phases: tuple[Phase, ...] = ()
    """The phases of the change, where the run made one itself."""

    @property
    def seconds(self) -> float:
        """How long it watched."""
        return self.ended - self.began


@dataclass(frozen=True)
class RouteSoFar:
    """What arrived of one route so far: requests, their paths with shares, and for how long nothing is answered now."""

    route: Route
    sent: int
    lost: int
    paths: str
    silent: float

    def __str__(self) -> str:
        """As a line of progress."""
        text = f"{self.route}: {self.sent:,} sent, {self.lost:,} lost"
        text += f", {self.paths}" if self.paths else ""
        return text + (f"; nothing answered for {self.silent:.0f} s" if self.silent else "")


@dataclass(frozen=True)
class _Line:
    sender: Sender
    of_sidecar: bool
    line: LogLine
    arrived: float


@dataclass(frozen=True)
class _Pods:
    cluster: str
    ending: Mapping[str, bool]
    at: float


class Watching:
    """One watch of one mesh. ``say`` prints a line of progress; ``phases`` are those of a change that the run makes."""

    def __init__(
        self,
        mesh: Mesh,
        say: Callable[[str], None],
        *,
        rate: int,
        phases: PhaseLog | None = None,
    ) -> None:
        """Take the mesh; nothing is created or read yet."""
        self._mesh = mesh
        self._routes = {route.near: route for route in mesh.client_routes}
        """The route of each cluster's senders. With more than one far cluster it is the first."""
        self._say = say
        self._rate = rate
        self._phases = phases or PhaseLog()
        self._queue: Queue[_Line | _Pods | Change] = Queue()
        self._stop = Flag()
        self._senders: dict[tuple[str, str], Sender] = {}
        self._followers: list[tuple[Sender, LogFollower]] = []
        self._events = EventLog()
        self._restarted: Counter[str] = Counter()
        self._readers = {
            cluster.name: ClusterReader(cluster.kube, cluster.info, mesh.info.namespace) for cluster in mesh
        }
        self._requests: dict[Route, RouteRequests] = {}
        self.so_far: tuple[RouteSoFar, ...] = ()
        """Always replaced by a new tuple: other threads read it."""
        self.says_counts = True
        """Whether the counts of each route are said now and then; a table that is shown anyway makes that needless."""
        self._streams: tuple[Stream, ...] = (Stream.NEW,)
        self._versions: dict[str, dict[str, Mapping[str, int]]] = {}
        self._unread: tuple[str, ...] = ()
        self._began = self._said = 0.0
        self._until = math.inf

    def start(self, undo: ExitStack) -> None:
        """Create the senders in each cluster and wait until they are ready; the undo deletes them.

        Raises EnvironmentBroke where they cannot be created or do not become ready.
        """
        offered = parallel.for_each(self._mesh.names, lambda name: self._mesh[name].client.offered_protocols)
        self._streams = sender.streams(frozenset.intersection(*offered.values()), of_program=self._has_program)
        info, versions = self._mesh.info, self._mesh.info.workload_versions
        exported = {} if info.owned else workloads.exported(info)
        for name in self._mesh.names:
            self._apply(name, [sender.service(version, exported) for version in versions.values()], undo)
        rules = [sender.new_connections_rule(one, self._host(one), info.traffic_policy) for one in versions.values()]
        self._mesh.apply_rules(rules, undo)
        parallel.for_each(self._routes, lambda name: self._create(name, undo))
        self._stop.clear()

    def run(self, stop: Flag, *, seconds: float | None = None) -> Watched:
        """Watch until ``stop`` is set, or for so many seconds; return what was seen."""
        began = self._began = self._said = time.time()
        self._requests = {
            route: RouteRequests(began, self._mesh[route.far].gateway_addresses, self._phases)
            for route in self._mesh.routes
        }
        threads = [
            Thread(target=self._read_cluster, args=(name,), name=f"watch-{name}", daemon=True)
            for name in self._mesh.names
        ]
        for thread in threads:
            thread.start()
        # A process that is stopped for a moment must not take a late clock for the end.
        deadline = time.monotonic() + seconds if seconds is not None else None
        while not stop.is_set() and (deadline is None or time.monotonic() < deadline):
            self._take(timeouts().watch.queue_read)
            self._account(time.time())
        return self._finish(began, threads)

    def _host(self, version: str) -> str:
        return self._mesh.info.host_of(sender.service_of(version))

    def _target(self, name: str) -> str:
        """The far version's Service."""
        far = self._routes[name].far
        return f"{sender.service_of(self._mesh.info.workload_versions[far])}.{self._mesh.info.namespace}"

    @property
    def _has_program(self) -> bool:
        """Whether the sender's own program sends, in every cluster alike: routes are compared."""
        return all(cluster.info.sender_image for cluster in self._mesh)

    def _create(self, name: str, undo: ExitStack) -> None:
        cluster, namespace = self._mesh[name], self._mesh.info.namespace
        client = cluster.kube.get("Deployment", workloads.CLIENT, namespace)
        if client is None:
            raise EnvironmentBroke(f"there is no client in {namespace} of the {name}")
        image = cluster.info.sender_image if self._has_program else ""
        made = sender.deployment(client, target=self._target(name), rate=self._rate, streams=self._streams, image=image)
        self._apply(name, [made], undo)
        await_rollout(
            cluster.kube, sender.NAME, namespace, within=timeouts().workload_ready,
            give_up_after=timeouts().nothing_changes, longer=timeouts().node_added,
        )  # fmt: skip

    def _apply(self, name: str, documents: Objects, undo: ExitStack) -> None:
        """Make objects in our namespace. On an existing mesh they go with it, and until then senders are stopped.

        A run needs no right to delete Services and Deployments there; in a namespace that was there before it has one.
        """
        kube, namespace = self._mesh[name].kube, self._mesh.info.namespace
        if any(document["kind"] == "Deployment" for document in documents):
            # Last of all undos: what is judged next is the mesh without senders.
            undo.callback(self._await_gone, kube)
        if self._mesh.info.owned or self._mesh.info.namespace_exists:
            mutations.apply(kube, documents, namespace, undo)
            return
        for document in documents:
            if document["kind"] == "Deployment":
                stopped = {"spec": {"replicas": 0}}
                undo.callback(kube.patch, "Deployment", document["metadata"]["name"], namespace, stopped)
            kube.apply(document, namespace=namespace)

    def _await_gone(self, kube: Kube) -> None:
        def gone() -> None:
            if left := kube.list("Pod", self._mesh.info.namespace, f"app={sender.NAME}"):
                raise NotYet(f"{len(left)} are still there")

        eventually(f"the {kube.cluster}'s senders are gone", gone, within=timeouts().pod_replaced)

    # What threads do: they read, and put what they read into the queue.

    def _read_cluster(self, name: str) -> None:
        reader, finder = self._readers[name], ChangeFinder(name)
        next_seldom = next_versions = 0.0
        while not self._stop.is_set():
            now = time.time()
            due: dict[str, Reader] = dict(reader.often)
            if now >= next_seldom:
                next_seldom = now + timeouts().watch.metadata_read
                due |= reader.seldom
            if now >= next_versions and self._mesh.info.clusters[name].istiod_is_asked:
                next_versions = now + timeouts().watch.proxies_read
                due[changes.PROXIES] = partial(self._proxies, name)
            self._list_senders(reader.kube, name)
            for subject, seen in reader.read(due):
                for change in finder.compare(subject, seen, asked=now, answered=time.time()):
                    self._queue.put(change)
            self._stop.wait(max(0.0, timeouts().watch.pods_read - (time.time() - now)))

    def _proxies(self, name: str) -> Seen:
        """The versions of all proxies, by cluster, as the istiod of this cluster knows them."""
        known = self._versions.setdefault(name, {})
        # An istiod that has just started knows few proxies, or none: of a cluster without one nothing has changed.
        known.update(self._mesh.istiods[name].proxy_versions())
        return Seen({
            f"{cluster} {version}": text
            for cluster, counts in sorted(known.items())
            for version, text in changes.pods_by_name(counts).items()
        })  # fmt: skip

    def _list_senders(self, kube: Kube, name: str) -> None:
        try:
            pods = kube.list("Pod", self._mesh.info.namespace, f"app={sender.NAME}")
        except EnvironmentBroke:
            return
        running = [pod for pod in pods if _has_started(pod)]
        ending = {pod["metadata"]["name"]: "deletionTimestamp" in pod["metadata"] for pod in running}
        self._queue.put(_Pods(name, ending, time.time()))

    def _follow(self, one: Sender, container: str, *, of_sidecar: bool) -> None:
        follower = LogFollower(self._mesh[one.cluster].kube, one.pod, self._mesh.info.namespace, container)
        self._followers.append((one, follower))

        def take(line: LogLine) -> None:
            self._queue.put(_Line(one, of_sidecar, line, time.time()))

        Thread(target=follower.run, args=(take, self._stop), name=f"log-{one.pod}", daemon=True).start()

    # What the one thread does that keeps the accounts.

    def _take(self, within: float) -> None:
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=left)
            except Empty:
                return
            match item:
                case _Line():
                    self._take_line(item)
                case _Pods():
                    self._take_pods(item)
                case Change():
                    self._take_change(item)

    def _take_line(self, item: _Line) -> None:
        one = item.sender
        one.heard = item.arrived
        if item.of_sidecar:
            one.logs.logged(item.line.text, item.arrived)
        else:
            one.logs.result(item.line.text, item.line.stamp, item.arrived)

    def _take_pods(self, item: _Pods) -> None:
        for pod, is_ending in item.ending.items():
            one = self._senders.get((item.cluster, pod))
            if one is None:
                one = self._senders[item.cluster, pod] = Sender(
                    item.cluster, pod, SenderLogs(self._began, self._until), heard=item.at
                )
                self._follow(one, sender.NAME, of_sidecar=False)
                self._follow(one, SIDECAR, of_sidecar=True)
            if is_ending and one.logs.ending_since is None:
                # The deletion came between this reading and the one before.
                one.logs.ending_since = item.at - timeouts().watch.pods_read - 1
        for one in self._senders.values():
            if one.cluster == item.cluster and one.pod not in item.ending and not one.gone:
                one.gone = True
                one.logs.ending_since = one.logs.ending_since or item.at - timeouts().watch.pods_read - 1

    def _take_change(self, change: Change) -> None:
        if change.subject in (changes.GATEWAYS, changes.TARGETS) and (
            change.text.endswith(" is gone") or "restarts" in change.text.partition("→")[2]
        ):
            self._restarted[change.cluster] += 1
        if change.subject == changes.ADDRESSES:
            self._learn_addresses(change.cluster)
        event = self._events.add(change)
        if event is not None:
            self._say(f"[{change.cluster}] {change.subject}: {change.text}")

    def _learn_addresses(self, name: str) -> None:
        """A new address of a gateway is a right path too, from now on."""
        try:
            found = self._readers[name].gateway_addresses()
        except EnvironmentBroke:
            return
        for route, requests in self._requests.items():
            if route.far == name:
                requests.right |= found

    def _account(self, now: float, *, everything: bool = False) -> None:
        for one in self._senders.values():
            requests = self._requests[self._routes[one.cluster]]
            for sample in one.logs.samples(now, everything=everything):
                requests.add(sample)
            for stream, series, result in one.logs.kept(now, everything=everything):
                # A series' name has the number of its run: a curl that was started again keeps a new connection.
                one.kept.setdefault((stream, series), KeptConnection()).add(result)
        heard = [one.heard for one in self._senders.values() if not one.gone]
        latest = max(min(heard, default=now), now - timeouts().watch.log_missed)
        for requests in self._requests.values():
            requests.release(min(latest, now) - _in_order_after())
        self.so_far = tuple(self._count(now))
        if self.says_counts and now - self._said >= timeouts().heartbeat:
            self._said = now
            for route in self.so_far:
                self._say(str(route))

    def _count(self, now: float) -> Iterator[RouteSoFar]:
        for route, requests in self._requests.items():
            logs = [one.logs for one in self._senders.values() if self._routes[one.cluster] == route]
            yield RouteSoFar(
                route,
                sent=sum(one.sent for one in logs),
                lost=sum(one.lost - one.of_its_end for one in logs),
                paths=", ".join(f"{share:.0%} {path}" for path, share in shares(requests.paths.counts)),
                silent=0.0 if requests.open_since is None else now - requests.open_since,
            )

    def _finish(self, began: float, threads: list[Thread]) -> Watched:
        ended = time.time()
        self._take_last_lines(ended)
        # A reading that fails is tried again: a thread that has ended by itself is a defect.
        self._unread = tuple(
            name for name, thread in zip(self._mesh.names, threads, strict=True) if not thread.is_alive()
        )
        self._stop.set()
        self._account(time.time(), everything=True)
        for requests in self._requests.values():
            requests.close(ended)
        kept: dict[Route, dict[Stream, list[KeptConnection]]] = {route: {} for route in self._requests}
        for one in self._senders.values():
            for (stream, _), connection in one.kept.items():
                connection.close(ended)
                kept[self._routes[one.cluster]].setdefault(stream, []).append(connection)
        for thread in threads:
            thread.join(timeout=timeouts().watch.pods_read)
        rate = sender.steady_rate(self._rate, of_program=self._has_program)
        return Watched(
            began, ended, rate, self._requests, kept, self._events, dict(self._restarted), self._streams,
            tuple(self._not_seen()), tuple(self._phases.phases),
        )  # fmt: skip

    def _take_last_lines(self, ended: float) -> None:
        """Take what was under way at the end: the senders go on meanwhile, and what they begin later does not count."""
        self._until = ended
        for one in self._senders.values():
            one.logs.until = ended
        times, begun = timeouts().watch, time.monotonic()
        while (waited := time.monotonic() - begun) < times.last_results or (
            waited < times.last_results + times.path_logged
            and any(one.logs.awaits_lines for one in self._senders.values())
        ):
            self._take(times.queue_read)
            self._account(time.time())

    def _not_seen(self) -> list[str]:
        found = [f"changes of the {name}: its reading ended before the watch" for name in self._unread]
        if not self._has_program:
            found.append("any protocol but HTTP/1.1: there is no image of the sender (--image sender=REF)")
        if len(self._streams) == 1:
            found.append("any connection that is kept: helloworld's image serves HTTP/1.1 requests alone")
        missing = sum(one.logs.missing for one in self._senders.values())
        if missing:
            found.append(f"{missing} results that senders wrote: their logs were rotated or cut off")
        of_their_end = sum(one.logs.of_its_end for one in self._senders.values())
        if of_their_end:
            found.append(
                f"{of_their_end} requests that senders lost while their own pods ended: they count for nothing"
            )
        for one in self._senders.values():
            if one.gone:
                found.append(f"the sender {one.pod} of the {one.cluster} ended, and what it had under way with it")
            if one.logs.waits:
                found.append(
                    f"the sender {one.pod} of the {one.cluster} began after {one.logs.waits} s without answers"
                )
            if one.logs.unreadable:
                found.append(f"{one.logs.unreadable} lines of the sender {one.pod} that cannot be read")
        broken = Counter(one.cluster for one, follower in self._followers for _ in range(follower.broken))
        found += [f"the logs of the {name} broke off {times} times, and were read on" for name, times in broken.items()]
        for name, reader in self._readers.items():
            found += [f"{subject} of the {name}: {why}" for subject, why in reader.refused.items()]
            found += [
                f"{subject} of the {name} at {times} readings that failed"
                for subject, times in reader.failed.items()
                if subject not in reader.refused
            ]
        if self._events.dropped:
            found.append(f"{self._events.dropped} changes after the first {len(self._events.events)} events")
        for route, requests in self._requests.items():
            if requests.unseen_seconds:
                found.append(f"{route} for {requests.unseen_seconds:.0f} s in which no request was seen")
            if requests.late:
                found.append(f"{route}: the order of {requests.late} requests, whose lines came late")
        return found


def _in_order_after() -> float:
    """After so many seconds a request has ended and its line was waited for: no earlier one is to come."""
    times = timeouts().watch
    return times.request_every + times.path_logged + times.order_known


def shares(counts: Mapping[str, int]) -> list[tuple[str, float]]:
    """Each path with its share of all, the largest first."""
    total = sum(counts.values())
    return [(path, number / total) for path, number in Counter(counts).most_common()] if total else []


def _has_started(pod: Object) -> bool:
    """Whether its logs can be read; where one of its containers has none yet, they are asked for again."""
    return pod.get("status", {}).get("phase") == "Running" or "deletionTimestamp" in pod["metadata"]
