"""istiod, as its debug pages describe what it knows; every pod of it is asked."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from splithorizon.durations import current as durations
from splithorizon.errors import EnvironmentBroke, TimedOut
from splithorizon.kube import Kube
from splithorizon.mesh import foreign
from splithorizon.mesh.gateway import Address
from splithorizon.observations.answers import Program
from splithorizon.waiting import NotYet, eventually

_CONTAINER = "discovery"
_COMMAND = ("/usr/local/bin/pilot-discovery", "request")
_KINDS = ("cluster", "listener", "route", "endpoint")


@dataclass(frozen=True)
class RemoteCluster:
    """A cluster as one istiod watches it; its own has no secret."""

    istiod: str
    cluster_id: str
    secret: str
    status: str


@dataclass(frozen=True)
class RemoteSecret:
    """What tells istiod of another cluster: a Secret's data key, and the API server that it leads to."""

    name: str
    cluster_id: str
    server: str


@dataclass(frozen=True)
class ProxySync:
    """What one istiod sent to a proxy that is connected to it, and has no word of its taking it."""

    istiod: str
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
        self._labels = f"app=istiod,{foreign.REVISION_LABEL}={self._revision}"

    @cached_property
    def _programs(self) -> Mapping[str, Program]:
        pods = self._kube.list("Pod", self._namespace, self._labels, "status.phase=Running")
        names = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        if not names:
            raise EnvironmentBroke(
                f"no istiod runs in the {self._kube.role}",
                seen=f"{len(pods)} pods with {self._labels} in {self._namespace}",
                next_command=f"{self._kube.kubectl} -n {self._namespace} get pods",
            )
        return {name: Program(self._kube, self._namespace, name, _CONTAINER, _COMMAND) for name in names}

    def network_gateways(self) -> Mapping[str, Mapping[str, frozenset[Address]]]:
        """For each istiod the gateways that it found, by network."""
        path = "/debug/networkz"
        found: dict[str, Mapping[str, frozenset[Address]]] = {}
        for istiod, program in self._programs.items():
            answer = program.get(path)
            with program.known_form(path):
                networks: dict[str, set[Address]] = {}
                for one in answer:
                    networks.setdefault(one["Network"], set()).add(Address(one["Addr"], one["Port"]))
                found[istiod] = {network: frozenset(addresses) for network, addresses in networks.items()}
        return found

    def mesh_networks(self) -> Mapping[str, Any]:
        """The networks of its ConfigMap, by name, as Istio's ``MeshNetworks`` has them."""
        return foreign.mesh_networks(self._kube, self._namespace, self._revision)

    def remote_secrets(self) -> tuple[RemoteSecret, ...]:
        """Every data key of its remote secrets; one that cannot be read leads nowhere."""
        secrets = self._kube.list("Secret", self._namespace, "istio/multiCluster=true")
        return tuple(
            RemoteSecret(secret["metadata"]["name"], cluster_id, _server(encoded))
            for secret in secrets
            for cluster_id, encoded in (secret.get("data") or {}).items()
        )

    def clusters(self) -> tuple[RemoteCluster, ...]:
        """Every cluster that each istiod watches, its own too."""
        path = "/debug/clusterz"
        found: list[RemoteCluster] = []
        for istiod, program in self._programs.items():
            answer = program.get(path)
            with program.known_form(path):
                found += [RemoteCluster(istiod, one["id"], one["secretName"], one["syncStatus"]) for one in answer]
        return tuple(found)

    def settled_proxies(self, wanted: Collection[str]) -> tuple[ProxySync, ...]:
        """Every proxy, once those wanted are there and no push is on its way; as they are when it is time."""
        latest: tuple[ProxySync, ...] = ()

        def look() -> None:
            nonlocal latest
            latest = self.proxies()
            absent = set(wanted) - {one.proxy for one in latest}
            if absent or any(one.unacknowledged for one in latest):
                raise NotYet(f"{len(absent)} proxies not connected, or a push not acknowledged")

        with suppress(TimedOut):
            eventually("every proxy is synced", look, within=durations().push_acknowledged)
        return latest

    def proxies(self) -> tuple[ProxySync, ...]:
        """Every proxy, by the istiod that it is connected to."""
        path = "/debug/syncz"
        found: list[ProxySync] = []
        for istiod, program in self._programs.items():
            answer = program.get(path)
            with program.known_form(path):
                # Whoever asks for a debug page is listed too, for a while; a proxy names its cluster.
                found += [_proxy(istiod, one) for one in answer if "cluster_id" in one]
        return tuple(found)


def _server(encoded: str) -> str:
    # The token in it is passed over: nothing of it may come into a report.
    with suppress(ValueError, yaml.YAMLError, KeyError, TypeError, IndexError):
        kubeconfig = yaml.safe_load(base64.b64decode(encoded))
        return str(kubeconfig["clusters"][0]["cluster"]["server"])
    return ""


def _proxy(istiod: str, told: Mapping[str, Any]) -> ProxySync:
    # Where both are missing, istiod has nothing of that kind for this proxy; a gateway has no routes, for one.
    unacknowledged = tuple(kind for kind in _KINDS if told.get(f"{kind}_sent", "") != told.get(f"{kind}_acked", ""))
    return ProxySync(istiod, told["proxy"], told["cluster_id"], unacknowledged)
