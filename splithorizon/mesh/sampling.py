"""Batches of requests through the mesh: each request is sent once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from splithorizon.base import parallel
from splithorizon.istio.topology import Route
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import gateway_stats, workloads
from splithorizon.traffic.client import Sample
from splithorizon.traffic.gateway_stats import GatewayStats
from splithorizon.traffic.new_connections import NEAR_AT_ONCE, ROUNDS_AT_A_TIME, NewConnections
from splithorizon.traffic.proxy_log import Moment, ProxyLog

_SERVER_ERROR = 500


@dataclass(frozen=True)
class Sampling:
    """Sends from the clients of a mesh."""

    mesh: Mesh

    def sample(self, route: Route, *, times: int, service: str = workloads.SERVICE) -> Sample:
        """Send one batch from the near client to a Service that every cluster has.

        Raises EnvironmentBroke where a cluster is gone.

        Replies are lost as well where another cluster is gone, and that says nothing about the mesh.
        """
        begun = Moment.now()
        found = self.mesh[route.near].client.sample(route, times=times, service=service)
        for cluster in self.mesh:
            if cluster.name != route.near:
                cluster.kube.request("/readyz")
        if any(one.resent for one in found.hidden.values()):
            return replace(found, server_errors=self._server_errors(found, begun))
        return found

    def _server_errors(self, sample: Sample, begun: Moment) -> int:
        """The answers with a 5xx status that pods of helloworld logged, beyond those that the client got."""
        ids = {reply.request_id for reply in sample.replies}
        logged = sum(
            line.request_id in ids and (line.response_code or 0) >= _SERVER_ERROR
            for cluster in self.mesh
            for pod in cluster.helloworld_pods
            for line in ProxyLog(cluster.kube, cluster.namespace, pod["metadata"]["name"]).lines(begun)
        )
        return max(0, logged - sum(reply.status >= _SERVER_ERROR for reply in sample.replies))

    def samples(self, *, times: int, service: str = workloads.SERVICE) -> Mapping[Route, Sample]:
        """One batch of each client, sent side by side: each route from a client has the same one."""
        sent = parallel.for_each(
            self.mesh.client_routes, lambda route: self.sample(route, times=times, service=service)
        )
        by_client = {route.near: sample for route, sample in sent.items()}
        return {route: replace(by_client[route.near], route=route) for route in self.mesh.pairs}

    def local_sample(self, name: str, *, times: int) -> Sample:
        """Send one batch to the service that only the client's own cluster has."""
        service = workloads.helloworld_of(self.mesh.info.clusters[name].version)
        return self.mesh[name].client.sample(Route(name, name, False), times=times, service=service)

    def headless_sample(self, name: str, *, times: int) -> Sample:
        """Send one batch to the headless service, whose name resolves to pods of the client's own cluster."""
        return self.mesh[name].client.sample(Route(name, name, False), times=times, service=workloads.HEADLESS)

    def new_connections(self, route: Route) -> NewConnections:
        """Send rounds of requests from the near client that each open a new connection, until that decides.

        A near network that fails connections is not asked any longer: each of them would be waited for to its time-out.
        """
        client, versions = self.mesh[route.near].client, self.mesh.info.workload_versions
        found: NewConnections | None = None
        while found is None or not found.decided:
            near_at_once = 0 if found and found.near_fails else NEAR_AT_ONCE
            more = client.connect(route, versions, rounds=ROUNDS_AT_A_TIME, near_at_once=near_at_once)
            found = found.and_then(more) if found else more
        self.mesh[route.far].kube.request("/readyz")
        return found

    def gateway_stats(self, route: Route, *, times: int) -> GatewayStats:
        """Send one batch from the near client, and read what the far network's gateways counted meanwhile."""
        clusters = self.mesh.sharing_network(route.far)
        of_clusters = {cluster.name: cluster.gateway_proxies for cluster in clusters}
        pods = {proxy: port for proxies in of_clusters.values() for proxy, port in proxies.items()}
        name = gateway_stats.server_name(self.mesh.info.namespace, self.mesh.info.domain)
        before = gateway_stats.Counts.read(pods, name)
        replies, _ = self.mesh[route.near].client.send_and_count(times=times)
        counts = gateway_stats.Counts.read(pods, name).since(before)
        upstreams = {
            f"{proxy.name} of {cluster}": frozenset(str(one.address) for one in proxy.endpoints(name))
            for cluster, proxies in of_clusters.items()
            for proxy in proxies
        }
        return GatewayStats(name, replies, upstreams, counts)
