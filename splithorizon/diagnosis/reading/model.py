"""A reading of a mesh: plain data that can be saved, loaded and made up. It holds no credential.

Objects of Kubernetes and Istio are as their API server gives them, without managed fields. What Envoy and istiod say is
cut down to what a rule looks at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter

Object = dict[str, Any]

CLIENT, SERVER, GATEWAY = "client", "server", "gateway"


@dataclass(frozen=True)
class Unread:
    """Something that could not be read, and why."""

    cluster: str
    what: str
    reason: str

    def __str__(self) -> str:
        """As a sentence has it."""
        return f"{self.what} of {self.cluster}: {self.reason}"


@dataclass(frozen=True)
class Host:
    """One endpoint as an Envoy holds it; counters are since the endpoint was added."""

    address: str
    weight: int = 1
    priority: int = 0
    locality: str = ""
    health: tuple[str, ...] = ()
    """What keeps it from being used, in Envoy's words; empty where it is healthy."""
    requests: int = 0
    successes: int = 0
    errors: int = 0
    connect_failures: int = 0
    connections: int = 0
    """Begun, with those that failed; of a TCP service nothing else is counted."""

    @property
    def never_answered(self) -> bool:
        """Whether no connection to it was ever made, of those that were tried.

        One may still be under way; but of HTTP a request that failed without being sent found none.
        """
        if not self.connect_failures or self.successes:
            return False
        return self.connections <= self.connect_failures or (self.errors > 0 and not self.requests)

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.address.rpartition(":")[2] or 0)


@dataclass(frozen=True)
class LogCount:
    """Lines of an access log that differ in nothing that a rule looks at, with their number."""

    count: int
    code: int = 0
    flags: str = ""
    details: str = ""
    """Of a request its response code's details; of a connection why Envoy ended it."""
    cluster: str = ""
    upstream: str = ""
    authority: str = ""
    failure: str = ""
    """Why the connection to the upstream failed, in Envoy's words."""
    route: str = ""


@dataclass(frozen=True)
class Proxy:
    """One Envoy: of a client, of a pod of the Service, or of an east-west gateway.

    ``endpoints`` and ``clusters`` are by the name of the Envoy cluster and only of the Services that are diagnosed,
    ``hosts`` are their virtual hosts, ``listeners`` those for them. ``listening`` has the listener's name by its port.
    ``rejected`` is what it refused and has not accepted since.
    """

    kind: str
    pod: str
    namespace: str
    metadata: Object = field(default_factory=dict)
    endpoints: Mapping[str, tuple[Host, ...]] = field(default_factory=dict)
    clusters: Mapping[str, Object] = field(default_factory=dict)
    hosts: tuple[Object, ...] = ()
    listeners: tuple[Object, ...] = ()
    listening: Mapping[int, str] = field(default_factory=dict)
    rejected: tuple[Object, ...] = ()
    certificate: str = ""
    """Its own certificate and those that came with it, in PEM; no key."""
    trusted: str = ""
    """The roots that it trusts, in PEM."""
    log: tuple[LogCount, ...] = ()
    read: tuple[str, ...] = ()
    """Which of its pages were read: a page that is absent here says nothing by being empty."""


@dataclass(frozen=True)
class Istiod:
    """What one istiod says of the mesh; a page that was not read is None."""

    pod: str
    clusters: tuple[Object, ...] | None = None
    networks: tuple[Object, ...] | None = None
    proxies: tuple[Object, ...] | None = None
    mesh: Object | None = None
    shards: Object | None = None
    """The endpoints that it knows of the diagnosed Services, by host name, then by cluster id."""
    certificate: str = ""
    """The chain that it serves at its port for proxies, its own certificate first, in PEM."""


OTHER_AUTHORITY = "none of the clusters"


@dataclass(frozen=True)
class RemoteSecret:
    """One data key of a remote secret; the credential in it is left out."""

    namespace: str
    name: str
    cluster_id: str
    server: str = ""
    leads_to: str = ""
    """Name of the cluster whose API server it leads to, as far as its CA, its token and its key show."""
    authority: str = ""
    """Name of the cluster whose CA it has; ``OTHER_AUTHORITY`` where it is none's, empty where that is not known."""
    answer: int = 0
    """HTTP status by which that API server answers its token; 0 where it was not asked."""
    refused: str = ""
    """The first resource whose list it refuses, where it does not refuse them all; empty where it refuses none."""
    not_allowed: str = ""
    """The field of its kubeconfig's user that istiod does not take from a secret; empty without one."""
    ends: str = ""
    """When its credential ends, in ISO 8601; empty where it does not, or where that cannot be read."""


@dataclass(frozen=True)
class Cluster:
    """One cluster: what it is in the mesh, its objects by kind, its istiods and the proxies that matter."""

    name: str
    network: str
    cluster_id: str
    system_namespace: str
    control_plane: str
    gateways: tuple[str, ...] = ()
    objects: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    secrets: tuple[RemoteSecret, ...] = ()
    istiods: tuple[Istiod, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    logged_before_crash: Mapping[str, str] = field(default_factory=dict)
    """What an istiod that crashes again and again logged last, by its pod's name."""
    revision: str = ""
    """The revision of its istiod; empty where it is the whole mesh's."""
    external_istiod: bool = False
    """Whether its own istiod runs in a cluster that is none of the mesh's."""
    istiod_is_asked: bool = True
    """Whether the cluster that runs its own istiod was read: that of an external one may not be named."""

    @property
    def runs_istiod(self) -> bool:
        """Whether its own istiod manages it."""
        return self.control_plane == self.name

    def all(self, kind: str, namespace: str | None = None) -> tuple[Object, ...]:
        """Every object of a kind that was read, of all namespaces without one."""
        known = self.objects.get(kind, ())
        return known if namespace is None else tuple(one for one in known if namespace_of(one) == namespace)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object, None where there is none among those read."""
        return next((one for one in self.all(kind, namespace) if name_of(one) == name), None)

    def read(self, kind: str) -> bool:
        """Whether a kind was read at all."""
        return kind in self.objects

    def of(self, kind: str) -> tuple[Proxy, ...]:
        """Its proxies of one kind."""
        return tuple(one for one in self.proxies if one.kind == kind)


@dataclass(frozen=True)
class Reading:
    """The whole mesh at one moment, as far as it could be read."""

    clusters: tuple[Cluster, ...]
    namespace: str
    service: str
    others: tuple[str, ...] = ()
    revision: str = "default"
    domain: str = "cluster.local"
    unread: tuple[Unread, ...] = ()
    seconds: float = 0.0
    size: int = 0
    """Bytes that were read."""

    @property
    def host(self) -> str:
        """The name of the Service in Istio."""
        return self.host_of(self.service)

    def host_of(self, service: str) -> str:
        """The name of a Service of the namespace in Istio."""
        return f"{service}.{self.namespace}.svc.{self.domain}"

    @property
    def services(self) -> tuple[str, ...]:
        """The Service itself first."""
        return (self.service, *self.others)

    @property
    def client_namespaces(self) -> tuple[str, ...]:
        """Where the clients are whose proxies were read; the Service's own namespace where there are none."""
        found = (proxy.namespace for cluster in self.clusters for proxy in cluster.of(CLIENT))
        return tuple(dict.fromkeys(found)) or (self.namespace,)

    def __getitem__(self, name: str) -> Cluster:
        """A cluster by its name."""
        return next(one for one in self.clusters if one.name == name)

    @property
    def config_clusters(self) -> tuple[Cluster, ...]:
        """Those whose Istio configuration is in force: an istiod runs there."""
        return tuple(one for one in self.clusters if one.runs_istiod)

    def revision_of(self, cluster: Cluster) -> str:
        """The revision of the istiod that manages a cluster."""
        return cluster.revision or self.revision

    def configs(self, kind: str) -> Iterator[tuple[Cluster, Object]]:
        """Every object of a kind of Istio configuration that is in force, with its cluster."""
        for cluster in self.config_clusters:
            for one in cluster.all(kind):
                yield cluster, one

    def to_json(self) -> bytes:
        """Serialise."""
        return _form().dump_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Reading:
        """Read what ``to_json`` wrote; raises ValueError for anything else."""
        return _form().validate_json(text)


@cache
def _form() -> TypeAdapter[Reading]:
    return TypeAdapter(Reading)


def name_of(one: Mapping[str, Any]) -> str:
    """The name of an object."""
    return str(one.get("metadata", {}).get("name", ""))


def namespace_of(one: Mapping[str, Any]) -> str:
    """The namespace of an object; empty for one that has none."""
    return str(one.get("metadata", {}).get("namespace", ""))


def labels_of(one: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an object."""
    return one.get("metadata", {}).get("labels") or {}


def annotations_of(one: Mapping[str, Any]) -> Mapping[str, str]:
    """The annotations of an object."""
    return one.get("metadata", {}).get("annotations") or {}


def spec_of(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec of an object."""
    return one.get("spec") or {}
