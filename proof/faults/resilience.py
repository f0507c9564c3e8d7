"""Faults without an effect until something is lost, which then does not recover."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from proof.faults.latent import webhook_leads_nowhere
from proof.faults.registry import Assumes, fault
from proof.targets import kept_beside_watched, watched, watching
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.diagnosis import causes
from splithorizon.istio import names
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.names import NETWORK_LABEL
from splithorizon.kube import manifests, rollout
from splithorizon.kube.client import Kube
from splithorizon.mesh.mesh import Mesh
from splithorizon.undo import mutations

_FAULTS = MANIFESTS / "faults"
_PINNED = "splithorizon/pinned"


@fault(
    "test_a_removed_remote_secret_is_forgotten_and_found_again",
    "test_a_bad_remote_secret_harms_nothing_near",
    cause=causes.REMOTE_NAMED_TWICE,
    root_cause=causes.REMOTE_NAMED_TWICE,
    cites=[("Secret primary/istio-system/istio-remote-secret-remote-before", "data.remote-before", "leads to")],
)
def remote_named_twice(mesh: Mesh, undo: ExitStack) -> None:
    """A second remote secret leads to the remote too, under a name from before."""
    kube, namespace, cluster_id = watching(mesh).kube, watching(mesh).system_namespace, watched(mesh).info.cluster_id
    for secret in kube.list("Secret", namespace, "istio/multiCluster=true"):
        if cluster_id in secret["data"]:
            again = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": f"{secret['metadata']['name']}-before", "labels": secret["metadata"]["labels"]},
                "data": {f"{cluster_id}-before": secret["data"][cluster_id]},
            }
            mutations.apply(kube, [again], namespace, undo)


@fault(
    "test_a_mended_remote_secret_is_followed",
    "test_a_rotated_remote_secret_loses_nothing",
    "test_an_exchanged_remote_secret_is_followed",
    cause=causes.REMOTE_SECRET_REFUSED,
    root_cause=causes.REMOTE_SECRET_REFUSED,
    cites=[
        ("Secret primary/istio-system/istio-remote-secret-remote", "data.remote", "HTTP 403"),
        ("ClusterRoleBinding remote/istio-reader-clusterrole", "subjects", "not there"),
    ],
)
def reader_may_not_read(mesh: Mesh, undo: ExitStack) -> None:
    """The remote takes Istio's reader account its rights: watches that run go on, and no new one begins."""
    kube = watched(mesh).kube
    for binding in kube.list("ClusterRoleBinding"):
        if binding["metadata"]["name"].startswith("istio-reader-clusterrole"):
            mutations.delete(kube, "ClusterRoleBinding", binding["metadata"]["name"], None, undo)


@fault(
    "test_a_restarted_istiod_loses_nothing",
    "test_all_gateway_pods_may_go_and_come_back",
    cause=causes.ISTIOD_UNREACHABLE,
    root_cause=causes.ISTIOD_ADDRESS_STALE,
    cites=[("EndpointSlice remote/istio-system/istiod", "endpoints", "192.0.2.1")],
    assumes=Assumes.MANAGED_ALONE,
)
def remote_without_istiod(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's Service of istiod leads to an unused address; connected proxies stay connected."""
    kube, namespace = watched(mesh).kube, watched(mesh).system_namespace
    for slice_ in kube.list("EndpointSlice", namespace, "kubernetes.io/service-name=istiod"):
        nowhere = {"endpoints": [{"addresses": ["192.0.2.1"]}]}
        mutations.patch(kube, "EndpointSlice", slice_["metadata"]["name"], namespace, nowhere, undo)


@fault(
    "test_an_istiod_away_leaves_other_primaries_alone",
    cause=causes.ISTIOD_UNREACHABLE,
    root_cause=causes.WEBHOOK_LEADS_NOWHERE,
    cites=[("MutatingWebhookConfiguration remote/", "clientConfig.service.name", "istiod-1-7-0")],
    assumes=Assumes.SEVERAL_PRIMARIES,
)
def other_primary_injects_nothing(mesh: Mesh, undo: ExitStack) -> None:
    """The second primary's injection webhooks name an istiod that was removed: its new pods need what is not there."""
    webhook_leads_nowhere(mesh, undo)


@fault(
    "test_removing_a_remote_secret_keeps_other_gateways",
    cause=causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
    modes=(NetworkMode.LABELS,),
    root_cause=causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
    cites=[("Service remote/istio-system/istio-eastwestgateway", "topology.istio.io/network", "not set")],
    assumes=Assumes.WATCH_BESIDE_ANOTHER,
)
def kept_gateway_without_network(mesh: Mesh, undo: ExitStack) -> None:
    """The gateway's Service of one cluster loses its network label: those of another on its network hide that."""
    cluster = kept_beside_watched(mesh)
    mutations.remove_label(
        cluster.kube, "Service", names.EASTWEST_GATEWAY, cluster.system_namespace, NETWORK_LABEL, undo
    )


@fault(
    "test_removing_a_remote_secret_keeps_other_gateways",
    cause=causes.MESH_NETWORKS_WITHOUT_GATEWAY,
    modes=(NetworkMode.MESH_NETWORKS,),
    root_cause=causes.MESH_NETWORKS_WITHOUT_GATEWAY,
    cites=[("ConfigMap primary/istio-system/istio", ".gateways", "[]")],
    assumes=Assumes.WATCH_BESIDE_ANOTHER,
)
def kept_network_without_gateway(mesh: Mesh, undo: ExitStack) -> None:
    """The network of a cluster that is still watched has no gateway in meshNetworks: istiod hands out pod addresses."""
    mesh.change_mesh_network(kept_beside_watched(mesh).name, {"gateways": []}, undo)


@fault(
    "test_one_of_two_gateway_pods_may_go",
    cause=causes.GATEWAY_SERVICE_SELECTS_ABSENT_POD,
    root_cause=causes.GATEWAY_SERVICE_SELECTS_ABSENT_POD,
    cites=[("Service remote/istio-system/istio-eastwestgateway", "spec.selector", "splithorizon/pinned=true")],
)
def gateway_is_one_pod(mesh: Mesh, undo: ExitStack) -> None:
    """The remote gateway's Service selects one pod, by a label that no other will get."""
    kube, namespace = watched(mesh).kube, watched(mesh).system_namespace
    (pod,) = kube.list("Pod", namespace, watched(mesh).info.gateway_pods[0].labels)
    undo.callback(_unpin, kube, namespace)
    kube.patch("Pod", pod["metadata"]["name"], namespace, {"metadata": {"labels": {_PINNED: "true"}}})
    mutations.patch(kube, "Service", names.EASTWEST_GATEWAY, namespace, {"spec": {"selector": {_PINNED: "true"}}}, undo)


@fault(
    "test_clients_fail_over_to_the_other_network",
    cause=causes.OLDER_RULE,
    root_cause=causes.OLDER_RULE,
    cites=[("DestinationRule primary/sample/without-outlier-detection", "spec.trafficPolicy", "http2MaxRequests=1000")],
)
def rule_without_outlier_detection(mesh: Mesh, undo: ExitStack) -> None:
    """A DestinationRule that was there before has a traffic policy without outlier detection: the older one counts."""
    mesh.apply_rules(_FAULTS / "rule-without-outlier-detection.yaml", undo)


@fault(
    "test_a_corrected_gateway_address_heals",
    cause=causes.GATEWAY_ADDRESS_NAMED_TWICE,
    root_cause=causes.GATEWAY_ADDRESS_NAMED_TWICE,
    cites=[("Service remote/istio-system/second-gateway", "spec.externalIPs", "[")],
)
def gateway_address_named_twice(mesh: Mesh, undo: ExitStack) -> None:
    """A second Service of the remote's network has the gateway's address for an external one: istiod takes both."""
    info = watched(mesh).info
    (service,) = manifests.load(_FAULTS / "second-gateway-service.yaml")
    service["metadata"]["labels"][NETWORK_LABEL] = info.network
    service["spec"]["externalIPs"] = [address.host for address in info.gateways]
    mutations.apply(watched(mesh).kube, [service], watched(mesh).system_namespace, undo)


@fault(
    "test_istiod_starts_without_the_remotes_api_server",
    cause=causes.REMOTE_CLUSTER_TIMEOUT_LONG,
    root_cause=causes.REMOTE_CLUSTER_TIMEOUT_LONG,
    cites=[("Deployment primary/istio-system/istiod", "PILOT_REMOTE_CLUSTER_TIMEOUT", "30m")],
)
def istiod_waits_for_every_remote(mesh: Mesh, undo: ExitStack) -> None:
    """Istiod gives a remote that does not answer half an hour before it gets ready without it."""
    _istiod_with(mesh, {"PILOT_REMOTE_CLUSTER_TIMEOUT": "30m"}, undo)


def _istiod_with(mesh: Mesh, environment: Mapping[str, str], undo: ExitStack) -> None:
    """Set istiod's environment, and wait for the new istiod; the old one is back when that is undone."""
    kube, namespace, name = watching(mesh).kube, watching(mesh).system_namespace, "istiod"
    found = kube.get("Deployment", name, namespace)
    if found is None:
        raise EnvironmentBroke(f"there is no Deployment {namespace}/{name} to break")
    containers = found["spec"]["template"]["spec"]["containers"]
    more = [{"name": key, "value": value} for key, value in environment.items()]
    changed = [one | {"env": [*one["env"], *more]} if one["name"] == "discovery" else one for one in containers]
    body = {"spec": {"template": {"spec": {"containers": changed}}}}
    undo.callback(rollout.await_rollout, kube, name, namespace, within=timeouts().istiod_replaced)
    mutations.patch(kube, "Deployment", name, namespace, body, undo)
    rollout.await_rollout(kube, name, namespace, within=timeouts().istiod_replaced)


def _unpin(kube: Kube, namespace: str) -> None:
    """Remove the label from every pod that still has it: the pod that got it may be gone."""
    for pod in kube.list("Pod", namespace, f"{_PINNED}=true"):
        kube.patch("Pod", pod["metadata"]["name"], namespace, {"metadata": {"labels": {_PINNED: None}}})
