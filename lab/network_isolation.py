"""Isolates a network, so that neither pods of other networks nor other hosts can be reached, and joins its clusters."""

from __future__ import annotations

from collections.abc import Iterable

from lab.kind import MeshCluster
from splithorizon.base.errors import CommandFailed


def apply(cluster: MeshCluster) -> None:
    """Replace the node's default route by an unreachable one, so that no packet of a test leaves the test network.

    Without this, a request to a pod of another cluster takes the node's default route to some outside host, which may
    even answer. The other nodes stay reachable, and so does the published port of the API server. An engine's internal
    network would also block that port.
    """
    # The kernel routes the node's requests to a service before kube-proxy rewrites the address, so it needs a route.
    cluster.in_node("ip", "route", "replace", cluster.plan.service_subnet, "dev", "eth0", "scope", "link")
    cluster.in_node("ip", "route", "replace", "unreachable", "default", "metric", "0")
    for route in _default_routes(cluster):
        cluster.in_node("ip", "route", "del", *route.split())
    # The kernel limits the rate of refusals. Above the limit, a request would hang instead of failing immediately.
    cluster.in_node("sysctl", "--quiet", "--write", "net.ipv4.icmp_ratelimit=0")


def join(cluster: MeshCluster, others: Iterable[MeshCluster]) -> None:
    """Let the pods of a cluster reach those of the other clusters of its network, by their own addresses.

    Each node routes the pod ranges of the others to their nodes. It translates the addresses of packets that leave its
    own range, and must not do so between these: a pod would be known to the other cluster by its node's address.
    """
    own = cluster.plan.pod_subnet
    for other in others:
        cluster.in_node("ip", "route", "replace", other.plan.pod_subnet, "via", other.address)
        rule = ("POSTROUTING", "--source", own, "--destination", other.plan.pod_subnet, "--jump", "ACCEPT")
        try:
            cluster.in_node("iptables", "--table", "nat", "--check", *rule)
        except CommandFailed:
            cluster.in_node("iptables", "--table", "nat", "--insert", *rule)


def _default_routes(cluster: MeshCluster) -> list[str]:
    """The default routes to other hosts. The line of the unreachable one begins with ``unreachable``."""
    listed = cluster.in_node("ip", "route", "show", "default").stdout.splitlines()
    return [line.strip() for line in listed if line.startswith("default")]
