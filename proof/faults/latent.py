"""Faults that traffic does not notice: the next pod or proxy fails."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from proof.faults.discovery import forbid_writing, restart_istiod
from proof.faults.registry import Assumes, fault
from proof.gateway_service import lead_port_to_readiness
from proof.targets import managed, managing, watched, watching
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.diagnosis import causes
from splithorizon.istio import certificates, remote_credential
from splithorizon.istio.remote_secret import READER
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.security import MeshSecurity
from splithorizon.traffic.tls_probe import Credentials
from splithorizon.undo import mutations

_WEBHOOKS = "MutatingWebhookConfiguration"
# The shortest life that Kubernetes gives a token.
_TEN_MINUTES = 600
_LONG_AGO, _SOON = timedelta(days=100), timedelta(days=1)


@fault(
    "test_new_pods_are_injected",
    cause=causes.WEBHOOK_LEADS_NOWHERE,
    root_cause=causes.WEBHOOK_LEADS_NOWHERE,
    cites=[
        (f"{_WEBHOOKS} remote/", "clientConfig.service.name", "istiod-1-7-0"),
        ("Services remote/istio-system", "metadata.name", "istiod"),
    ],
)
def webhook_leads_nowhere(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's injection webhooks name the Service of an istiod that was removed: what runs goes on."""
    _lead_webhooks(mesh, {"name": "istiod-1-7-0"}, undo)


@fault(
    "test_new_pods_are_injected",
    "test_webhooks_trust_the_mesh_root",
    causes={
        "test_new_pods_are_injected": causes.ISTIOD_MAY_NOT_WRITE,
        "test_webhooks_trust_the_mesh_root": causes.ROOTS_DIFFER,
    },
    cause=causes.ISTIOD_MAY_NOT_WRITE,
    root_cause=causes.ISTIOD_MAY_NOT_WRITE,
    cites=[
        (f"{_WEBHOOKS} remote/", "caBundle", "SHA-256"),
        ("ClusterRole remote/istio-reader-clusterrole", "rules", "mutatingwebhookconfigurations: [get, list, watch]"),
    ],
    assumes=Assumes.MANAGED,
)
def webhook_trusts_another_root(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's injection webhooks have another root as their CA bundle, and istiod may not correct it."""
    forbid_writing("mutatingwebhookconfigurations", mesh, undo)
    _, root = MeshSecurity(mesh).impostor(managed(mesh).name).chain
    bundle = base64.b64encode(root.public_bytes(Encoding.PEM)).decode()
    _change_client_configs(managed(mesh), lambda client_config: {**client_config, "caBundle": bundle}, undo)


@fault(
    "test_new_pods_are_injected",
    cause=causes.PROXY_NETWORK_WRONG,
    root_cause=causes.PROXY_NETWORK_WRONG,
    cites=[(f"{_WEBHOOKS} remote/", "clientConfig.service.path", "/inject/cluster/remote/net/former-network")],
)
def webhook_names_another_network(mesh: Mesh, undo: ExitStack) -> None:
    """The path of the remote's injection webhooks names a network that was renamed: new sidecars would be in it."""
    cluster_id = watched(mesh).info.cluster_id
    _lead_webhooks(mesh, {"path": f"/inject/cluster/{cluster_id}/net/former-network"}, undo)


@fault(
    "test_new_proxies_reach_istiod",
    cause=causes.ISTIOD_PORT_LEADS_ELSEWHERE,
    root_cause=causes.ISTIOD_PORT_LEADS_ELSEWHERE,
    cites=[
        ("Service primary/istio-system/istio-eastwestgateway", ".targetPort", "15021 for port 15012"),
        ("Envoy primary/istio-system/istio-eastwestgateway", "listeners", "15021"),
    ],
    assumes=Assumes.MANAGED,
)
def istiod_port_leads_elsewhere(mesh: Mesh, undo: ExitStack) -> None:
    """The primary's gateway sends 15012 to its own readiness port: proxies that are connected stay so."""
    lead_port_to_readiness(managing(mesh), 15012, undo)


@fault(
    "test_new_proxies_reach_istiod",
    cause=causes.ISTIOD_PORT_LEADS_ELSEWHERE,
    root_cause=causes.ISTIOD_PORT_LEADS_ELSEWHERE,
    cites=[("Service primary/istio-system/istio-eastwestgateway", ".targetPort", "15021 for port 15017")],
    assumes=Assumes.MANAGED,
)
def webhook_port_leads_elsewhere(mesh: Mesh, undo: ExitStack) -> None:
    """The primary's gateway sends 15017 to its own readiness port: the remote's webhooks reach no istiod."""
    lead_port_to_readiness(managing(mesh), 15017, undo)


@fault(
    "test_remote_credentials_last",
    cause=causes.REMOTE_TOKEN_ENDS,
    root_cause=causes.REMOTE_TOKEN_ENDS,
    cites=[("Secret primary/istio-system/istio-remote-secret-remote", "data.remote", "its token ends at")],
)
def remote_token_of_ten_minutes(mesh: Mesh, undo: ExitStack) -> None:
    """The remote secret has a token of the reader account that ends in ten minutes: istiod's watch goes on with it."""
    kube, cluster_id = watching(mesh).kube, watched(mesh).info.cluster_id
    name, namespace = f"istio-remote-secret-{cluster_id}", watching(mesh).system_namespace
    secret = kube.get("Secret", name, namespace)
    if secret is None:
        raise EnvironmentBroke(f"there is no Secret {namespace}/{name} to break")
    kubeconfig = yaml.safe_load(base64.b64decode(secret["data"][cluster_id]))
    token = watched(mesh).kube.token_of(READER, watched(mesh).system_namespace, seconds=_TEN_MINUTES)
    kubeconfig["users"][0]["user"]["token"] = token
    encoded = base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode()
    # istiod 1.29 closes its watch when the secret changes, and opens none before it is started again.
    undo.callback(restart_istiod, mesh)
    mutations.patch(kube, "Secret", name, namespace, {"data": {cluster_id: encoded}}, undo)
    restart_istiod(mesh)


@fault(
    "test_remote_credentials_last",
    cause=causes.REMOTE_SECRET_REFUSED,
    root_cause=causes.REMOTE_SECRET_REFUSED,
    cites=[("ClusterRole remote/istio-reader-clusterrole", "rules", "endpointslices")],
)
def reader_lacks_endpoint_slices(mesh: Mesh, undo: ExitStack) -> None:
    """The role of the reader account in the remote lacks endpoint slices, as one of an older Istio: watches go on."""
    kube = watched(mesh).kube
    name = remote_credential.reader_role_of(mesh.info.revision, watched(mesh).system_namespace)
    role = kube.get("ClusterRole", name) or {"rules": []}
    rules = [rule for rule in role["rules"] if "endpointslices" not in rule.get("resources", [])]
    mutations.patch(kube, "ClusterRole", name, None, {"rules": rules}, undo)


@fault(
    "test_served_chains_last",
    cause=causes.CERTIFICATE_ENDS_SOON,
    root_cause=causes.CERTIFICATE_ENDS_SOON,
    cites=[("istiod primary/istio-system/istiod", "certificate 1 of", "valid from")],
)
def istiod_certificate_ends_soon(mesh: Mesh, undo: ExitStack) -> None:
    """Istiod serves a certificate of a hundred days that ends within a day, as where its renewal fails."""
    now = datetime.now(UTC)
    authority = _authority(mesh)
    _serve(mesh, authority, (), authority.chain[0].subject, authority.key, (now - _LONG_AGO, now + _SOON), undo)


@fault(
    "test_served_chains_last",
    cause=causes.CA_NOT_VALID,
    root_cause=causes.CA_NOT_VALID,
    cites=[("istiod primary/istio-system/istiod", "certificate 2 of", "Expired CA")],
)
def istiod_intermediate_expired(mesh: Mesh, undo: ExitStack) -> None:
    """Istiod's certificate is of an intermediate CA that has expired: proxies that connect now refuse it."""
    now = datetime.now(UTC)
    authority, key, name = _authority(mesh), certificates.new_key(), certificates.name("Expired CA", "primary")
    expired = certificates.authority(
        name, key, issuer=authority.chain[0].subject, issuer_key=authority.key, life=(now - _LONG_AGO, now - _SOON)
    )
    _serve(mesh, authority, (expired,), name, key, (now - _SOON, now + _LONG_AGO), undo)


def _authority(mesh: Mesh) -> Credentials:
    """The primary's CA: its certificate with those above it, and its key."""
    namespace = watching(mesh).system_namespace
    secret = watching(mesh).kube.get("Secret", "cacerts", namespace)
    if secret is None:
        raise EnvironmentBroke(f"there is no Secret {namespace}/cacerts to sign with")
    content = {name: base64.b64decode(secret["data"][name]) for name in ("ca-cert.pem", "ca-key.pem", "cert-chain.pem")}
    key = load_pem_private_key(content["ca-key.pem"], None)
    if not isinstance(key, certificates.Key):
        raise EnvironmentBroke(f"the key in Secret {namespace}/cacerts is of another kind than the lab's")
    return Credentials(tuple(x509.load_pem_x509_certificates(content["cert-chain.pem"])), key)


def _serve(
    mesh: Mesh,
    authority: Credentials,
    between: tuple[x509.Certificate, ...],
    issuer: x509.Name,
    issuer_key: certificates.Key,
    life: tuple[datetime, datetime],
    undo: ExitStack,
) -> None:
    """Let istiod serve a certificate of this issuer, from the Secret that istio-csr would write."""
    namespace, key = watching(mesh).system_namespace, certificates.new_key()
    hosts = [f"istiod.{namespace}.svc", f"istiod-revision-tag-default.{namespace}.svc"]
    own = certificates.server(hosts, key, issuer=issuer, issuer_key=issuer_key, life=life)
    chain = b"".join(one.public_bytes(Encoding.PEM) for one in (own, *between, *authority.chain))
    data = {
        name: base64.b64encode(one).decode()
        for name, one in (("tls.crt", chain), ("tls.key", certificates.pem_of(key)))
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
    undo.callback(restart_istiod, mesh)
    mutations.apply(
        watching(mesh).kube, [{**secret, "metadata": {"name": "istiod-tls"}, "data": data}], namespace, undo
    )
    restart_istiod(mesh)


def _lead_webhooks(mesh: Mesh, service: Mapping[str, Any], undo: ExitStack) -> None:
    """Change the Service that the remote's injection webhooks name."""

    def led_elsewhere(client_config: Mapping[str, Any]) -> dict[str, Any]:
        return {**client_config, "service": client_config["service"] | service}

    _change_client_configs(watched(mesh), led_elsewhere, undo)


def _change_client_configs(
    cluster: Cluster, change: Callable[[Mapping[str, Any]], dict[str, Any]], undo: ExitStack
) -> None:
    """Change the ``clientConfig`` of each of a cluster's injection webhooks."""
    kube = cluster.kube
    for configuration in kube.list(_WEBHOOKS, labels="app=sidecar-injector"):
        webhooks = [
            {**webhook, "clientConfig": change(webhook["clientConfig"])} for webhook in configuration["webhooks"]
        ]
        mutations.patch(kube, _WEBHOOKS, configuration["metadata"]["name"], None, {"webhooks": webhooks}, undo)
