"""Faults of discovery and routing."""

from __future__ import annotations

from contextlib import ExitStack

from proof.faults.discovery import restart_istiod
from proof.faults.networks import networks_joined
from proof.faults.registry import Assumes, fault
from proof.gateway_service import put_relay_in_front
from proof.targets import watched, watching, with_far_version
from splithorizon.base.paths import MANIFESTS
from splithorizon.diagnosis import causes
from splithorizon.istio import info, names
from splithorizon.istio.info import NetworkMode
from splithorizon.kube import manifests
from splithorizon.mesh import injection
from splithorizon.mesh.mesh import Mesh
from splithorizon.run.verdict import Verdict
from splithorizon.traffic import workloads
from splithorizon.undo import mutations

_FAULTS = MANIFESTS / "faults"


@fault(
    "test_both_versions_answer",
    "test_endpoints_are_near_pods_and_the_far_gateway",
    "test_every_cluster_is_watched",
    "test_networks_are_named_alike_everywhere",
    cause=causes.REMOTE_SECRET_MISSING,
    spares_local=False,
    root_cause=causes.REMOTE_SECRET_MISSING,
    cites=[("Secret primary/istio-system/istio-remote-secret-remote", "data", "not there")],
)
def remote_secret_missing(mesh: Mesh, undo: ExitStack) -> None:
    """The remote secret is deleted: istiod removes the remote's endpoints, for the clients of both clusters."""
    name = f"istio-remote-secret-{watched(mesh).info.cluster_id}"
    # Seen once in some forty: with the secret back, the clients of an istiod 1.29.1 refuse the pods of that cluster
    # (istio/istio#59474).
    undo.callback(restart_istiod, mesh)
    mutations.delete(watching(mesh).kube, "Secret", name, watching(mesh).system_namespace, undo)


@fault(
    "test_endpoints_are_near_pods_and_the_far_gateway",
    "test_both_versions_answer",
    "test_networks_are_named_alike_everywhere",
    cause=causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
    modes=(NetworkMode.LABELS,),
    root_cause=causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
    cites=[("Service remote/istio-system/istio-eastwestgateway", "topology.istio.io/network", "not set")],
)
def gateway_service_without_network(mesh: Mesh, undo: ExitStack) -> None:
    """The remote gateway's Service loses its network label: istiod knows no gateway and hands out pod addresses."""
    label = "topology.istio.io/network"
    mutations.remove_label(
        watched(mesh).kube, "Service", names.EASTWEST_GATEWAY, watched(mesh).system_namespace, label, undo
    )


@fault(
    "test_networks_are_named_alike_everywhere",
    cause=causes.MESH_NETWORKS_REGISTRY_WRONG,
    modes=(NetworkMode.MESH_NETWORKS,),
    root_cause=causes.MESH_NETWORKS_REGISTRY_WRONG,
    cites=[("ConfigMap primary/istio-system/istio", ".endpoints", "Kubernetes")],
)
def registry_mistyped(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's fromRegistry says Kubernetes, not its cluster's id; pods that name their network are unaffected."""
    mesh.change_mesh_network(watched(mesh).name, {"endpoints": [{"fromRegistry": "Kubernetes"}]}, undo)


@fault(
    "test_endpoints_are_near_pods_and_the_far_gateway",
    "test_both_versions_answer",
    cause=causes.MESH_NETWORKS_WITHOUT_GATEWAY,
    modes=(NetworkMode.MESH_NETWORKS,),
    root_cause=causes.MESH_NETWORKS_WITHOUT_GATEWAY,
    cites=[("ConfigMap primary/istio-system/istio", ".gateways", "[]")],
)
def gateway_missing_in_mesh_networks(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's network has no gateway in meshNetworks: istiod hands out pod addresses."""
    mesh.change_mesh_network(watched(mesh).name, {"gateways": []}, undo)


@fault(
    "test_each_version_takes_its_own_path",
    cause=causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
    modes=(NetworkMode.LABELS,),
    root_cause=causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
    beside=[causes.NETWORKS_JOINED],
    cites=[("Service remote/istio-system/istio-eastwestgateway", "topology.istio.io/network", "not set")],
)
def pods_dialled_past_the_unlabelled_gateway(mesh: Mesh, undo: ExitStack) -> None:
    """The networks are joined, and the remote gateway's Service has no network label: only the paths are wrong."""
    networks_joined(mesh, undo)
    gateway_service_without_network(mesh, undo)


@fault(
    "test_each_version_takes_its_own_path",
    cause=causes.MESH_NETWORKS_WITHOUT_GATEWAY,
    modes=(NetworkMode.MESH_NETWORKS,),
    root_cause=causes.MESH_NETWORKS_WITHOUT_GATEWAY,
    beside=[causes.NETWORKS_JOINED],
    cites=[("ConfigMap primary/istio-system/istio", ".gateways", "[]")],
)
def pods_dialled_past_the_unnamed_gateway(mesh: Mesh, undo: ExitStack) -> None:
    """The networks are joined, and meshNetworks names no gateway of the remote: only the paths are wrong."""
    networks_joined(mesh, undo)
    gateway_missing_in_mesh_networks(mesh, undo)


@fault(
    "test_both_versions_answer",
    cause=causes.SERVICES_NOT_EXPOSED,
    root_cause=causes.SERVICES_NOT_EXPOSED,
    cites=[("Gateways primary/istio-system", "tls.mode", "none is AUTO_PASSTHROUGH")],
)
def services_not_exposed(mesh: Mesh, undo: ExitStack) -> None:
    """The AUTO_PASSTHROUGH gateway is deleted: port 15443 has no filter chain for any service."""
    kube, namespace = watching(mesh).kube, watching(mesh).system_namespace
    mutations.delete(kube, "Gateway", "cross-network-gateway", namespace, undo)


@fault(
    "test_both_versions_answer",
    "test_endpoints_are_near_pods_and_the_far_gateway",
    cause=causes.GATEWAY_ADDRESS_WRONG,
    root_cause=causes.GATEWAY_ADDRESS_WRONG,
    cites=[("/istio-system/istio", "", "192.0.2.1")],
)
def gateway_address_wrong(mesh: Mesh, undo: ExitStack) -> None:
    """The remote gateway's Service, or meshNetworks, names an unused address."""
    if mesh.info.network_mode is NetworkMode.MESH_NETWORKS:
        mesh.change_mesh_network(
            watched(mesh).name, {"gateways": [{"address": "192.0.2.1", "port": names.GATEWAY_PORT}]}, undo
        )
        return
    kube, namespace = watched(mesh).kube, watched(mesh).system_namespace
    mutations.patch_status(
        kube, "Service", names.EASTWEST_GATEWAY, namespace, info.status_with_address("192.0.2.1"), undo
    )


@fault(
    "test_gateway_passes_to_its_own_pods",
    cause=causes.SERVICE_NOT_EXPORTED,
    root_cause=causes.SERVICE_NOT_EXPORTED,
    cites=[
        ("Service primary/sample/helloworld", "networking.istio.io/exportTo", "."),
        ("Service remote/sample/helloworld", "networking.istio.io/exportTo", "."),
    ],
)
def service_not_exported(mesh: Mesh, undo: ExitStack) -> None:
    """The Service may be seen by its own namespace only; the gateways are in another, and open connections go on."""
    private = {"metadata": {"annotations": {"networking.istio.io/exportTo": "."}}}
    for cluster in mesh:
        mutations.patch(cluster.kube, "Service", workloads.SERVICE, mesh.info.namespace, private, undo)


@fault(
    "test_each_hop_of_a_far_answer_is_logged",
    cause=causes.GATEWAY_BYPASSED,
    root_cause=causes.GATEWAY_BYPASSED,
    cites=[("Service remote/istio-system/istio-eastwestgateway", "spec.selector", "app=gateway-bypassed")],
)
def gateway_bypassed(mesh: Mesh, undo: ExitStack) -> None:
    """A relay at the remote gateway's address leads straight to helloworld: TLS, answers, clients' logs stay whole."""
    put_relay_in_front(watched(mesh), "gateway-bypassed.yaml", undo)


@fault(
    "test_cluster_local_service_stays_at_home",
    cause=causes.MESH_CONFIG_UNREADABLE,
    root_cause=causes.MESH_CONFIG_UNREADABLE,
    cites=[("ConfigMap primary/istio-system/istio", "data.mesh.enablePrometheusMerge", "perhaps")],
)
def mesh_configuration_unreadable(mesh: Mesh, undo: ExitStack) -> None:
    """A field of the mesh configuration has a value of another kind: istiod goes on with what it had, and logs it."""
    mesh.change_mesh_config({"enablePrometheusMerge": "perhaps"}, undo)


@fault(
    "test_subsets_keep_clients_in_their_cluster",
    cause=causes.OLDER_RULE,
    root_cause=causes.OLDER_RULE,
    cites=[("VirtualService primary/sample/helloworld-everywhere", "spec.hosts", "helloworld-subsets")],
)
def older_virtual_service(mesh: Mesh, undo: ExitStack) -> None:
    """Another VirtualService for the Service of the subsets was there first: sidecars get the older."""
    mesh.apply_rules(_FAULTS / "older-virtual-service.yaml", undo)


@fault(
    "test_a_rule_binds_the_clients_of_its_own_primary",
    cause=causes.RULE_IN_OTHER_PRIMARY,
    undecided="primaries may differ in their rules on purpose: no reading shows which of two rules is not meant",
    spares_local=False,
    assumes=Assumes.SEVERAL_PRIMARIES,
)
def answered_by_another_rule(mesh: Mesh, undo: ExitStack) -> None:
    """The second primary has a rule by which its clients' sidecars answer every request themselves."""
    cluster = mesh.control_plane_of(watched(mesh).name)
    mutations.apply(cluster.kube, manifests.load(_FAULTS / "answered-by-another-rule.yaml"), mesh.info.namespace, undo)


@fault(
    "test_headless_service_stays_at_home",
    cause=causes.RULE_SENDS_ELSEWHERE,
    root_cause=causes.RULE_SENDS_ELSEWHERE,
    cites=[("VirtualService primary/sample/", "destination.host", "helloworld")],
)
def headless_sent_on(mesh: Mesh, undo: ExitStack) -> None:
    """A VirtualService sends the headless service's requests on to helloworld, whose endpoints are in both clusters."""
    mesh.apply_rules(_FAULTS / "headless-sent-on.yaml", undo)


@fault(
    "test_each_version_runs_in_one_cluster",
    cause=causes.BOTH_VERSIONS_EVERYWHERE,
    root_cause=causes.BOTH_VERSIONS_EVERYWHERE,
    cites=[
        ("Deployment primary/sample/helloworld-v2", "version", "v2"),
        ("Deployment remote/sample/helloworld-v1", "version", "v1"),
    ],
)
def both_versions_everywhere(mesh: Mesh, undo: ExitStack) -> None:
    """Both versions of two networks run in both clusters: both answer, and nothing crosses the networks."""
    for cluster, other in ((watching(mesh), watched(mesh)), (watched(mesh), watching(mesh))):
        version = other.info.version
        (deployment, *_) = workloads.helloworld_manifests(version)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        container["image"] = injection.image_of(other, workloads.helloworld_of(version))
        deployment["metadata"]["namespace"] = mesh.info.namespace
        mutations.apply(cluster.kube, [deployment], mesh.info.namespace, undo)


@fault(
    "test_local_traffic_stays_local",
    cause=causes.POLICY_DENIES,
    spares_local=False,
    root_cause=causes.POLICY_DENIES,
    cites=[("AuthorizationPolicy primary/sample/near-pods-refuse", "spec.action", "DENY")],
)
def near_pods_refuse(mesh: Mesh, undo: ExitStack) -> None:
    """An authorization policy denies every request to helloworld, in both clusters."""
    mesh.apply_rules(_FAULTS / "near-pods-refuse.yaml", undo)


@fault(
    "test_each_version_takes_its_own_path",
    cause=causes.ACCESS_LOG_FORMAT_UNKNOWN,
    verdict=Verdict.INCONCLUSIVE,
    spares_local=False,
    root_cause=causes.ACCESS_LOG_FORMAT_UNKNOWN,
    cites=[
        ("Telemetry primary/sample/access-log-reformatted", "providers", "access-log-reformatted"),
        ("ConfigMap primary/istio-system/istio", "logFormat", "X-REQUEST-ID"),
    ],
)
def access_log_reformatted(mesh: Mesh, undo: ExitStack) -> None:
    """The access log is in an unknown format, so that no path can be read: the verdict must be inconclusive.

    By a provider, for istiod may keep the one before of an accessLogFormat that changes while it pushes
    (https://github.com/istio/istio/issues/45340).
    """
    (telemetry,) = manifests.load(_FAULTS / "access-log-reformatted.yaml")
    own = {"path": "/dev/stdout", "logFormat": {"text": '[%START_TIME%] "%REQ(X-REQUEST-ID)% %UPSTREAM_HOST%"\n'}}
    provider = {"name": telemetry["metadata"]["name"], "envoyFileAccessLog": own}
    mesh.change_mesh_config({"extensionProviders": [provider]}, undo)
    mesh.apply_rules([telemetry], undo)


@fault(
    "test_each_version_takes_its_own_path",
    cause=causes.ACCESS_LOG_OFF,
    verdict=Verdict.INCONCLUSIVE,
    spares_local=False,
    root_cause=causes.ACCESS_LOG_OFF,
    cites=[("ConfigMap primary/istio-system/istio", "data.mesh.accessLogFile", '""')],
)
def access_log_off(mesh: Mesh, undo: ExitStack) -> None:
    """No access log is written, so that no path can be read: the verdict must be inconclusive."""
    mesh.change_mesh_config({"accessLogFile": ""}, undo)


@fault(
    "test_each_version_takes_its_own_path",
    cause=causes.POD_FORWARDS,
    root_cause=causes.POD_FORWARDS,
    cites=[("Pod primary/sample/helloworld-forwarder", "metadata.labels", "app=helloworld")],
)
def forwarder_among_the_near_pods(mesh: Mesh, undo: ExitStack) -> None:
    """A pod of the primary passes requests on to the other network itself, and answers as the far version."""
    documents = with_far_version(_FAULTS / "forwarder.yaml", watched(mesh))
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = injection.proxy_image(watching(mesh))
    mutations.apply(watching(mesh).kube, documents, mesh.info.namespace, undo)
