"""Faults that sidecars, retries and TCP hide from most requests: connections that are lost or refused now and then."""

from __future__ import annotations

from contextlib import ExitStack

from proof.faults.registry import fault
from proof.gateway_service import put_relay_in_front
from proof.targets import watched, watching
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.diagnosis import causes
from splithorizon.istio import info, names
from splithorizon.istio.info import NetworkMode
from splithorizon.kube import manifests
from splithorizon.kube.client import Object
from splithorizon.mesh import injection
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads
from splithorizon.undo import mutations

_FAULTS = MANIFESTS / "faults"
_NEW = f"--syn --dport {names.GATEWAY_PORT}"
_DROPPED = [(" of remote", "new connections", "late")]


def _drop(mesh: Mesh, undo: ExitStack, *rules: str) -> None:
    """Have the remote's node drop packets that a rule of iptables matches, until the undo."""
    cluster = watched(mesh)
    (pod,) = manifests.load(_FAULTS / "packets-dropped.yaml")
    (container,) = pod["spec"]["containers"]
    container["image"] = injection.proxy_image(cluster)
    container["env"] = [{"name": "RULES", "value": "".join(f"PREROUTING -p tcp {rule}\n" for rule in rules)}]
    _run_on_node(cluster, pod, undo)


def _run_on_node(cluster: Cluster, pod: Object, undo: ExitStack) -> None:
    """Run a pod that changes its node while it runs."""
    name, namespace = pod["metadata"]["name"], cluster.namespace
    undo.callback(cluster.kube.delete, "Pod", name, namespace, gone_within=timeouts().object_appears)
    cluster.kube.apply(pod, namespace=namespace)


@fault(
    "test_new_connections_reach_the_far_network",
    cause=causes.CONNECTIONS_DROPPED,
    root_cause=causes.CONNECTIONS_DROPPED,
    cites=_DROPPED,
)
def connections_dropped_on_the_way(mesh: Mesh, undo: ExitStack) -> None:
    """Every fourth new connection to port 15443 is dropped in the remote's node: TCP tries again after a second."""
    _drop(mesh, undo, f"{_NEW} -m statistic --mode nth --every 4 --packet 0")


@fault(
    "test_new_connections_reach_the_far_network",
    cause=causes.CONNECTIONS_DROPPED,
    root_cause=causes.CONNECTIONS_DROPPED,
    cites=_DROPPED,
)
def handshakes_dropped(mesh: Mesh, undo: ExitStack) -> None:
    """Of the first packets of new connections to the remote gateway's port 15443 one in ten is dropped, by chance."""
    _drop(mesh, undo, f"-i eth0 {_NEW} -m statistic --mode random --probability 0.1")


@fault(
    "test_new_connections_reach_the_far_network",
    cause=causes.CONNECTIONS_DROPPED,
    root_cause=causes.CONNECTIONS_DROPPED,
    cites=_DROPPED,
)
def packets_lost(mesh: Mesh, undo: ExitStack) -> None:
    """One in twenty of all packets from and to port 15443 is lost in the remote's node."""
    chance = "-m statistic --mode random --probability 0.05"
    _drop(mesh, undo, f"--dport {names.GATEWAY_PORT} {chance}", f"--sport {names.GATEWAY_PORT} {chance}")


@fault(
    "test_both_versions_answer",
    "test_new_connections_reach_the_far_network",
    cause=causes.GATEWAY_ADDRESS_REFUSES,
    root_cause=causes.GATEWAY_ADDRESS_REFUSES,
    cites=[("/istio-system/istio", "", ".244"), ("Envoy primary/sample/sleep", ".244:15443", "cx_connect_fail")],
)
def one_gateway_address_refuses(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's gateway has four addresses, and nothing listens at one of them: sidecars go elsewhere then.

    The three that serve are addresses of the remote's node, the fourth is one of the primary's.
    """
    far, near = watched(mesh), watching(mesh)
    first, _, _ = far.info.node_address.rpartition(".")
    if not first:
        raise EnvironmentBroke("the remote's node has no IPv4 address, beside which others could be taken")
    more, refusing = [f"{first}.{number}" for number in (241, 242)], f"{first}.244"
    for cluster, own in ((far, more), (near, [refusing])):
        (pod,) = manifests.load(_FAULTS / "gateway-addresses.yaml")
        (container,) = pod["spec"]["containers"]
        container["image"] = injection.image_of(cluster, workloads.CLIENT)
        container["env"] = [{"name": "ADDRESSES", "value": " ".join(own)}]
        _run_on_node(cluster, pod, undo)
    addresses = [far.info.node_address, *more, refusing]
    # In the mode of meshNetworks too: kube-proxy leads an address to the gateway that is in the Service's status.
    status = info.status_with_address(*addresses)
    mutations.patch_status(far.kube, "Service", names.EASTWEST_GATEWAY, far.system_namespace, status, undo)
    if mesh.info.network_mode is NetworkMode.MESH_NETWORKS:
        gateways = [{"address": address, "port": names.GATEWAY_PORT} for address in addresses]
        mesh.change_mesh_network(far.name, {"gateways": gateways}, undo)


@fault(sound=True)
def sound_gateway_delayed(mesh: Mesh, undo: ExitStack) -> None:
    """A control: a relay at the gateway's address holds each connection up for 300 ms. A long way is no loss."""
    put_relay_in_front(watched(mesh), "gateway-delayed.yaml", undo)
