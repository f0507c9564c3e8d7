"""One reading of a whole mesh: all clusters side by side, bounded in time and size, with what could not be read."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import TypeVar

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.diagnosis import scope
from splithorizon.diagnosis.access import ClusterAccess, Target
from splithorizon.diagnosis.reading import control_plane, objects, proxies
from splithorizon.diagnosis.reading.budget import READING_BYTES, Budget
from splithorizon.diagnosis.reading.model import (
    CLIENT,
    GATEWAY,
    SERVER,
    Cluster,
    Istiod,
    Object,
    Proxy,
    Reading,
    RemoteSecret,
    Unread,
    labels_of,
    name_of,
    namespace_of,
    spec_of,
)
from splithorizon.istio.gateway_services import named_port
from splithorizon.istio.names import DEFAULT_DOMAIN, GATEWAY_PORT, NETWORK_LABEL, REVISION_LABEL
from splithorizon.kube.api_server import Refused
from splithorizon.kube.pod_status import SIDECAR

T = TypeVar("T")

EASTWEST = "eastwestgateway"
# Requests to one API server at a time: no burden, and fewer than the client library keeps connections.
_AT_ONCE = 8
_PODS_OF_A_KIND = 2
# What a rule stumbles over in a page of an unknown form is the page's fault.
_UNREADABLE = (EnvironmentBroke, ValueError, KeyError, TypeError, AttributeError, OSError)


def read(
    clusters: Sequence[ClusterAccess],
    target: Target,
    revision: str = "",
    *,
    domain: str = "",
    since: datetime | None = None,
    seconds: float | None = None,
    size: int = READING_BYTES,
) -> Reading:
    """Read everything that decides between causes, once; access logs only ``since`` a moment.

    Without a ``domain`` that of istiod's own arguments is taken.
    What cannot be read is listed in the reading. Nothing is raised for it, nothing is created and nothing changed.
    """
    begun = time.monotonic()
    budget = Budget(timeouts().diagnosis_read if seconds is None else seconds, size)
    reader = _Reader(tuple(clusters), target, revision or "default", domain, since, budget)
    found = reader.clusters()
    return Reading(
        clusters=found,
        namespace=target.namespace,
        service=target.service,
        others=target.others,
        revision=revision or "default",
        domain=reader.domain,
        unread=tuple(sorted(reader.unread, key=str)),
        seconds=round(time.monotonic() - begun, 2),
        size=budget.spent,
    )


class _Reader:
    """Reads in two rounds: the objects, then the programs in the pods that the objects name."""

    def __init__(
        self,
        clusters: tuple[ClusterAccess, ...],
        target: Target,
        revision: str,
        domain: str,
        since: datetime | None,
        budget: Budget,
    ) -> None:
        self._clusters = clusters
        self._target = target
        self._revision = revision
        self._since = since
        self._budget = budget
        self._mutex = threading.Lock()
        self.unread: list[Unread] = []
        self.domain = domain or DEFAULT_DOMAIN
        self._knows_domain = bool(domain)

    def clusters(self) -> tuple[Cluster, ...]:
        """What was read of each cluster; what could not be read is in ``unread`` then."""
        with ExitStack() as stack:
            pools = {one.name: stack.enter_context(ThreadPoolExecutor(_AT_ONCE)) for one in self._clusters}
            listed = {one.name: list(self._objects(pools[one.name], one)) for one in self._clusters}
            secrets = {
                one.name: pools[one.name].submit(self._secrets, one)
                for one in self._clusters
                if one.control_plane == one.name
            }
            known = {name: _joined(futures) for name, futures in listed.items()}
            if any(scope.needs_exports(one) for found in known.values() for one in found.get("Deployment", ())):
                kind, place = "ServiceExport", self._target.namespace
                exports = {one.name: self._listed(pools[one.name], one, kind, place) for one in self._clusters}
                known = {name: {**one, **_joined([(kind, exports[name])])} for name, one in known.items()}
            if not self._knows_domain:
                self.domain = domain_of((pod for one in known.values() for pod in one.get("Pod", ())), self._revision)
            inside = {one.name: list(self._proxies(pools[one.name], one, known[one.name])) for one in self._clusters}
            istiods = {one.name: list(self._istiods(pools[one.name], one, known[one.name])) for one in self._clusters}
            ended = {
                one.name: self._logged_before_crash(pools[one.name], one, known[one.name]) for one in self._clusters
            }
            return tuple(
                Cluster(
                    one.name,
                    one.network,
                    one.cluster_id,
                    one.system_namespace,
                    one.control_plane,
                    one.gateways,
                    objects=known[one.name],
                    secrets=tuple(secrets[one.name].result() or ()) if one.name in secrets else (),
                    istiods=tuple(future.result() for future in istiods[one.name]),
                    proxies=tuple(future.result() for future in inside[one.name]),
                    logged_before_crash={pod: future.result() or "" for pod, future in ended[one.name].items()},
                    revision=one.revision,
                    external_istiod=one.external is not None,
                    istiod_is_asked=one.istiod_is_asked,
                )
                for one in self._clusters
            )

    def _attempt(self, cluster: str, what: str, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except _UNREADABLE as error:
            with self._mutex:
                self.unread.append(Unread(cluster, what, _reason(error)))
            return None

    def _objects(
        self, pool: ThreadPoolExecutor, access: ClusterAccess
    ) -> Iterator[tuple[str, Future[list[Object] | None]]]:
        for kind, namespace, labels in objects.kinds(access, self._target):
            yield kind, self._listed(pool, access, kind, namespace, labels)

        def maps() -> list[Object]:
            return objects.config_maps(access, self._target, access.revision or self._revision, self._budget)

        yield "ConfigMap", pool.submit(self._attempt, access.name, "ConfigMaps", maps)

        def injector() -> list[Object]:
            return objects.injector_values(access, access.revision or self._revision, self._budget)

        yield "ConfigMap", pool.submit(self._attempt, access.name, "the injector's values", injector)
        if access.running_istiod is access.kube:
            return
        for kind in ("Pod", "Deployment"):

            def of_istiod(kind: str = kind) -> list[Object]:
                return objects.listed(access.running_istiod, kind, access.system_namespace, "app=istiod", self._budget)

            yield kind, pool.submit(self._attempt, access.name, f"{kind} objects of the external istiod", of_istiod)

    def _listed(
        self, pool: ThreadPoolExecutor, access: ClusterAccess, kind: str, namespace: str | None, labels: str = ""
    ) -> Future[list[Object] | None]:
        where = f"{kind} objects" + (f" in {namespace}" if namespace else "") + (f" with {labels}" if labels else "")
        step = partial(objects.listed, access.kube, kind, namespace, labels, self._budget)
        return pool.submit(self._attempt, access.name, where, step)

    def _secrets(self, access: ClusterAccess) -> list[RemoteSecret] | None:
        def step() -> list[RemoteSecret]:
            if not access.istiod_is_asked:
                raise EnvironmentBroke("istiod runs in a cluster that is not named")
            return objects.remote_secrets(access, self._clusters, self._budget)

        return self._attempt(access.name, "remote secrets", step)

    def _istiods(
        self, pool: ThreadPoolExecutor, access: ClusterAccess, known: dict[str, tuple[Object, ...]]
    ) -> Iterator[Future[Istiod]]:
        hosts, revision = self._hosts(), access.revision or self._revision
        for pod in known.get("Pod", ()):
            labels = labels_of(pod)
            if labels.get("app") == "istiod" and labels.get(REVISION_LABEL, "default") == revision and _runs(pod):
                yield pool.submit(
                    control_plane.read, access.running_istiod, namespace_of(pod), name_of(pod), hosts, self._budget,
                    lambda what, step: self._attempt(access.name, what, step),
                )  # fmt: skip

    def _logged_before_crash(
        self, pool: ThreadPoolExecutor, access: ClusterAccess, known: dict[str, tuple[Object, ...]]
    ) -> dict[str, Future[str | None]]:
        def step(namespace: str, name: str) -> str:
            return control_plane.logged_before_crash(access.running_istiod, namespace, name, self._budget)

        return {
            name_of(pod): pool.submit(
                self._attempt, access.name, f"last lines of istiod {name_of(pod)}",
                partial(step, namespace_of(pod), name_of(pod)),
            )
            for pod in known.get("Pod", ())
            if labels_of(pod).get("app") == "istiod" and _has_crashed(pod)
        }  # fmt: skip

    def _proxies(
        self, pool: ThreadPoolExecutor, access: ClusterAccess, known: dict[str, tuple[Object, ...]]
    ) -> Iterator[Future[Proxy]]:
        ports = tuple(
            int(port["port"])
            for service in known.get("Service", ())
            if name_of(service) in self._target.services and namespace_of(service) == self._target.namespace
            for port in spec_of(service).get("ports") or []
        )
        across = tuple(dict.fromkeys((GATEWAY_PORT, *_across(known))))
        gateways = proxies.Wanted(self._hosts(), across, self._since)
        others = proxies.Wanted(self._hosts(), tuple(dict.fromkeys(ports)), self._since)
        for kind, pod in chosen(known, self._target):
            yield pool.submit(
                proxies.read, access.kube, kind, namespace_of(pod), name_of(pod),
                wanted=gateways if kind == GATEWAY else others, budget=self._budget,
                attempt=lambda what, step: self._attempt(access.name, what, step),
            )  # fmt: skip

    def _hosts(self) -> tuple[str, ...]:
        return tuple(f"{service}.{self._target.namespace}.svc.{self.domain}" for service in self._target.services)


_OF_PROXY = re.compile(r"\$\(POD_NAMESPACE\)\.svc\.(\S+)")


def domain_of(pods: Iterable[Object], revision: str) -> str:
    """The DNS domain by which istiod names Services: its own argument, else a sidecar's, else Istio's default."""
    found = []
    for pod in pods:
        for container in [part for key in ("containers", "initContainers") for part in spec_of(pod).get(key) or []]:
            given = _argument(container, "--domain")
            labels = labels_of(pod)
            if container.get("name") == "discovery" and given:
                if labels.get(REVISION_LABEL, "default") == revision:
                    return given
            elif container.get("name") == SIDECAR and (match := _OF_PROXY.fullmatch(given)):
                found.append(match[1])
    return found[0] if found else DEFAULT_DOMAIN


def _argument(container: Object, name: str) -> str:
    """The value of an argument, which is the next word or stands behind an equals sign; empty without it."""
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    for number, word in enumerate(words):
        if word == name and number + 1 < len(words):
            return str(words[number + 1])
        if str(word).startswith(f"{name}="):
            return str(word).partition("=")[2]
    return ""


def _across(known: dict[str, tuple[Object, ...]]) -> Iterator[int]:
    """The ports at which gateways listen for other networks, by their Services."""
    for service in known.get("Service", ()):
        if NETWORK_LABEL not in labels_of(service) and labels_of(service).get("istio") != EASTWEST:
            continue
        port = named_port(labels_of(service))
        for one in scope.ports(service):
            if one.get("port") == port and isinstance(target := one.get("targetPort", one["port"]), int):
                yield target


def chosen(known: dict[str, tuple[Object, ...]], target: Target) -> Iterator[tuple[str, Object]]:
    """The pods whose Envoys are read: two clients, two pods of the Service and two of each gateway, at most.

    Those that are ready come first. A pod of the Service is a client where the namespace has no other.
    """
    pods = [pod for pod in known.get("Pod", ()) if _runs(pod) and scope.has_sidecar(pod)]
    pods.sort(key=lambda pod: not scope.is_ready(pod))
    ours = [pod for pod in pods if namespace_of(pod) == target.namespace]
    service = next(
        (
            one
            for one in known.get("Service", ())
            if name_of(one) == target.service and namespace_of(one) == target.namespace
        ),
        None,
    )
    behind = [pod for pod in ours if service and scope.selects(spec_of(service).get("selector"), labels_of(pod))]
    # One that is named as the Service's others are serves too, whatever the selector says now.
    behind = behind or [pod for pod in ours if labels_of(pod).get("app") == target.service]
    gateways = [pod for pod in pods if is_gateway(pod, known.get("Service", ()))]
    clients = named(known, target, pods)
    if not clients:
        wanted = dict(part.split("=", 1) for part in target.client.split(",") if part)
        there = [pod for pod in pods if namespace_of(pod) == target.senders_in] if wanted else ours
        clients = [
            pod
            for pod in there
            if (wanted.items() <= labels_of(pod).items() if wanted else pod not in behind) and pod not in gateways
        ]
    for pod in (clients or behind)[:_PODS_OF_A_KIND]:
        yield CLIENT, pod
    for pod in behind[:_PODS_OF_A_KIND]:
        yield SERVER, pod
    for pod in gateways[:_PODS_OF_A_KIND]:
        yield GATEWAY, pod


def named(known: dict[str, tuple[Object, ...]], target: Target, pods: Sequence[Object]) -> list[Object]:
    """Those of some pods that the target's client names: one pod, or those of a Deployment; none without a name."""
    if not target.client_name:
        return []
    there = [pod for pod in pods if namespace_of(pod) == target.senders_in]
    if found := [pod for pod in there if name_of(pod) == target.client_name]:
        return found
    for one in known.get("Deployment", ()):
        if (namespace_of(one), name_of(one)) == (target.senders_in, target.client_name):
            selector = spec_of(one).get("selector") or {}
            return [pod for pod in there if scope.matches_labels(selector, labels_of(pod))]
    return []


def is_gateway(pod: Object, services: Sequence[Object]) -> bool:
    """Whether a pod is of an east-west gateway: by Istio's own label, or because such a Service selects it."""
    if labels_of(pod).get("istio") == EASTWEST:
        return True
    return any(
        scope.selects(spec_of(service).get("selector"), labels_of(pod))
        for service in services
        if namespace_of(service) == namespace_of(pod)
        and (
            NETWORK_LABEL in labels_of(service)
            or any(port.get("port") == GATEWAY_PORT for port in scope.ports(service))
        )
        and labels_of(pod).get("app") != "istiod"
    )


def _has_crashed(pod: Object) -> bool:
    """Whether a container of a pod ended and was started again, and is not ready."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return any(one.get("restartCount") and not one.get("ready") for one in statuses)


def _runs(pod: Object) -> bool:
    """Whether a pod's Envoy can be asked: a pod whose sidecar is an init container is pending until that is ready."""
    status = pod.get("status") or {}
    started = any(
        one.get("name") == SIDECAR and "running" in (one.get("state") or {})
        for one in status.get("initContainerStatuses") or []
    )
    return (status.get("phase") == "Running" or started) and "deletionTimestamp" not in pod["metadata"]


def _joined(futures: Sequence[tuple[str, Future[list[Object] | None]]]) -> dict[str, tuple[Object, ...]]:
    """Objects by kind, each once; a kind of which nothing could be read is absent."""
    found: dict[str, dict[tuple[str, str], Object]] = {}
    for kind, future in futures:
        if (listed := future.result()) is not None:
            known = found.setdefault(kind, {})
            known.update({(namespace_of(one), name_of(one)): one for one in listed})
    return {kind: tuple(known.values()) for kind, known in found.items()}


def _reason(error: BaseException) -> str:
    if isinstance(error, Refused):
        return f"HTTP {error.status}: {error.message}"[:200]
    if isinstance(error, EnvironmentBroke):
        return f"{error.what}{f': {error.seen}' if error.seen else ''}"[:200]
    return f"{type(error).__name__}: {error}"[:200]
