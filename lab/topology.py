"""The kind clusters that the lab makes: which there are, on which networks, and which istiod manages which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from itertools import combinations
from pathlib import Path
from typing import Any

from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.istio import topology
from splithorizon.istio.topology import PRIMARY_REMOTE, PlannedCluster, Watch

_FOLDER = MANIFESTS / "topologies"
# kind names a node "<cluster>-control-plane", and a host name has at most 63 characters.
_NODE_SUFFIX = "-control-plane"
_LONGEST_HOST_NAME = 63
_KUBERNETES = "Kubernetes"
# A map for any framework in Istio's form; here it says whether the cluster has a gateway.
_META, _GATEWAY = "meta", "eastWestGateway"
_FIELDS = frozenset(
    {"kind", "clusterName", "network", "primaryClusterName", "configClusterName", "podSubnet", "svcSubnet", _META}
)


@dataclass(frozen=True)
class ClusterPlan:
    """A cluster's name in the mesh and in kind, its place in the topology, and the addresses that it hands out."""

    name: str
    kind_name: str
    network: str
    control_plane: str
    version: str
    cluster_id: str
    pod_subnet: str
    service_subnet: str
    has_gateway: bool = True

    @property
    def node(self) -> str:
        """The container that is the cluster's one node."""
        return node_of(self.kind_name)

    @property
    def runs_istiod(self) -> bool:
        """Whether its istiod is in the cluster itself."""
        return self.control_plane == self.name


@dataclass(frozen=True)
class Topology:
    """The clusters of a mesh that is made."""

    clusters: tuple[ClusterPlan, ...]

    def __iter__(self) -> Iterator[ClusterPlan]:
        """In their order."""
        return iter(self.clusters)

    def __getitem__(self, name: str) -> ClusterPlan:
        """The cluster of that name in the mesh; raises KeyError where there is none."""
        return {plan.name: plan for plan in self}[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters' names in the mesh."""
        return tuple(plan.name for plan in self)

    @property
    def control_planes(self) -> tuple[ClusterPlan, ...]:
        """The clusters that run istiod."""
        return tuple(plan for plan in self if plan.runs_istiod)

    @property
    def managed(self) -> tuple[ClusterPlan, ...]:
        """The clusters whose istiod is in another one."""
        return tuple(plan for plan in self if not plan.runs_istiod)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """Each cluster that runs istiod with every other cluster, which that istiod has to watch."""
        return topology.watches(self.clusters)

    def others_on_network_of(self, name: str) -> tuple[ClusterPlan, ...]:
        """The other clusters of a cluster's network."""
        return tuple(plan for plan in self if plan.network == self[name].network and plan.name != name)

    def manages_others(self, name: str) -> bool:
        """Whether the istiod of that cluster manages another cluster too."""
        return any(plan.control_plane == name for plan in self.managed)


def node_of(kind_name: str) -> str:
    """The container that is the one node of a kind cluster."""
    return f"{kind_name}{_NODE_SUFFIX}"


def read(name_or_file: str) -> topology.Topology:
    """Read a topology of ``manifests/topologies``, or of a file in the form that Istio's own test framework reads.

    Raises UsageProblem for what is none, and for what this suite does not make.
    """
    file = _FOLDER / f"{name_or_file}.json"
    if not re.fullmatch(r"[a-z0-9-]+", name_or_file) or not file.is_file():
        file = Path(name_or_file)
    try:
        content = json.loads(file.read_text())
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in _FOLDER.glob("*.json")))
        raise _refused(name_or_file, f"{error.strerror}; known by name: {known}") from None
    except ValueError as error:
        raise _refused(name_or_file, f"it is not JSON ({error})") from None
    return _parsed(content, name_or_file)


def plan(prefix: str, shape: topology.Topology = PRIMARY_REMOTE) -> Topology:
    """Plan the clusters of a topology; their names in kind begin with ``prefix``.

    Raises UsageProblem where kind could not use the names.
    """
    longest = _LONGEST_HOST_NAME - len(_NODE_SUFFIX) - max(len(f"-{name}") for name in shape.names)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", prefix) or len(prefix) > longest:
        raise UsageProblem(
            f"--cluster-name {prefix!r}: kind takes lower-case letters, digits, '-' and '.', and with "
            f"the cluster's name and the node's suffix at most {longest} of them. Nothing was created."
        )
    return Topology(tuple(_plan(prefix, planned) for planned in shape))


def _plan(prefix: str, planned: PlannedCluster) -> ClusterPlan:
    return ClusterPlan(
        name=planned.name,
        kind_name=f"{prefix}-{planned.name}",
        network=planned.network,
        control_plane=planned.control_plane,
        version=planned.version,
        cluster_id=planned.name,
        pod_subnet=planned.pod_subnet,
        service_subnet=planned.service_subnet,
        has_gateway=planned.has_gateway,
    )


def _parsed(content: Any, source: str) -> topology.Topology:
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise _refused(source, "a list of clusters is expected")
    if len(content) < 2:
        raise _refused(source, f"a split horizon takes two clusters, and it names {len(content)}")
    clusters = tuple(_cluster(one, number, source) for number, one in enumerate(content, start=1))
    _require_one_mesh(clusters, content, source)
    _require_gateways(clusters, source)
    _require_ranges_apart(clusters, source)
    return topology.Topology(clusters)


def _cluster(content: Mapping[str, Any], number: int, source: str) -> PlannedCluster:
    """One entry of the list; the n-th cluster runs version vn of helloworld."""
    name = _text(content, "clusterName", f"cluster {number}", source)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
        raise _refused(source, f"clusterName {name!r}: lower-case letters, digits and '-' are expected")
    if content.get("kind") != _KUBERNETES:
        raise _refused(source, f"{name}: kind {content.get('kind')!r}: only {_KUBERNETES} is made here")
    if unknown := content.keys() - _FIELDS:
        raise _refused(source, f"{name}: {', '.join(sorted(unknown))} is not known here")
    primary = str(content.get("primaryClusterName") or name)
    if (config := str(content.get("configClusterName") or primary)) != primary:
        raise _refused(
            source, f"{name}: istiod in {primary} and its configuration in {config}: no such mesh is made here"
        )
    meta = content.get(_META, {})
    if not isinstance(meta, dict) or meta.keys() - {_GATEWAY} or not isinstance(meta.get(_GATEWAY, True), bool):
        raise _refused(source, f"{name}: {_META} may say {_GATEWAY}, true or false, and no more")
    return PlannedCluster(
        name,
        _text(content, "network", name, source),
        control_plane=primary,
        version=f"v{number}",
        pod_subnet=_range(content, "podSubnet", name, source),
        service_subnet=_range(content, "svcSubnet", name, source),
        has_gateway=meta.get(_GATEWAY, True),
    )


def _text(content: Mapping[str, Any], field: str, where: str, source: str) -> str:
    value = content.get(field)
    if not isinstance(value, str) or not value:
        raise _refused(source, f"{where} has no {field}")
    return value


def _range(content: Mapping[str, Any], field: str, where: str, source: str) -> str:
    text = _text(content, field, where, source)
    try:
        IPv4Network(text)
    except ValueError as error:
        raise _refused(source, f"{where}: {field}: {error}") from None
    return text


def _require_one_mesh(clusters: Sequence[PlannedCluster], content: Sequence[Mapping[str, Any]], source: str) -> None:
    names = [one.name for one in clusters]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _refused(source, f"{', '.join(twice)} is named twice")
    runs_istiod = {one.name for one in clusters if one.control_plane == one.name}
    for one in clusters:
        if one.control_plane not in runs_istiod:
            raise _refused(source, f"{one.name}: its primary {one.control_plane} is no primary of this list")
    if len({one.network for one in clusters}) < 2:
        raise _refused(source, f"all clusters are on {content[0]['network']}: a split horizon takes two networks")


def _require_gateways(clusters: Sequence[PlannedCluster], source: str) -> None:
    for network in dict.fromkeys(one.network for one in clusters):
        if not any(one.has_gateway for one in clusters if one.network == network):
            raise _refused(source, f"{network} has no gateway: nobody reaches its pods from another network")
    for one in clusters:
        (manager,) = (other for other in clusters if other.name == one.control_plane)
        if manager is not one and not manager.has_gateway:
            raise _refused(source, f"{manager.name} has no gateway, and {one.name} reaches its istiod by that")


def _require_ranges_apart(clusters: Sequence[PlannedCluster], source: str) -> None:
    ranges = [(one.name, ip_network(text)) for one in clusters for text in (one.pod_subnet, one.service_subnet)]
    for (name, one), (other, two) in combinations(ranges, 2):
        if one.overlaps(two):
            raise _refused(
                source, f"{one} of {name} and {two} of {other} overlap: no check could tell whose an address is"
            )


def _refused(source: str, why: str) -> UsageProblem:
    return UsageProblem(f"--topology {source}: {why}. Nothing was created.")
