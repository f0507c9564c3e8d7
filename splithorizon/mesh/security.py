"""The security of the mesh: its roots, its workloads' certificates, its authorization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property

import yaml
from cryptography import x509

from splithorizon.base import parallel
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import certificates
from splithorizon.istio.horizon import Horizon
from splithorizon.istio.names import ROOT_CONFIG_MAP, config_map_of
from splithorizon.istio.topology import Route
from splithorizon.istio.workload_certificate import WorkloadCertificate, identity_of
from splithorizon.kube import manifests
from splithorizon.kube.client import Object
from splithorizon.kube.pod_status import of_pod
from splithorizon.mesh import injection
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.isolated_changes import IsolatedChange
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.sampling import Sampling
from splithorizon.traffic import workloads
from splithorizon.traffic.client import Attempt, Client, Sample
from splithorizon.traffic.gateway_port import GatewayPort
from splithorizon.traffic.tls_probe import Credentials
from splithorizon.undo import mutations

_MANIFESTS = MANIFESTS / "security"
_PLAIN_TEXT_CLIENT = _MANIFESTS / "plain-text-client.yaml"
_DEFAULT_TRUST_DOMAIN = "cluster.local"
_OK, _FORBIDDEN = 200, 403
_ACCOUNTS = {workloads.FOR_NOBODY: "nobody", workloads.FOR_CLIENT: workloads.CLIENT}
_PORT = str(workloads.PORT)
# That none of them reaches one of two versions by chance happens once in 10^29.
_ASKED = 100
# That all of them go to one of two versions by chance happens once in a million, and twice in a row never.
_REQUESTS = 20


@dataclass(frozen=True)
class WorkloadIdentity:
    """A pod of the mesh: the identity of its service account, and the certificates that its proxy has."""

    pod: str
    identity: str
    certificates: tuple[WorkloadCertificate, ...]


@dataclass(frozen=True)
class AuthzResult:
    """One client's batches: where a policy names another account, and where it names the client's own."""

    stranger: Sample
    client: Sample
    near_pods: frozenset[str]
    """Where its requests went meanwhile within its cluster's network."""
    far_gateways: frozenset[str]
    """The gateways of other networks that they went to."""


@dataclass(frozen=True)
class MeshSecurity:
    """The mesh, and what its security is made of."""

    mesh: Mesh

    def trust_domain(self, name: str) -> str:
        """The trust domain in which the istiod of a cluster certifies workloads."""
        return str(
            _mesh_config(self.mesh, self.mesh.control_plane_of(name)).get("trustDomain") or _DEFAULT_TRUST_DOMAIN
        )

    @cached_property
    def strict(self) -> bool:
        """Whether every istiod reads a PeerAuthentication of the whole mesh that refuses plain text."""
        return all(_is_strict(self.mesh, cluster) for cluster in self.mesh.config_clusters)

    def identity(self, account: str, name: str) -> str:
        """The SPIFFE identity of an account of our namespace in a cluster."""
        return identity_of(self.trust_domain(name), self.mesh.info.namespace, account)

    def helloworld_identity(self, name: str) -> str:
        """The SPIFFE identity of the service's pods in a cluster; raises EnvironmentBroke where none runs."""
        pods = self.mesh[name].helloworld_pods
        if not pods:
            raise EnvironmentBroke(f"no pod of {workloads.SERVICE} runs in the {name}")
        return self.identity(pods[0]["spec"].get("serviceAccountName", "default"), name)

    @property
    def roots(self) -> Mapping[str, tuple[x509.Certificate, ...]]:
        """The root certificates that istiod wrote into our namespace, by cluster; none where there is no PEM."""
        return {cluster.name: _roots(cluster) for cluster in self.mesh}

    def gateway_port(self, name: str) -> GatewayPort:
        """The port of a cluster's gateway for other networks, at one of its pods.

        Raises EnvironmentBroke where no pod of the gateway runs.
        """
        cluster = self.mesh[name]
        running = [one for one in cluster.injected_pods if one.is_gateway]
        if not running:
            raise EnvironmentBroke(f"no pod of the {name}'s gateway runs")
        pod, ours = running[0].pod["metadata"], self.mesh.info
        return GatewayPort(
            cluster.kube, pod["namespace"], pod["name"], ours.namespace, ours.domain, running[0].gateway_port
        )

    def impostor(self, name: str) -> Credentials:
        """A certificate with the identity of a cluster's client, of a root that was made this moment."""
        root_name, root_key, key = certificates.name("Root CA"), certificates.new_key(), certificates.new_key()
        root = certificates.authority(root_name, root_key, issuer=root_name, issuer_key=root_key)
        identity = self.identity(workloads.CLIENT, name)
        leaf = certificates.workload(identity, key, issuer=root_name, issuer_key=root_key)
        return Credentials((leaf, root), key)

    def workload_identities(self, name: str) -> list[WorkloadIdentity]:
        """Every pod of a cluster that has a proxy: ours, and the network's gateways."""
        domain = self.trust_domain(name)
        return [
            WorkloadIdentity(one.proxy.name, _identity_of_pod(domain, one.pod), one.proxy.certificates)
            for one in self.mesh[name].injected_pods
        ]


@dataclass(frozen=True)
class PlainTextAttempts:
    """What a client outside of the mesh gets of a pod of helloworld: from its agent, and from helloworld itself."""

    control: Attempt
    asked: Attempt


@dataclass(eq=False)
class PlainTextClients(IsolatedChange[Mapping[str, PlainTextAttempts]]):
    """A client outside of the mesh, beside ours, in each cluster."""

    attempts: Mapping[str, PlainTextAttempts] = field(default_factory=dict, init=False)

    def apply(self, undo: ExitStack) -> None:
        """Create the pods."""
        for cluster in self.mesh:
            (pod,) = manifests.load(_PLAIN_TEXT_CLIENT)
            # In an existing mesh, what adapts the client's own pod: image, pull secrets, tolerations.
            pod["spec"] = {**injection.pod_spec_of(cluster, workloads.CLIENT), "terminationGracePeriodSeconds": 0}
            pod["spec"].pop("serviceAccountName", None)
            mutations.apply(cluster.kube, [pod], self.mesh.info.namespace, undo)

    def await_effect(self, cluster: Cluster) -> None:
        """Wait until its pod is ready; raises EnvironmentBroke where it is not in time."""
        client = self._client(cluster)

        def ready() -> None:
            found = client.kube.get("Pod", client.pod, client.namespace)
            if not found or not of_pod(found).ready:
                raise NotYet(of_pod(found).reason if found else "not there")

        what = f"the {cluster.name} runs a client outside the mesh"
        eventually(what, ready, within=timeouts().workload_ready)

    def look(self) -> None:
        """Dial a pod of helloworld in each cluster, and ask it."""
        self.attempts = parallel.for_each(self.mesh.names, lambda name: self._attempts(self.mesh[name]))

    def _attempts(self, cluster: Cluster) -> PlainTextAttempts:
        client, pod = self._client(cluster), cluster.helloworld_pod
        return PlainTextAttempts(control=client.dial_pod(pod), asked=client.ask_pod(pod))

    def _client(self, cluster: Cluster) -> Client:
        (pod,) = manifests.load(_PLAIN_TEXT_CLIENT)
        ours = self.mesh.info
        return Client(cluster.kube, ours.namespace, cluster.name, pod["metadata"]["name"], ours.domain)

    def _seen(self) -> Mapping[str, PlainTextAttempts]:
        return self.attempts


@dataclass(eq=False)
class AdmittedByPrincipal(IsolatedChange[Mapping[Route, AuthzResult]]):
    """A policy admits nobody to one name of helloworld, and the client's account alone to another."""

    asked: dict[str, Mapping[Route, Sample]] = field(default_factory=dict, init=False)
    horizons: Mapping[str, Horizon] = field(default_factory=dict, init=False)

    def apply(self, undo: ExitStack) -> None:
        """Apply the policy."""
        (policy,) = manifests.load(_MANIFESTS / "admitted-by-principal.yaml")
        secured = MeshSecurity(self.mesh)
        principals = {
            service: sorted({secured.identity(account, name).removeprefix("spiffe://") for name in self.mesh.names})
            for service, account in _ACCOUNTS.items()
        }
        self.mesh.apply_rules([_by_host(principals, policy, by_refusal=self.mesh.info.needs_admission)], undo)

    def await_effect(self, cluster: Cluster) -> None:
        """The replies during the wait are never judged; where the policy never holds, the batches show it."""
        for service, wanted in {workloads.FOR_NOBODY: _FORBIDDEN, workloads.FOR_CLIENT: _OK}.items():
            _await_status(cluster, service, wanted)

    def look(self) -> None:
        """Send one batch from each client to each of the names."""
        self.horizons = {name: self.mesh.horizon(name) for name in self.mesh.names}
        for service in _ACCOUNTS:
            self.asked[service] = Sampling(self.mesh).samples(times=_ASKED, service=service)

    def _seen(self) -> Mapping[Route, AuthzResult]:
        strangers, clients = self.asked[workloads.FOR_NOBODY], self.asked[workloads.FOR_CLIENT]
        return {
            route: AuthzResult(
                stranger=strangers[route],
                client=clients[route],
                near_pods=self.horizons[route.near].near_pods,
                far_gateways=self.horizons[route.near].far_gateways,
            )
            for route in self.mesh.routes
        }


def _by_host(principals: Mapping[str, Sequence[str]], policy: Object, *, by_refusal: bool) -> Object:
    """A policy by which each of these Services may be called by its principals alone; all else is as without it.

    Policies that admit add up: where one of the run admits its clients already, only a refusal restricts them.
    """
    hosts = {service: [f"{service}*"] for service in principals}
    key, action = ("notPrincipals", "DENY") if by_refusal else ("principals", "ALLOW")
    rules: list[Object] = [
        {"from": [{"source": {key: [*principals[service]]}}], "to": [{"operation": {"hosts": hosts[service]}}]}
        for service in principals
    ]
    if not by_refusal:
        others = [host for named in hosts.values() for host in named]
        rules += [{"to": [{"operation": {"notHosts": others}}]}, {"to": [{"operation": {"notPorts": [_PORT]}}]}]
    return {**policy, "spec": {**policy["spec"], "action": action, "rules": rules}}


def _await_status(cluster: Cluster, service: str, wanted: int) -> None:
    client = cluster.client

    def answered_so() -> None:
        found = sorted({reply.status for reply in client.send(times=_REQUESTS, service=service)})
        if found != [wanted]:
            raise NotYet(f"HTTP {found}")

    claim = f"the client of {cluster} at {service}: HTTP {wanted} and nothing else"
    with suppress(TimedOut):
        eventually(claim, answered_so, within=timeouts().policy_enforced, successes=2)


def _mesh_config(mesh: Mesh, cluster: Cluster) -> Mapping[str, object]:
    name = config_map_of(mesh.info.revision_of(cluster.name))
    found = cluster.kube.get("ConfigMap", name, cluster.system_namespace) or {}
    return yaml.safe_load(found.get("data", {}).get("mesh", "")) or {}


def _is_strict(mesh: Mesh, cluster: Cluster) -> bool:
    root = str(_mesh_config(mesh, cluster).get("rootNamespace") or cluster.system_namespace)
    policies = [one.get("spec", {}) for one in cluster.kube.list("PeerAuthentication", root)]
    return any(one.get("mtls", {}).get("mode") == "STRICT" for one in policies if "selector" not in one)


def _roots(cluster: Cluster) -> tuple[x509.Certificate, ...]:
    found = cluster.kube.get("ConfigMap", ROOT_CONFIG_MAP, cluster.namespace) or {}
    try:
        return tuple(x509.load_pem_x509_certificates(found.get("data", {}).get("root-cert.pem", "").encode()))
    except ValueError:
        return ()


def _identity_of_pod(trust_domain: str, pod: Object) -> str:
    account = pod["spec"].get("serviceAccountName", "default")
    return identity_of(trust_domain, pod["metadata"]["namespace"], account)
