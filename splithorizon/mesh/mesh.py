"""The nouns that a test knows: a mesh, its clusters, their clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from fractions import Fraction
from functools import partial
from typing import Any

from splithorizon.base import process
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import service_addresses, trust_bundles
from splithorizon.istio.info import Address, ClusterInfo, MeshInfo, Selection
from splithorizon.istio.names import CLUSTER_LABEL, config_map_of
from splithorizon.istio.topology import ROUTES, Role, Route
from splithorizon.istio.trust_bundles import CABundle
from splithorizon.kube import manifests, pod_status
from splithorizon.kube.client import Kube
from splithorizon.kube.pod_status import Readiness
from splithorizon.mesh import config_chain
from splithorizon.mesh.config_chain import Injected, Setting
from splithorizon.traffic import gateway_stats, workloads
from splithorizon.traffic.client import Client, PodAddress, Sample
from splithorizon.traffic.gateway_stats import GatewayStats
from splithorizon.traffic.istiod import ControlPlane, Synchronisation
from splithorizon.traffic.proxy import Endpoint, Proxy, share_of
from splithorizon.undo import mutations

_SUBSETS = MANIFESTS / "routing" / "per-cluster-subsets.yaml"
# That none of them leaves by chance, of two equal versions, happens once in 10^12.
_ENOUGH_TO_TELL = 40


class Cluster:
    """One cluster of the mesh, looked at through its API server."""

    def __init__(self, facts: ClusterInfo, namespace: str, resolve: Callable[[str], Iterable[str]]) -> None:
        """Hold the facts, the namespace of our workloads, and who knows a name's addresses; nothing is read yet."""
        self.facts = facts
        self._resolve = resolve
        self.kube = Kube(facts.kubeconfig, facts.role, kubectl=facts.kubectl)
        self.namespace = namespace
        self.system_namespace = facts.system_namespace

    def readiness(self, *, namespace: str, labels: str) -> list[Readiness]:
        """Every pod that the labels select and that is to stay, with the reason where it is not ready."""
        pods = [pod for pod in self.kube.list("Pod", namespace, labels) if "deletionTimestamp" not in pod["metadata"]]
        return [pod_status.of_pod(pod, self.kube.events(namespace, pod["metadata"]["name"])) for pod in pods]

    @property
    def gateways_readiness(self) -> list[Readiness]:
        """Every pod of the network's east-west gateways."""
        chosen = self.facts.gateway_pods
        return [one for pods in chosen for one in self.readiness(namespace=pods.namespace, labels=pods.labels)]

    @property
    def control_plane_readiness(self) -> list[Readiness]:
        """Every pod of an istiod in this cluster, of any revision."""
        return self.readiness(namespace=self.system_namespace, labels="app=istiod")

    @property
    def workloads_readiness(self) -> list[Readiness]:
        """Every pod of helloworld and of the client."""
        return self.readiness(namespace=self.namespace, labels=f"app in ({workloads.SERVICE},{workloads.CLIENT})")

    @property
    def helloworld_pods(self) -> list[dict[str, Any]]:
        """The running pods of the service, as the API server gives them."""
        return self.kube.list("Pod", self.namespace, f"app={workloads.SERVICE}", "status.phase=Running")

    @property
    def helloworld_pod(self) -> PodAddress:
        """One pod of the service, by name and address."""
        pod = self.helloworld_pods[0]
        return PodAddress(pod["metadata"]["name"], pod["status"]["podIP"])

    def has_pod_at(self, ip: str) -> bool:
        """Whether a pod of this cluster has that address; the ranges of two networks may overlap."""
        return bool(self.kube.list("Pod", fields=f"status.podIP={ip}"))

    @property
    def helloworld_addresses(self) -> frozenset[str]:
        """Where a request goes that stays in this cluster: pod address and port, as Envoy logs them."""
        return frozenset(str(Address(pod["status"]["podIP"], workloads.PORT)) for pod in self.helloworld_pods)

    @property
    def gateways(self) -> frozenset[Address]:
        """Where the other network's sidecars reach this one: of a load balancer's name they get the addresses."""
        return frozenset(
            Address(host, gateway.port)
            for gateway in self.facts.gateways
            for host in (self._resolve(gateway.host) if gateway.is_name else [gateway.host])
        )

    @property
    def gateway_addresses(self) -> frozenset[str]:
        """Where a request goes that comes from the other network, as Envoy logs it."""
        return frozenset(map(str, self.gateways))

    @property
    def injected_pods(self) -> list[Injected]:
        """The running pods that have a proxy: our workloads', and the network's gateways."""
        ours = Selection(self.namespace, "")
        return [
            Injected(pod, Proxy(self.kube, pods.namespace, pod["metadata"]["name"]), is_gateway=pods is not ours)
            for pods in (ours, *self.facts.gateway_pods)
            for pod in self.kube.list("Pod", pods.namespace, pods.labels, "status.phase=Running")
            if pod_status.of_pod(pod).sidecar and "deletionTimestamp" not in pod["metadata"]
        ]

    @property
    def gateway_proxies(self) -> list[Proxy]:
        """The running pods of the network's gateways."""
        return [one.proxy for one in self.injected_pods if one.is_gateway]

    def scale_helloworld(self, replicas: int, undo: ExitStack) -> None:
        """Run so many pods of helloworld, all ready; the undo ends when those too many are gone."""
        name = workloads.helloworld_of(self.facts.role)
        undo.callback(self._await_helloworld, len(self.helloworld_pods))
        mutations.patch(self.kube, "Deployment", name, self.namespace, {"spec": {"replicas": replicas}}, undo)
        self._await_helloworld(replicas)

    def _await_helloworld(self, count: int) -> None:
        def look() -> None:
            found = [pod_status.of_pod(pod) for pod in self.helloworld_pods]
            if len(found) != count or not all(pod.ready for pod in found):
                raise NotYet(f"{sum(pod.ready for pod in found)} of {len(found)} ready, {count} wanted")

        claim = f"the {self.facts.role} has {count} pods of helloworld"
        eventually(claim, look, within=timeouts().workload_ready)


class Mesh:
    """Both clusters, and the clients in them."""

    def __init__(self, facts: MeshInfo) -> None:
        """Hold the facts; nothing is read yet."""
        self.facts = facts
        self._clusters = {role: Cluster(facts.clusters[role], facts.namespace, self._resolve) for role in Role}

    def __getitem__(self, role: Role) -> Cluster:
        """The cluster in that role."""
        return self._clusters[role]

    @property
    def primary(self) -> Cluster:
        """The cluster that runs istiod."""
        return self._clusters[Role.PRIMARY]

    @property
    def remote(self) -> Cluster:
        """The cluster that is managed from the primary."""
        return self._clusters[Role.REMOTE]

    @property
    def control_plane(self) -> ControlPlane:
        """istiod, of the mesh's revision."""
        return ControlPlane(self.primary.kube, self.primary.system_namespace, self.facts.revision)

    @property
    def cluster_ids(self) -> frozenset[str]:
        """The ids of both clusters."""
        return frozenset(cluster.facts.cluster_id for cluster in self._clusters.values())

    @property
    def remote_discovery_address(self) -> str:
        """Where the remote's client was told to look for istiod, as host and port."""
        return self.client(Role.REMOTE).proxy.identity.discovery_address

    @property
    def remote_discovery_endpoints(self) -> frozenset[Address]:
        """Where it comes when it looks there."""
        return service_addresses.resolve(self.remote.kube, self.remote_discovery_address)

    def webhook_bundles(self, role: Role) -> list[CABundle]:
        """What a cluster's API server trusts when it calls istiod."""
        return trust_bundles.of_webhooks(self[role].kube, self.facts.revision)

    def root_bundle(self, role: Role) -> CABundle:
        """What the pods of our namespace trust when they call istiod."""
        return trust_bundles.of_namespace(self[role].kube, self.facts.namespace)

    def naming_chain(self, role: Role) -> list[Setting]:
        """Every place that has to give a cluster, and its network, the same name."""
        cluster = self[role]
        return list(
            config_chain.settings(
                cluster.facts,
                self.facts.network_mode,
                kube=cluster.kube,
                control_plane=self.control_plane,
                pods=cluster.injected_pods,
                gateways=cluster.gateways,
            )
        )

    def synchronisation(self, role: Role) -> Synchronisation:
        """How the proxies of a cluster have taken what istiod sent them."""
        cluster = self[role]
        ours = {one.proxy.name: one.proxy for one in cluster.injected_pods}
        found = tuple(
            one
            for one in self.control_plane.proxies(ours.keys())
            if one.proxy in ours or one.cluster_id == cluster.facts.cluster_id
        )
        lagging = {one.proxy for one in found if one.unacknowledged} & ours.keys()
        return Synchronisation(tuple(ours), found, {name: ours[name].refused_updates for name in sorted(lagging)})

    def client(self, role: Role) -> Client:
        """The sleep pod of a cluster, as something that sends requests."""
        return Client.find(self._clusters[role].kube, self.facts.namespace, role)

    def _resolve(self, host: str) -> frozenset[str]:
        """The addresses of a name where istiod asks for them: in the primary."""
        return self.client(Role.PRIMARY).resolve(host)

    def endpoints_of_all_pods(self, route: Route) -> tuple[Endpoint, ...]:
        """The near sidecar's endpoints, once the far gateway weighs what it should; as they are when time is up."""
        near, far = self[route.near], self[route.far]
        pods = len(far.helloworld_addresses)
        wanted = Fraction(pods, pods + len(near.helloworld_addresses))
        client = self.client(route.near)
        latest: tuple[Endpoint, ...] = ()

        def look() -> None:
            nonlocal latest
            latest = client.endpoints
            if (share := share_of(far.gateway_addresses, latest)) != wanted:
                raise NotYet(f"{share} of all weight, not {wanted}")

        with suppress(TimedOut):
            eventually(f"{route}: the far gateway's weight is {wanted}", look, within=timeouts().push_acknowledged)
        return latest

    def sample(self, route: Route, *, times: int) -> Sample:
        """Send one batch from the near client; raises EnvironmentBroke where a cluster is gone.

        Replies are lost as well where the far cluster is gone, and that says nothing about the mesh.
        """
        found = self.client(route.near).sample(route, times=times)
        self[route.far].kube.request("/readyz")
        return found

    def samples(self, *, times: int) -> Mapping[Route, Sample]:
        """One batch each way, side by side: they leave different clients."""
        found = process.side_by_side(**{str(route): partial(self.sample, route, times=times) for route in ROUTES})
        return {route: found[str(route)] for route in ROUTES}

    def passage(self, route: Route, *, times: int) -> GatewayStats:
        """Send one batch from the near client, and ask the far gateway what came of it."""
        pods, name = self[route.far].gateway_proxies, gateway_stats.server_name(self.facts.namespace)
        before = gateway_stats.Counts.read(pods, name)
        replies = self.client(route.near).send(times=times)
        counts = gateway_stats.Counts.read(pods, name).since(before)
        upstreams = frozenset(str(one.address) for pod in pods for one in pod.endpoints(name))
        return GatewayStats(name, replies, upstreams, counts)

    def local_sample(self, role: Role, *, times: int) -> Sample:
        """Send one batch to the service that only the client's own cluster has."""
        service = workloads.helloworld_of(role)
        return self.client(role).sample(Route(role, role), times=times, service=service)

    def headless_sample(self, role: Role, *, times: int) -> Sample:
        """Send one batch to the service that has no address of its own: its name leads to pods."""
        return self.client(role).sample(Route(role, role.other), times=times, service=workloads.HEADLESS)

    def image_of(self, deployment: str, role: Role) -> str:
        """The image that a deployment of ours runs; raises EnvironmentBroke where it is not there."""
        return str(self._template(deployment, role)["spec"]["containers"][0]["image"])

    def await_injection(self, role: Role) -> None:
        """Wait until a pod that is asked for would get a sidecar; none is made.

        An API server keeps its connection to an istiod that is gone until it notices, half a minute later and more.
        Raises EnvironmentBroke where none would get one in time.
        """
        # As our own client's: whoever else admits pods here has admitted that one.
        template = self._template(workloads.CLIENT, role)
        metadata = {**template["metadata"], "name": "splithorizon-injected"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}

        def look() -> None:
            if not pod_status.of_pod(self[role].kube.as_admitted(pod, self.facts.namespace)).sidecar:
                raise NotYet("a pod would get no sidecar")

        eventually(f"new pods of the {role} are injected", look, within=timeouts().webhook_ready)

    def _template(self, deployment: str, role: Role) -> dict[str, Any]:
        found = self[role].kube.get("Deployment", deployment, self.facts.namespace)
        if found is None:
            raise EnvironmentBroke(f"there is no Deployment {deployment} in the {role} cluster")
        template: dict[str, Any] = found["spec"]["template"]
        return template

    def configure(self, settings: dict[str, Any], undo: ExitStack) -> None:
        """Set fields of the mesh configuration that istiod reads, until the undo."""
        name = config_map_of(self.facts.revision)
        mutations.mesh_config(self.primary.kube, name, self.primary.system_namespace, settings, undo)

    def tell_of_network(self, role: Role, told: dict[str, Any], undo: ExitStack) -> None:
        """Tell istiod something else of a cluster's network in meshNetworks, until the undo."""
        name, network = config_map_of(self.facts.revision), self[role].facts.network
        mutations.mesh_network(self.primary.kube, name, self.primary.system_namespace, network, told, undo)

    def make_cluster_local(self, undo: ExitStack) -> None:
        """Call helloworld cluster-local in the mesh configuration, until the undo."""
        host = f"{workloads.SERVICE}.{self.facts.namespace}.svc.cluster.local"
        self.configure({"serviceSettings": [{"settings": {"clusterLocal": True}, "hosts": [host]}]}, undo)

    def keep_to_subsets(self, undo: ExitStack) -> None:
        """Give each cluster's clients a subset of their own, until the undo."""
        ids = {str(role): cluster.facts.cluster_id for role, cluster in self._clusters.items()}
        rule, routes = manifests.load(_SUBSETS)
        for subset in rule["spec"]["subsets"]:
            subset["labels"][CLUSTER_LABEL] = ids[subset["name"]]
        for route in routes["spec"]["http"]:
            (match,) = route["match"]
            match["sourceLabels"][CLUSTER_LABEL] = ids[route["route"][0]["destination"]["subset"]]
        mutations.apply(self.primary.kube, [rule, routes], self.facts.namespace, undo)

    def await_home(self) -> None:
        """Wait until each client's answers all come from its own cluster's version; where they never do, go on."""
        process.side_by_side(**{str(route): partial(self._await_home, route) for route in ROUTES})

    def _await_home(self, route: Route) -> None:
        client, near = self.client(route.near), workloads.VERSION_OF[route.near]

        def look() -> None:
            if strays := sum(reply.version != near for reply in client.send(times=_ENOUGH_TO_TELL)):
                raise NotYet(f"{strays} of {_ENOUGH_TO_TELL} not answered by {near}")

        with suppress(TimedOut):
            eventually(f"{route}: the client is kept at home", look, within=timeouts().policy_enforced)

    def await_connected(self) -> None:
        """Wait until every proxy of ours is connected to an istiod; go on if one never is.

        To one that is not nothing can be told, and the remote's are let in by the remote secret alone.
        """
        ours = {one.proxy.name for cluster in self._clusters.values() for one in cluster.injected_pods}

        def look() -> None:
            if absent := ours - self.control_plane.connected_proxies():
                raise NotYet(f"not connected: {', '.join(sorted(absent))}")

        with suppress(TimedOut):
            eventually("every proxy is connected to istiod", look, within=timeouts().proxies_connected)

    def await_drained(self) -> None:
        """Wait until no proxy has a connection from before its last change; go on if one never comes to that.

        What is sent on such a connection the moment that it ends is lost: Envoy does not send it again.
        """

        def look() -> None:
            try:
                left = sum(process.side_by_side(**{str(role): partial(self._draining, role) for role in Role}).values())
            except EnvironmentBroke as unanswered:
                raise NotYet(str(unanswered)) from None
            if left:
                raise NotYet(f"{left} listeners and filter chains are draining")

        with suppress(TimedOut):
            eventually("every proxy has drained", look, within=timeouts().drained)

    def _draining(self, role: Role) -> int:
        return sum(one.proxy.draining for one in self[role].injected_pods)

    def proxy_image(self, role: Role) -> str:
        """The image of the sidecars in a cluster."""
        pod = self.client(role).pod
        spec = (self[role].kube.get("Pod", pod, self.facts.namespace) or {"spec": {}})["spec"]
        containers = [*spec.get("containers", []), *spec.get("initContainers", [])]
        return next(str(one["image"]) for one in containers if one["name"] == "istio-proxy")

    def versions_running(self) -> Mapping[str, Mapping[str, int]]:
        """For each cluster the number of helloworld pods of each version."""
        return {
            str(role): Counter(pod["metadata"]["labels"]["version"] for pod in cluster.helloworld_pods)
            for role, cluster in self._clusters.items()
        }
