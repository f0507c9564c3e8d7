"""Faults of who is trusted, known and let in."""

from __future__ import annotations

from contextlib import ExitStack

from cryptography.hazmat.primitives.serialization import Encoding

from proof.faults.discovery import forbid_writing
from proof.faults.registry import Assumes, fault
from proof.targets import managed, watching
from splithorizon.base.paths import MANIFESTS
from splithorizon.diagnosis import causes
from splithorizon.istio.names import ROOT_CONFIG_MAP
from splithorizon.kube import manifests
from splithorizon.mesh import injection
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.security import MeshSecurity
from splithorizon.traffic import workloads
from splithorizon.undo import mutations

_FAULTS = MANIFESTS / "faults"


@fault(
    "test_one_root_is_served_by_both_gateways",
    cause=causes.ROOTS_DIFFER,
    root_cause=causes.ROOTS_DIFFER,
    cites=[("ConfigMap remote/sample/istio-ca-root-cert", "data.root-cert.pem", "SHA-256")],
    assumes=Assumes.MANAGED,
)
def root_replaced(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's workloads get another root to trust, and istiod may not correct it; running pods keep working."""
    forbid_writing("configmaps", mesh, undo)
    _, root = MeshSecurity(mesh).impostor(managed(mesh).name).chain
    body = {"data": {"root-cert.pem": root.public_bytes(Encoding.PEM).decode()}}
    mutations.patch(managed(mesh).kube, "ConfigMap", ROOT_CONFIG_MAP, mesh.info.namespace, body, undo)


@fault(
    "test_one_root_is_served_by_both_gateways",
    cause=causes.NO_MUTUAL_TLS,
    root_cause=causes.NO_MUTUAL_TLS,
    cites=[("PeerAuthentication primary/sample/no-mutual-tls", "spec.mtls.mode", "DISABLE")],
)
def no_mutual_tls(mesh: Mesh, undo: ExitStack) -> None:
    """Helloworld's sidecars speak no TLS: no gateway passes anything on to them, and within a cluster all goes on."""
    mesh.apply_rules(_FAULTS / "no-mutual-tls.yaml", undo)


@fault(
    "test_strangers_are_refused",
    cause=causes.NO_CLIENT_CERTIFICATE_DEMANDED,
    root_cause=causes.NO_CLIENT_CERTIFICATE_DEMANDED,
    cites=[("EnvoyFilter primary/sample/no-certificate-demanded", ".patch.value", "no-certificate-demanded")],
)
def no_certificate_demanded(mesh: Mesh, undo: ExitStack) -> None:
    """Helloworld's sidecars answer clients that have no certificate; clients of the mesh are not affected."""
    mesh.apply_rules(_FAULTS / "no-certificate-demanded.yaml", undo)


@fault(
    "test_strangers_are_refused",
    cause=causes.ANY_ROOT_TRUSTED,
    root_cause=causes.ANY_ROOT_TRUSTED,
    cites=[("EnvoyFilter primary/sample/any-root-taken", "trust_chain_verification", "ACCEPT_UNTRUSTED")],
)
def any_root_taken(mesh: Mesh, undo: ExitStack) -> None:
    """Helloworld's sidecars answer clients with a certificate of any root; clients of the mesh are not affected."""
    mesh.apply_rules(_FAULTS / "any-root-taken.yaml", undo)


@fault(
    "test_gateway_knows_only_its_services",
    cause=causes.ANY_NAME_PASSED,
    root_cause=causes.ANY_NAME_PASSED,
    cites=[("EnvoyFilter primary/istio-system/any-name-passed", "default_filter_chain", "any-name")],
)
def any_name_passed(mesh: Mesh, undo: ExitStack) -> None:
    """Both gateways pass on to helloworld whatever comes to 15443, by any name or none."""
    mesh.apply_rules(_FAULTS / "any-name-passed.yaml", undo, system=True)


@fault(
    "test_identity_crosses_the_gateway",
    cause=causes.ADMITTED_BY_ANOTHER_POLICY,
    root_cause=causes.ADMITTED_BY_ANOTHER_POLICY,
    cites=[("AuthorizationPolicy primary/sample/everyone-admitted", "spec.action", "ALLOW")],
)
def everyone_admitted(mesh: Mesh, undo: ExitStack) -> None:
    """A second ALLOW policy admits every client: the policy that names an account restricts nothing any more."""
    mesh.apply_rules(_FAULTS / "everyone-admitted.yaml", undo)


@fault(
    "test_plain_text_is_refused",
    cause=causes.PLAIN_TEXT_ADMITTED,
    root_cause=causes.PLAIN_TEXT_ADMITTED,
    cites=[("PeerAuthentication primary/sample/plain-text-admitted", "spec.mtls.mode", "PERMISSIVE")],
)
def plain_text_admitted(mesh: Mesh, undo: ExitStack) -> None:
    """Helloworld's PeerAuthentication is PERMISSIVE in a STRICT mesh; clients of the mesh are not affected."""
    mesh.apply_rules(_FAULTS / "plain-text-admitted.yaml", undo)


@fault(
    "test_workloads_are_known_by_their_own_certificates",
    cause=causes.CERTIFICATE_SHORT_LIVED,
    root_cause=causes.CERTIFICATE_SHORT_LIVED,
    cites=[("Pod primary/sample/short-lived", "proxy.istio.io/config", "SECRET_TTL")],
)
def certificate_short_lived(mesh: Mesh, undo: ExitStack) -> None:
    """A workload of the primary is certified for half an hour."""
    (pod,) = manifests.load(_FAULTS / "short-lived-certificate.yaml")
    (container,) = pod["spec"]["containers"]
    container["image"] = injection.image_of(watching(mesh), workloads.CLIENT)
    mutations.apply(watching(mesh).kube, [pod], mesh.info.namespace, undo)
