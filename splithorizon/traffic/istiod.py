"""istiod, as its debug pages describe what it knows; every pod of it is asked."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import yaml

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import discover, names
from splithorizon.istio.info import Address
from splithorizon.kube.client import Kube
from splithorizon.traffic.debug_api import DebugApi

T = TypeVar("T")

_ISTIOD = "app=istiod"
_CONTAINER = "discovery"
_COMMAND = ("/usr/local/bin/pilot-discovery", "request")
_KINDS = ("cluster", "listener", "route", "endpoint")


@dataclass(frozen=True)
class WatchedCluster:
    """A cluster as an istiod watches it: ``synced``, ``syncing``, ``timeout`` or ``closed``."""

    cluster_id: str
    status: str


@dataclass(frozen=True)
class RemoteSecret:
    """What tells istiod of another cluster: a Secret's data key, and the API server that it leads to."""

    name: str
    cluster_id: str
    server: str


@dataclass(frozen=True)
class Synchronisation:
    """How the proxies of a cluster stand: those that have to be connected, all that are, and what was refused.

    ``refused`` counts refusals since a proxy was started, of those among the first that lag behind.
    """

    wanted: tuple[str, ...]
    found: tuple[ProxySync, ...]
    refused: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class ProxySync:
    """A connected proxy, and the kinds of configuration of which it has not accepted what it was sent."""

    proxy: str
    cluster_id: str
    unacknowledged: tuple[str, ...]


class ControlPlane:
    """The istiod of one revision; raises EnvironmentBroke where it does not answer, or in a form that is not known."""

    def __init__(self, kube: Kube, namespace: str, revision: str) -> None:
        """Name its namespace and revision; nothing is asked yet."""
        self._kube = kube
        self._namespace = namespace
        self._revision = revision or "default"

    def network_gateways(self) -> Mapping[str, Mapping[str, frozenset[Address]]]:
        """For each istiod the gateways that it found, by network."""
        return self._ask("/debug/networkz", _gateways)

    def mesh_networks(self) -> Mapping[str, Any]:
        """The networks of its ConfigMap, by name, as Istio's ``MeshNetworks`` has them."""
        return discover.mesh_networks(self._kube, self._namespace, self._revision)

    def remote_secrets(self) -> tuple[RemoteSecret, ...]:
        """Every data key of its remote secrets; one that cannot be read leads nowhere."""
        secrets = self._kube.list("Secret", self._namespace, "istio/multiCluster=true")
        return tuple(
            RemoteSecret(secret["metadata"]["name"], cluster_id, _server(encoded))
            for secret in secrets
            for cluster_id, encoded in (secret.get("data") or {}).items()
        )

    def clusters(self) -> Mapping[str, tuple[WatchedCluster, ...]]:
        """For each istiod every cluster that it watches, its own too."""
        return self._ask("/debug/clusterz", _clusters)

    def proxies(self, wanted: Collection[str]) -> tuple[ProxySync, ...]:
        """Every proxy, by the istiod that it is connected to; of any revision, for a gateway may have another.

        Read once those wanted are connected and every one has acknowledged each kind at some time; otherwise as it is
        when time is up. In a mesh that is in use some push is always on its way: only what stays so is told of.
        """
        latest: tuple[ProxySync, ...] = ()
        lasting: set[tuple[str, str]] | None = None

        def look() -> None:
            nonlocal latest, lasting
            latest = self._proxies()
            pending = {(one.proxy, kind) for one in latest for kind in one.unacknowledged}
            lasting = pending if lasting is None else lasting & pending
            absent = set(wanted) - {one.proxy for one in latest}
            if absent or lasting:
                raise NotYet(f"{len(absent)} proxies not connected, {len(lasting)} pushes not acknowledged")

        with suppress(TimedOut):
            eventually("every proxy is synced", look, within=timeouts().push_acknowledged)
        left = lasting or set()
        return tuple(
            replace(one, unacknowledged=tuple(kind for kind in one.unacknowledged if (one.proxy, kind) in left))
            for one in latest
        )

    def connected_proxies(self) -> frozenset[str]:
        """Every proxy that is connected to an istiod, of any revision."""
        return frozenset(one.proxy for one in self._proxies())

    def _proxies(self) -> tuple[ProxySync, ...]:
        told = self._ask("/debug/syncz", _proxies, of_any_revision=True)
        return tuple(proxy for proxies in told.values() for proxy in proxies)

    def _ask(self, path: str, read: Callable[[Any], T], *, of_any_revision: bool = False) -> dict[str, T]:
        labels = _ISTIOD if of_any_revision else f"{_ISTIOD},{names.REVISION_LABEL}={self._revision}"
        return {
            istiod: DebugApi(self._kube, self._namespace, istiod, _CONTAINER, _COMMAND).get(path, read)
            for istiod in self._istiods(labels)
        }

    def _istiods(self, labels: str) -> list[str]:
        pods = self._kube.list("Pod", self._namespace, labels, "status.phase=Running")
        names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        if not names:
            raise EnvironmentBroke(
                f"no istiod runs in the {self._kube.role}",
                seen=f"{len(pods)} pods with {labels} in {self._namespace}",
                next_command=f"{self._kube.kubectl} -n {self._namespace} get pods",
            )
        return names


def _server(encoded: str) -> str:
    # The token in it is passed over: nothing of it may come into a report.
    with suppress(ValueError, yaml.YAMLError, KeyError, TypeError, IndexError):
        kubeconfig = yaml.safe_load(base64.b64decode(encoded))
        return str(kubeconfig["clusters"][0]["cluster"]["server"])
    return ""


def _gateways(networkz: Any) -> dict[str, frozenset[Address]]:
    found = [(one["Network"], Address(one["Addr"], one["Port"])) for one in networkz or []]
    return {name: frozenset(address for network, address in found if network == name) for name, _ in found}


def _clusters(clusterz: Any) -> tuple[WatchedCluster, ...]:
    return tuple(WatchedCluster(one["id"], one["syncStatus"]) for one in clusterz or [])


def _proxies(syncz: Any) -> tuple[ProxySync, ...]:
    # Whoever asks for a debug page is listed too, for a while; a proxy names its cluster.
    return tuple(_proxy(one) for one in syncz or [] if "cluster_id" in one)


def _proxy(told: Mapping[str, Any]) -> ProxySync:
    # Where both are missing, istiod has nothing of that kind for this proxy; a gateway has no routes, for one.
    unacknowledged = tuple(kind for kind in _KINDS if told.get(f"{kind}_sent", "") != told.get(f"{kind}_acked", ""))
    return ProxySync(told["proxy"], told["cluster_id"], unacknowledged)
