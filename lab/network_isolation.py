"""The two networks are closed: towards each other's pods, and towards everything else."""

from __future__ import annotations

from lab.kind import MeshCluster


def apply(cluster: MeshCluster) -> None:
    """Leave the node no route but its own networks, so that no packet of a test finds a way out.

    Without this a request to the other cluster's pod takes the node's default route to whatever lies
    outside, and something there may even answer. The other node stays reachable, and so does the
    published port of the API server; an engine's internal network would cut that port too.
    """
    # A node's own calls to a service are routed before kube-proxy rewrites their address, and need some route.
    cluster.in_node("ip", "route", "replace", cluster.plan.service_subnet, "dev", "eth0", "scope", "link")
    cluster.in_node("ip", "route", "replace", "unreachable", "default", "metric", "0")
    for route in _default_routes(cluster):
        cluster.in_node("ip", "route", "del", *route.split())
    # The kernel rations these refusals; past the ration a request would hang instead of failing at once.
    cluster.in_node("sysctl", "--quiet", "--write", "net.ipv4.icmp_ratelimit=0")


def _default_routes(cluster: MeshCluster) -> list[str]:
    """The default routes that still lead somewhere; the unreachable one is listed by that word."""
    listed = cluster.in_node("ip", "route", "show", "default").stdout.splitlines()
    return [line.strip() for line in listed if line.startswith("default")]
