"""Faults of what istiod finds out and tells."""

from __future__ import annotations

import base64
from contextlib import ExitStack

import yaml

from proof.faults.registry import Assumes, fault
from proof.targets import managed, watched, watching
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.diagnosis import causes
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.names import EASTWEST_GATEWAY, NETWORK_LABEL, ROOT_CONFIG_MAP
from splithorizon.istio.remote_secret import READER
from splithorizon.kube.pod_status import SIDECAR
from splithorizon.kube.rollout import await_rollout
from splithorizon.mesh import injection
from splithorizon.mesh.discovery import Discovery
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads
from splithorizon.undo import mutations

_FAULTS = MANIFESTS / "faults"


@fault(
    "test_networks_are_named_alike_everywhere",
    cause=causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK,
    modes=(NetworkMode.LABELS,),
    root_cause=causes.SYSTEM_NAMESPACE_WITHOUT_NETWORK,
    cites=[("Namespace remote/istio-system", "topology.istio.io/network", "not set")],
)
def namespace_without_network(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's system namespace loses its network label: what runs goes on, for its pods have the label still."""
    mutations.remove_label(watched(mesh).kube, "Namespace", watched(mesh).system_namespace, None, NETWORK_LABEL, undo)


@fault(
    "test_every_proxy_is_synced",
    cause=causes.ENVOY_REFUSED_CONFIG,
    root_cause=causes.ENVOY_REFUSED_CONFIG,
    cites=[("EnvoyFilter primary/sample/cluster-refused", ".patch.value.name", "cluster-refused")],
)
def cluster_refused(mesh: Mesh, undo: ExitStack) -> None:
    """Istiod sends the clients' sidecars a cluster that Envoy rejects; the clusters from before stay in use."""
    mesh.apply_rules(_FAULTS / "cluster-refused.yaml", undo)


@fault(
    "test_proxy_versions_are_supported",
    cause=causes.PROXY_VERSION_UNSUPPORTED,
    root_cause=causes.PROXY_VERSION_UNSUPPORTED,
    cites=[("Pod remote/istio-system/istio-eastwestgateway", "istio_version", "1.20.0")],
)
def gateway_of_an_old_version(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's gateway says that it is of Istio 1.20, like one that many upgrades left out; it serves well."""
    kube, namespace, name = watched(mesh).kube, watched(mesh).system_namespace, EASTWEST_GATEWAY
    found = kube.get("Deployment", name, namespace)
    if found is None:
        raise EnvironmentBroke(f"there is no Deployment {namespace}/{name} to break")
    # What an agent says of itself in its node metadata comes first, then its program's own version.
    old = {"name": "ISTIO_META_ISTIO_VERSION", "value": "1.20.0"}
    containers = [
        one | {"env": [*one.get("env", []), old]} if one["name"] == SIDECAR else one
        for one in found["spec"]["template"]["spec"]["containers"]
    ]
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    undo.callback(await_rollout, kube, name, namespace, within=timeouts().workload_ready)
    mutations.patch(kube, "Deployment", name, namespace, body, undo)
    await_rollout(kube, name, namespace, within=timeouts().workload_ready)


@fault(
    "test_gateway_weighs_as_much_as_its_pods",
    cause=causes.POD_WITHOUT_SIDECAR,
    root_cause=causes.POD_REFUSES_SIDECAR,
    cites=[("Pod remote/sample/helloworld-v2-bare", "sidecar.istio.io/inject", "false")],
)
def far_pod_without_sidecar(mesh: Mesh, undo: ExitStack) -> None:
    """A second pod of the remote's helloworld has no sidecar: no other network reaches it, and nothing tells."""
    kube, namespace = watched(mesh).kube, mesh.info.namespace
    version = watched(mesh).info.version
    name = workloads.helloworld_of(version)
    (deployment, *_) = workloads.helloworld_manifests(version)
    deployment["metadata"] |= {"name": f"{name}-bare", "namespace": namespace}
    labels = {"sidecar.istio.io/inject": "false"}
    for part in (deployment["spec"]["selector"]["matchLabels"], deployment["spec"]["template"]["metadata"]["labels"]):
        part |= labels
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = injection.image_of(watched(mesh), name)
    mutations.apply(kube, [deployment], namespace, undo)


@fault(
    "test_answers_follow_the_weights",
    cause=causes.BALANCED_WITHOUT_WEIGHTS,
    root_cause=causes.BALANCED_WITHOUT_WEIGHTS,
    cites=[("DestinationRule primary/sample/balanced-without-weights", "loadBalancer.simple", "RANDOM")],
)
def balanced_without_weights(mesh: Mesh, undo: ExitStack) -> None:
    """A DestinationRule has sidecars choose at random, where every endpoint counts for one."""
    mesh.apply_rules(_FAULTS / "balanced-without-weights.yaml", undo)


@fault(
    "test_remote_finds_istiod_behind_the_gateway",
    cause=causes.ISTIOD_ADDRESS_STALE,
    root_cause=causes.ISTIOD_ADDRESS_STALE,
    cites=[("EndpointSlice remote/istio-system/istiod", "endpoints", "192.0.2.1")],
    assumes=Assumes.MANAGED,
)
def istiod_address_stale(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's Service for istiod leads to an unused address; open connections stay up."""
    service, _, _ = Discovery(mesh).istiod_address(managed(mesh).name).partition(".")
    endpoints = {"endpoints": [{"addresses": ["192.0.2.1"]}]}
    mutations.patch(managed(mesh).kube, "EndpointSlice", service, managed(mesh).system_namespace, endpoints, undo)


@fault(
    "test_every_cluster_is_watched",
    cause=causes.REMOTE_SECRET_AT_LOOPBACK,
    root_cause=causes.REMOTE_SECRET_AT_LOOPBACK,
    cites=[("Secret primary/istio-system/istio-remote-secret-remote", "data.remote", "https://127.0.0.1:6443")],
)
def remote_secret_at_loopback(mesh: Mesh, undo: ExitStack) -> None:
    """The remote secret's kubeconfig leads to 127.0.0.1, as kind writes it for the machine that it runs on."""
    kube, cluster_id = watching(mesh).kube, watched(mesh).info.cluster_id
    name, namespace = f"istio-remote-secret-{cluster_id}", watching(mesh).system_namespace
    secret = kube.get("Secret", name, namespace) or {"data": {cluster_id: ""}}
    kubeconfig = yaml.safe_load(base64.b64decode(secret["data"][cluster_id]))
    # istiod 1.29 waits for a server that it cannot reach, and meanwhile reads no other secret (istio/istio#58047).
    undo.callback(restart_istiod, mesh)
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:6443"
    looped = base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode()
    mutations.patch(kube, "Secret", name, namespace, {"data": {cluster_id: looped}}, undo)


@fault(
    "test_webhooks_trust_the_mesh_root",
    cause=causes.ISTIOD_MAY_NOT_WRITE,
    root_cause=causes.ISTIOD_MAY_NOT_WRITE,
    cites=[
        ("MutatingWebhookConfiguration remote/", "caBundle", "empty"),
        ("ClusterRole remote/istio-reader-clusterrole", "rules", "mutatingwebhookconfigurations: [get, list, watch]"),
    ],
    assumes=Assumes.MANAGED,
)
def webhook_bundles_empty(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's injection webhooks have no CA bundle, and istiod may not write it: nothing is injected any more."""
    kube = managed(mesh).kube
    forbid_writing("mutatingwebhookconfigurations", mesh, undo)
    kind, empty = "MutatingWebhookConfiguration", {"caBundle": ""}
    for found in kube.list(kind, labels="app=sidecar-injector"):
        webhooks = [{**one, "clientConfig": one["clientConfig"] | empty} for one in found["webhooks"]]
        mutations.patch(kube, kind, found["metadata"]["name"], None, {"webhooks": webhooks}, undo)


@fault(
    "test_root_certificate_is_the_same",
    cause=causes.ISTIOD_MAY_NOT_WRITE,
    root_cause=causes.ISTIOD_MAY_NOT_WRITE,
    cites=[
        ("ConfigMap remote/sample/istio-ca-root-cert", "data.root-cert.pem", "not there"),
        ("ClusterRole remote/istio-reader-clusterrole", "rules", "configmaps: [get, list, watch]"),
    ],
    assumes=Assumes.MANAGED,
)
def root_certificate_missing(mesh: Mesh, undo: ExitStack) -> None:
    """Our namespace in the remote loses its root certificate, and istiod may not write it: no new pod could start."""
    forbid_writing("configmaps", mesh, undo)
    mutations.delete(managed(mesh).kube, "ConfigMap", ROOT_CONFIG_MAP, mesh.info.namespace, undo)


def restart_istiod(mesh: Mesh) -> None:
    """Restart istiod, so that it holds nothing from before."""
    kube, namespace = watching(mesh).kube, watching(mesh).system_namespace
    for pod in kube.list("Pod", namespace, "app=istiod"):
        kube.delete("Pod", pod["metadata"]["name"], namespace, gone_within=timeouts().namespace_gone)
    await_rollout(kube, "istiod", namespace, within=timeouts().istio_installed)


def forbid_writing(resource: str, mesh: Mesh, undo: ExitStack) -> None:
    """Leave the istiod of a managed cluster no more than the reading of something there."""
    kube, name = managed(mesh).kube, f"istio-reader-clusterrole-{managed(mesh).system_namespace}"
    role = kube.get("ClusterRole", name) or {"rules": []}
    rules = [
        {**rule, "verbs": ["get", "list", "watch"]} if resource in rule.get("resources", []) else rule
        for rule in role["rules"]
    ]
    mutations.patch(kube, "ClusterRole", name, None, {"rules": rules}, undo)
    groups = {group for rule in role["rules"] if resource in rule.get("resources", []) for group in rule["apiGroups"]}
    reader = f"system:serviceaccount:{managed(mesh).system_namespace}:{READER}"

    def forbidden() -> None:
        # The API server's authorizer reads the role a moment later: until then istiod would write again.
        for group, verb in ((group, verb) for group in groups for verb in ("update", "patch")):
            attributes = {"group": group, "resource": resource, "verb": verb}
            if kube.allowed({"user": reader, "resourceAttributes": attributes}):
                raise NotYet(f"{reader} may {verb} {resource}")

    eventually(f"istiod may not write {resource}", forbidden, within=timeouts().object_appears)
