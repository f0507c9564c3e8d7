"""One cluster of the mesh, read through its API server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress

from splithorizon.base.errors import TimedOut
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.info import Address, ClusterInfo, Selection
from splithorizon.istio.names import DEFAULT_DOMAIN
from splithorizon.kube import pod_status
from splithorizon.kube.client import Kube, Objects
from splithorizon.kube.pod_status import Readiness
from splithorizon.mesh.config_chain import Injected
from splithorizon.traffic import workloads
from splithorizon.traffic.client import Client, PodAddress
from splithorizon.traffic.proxy import Proxy
from splithorizon.undo import mutations


class Cluster:
    """One cluster with its client, its helloworld and its gateways; each property reads it again."""

    def __init__(
        self,
        info: ClusterInfo,
        namespace: str,
        resolve: Callable[[str], Iterable[str]],
        domain: str = DEFAULT_DOMAIN,
        held: Callable[[], frozenset[Address]] = frozenset,
    ) -> None:
        """Take what is known of it, and the namespace of our workloads.

        ``resolve`` resolves a host name as istiod does, and ``held`` are the gateways that istiod has of the network.
        """
        self.info = info
        self.name = info.name
        self.namespace = namespace
        self.system_namespace = info.system_namespace
        self.kube = Kube(info.kubeconfig, info.name, kubectl=info.kubectl)
        self._resolve = resolve
        self._domain = domain
        self._held = held

    def __str__(self) -> str:
        """As it stands in messages."""
        return self.name

    @property
    def client(self) -> Client:
        """The sleep pod, as something that sends requests; raises EnvironmentBroke where none runs."""
        return Client.find(self.kube, self.namespace, self.name, self._domain)

    def readiness(self, *, namespace: str, labels: str) -> list[Readiness]:
        """Every pod that the labels select, with the reason where it is not ready.

        Pods that are being deleted or have ended for good are left out: an evicted pod is replaced by
        another one, and stays as a record.
        """
        pods = [pod for pod in self.kube.list("Pod", namespace, labels) if pod_status.counts(pod)]
        return [pod_status.of_pod(pod, self.kube.events(namespace, pod["metadata"]["name"])) for pod in pods]

    @property
    def gateways_readiness(self) -> list[Readiness]:
        """Every pod of the network's east-west gateways."""
        chosen = self.info.gateway_pods
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
    def helloworld_pods(self) -> Objects:
        """The running pods of the service, as the API server gives them."""
        return self.kube.list("Pod", self.namespace, f"app={workloads.SERVICE}", "status.phase=Running")

    @property
    def client_addresses(self) -> frozenset[str]:
        """The addresses of the client's running pods, as another pod sees them where nobody translates them."""
        pods = self.kube.list("Pod", self.namespace, f"app={workloads.CLIENT}", "status.phase=Running")
        return frozenset(str(address["ip"]) for pod in pods for address in pod["status"].get("podIPs", ()))

    @property
    def helloworld_pod(self) -> PodAddress:
        """One pod of the service, by name and address."""
        pod = self.helloworld_pods[0]
        return PodAddress(pod["metadata"]["name"], pod["status"]["podIP"])

    @property
    def helloworld_addresses(self) -> frozenset[str]:
        """Where a request goes that stays in this cluster: pod address and port, as Envoy logs them."""
        return frozenset(str(Address(pod["status"]["podIP"], workloads.PORT)) for pod in self.helloworld_pods)

    def has_pod_at(self, ip: str) -> bool:
        """Whether a pod of this cluster has that address; the ranges of two networks may overlap."""
        return bool(self.kube.list("Pod", fields=f"status.podIP={ip}"))

    @property
    def gateways(self) -> frozenset[Address]:
        """Where sidecars of other networks reach this one: a load balancer's name is resolved, as istiod does it.

        A name may have more addresses than one answer holds, and others a minute later. Where istiod has one of them,
        all that it has are the name's; where it has none, once more until its own answers have expired.
        """
        fixed = frozenset(gateway for gateway in self.info.gateways if not gateway.is_name)
        names = [gateway for gateway in self.info.gateways if gateway.is_name]
        if not names:
            return fixed
        resolved: frozenset[Address] = frozenset()

        def same() -> frozenset[Address]:
            nonlocal resolved
            resolved = frozenset(Address(host, name.port) for name in names for host in self._resolve(name.host))
            held = self._held() - fixed
            if not held & resolved:
                raise NotYet(f"istiod has {len(held)} other addresses than the {len(resolved)} of the name")
            return held

        with suppress(TimedOut):
            return fixed | eventually(
                f"istiod has an address of the {self.name}'s gateway", same, within=timeouts().name_expired
            )
        return fixed | resolved

    @property
    def gateway_addresses(self) -> frozenset[str]:
        """Where a request from another network goes, as Envoy logs it."""
        return frozenset(map(str, self.gateways))

    @property
    def injected_pods(self) -> list[Injected]:
        """The running pods that have a proxy: our workloads', and the network's gateways."""
        ours = Selection(self.namespace, "")
        return [
            Injected(
                pod,
                Proxy(self.kube, pods.namespace, pod["metadata"]["name"]),
                is_gateway=pods is not ours,
                gateway_port=pods.port,
            )
            for pods in (ours, *self.info.gateway_pods)
            for pod in self.kube.list("Pod", pods.namespace, pods.labels, "status.phase=Running")
            if pod_status.of_pod(pod).sidecar and "deletionTimestamp" not in pod["metadata"]
        ]

    @property
    def gateway_proxies(self) -> dict[Proxy, int]:
        """The proxies of the network's gateways, each with its port for other networks."""
        return {one.proxy: one.gateway_port for one in self.injected_pods if one.is_gateway}

    def begin_to_scale_helloworld(self, replicas: int, undo: ExitStack) -> None:
        """Ask for ``replicas`` pods of helloworld; the undo waits until there are as many as before."""
        name = workloads.helloworld_of(self.info.version)
        undo.callback(self.await_helloworld, len(self.helloworld_pods))
        mutations.patch(self.kube, "Deployment", name, self.namespace, {"spec": {"replicas": replicas}}, undo)

    def await_helloworld(self, count: int) -> None:
        """Wait until there are so many pods of helloworld and each is ready; raises EnvironmentBroke otherwise."""

        def scaled() -> None:
            pods = [pod_status.of_pod(pod) for pod in self.helloworld_pods]
            if len(pods) != count or not all(pod.ready for pod in pods):
                raise NotYet(f"{sum(pod.ready for pod in pods)} of {len(pods)} ready, {count} wanted")

        eventually(f"the {self.name} has {count} pods of helloworld", scaled, within=timeouts().workload_ready)
