"""Reads the state of istiod from its debug endpoints, in every pod of istiod."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import yaml
from cryptography import x509

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import discover, gateway_services, names
from splithorizon.istio.info import Address
from splithorizon.kube.client import Kube
from splithorizon.traffic import tls_probe
from splithorizon.traffic.debug_api import DebugApi

T = TypeVar("T")

_ISTIOD = "app=istiod"
_CONTAINER = "discovery"
_COMMAND = ("/usr/local/bin/pilot-discovery", "request")
_VERSION = ("/usr/local/bin/pilot-discovery", "version", "--output", "json")
# Where API servers ask it to inject and to validate.
_WEBHOOKS = 15017
_KINDS = ("cluster", "listener", "route", "endpoint")


@dataclass(frozen=True)
class WatchedCluster:
    """A cluster that an istiod watches. Its status is ``synced``, ``syncing``, ``timeout`` or ``closed``."""

    cluster_id: str
    status: str


@dataclass(frozen=True)
class RemoteSecret:
    """One data key of a remote secret: the id of another cluster, and the API server in its kubeconfig."""

    name: str
    cluster_id: str
    server: str


@dataclass(frozen=True)
class Synchronisation:
    """The synchronisation of the proxies of a cluster with istiod.

    ``wanted`` are the proxies that have to be connected, ``found`` those of them that are. ``refused`` has the number
    of updates that a proxy refused since its start, for the wanted proxies with an unacknowledged push. ``others`` are
    the cluster's other proxies, of workloads that are not the run's: of a busy mesh some always have a pending push.
    """

    wanted: tuple[str, ...]
    found: tuple[ProxySync, ...]
    refused: Mapping[str, Mapping[str, int]]
    others: tuple[ProxySync, ...] = ()


@dataclass(frozen=True)
class ProxySync:
    """A connected proxy, and the kinds of configuration whose last push it has not acknowledged.

    ``version`` is the version of Istio that it says it is of; empty where it says none.
    """

    proxy: str
    cluster_id: str
    unacknowledged: tuple[str, ...]
    version: str = ""


class ControlPlane:
    """The istiod of one revision.

    Every method that reads a debug endpoint raises EnvironmentBroke if istiod does not answer, or answers in an unknown
    format.
    """

    def __init__(
        self, kube: Kube, namespace: str, revision: str, *, rules: Kube | None = None, secrets: Kube | None = None
    ) -> None:
        """Set the namespace and the revision, which is empty for the default one; no request is sent.

        ``rules`` and ``secrets`` are the clusters in which it reads its rules and its remote secrets, if these are not
        the cluster that runs it.
        """
        self._kube = kube
        self._rules = rules or kube
        self._secrets = secrets or kube
        self._namespace = namespace
        self._revision = names.revision_name(revision)

    def network_gateways(
        self, *, found_in: Collection[str] | None = None
    ) -> Mapping[str, Mapping[str, frozenset[Address]]]:
        """The gateways of each network, by istiod pod and by network.

        With ``found_in`` those alone that istiod found in one of these clusters, by id; the empty id stands for
        meshNetworks, where a gateway belongs to no cluster.
        """
        return self._get("/debug/networkz", partial(_gateways, found_in=found_in))

    def mesh_networks(self) -> Mapping[str, Any]:
        """The meshNetworks in istiod's ConfigMap, by name, with the fields of Istio's ``MeshNetworks``."""
        own = discover.mesh_networks(self._kube, self._namespace, self._revision)
        if self._rules is self._kube:
            return own
        return {**discover.mesh_networks(self._rules, self._namespace, self._revision), **own}

    def remote_secrets(self) -> tuple[RemoteSecret, ...]:
        """Every data key of the remote secrets; the server is empty if the kubeconfig cannot be parsed."""
        secrets = self._secrets.list("Secret", self._namespace, "istio/multiCluster=true")
        return tuple(
            RemoteSecret(secret["metadata"]["name"], cluster_id, _server(encoded))
            for secret in secrets
            for cluster_id, encoded in (secret.get("data") or {}).items()
        )

    def webhook_chain(self) -> tuple[x509.Certificate, ...]:
        """The certificates that istiod serves to API servers, its own first."""
        pod = self._istiods(f"{_ISTIOD},{names.REVISION_LABEL}={self._revision}")[0]
        with self._kube.port_forward(pod, self._namespace, _WEBHOOKS, within=timeouts().small_command) as stream:
            return tls_probe.probe(stream, server_name=f"istiod.{self._namespace}.svc", protocols=(b"http/1.1",)).chain

    def clusters(self) -> Mapping[str, tuple[WatchedCluster, ...]]:
        """The clusters that each istiod pod watches, its own included, by istiod pod."""
        return self._get("/debug/clusterz", _clusters)

    def proxies(self, wanted: Collection[str]) -> tuple[ProxySync, ...]:
        """The proxies that are connected to any istiod, of any revision, because a gateway may have another one.

        Waits until the ``wanted`` proxies are connected and have acknowledged each kind at least once; after the
        timeout returns the last state. A mesh with changes always has some pending pushes: ``unacknowledged`` has only
        the kinds that were pending in every attempt.
        """
        latest: tuple[ProxySync, ...] = ()
        always_pending: set[tuple[str, str]] | None = None

        def require_synced() -> None:
            nonlocal latest, always_pending
            latest = self._proxies()
            pending = {(proxy.proxy, kind) for proxy in latest for kind in proxy.unacknowledged}
            always_pending = pending if always_pending is None else always_pending & pending
            absent = set(wanted) - {proxy.proxy for proxy in latest}
            ours = [kind for proxy, kind in always_pending if proxy in wanted]
            if absent or ours:
                raise NotYet(f"{len(absent)} proxies not connected, {len(ours)} pushes not acknowledged")

        with suppress(TimedOut):
            eventually("every proxy is synced", require_synced, within=timeouts().push_acknowledged)
        stuck = always_pending or set()
        return tuple(
            replace(proxy, unacknowledged=tuple(kind for kind in proxy.unacknowledged if (proxy.proxy, kind) in stuck))
            for proxy in latest
        )

    def connected(self, proxies: Collection[str]) -> frozenset[str]:
        """Which of these proxies are connected to any istiod, of any revision.

        A proxy is named as istiod names it, ``<pod>.<namespace>``; only their namespaces are asked for.
        """
        namespaces = sorted({name.rpartition(".")[2] for name in proxies})
        known = {proxy.proxy for namespace in namespaces for proxy in self._proxies(namespace)}
        return frozenset(known & set(proxies))

    def proxy_versions(self) -> Mapping[str, Mapping[str, int]]:
        """By the id of a cluster, of how many connected proxies each version of Istio is, as they say themselves."""
        known = self._proxies()
        return {
            cluster_id: Counter(one.version or "unknown" for one in known if one.cluster_id == cluster_id)
            for cluster_id in {one.cluster_id for one in known}
        }

    def proxies_by_istiod(self) -> Mapping[str, tuple[ProxySync, ...]]:
        """The proxies that are connected to each istiod pod, of any revision, by the pod."""
        return self._get("/debug/syncz", _proxies, of_any_revision=True)

    def versions(self) -> Mapping[str, str]:
        """The version of Istio that the program of each istiod pod, of any revision, says it is of."""
        return {
            istiod: DebugApi(self._kube, self._namespace, istiod, _CONTAINER, _VERSION).read(_version)
            for istiod in self._istiods(_ISTIOD)
        }

    def _proxies(self, namespace: str = "") -> tuple[ProxySync, ...]:
        """The proxies of a namespace, or all of them."""
        path = f"/debug/syncz?namespace={namespace}" if namespace else "/debug/syncz"
        by_istiod = self._get(path, _proxies, of_any_revision=True)
        return tuple(proxy for proxies in by_istiod.values() for proxy in proxies)

    def _get(self, path: str, read: Callable[[Any], T], *, of_any_revision: bool = False) -> dict[str, T]:
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
                f"no istiod runs in the {self._kube.cluster}",
                seen=f"{len(pods)} pods with {labels} in {self._namespace}",
                next_command=f"{self._kube.kubectl} -n {self._namespace} get pods",
            )
        return names


def _server(encoded: str) -> str:
    # Only the server is returned: the token must not reach a report.
    with suppress(ValueError, yaml.YAMLError, KeyError, TypeError, IndexError):
        kubeconfig = yaml.safe_load(base64.b64decode(encoded))
        return str(kubeconfig["clusters"][0]["cluster"]["server"])
    return ""


def _gateways(networkz: Any, *, found_in: Collection[str] | None) -> dict[str, frozenset[Address]]:
    usable = gateway_services.for_sidecars(networkz or [])
    gateways = [
        (entry["Network"], Address(entry["Addr"], entry["Port"]))
        for entry in usable
        if found_in is None or entry.get("Cluster", names.NO_CLUSTER) in found_in
    ]
    return {name: frozenset(address for network, address in gateways if network == name) for name, _ in gateways}


def _version(printed: Any) -> str:
    return str(printed["clientVersion"]["version"])


def _clusters(clusterz: Any) -> tuple[WatchedCluster, ...]:
    return tuple(WatchedCluster(entry["id"], entry["syncStatus"]) for entry in clusterz or [])


def _proxies(syncz: Any) -> tuple[ProxySync, ...]:
    # Clients of the debug endpoints are listed too; only proxies have a cluster id.
    return tuple(_proxy(entry) for entry in syncz or [] if "cluster_id" in entry)


def _proxy(entry: Mapping[str, Any]) -> ProxySync:
    # If both are missing, istiod has no configuration of that kind for the proxy; a gateway has no routes, for example.
    unacknowledged = tuple(kind for kind in _KINDS if entry.get(f"{kind}_sent", "") != entry.get(f"{kind}_acked", ""))
    return ProxySync(entry["proxy"], entry["cluster_id"], unacknowledged, str(entry.get("istio_version", "")))
