"""Reads what decides about the conditions of a mesh, before anything is written: plain data that tests can make up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import yaml

from splithorizon.base import parallel
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.diagnosis.reading import objects
from splithorizon.diagnosis.reading.budget import Budget
from splithorizon.diagnosis.reading.model import Object
from splithorizon.istio.info import ClusterInfo, ExternalIstiod, MeshInfo
from splithorizon.istio.names import NETWORK_LABEL, REVISION_LABEL, config_map_of
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube
from splithorizon.kube.pod_status import SIDECAR, counts

T = TypeVar("T")

# Of the root namespace: what binds every workload of the mesh.
_ROOT_KINDS = ("AuthorizationPolicy", "DestinationRule", "EnvoyFilter", "Sidecar", "Telemetry")
# Of a namespace that was there before the run, and binds the run's pods too: in every cluster, and where istiod reads.
_NAMESPACE_KINDS = ("NetworkPolicy", "ResourceQuota")
_RULES_OF_NAMESPACE = (*_ROOT_KINDS, "PeerAuthentication", "VirtualService")
_OPENSHIFT = "/apis/security.openshift.io/v1"


@dataclass(frozen=True)
class ClusterConditions:
    """One cluster. What only an istiod has is empty where none runs.

    ``mesh`` is the mesh configuration as istiod's ConfigMaps have it, ``environment`` and ``arguments`` are istiod's.
    ``objects`` are by kind: those of the root namespace, of the whole cluster what has no namespace, and those of the
    run's namespace if it was there before.
    """

    name: str
    system_namespace: str = "istio-system"
    network: str = ""
    gateway_namespaces: tuple[str, ...] = ()
    has_gateway: bool = True
    runs_istiod: bool = True
    version: str = ""
    """The version of the istiod that manages it."""
    mesh: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    objects: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    gateway_images: Mapping[str, str] = field(default_factory=dict)
    """The proxy's image of each running gateway pod, by namespace and name."""
    external_istiod: ExternalIstiod | None = None
    """Where its own istiod runs, if that is another cluster."""
    openshift: bool = False
    unread: tuple[str, ...] = ()
    """What could not be read, each with the reason."""

    @property
    def root_namespace(self) -> str:
        """The namespace whose rules hold for the whole mesh."""
        return str(self.mesh.get("rootNamespace") or self.system_namespace)

    @property
    def trust_domain(self) -> str:
        """The trust domain in which istiod certifies workloads."""
        return str(self.mesh.get("trustDomain") or "cluster.local")

    @property
    def domain(self) -> str:
        """The DNS domain of the cluster's Services, as istiod is started with it."""
        words = [part for argument in self.arguments for part in argument.split("=", 1)]
        for flag, value in pairwise(words):
            if flag == "--domain" and value:
                return value
        return "cluster.local"

    def all(self, kind: str) -> tuple[Object, ...]:
        """Every object of a kind that was read."""
        return self.objects.get(kind, ())


@dataclass(frozen=True)
class MeshConditions:
    """The whole mesh, with the namespace that the run will have and the labels that it will get in each cluster.

    In a namespace that was there before the run, these are the labels that it has, and the run's objects have
    ``object_labels``.
    """

    clusters: tuple[ClusterConditions, ...]
    namespace: str = "splithorizon-run"
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    object_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def namespace_exists(self) -> bool:
        """Whether the namespace was there before the run."""
        return bool(self.object_labels)

    @property
    def control_planes(self) -> tuple[ClusterConditions, ...]:
        """The clusters that run istiod, and whose Istio configuration is in force."""
        return tuple(one for one in self.clusters if one.runs_istiod)

    @property
    def domain(self) -> str:
        """The DNS domain of Services."""
        return next((one.domain for one in self.control_planes), "cluster.local")

    def host(self, service: str) -> str:
        """The name of a Service of the run in Istio."""
        return f"{service}.{self.namespace}.svc.{self.domain}"


def read(
    kubes: Mapping[str, Kube],
    info: MeshInfo,
    *,
    labels: Mapping[str, Mapping[str, str]],
    object_labels: Mapping[str, str] | None = None,
) -> MeshConditions:
    """Read the conditions of every cluster, all at once and within the time of one reading.

    What may not be read, or does not answer, is listed as unread. Nothing is created and nothing is changed.
    """
    budget = Budget(timeouts().diagnosis_read)
    found = parallel.for_each(kubes, lambda name: _Reader(kubes[name], info, info.clusters[name], budget).read())
    every = {name: {"kubernetes.io/metadata.name": info.namespace, **labels[name]} for name in kubes}
    return MeshConditions(tuple(found[name] for name in kubes), info.namespace, every, object_labels or {})


class _Reader:
    def __init__(self, kube: Kube, info: MeshInfo, cluster: ClusterInfo, budget: Budget) -> None:
        self._kube = kube
        running = cluster.running_istiod
        self._running = kube if running is cluster else Kube(running.kubeconfig, cluster.name, kubectl=running.kubectl)
        self._info = info
        self._cluster = cluster
        self._revision = info.revision_of(cluster.name)
        self._budget = budget
        self._unread: list[str] = []

    def read(self) -> ClusterConditions:
        cluster = self._cluster
        istiod = self._istiod() if cluster.istiod_is_asked else {}
        nothing: Mapping[str, Any] = {}
        has_config = istiod or (cluster.runs_istiod and not cluster.istiod_is_asked)
        mesh = self._attempt("mesh configuration", lambda: self._mesh(istiod), nothing) if has_config else nothing
        root = str(mesh.get("rootNamespace") or cluster.system_namespace)
        known = {"Node": self._listed("Node", None)}
        if cluster.runs_istiod:
            known |= {kind: self._listed(kind, root) for kind in _ROOT_KINDS}
        if self._info.namespace_exists:
            for kind in (*_NAMESPACE_KINDS, *(_RULES_OF_NAMESPACE if cluster.runs_istiod else ())):
                own = self._listed(kind, self._info.namespace) if self._info.namespace != root else ()
                known[kind] = (*known.get(kind, ()), *own)
        gateways = self._listed("Service", None, NETWORK_LABEL)
        known["Service"] = tuple(one for one in gateways if _of_network(one, cluster.network))
        return ClusterConditions(
            name=cluster.name,
            system_namespace=cluster.system_namespace,
            network=cluster.network,
            gateway_namespaces=tuple(dict.fromkeys(pods.namespace for pods in cluster.gateway_pods)),
            has_gateway=bool(cluster.gateways or cluster.gateway_pods),
            runs_istiod=cluster.runs_istiod,
            version=cluster.istio or self._info.versions.get("istio", ""),
            mesh=mesh,
            environment=_environment(istiod),
            arguments=tuple(map(str, istiod.get("args") or ())),
            objects=known,
            gateway_images=self._gateway_images(),
            external_istiod=cluster.external_istiod,
            openshift=self._serves(_OPENSHIFT),
            unread=tuple(self._unread),
        )

    def _attempt(self, what: str, step: Callable[[], T], otherwise: T) -> T:
        try:
            return step()
        except (EnvironmentBroke, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            reason = f"HTTP {error.status}" if isinstance(error, Refused) else str(error)
            self._unread.append(f"{what}: {reason[:200]}")
            return otherwise

    def _listed(self, kind: str, namespace: str | None, labels: str = "") -> tuple[Object, ...]:
        def step() -> tuple[Object, ...]:
            if kind == "Node":
                return tuple(map(_node, self._pages(kind)))
            return tuple(objects.listed(self._kube, kind, namespace, labels, self._budget))

        where = f" of {namespace}" if namespace else ""
        return self._attempt(f"{kind} objects{where}", step, ())

    def _pages(self, kind: str) -> Iterable[Object]:
        """The first page of a kind, whole: nodes of one cluster differ in little."""
        query = [("limit", "250")]
        answer = self._kube.read(path_of(kind, None), query, limit=self._budget.limit, within=self._budget.seconds)
        self._budget.spend(len(answer))
        return list(json.loads(answer).get("items") or [])

    def _istiod(self) -> Object:
        """The container of the istiod of this revision; empty where none runs."""
        revision = self._revision or "default"

        def step() -> Object:
            labels = f"app=istiod,{REVISION_LABEL}={revision}"
            for pod in objects.listed(self._running, "Pod", self._cluster.system_namespace, labels, self._budget):
                containers: list[Object] = pod["spec"]["containers"]
                return next((one for one in containers if one["name"] == "discovery"), containers[0])
            return {}

        return self._attempt("istiod's pod", step, {})

    def _gateway_images(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for pods in self._cluster.gateway_pods:
            step = partial(objects.listed, self._kube, "Pod", pods.namespace, pods.labels, self._budget)
            for pod in self._attempt(f"the gateways' pods of {pods.namespace}", step, list[Object]()):
                containers = (pod.get("spec") or {}).get("containers") or []
                image = next((str(one.get("image", "")) for one in containers if one.get("name") == SIDECAR), "")
                if image and counts(pod):
                    found[f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"] = image
        return found

    def _mesh(self, istiod: Object) -> Mapping[str, Any]:
        """The mesh configuration: that of the revision over the one that several revisions, or clusters, share.

        An external istiod has its own from where it runs, or else where it reads its rules.
        """
        own = self._config_map(self._running, config_map_of(self._revision))
        if not own and self._running is not self._kube:
            own = self._config_map(self._kube, config_map_of(self._revision))
        shared = _environment(istiod).get("SHARED_MESH_CONFIG")
        return {**(self._config_map(self._kube, shared) if shared else {}), **own}

    def _config_map(self, kube: Kube, name: str) -> dict[str, Any]:
        return _parsed(objects.config_map(kube, self._cluster.system_namespace, name, self._budget))

    def _serves(self, path: str) -> bool:
        with suppress(EnvironmentBroke):
            self._kube.request(path)
            return True
        return False


def _parsed(config_map: Object) -> dict[str, Any]:
    return yaml.safe_load((config_map.get("data") or {}).get("mesh", "")) or {}


def _environment(container: Object) -> dict[str, str]:
    return {one["name"]: str(one.get("value", "")) for one in container.get("env") or [] if "name" in one}


def _of_network(service: Object, network: str) -> bool:
    return bool(network) and (service["metadata"].get("labels") or {}).get(NETWORK_LABEL) == network


def _node(one: Object) -> Object:
    """Of a node only what decides where pods can run."""
    info = (one.get("status") or {}).get("nodeInfo") or {}
    return {
        "kind": "Node",
        "metadata": {"name": one["metadata"]["name"], "labels": one["metadata"].get("labels") or {}},
        "spec": {key: value for key, value in (one.get("spec") or {}).items() if key in ("taints", "unschedulable")},
        "os": str(info.get("operatingSystem", "")),
        "architecture": str(info.get("architecture", "")),
    }
