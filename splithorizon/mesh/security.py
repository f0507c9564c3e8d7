"""The mesh as one looks at its security: whom it trusts, whom it knows, whom it lets in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

import yaml
from cryptography import x509

from splithorizon.base import process
from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import certificates
from splithorizon.istio.names import ROOT_CONFIG_MAP, config_map_of
from splithorizon.istio.topology import ROUTES, Role, Route
from splithorizon.istio.workload_certificate import WorkloadCertificate, identity_of
from splithorizon.kube import manifests
from splithorizon.kube.pod_status import of_pod
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads
from splithorizon.traffic.client import Client, Sample
from splithorizon.traffic.gateway_port import GatewayPort
from splithorizon.traffic.tls_probe import Credentials
from splithorizon.undo import mutations

_MANIFESTS = MANIFESTS / "security"
_UNSAID = "cluster.local"
_OK, _FORBIDDEN = 200, 403
# That all of them go to one of two versions by chance happens once in a million, and twice in a row never.
_REQUESTS = 20


@dataclass(frozen=True)
class WorkloadIdentity:
    """A pod of the mesh: the identity that is its account's, and the certificates by which it is known."""

    pod: str
    identity: str
    certificates: tuple[WorkloadCertificate, ...]


@dataclass(frozen=True)
class AuthzResult:
    """What became of one client: under a policy that names another account, and under one that names its own."""

    stranger: Sample
    client: Sample


@dataclass(frozen=True)
class MeshSecurity:
    """The mesh, and what its security is made of."""

    mesh: Mesh

    @property
    def trust_domain(self) -> str:
        """In whose name istiod certifies workloads."""
        return str(self._configuration.get("trustDomain") or _UNSAID)

    @property
    def strict(self) -> bool:
        """Whether the mesh says, for all of it, that nobody is asked in plain text."""
        root = str(self._configuration.get("rootNamespace") or self.mesh.primary.system_namespace)
        policies = [one.get("spec", {}) for one in self.mesh.primary.kube.list("PeerAuthentication", root)]
        return any(one.get("mtls", {}).get("mode") == "STRICT" for one in policies if "selector" not in one)

    def identity(self, account: str) -> str:
        """By which an account of our namespace is known."""
        return identity_of(self.trust_domain, self.mesh.facts.namespace, account)

    def helloworld_identity(self, role: Role) -> str:
        """By which the service's pods of a cluster are known."""
        pods = self.mesh[role].helloworld_pods
        if not pods:
            raise EnvironmentBroke(f"no pod of {workloads.SERVICE} runs in the {role}")
        return self.identity(pods[0]["spec"].get("serviceAccountName", "default"))

    @property
    def roots(self) -> Mapping[Role, tuple[x509.Certificate, ...]]:
        """What the workloads of each cluster trust: none where nothing is told to them, or nothing that is PEM."""
        return {role: self._roots(role) for role in Role}

    def doorway(self, role: Role) -> GatewayPort:
        """The gateway of a cluster's network, at one of its pods; raises EnvironmentBroke where it has none."""
        cluster = self.mesh[role]
        running = [one.pod["metadata"] for one in cluster.injected_pods if one.is_gateway]
        if not running:
            raise EnvironmentBroke(f"no pod of the {role}'s gateway runs")
        return GatewayPort(cluster.kube, running[0]["namespace"], running[0]["name"], self.mesh.facts.namespace)

    def impostor(self) -> Credentials:
        """A certificate that calls itself the client's, of a root that was made this moment."""
        name, root_key, key = certificates.name("Root CA"), certificates.new_key(), certificates.new_key()
        root = certificates.authority(name, root_key, issuer=name, issuer_key=root_key)
        leaf = certificates.workload(self.identity(workloads.CLIENT), key, issuer=name, issuer_key=root_key)
        return Credentials((leaf, root), key)

    def known(self, role: Role) -> list[WorkloadIdentity]:
        """Every pod of a cluster that has a proxy: ours, and the network's gateways."""
        return [
            WorkloadIdentity(one.proxy.name, self._identity_of_pod(one.pod), one.proxy.certificates)
            for one in self.mesh[role].injected_pods
        ]

    def samples_admitting(self, account: str, *, times: int, undo: ExitStack) -> Mapping[Route, Sample]:
        """Let one account of our namespace alone ask helloworld, wait until that holds, and send one batch each way.

        What the wait sees is never judged; where it never holds, the batches will say so.
        """
        (policy,) = manifests.load(_MANIFESTS / "admitted-by-principal.yaml")
        principal = self.identity(account).removeprefix("spiffe://")
        policy["spec"]["rules"] = [{"from": [{"source": {"principals": [principal]}}]}]
        mutations.apply(self.mesh.primary.kube, [policy], self.mesh.facts.namespace, undo)
        wanted = _OK if account == workloads.CLIENT else _FORBIDDEN
        process.side_by_side(**{str(route): partial(self._await_status, route, wanted) for route in ROUTES})
        self.mesh.await_drained()
        return self.mesh.samples(times=times)

    def plain_text_client(self, role: Role, undo: ExitStack) -> Client:
        """A client outside the mesh, beside ours; the undo takes it away."""
        (pod,) = manifests.load(_MANIFESTS / "plain-text-client.yaml")
        (container,) = pod["spec"]["containers"]
        container["image"] = self.mesh.image_of(workloads.CLIENT, role)
        kube, namespace, name = self.mesh[role].kube, self.mesh.facts.namespace, pod["metadata"]["name"]
        mutations.apply(kube, [pod], namespace, undo)

        def look() -> None:
            found = kube.get("Pod", name, namespace)
            if not found or not of_pod(found).ready:
                raise NotYet(of_pod(found).reason if found else "not there")

        eventually(f"the {role} runs a client outside the mesh", look, within=timeouts().workload_ready)
        return Client(kube, namespace, role, name)

    def _await_status(self, route: Route, wanted: int) -> None:
        client = self.mesh.client(route.near)

        def look() -> None:
            found = sorted({reply.status for reply in client.send(times=_REQUESTS)})
            if found != [wanted]:
                raise NotYet(f"HTTP {found}")

        claim = f"{route}: HTTP {wanted} and nothing else"
        with suppress(TimedOut):
            eventually(claim, look, within=timeouts().policy_enforced, successes=2)

    def _roots(self, role: Role) -> tuple[x509.Certificate, ...]:
        found = self.mesh[role].kube.get("ConfigMap", ROOT_CONFIG_MAP, self.mesh.facts.namespace) or {}
        try:
            return tuple(x509.load_pem_x509_certificates(found.get("data", {}).get("root-cert.pem", "").encode()))
        except ValueError:
            return ()

    def _identity_of_pod(self, pod: dict) -> str:  # type: ignore[type-arg]  # a Kubernetes object is a plain dict
        account = pod["spec"].get("serviceAccountName", "default")
        return identity_of(self.trust_domain, pod["metadata"]["namespace"], account)

    @property
    def _configuration(self) -> dict[str, object]:
        kube, name = self.mesh.primary.kube, config_map_of(self.mesh.facts.revision)
        found = kube.get("ConfigMap", name, self.mesh.primary.system_namespace) or {}
        return yaml.safe_load(found.get("data", {}).get("mesh", "")) or {}
