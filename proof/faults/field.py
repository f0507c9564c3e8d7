"""Faults from the field: ways in which people's meshes broke, and one in which a mesh only looks unusual."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from proof import gateway_service
from proof.faults.registry import fault
from proof.targets import watched, watching, with_far_version
from splithorizon.base.paths import MANIFESTS
from splithorizon.diagnosis import causes, root_causes
from splithorizon.istio import names
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads
from splithorizon.undo import mutations

_FAULTS = MANIFESTS / "faults"


@fault(
    "test_both_versions_answer",
    root_cause=root_causes.FAULT_INJECTED,
    cites=[
        ("EnvoyFilter primary/sample/abort-two-percent", "configPatches[0].patch.value", "numerator=2"),
        ("EnvoyFilter primary/sample/abort-two-percent", "workloadSelector", "app=sleep"),
    ],
    spares_local=False,
)
def abort_two_percent(mesh: Mesh, undo: ExitStack) -> None:
    """An EnvoyFilter has the clients' sidecars answer 2 % of their requests with 503 themselves."""
    mesh.apply_rules(_FAULTS / "abort-two-percent.yaml", undo)


@fault(
    "test_endpoints_are_near_pods_and_the_far_gateway",
    "test_both_versions_answer",
    root_cause=root_causes.SELECTOR_MISSES_PODS,
    cites=[
        ("Service remote/sample/helloworld", "spec.selector", "app=hello selects 0 of 1 pods"),
        ("Pod remote/sample/helloworld-v2", "metadata.labels", "app=helloworld"),
    ],
)
def selector_selects_nothing(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's Service helloworld selects app=hello, which no pod has."""
    body = {"spec": {"selector": {"app": "hello"}}}
    mutations.patch(watched(mesh).kube, "Service", workloads.SERVICE, mesh.info.namespace, body, undo)


@fault(
    "test_both_versions_answer",
    root_cause=causes.LOCALITY_PREFERRED,
    cites=[("DestinationRule primary/sample/network-preferred", "localityLbSetting", "failoverPriority")],
)
def network_preferred(mesh: Mesh, undo: ExitStack) -> None:
    """A DestinationRule prefers the client's own network: endpoints are complete and healthy, in two priorities."""
    for number, cluster in enumerate(mesh, start=1):
        kube = cluster.kube
        labels = {"topology.kubernetes.io/region": f"r{number}", "topology.kubernetes.io/zone": f"z{number}"}
        for node in kube.list("Node"):
            mutations.patch(kube, "Node", node["metadata"]["name"], None, {"metadata": {"labels": labels}}, undo)
    mesh.apply_rules(_FAULTS / "network-preferred.yaml", undo)


@fault(
    "test_both_versions_answer",
    "test_new_connections_reach_the_far_network",
    root_cause=root_causes.GATEWAY_PORT_LEADS_ELSEWHERE,
    cites=[
        ("Service remote/istio-system/istio-eastwestgateway", ".targetPort", "15021 for port 15443"),
        ("Envoy remote/istio-system/istio-eastwestgateway", "listeners", "15021"),
    ],
)
def gateway_port_leads_elsewhere(mesh: Mesh, undo: ExitStack) -> None:
    """The remote gateway's Service sends 15443 to 15021, where the gateway answers for its own readiness."""
    gateway_service.lead_port_to_readiness(watched(mesh), names.GATEWAY_PORT, undo)


@fault(
    "test_endpoints_are_near_pods_and_the_far_gateway",
    root_cause=root_causes.SIDECAR_HIDES_SERVICE,
    cites=[("Sidecar primary/sample/sidecar-egress-hides-service", "spec.egress", "istio-system/*")],
    spares_local=False,
)
def sidecar_egress_hides_service(mesh: Mesh, undo: ExitStack) -> None:
    """A Sidecar resource for the clients of both clusters lists the system namespace alone under egress."""
    mesh.apply_rules(_FAULTS / "sidecar-egress-hides-service.yaml", undo)


@fault(
    "test_endpoints_are_near_pods_and_the_far_gateway",
    root_cause=causes.NO_MUTUAL_TLS,
    cites=[
        ("PeerAuthentication config-of-remote/sample/mutual-tls-disabled-far", "spec.mtls.mode", "DISABLE"),
        ("PeerAuthentication config-of-remote/sample/mutual-tls-disabled-far", "spec.selector", "version=v2"),
    ],
)
def mutual_tls_disabled_far(mesh: Mesh, undo: ExitStack) -> None:
    """A PeerAuthentication switches mutual TLS off for the far helloworld: no other network gets such an endpoint."""
    mesh.apply_rules(with_far_version(_FAULTS / "mutual-tls-disabled-far.yaml", watched(mesh)), undo)


@fault(
    "test_endpoints_are_near_pods_and_the_far_gateway",
    root_cause=root_causes.PORTS_DIFFER,
    cites=[
        ("Service remote/sample/helloworld", "spec.ports[0].name", "http-web (port 5000)"),
        ("Service primary/sample/helloworld", "spec.ports[0].name", "http (port 5000)"),
    ],
)
def port_names_differ(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's Service names port 5000 http-web, the primary's http: istiod matches ports by name."""
    namespace = mesh.info.namespace
    service = gateway_service.service(watched(mesh), workloads.SERVICE, namespace)
    ports = [{**port, "name": "http-web"} for port in service["spec"]["ports"]]
    mutations.patch(watched(mesh).kube, "Service", workloads.SERVICE, namespace, {"spec": {"ports": ports}}, undo)


@fault(
    "test_both_versions_answer",
    root_cause=root_causes.TRAFFIC_KEPT_NEAR,
    cites=[
        (f"Service {role}/sample/helloworld", "spec.trafficDistribution", "PreferClose")
        for role in ("primary", "remote")
    ],
)
def traffic_distribution(mesh: Mesh, undo: ExitStack) -> None:
    """The Service asks for trafficDistribution PreferClose: without any rule its requests stay in the network."""
    body: dict[str, Any] = {"spec": {"trafficDistribution": "PreferClose"}}
    for cluster in mesh:
        mutations.patch(cluster.kube, "Service", workloads.SERVICE, mesh.info.namespace, body, undo)


@fault(
    "test_endpoints_are_near_pods_and_the_far_gateway",
    root_cause=root_causes.NAMESPACE_NOT_DISCOVERED,
    cites=[
        ("ConfigMap config-of-remote/istio-system/istio", "discoverySelectors", "mesh=yes"),
        ("Namespace remote/sample", "metadata.labels", "istio-injection"),
    ],
    spares_local=False,
)
def discovery_selectors(mesh: Mesh, undo: ExitStack) -> None:
    """The mesh configuration's discoverySelectors want mesh=yes, which our namespace in the remote lacks."""
    label = {"metadata": {"labels": {"mesh": "yes"}}}
    for cluster, namespace in (
        (watching(mesh), watching(mesh).system_namespace),
        (watching(mesh), mesh.info.namespace),
        (watched(mesh), watched(mesh).system_namespace),
    ):
        mutations.patch(cluster.kube, "Namespace", namespace, None, label, undo)
    mesh.change_mesh_config({"discoverySelectors": [{"matchLabels": {"mesh": "yes"}}]}, undo)


@fault(
    "test_endpoints_are_near_pods_and_the_far_gateway",
    root_cause=root_causes.WORKLOAD_ENTRY_UNREACHABLE,
    cites=[("WorkloadEntry primary/sample/workload-entry-counts", "spec.address", "192.0.2.20")],
    spares_local=False,
)
def workload_entry_counts(mesh: Mesh, undo: ExitStack) -> None:
    """A WorkloadEntry of the far network, at an address where nothing is, counts among the pods of helloworld."""
    (entry,) = with_far_version(_FAULTS / "workload-entry-counts.yaml", watched(mesh))
    entry["spec"]["network"] = watched(mesh).info.network
    mesh.apply_rules([entry], undo)


@fault(sound=True)
def sound_registry_only(mesh: Mesh, undo: ExitStack) -> None:
    """A control: outboundTrafficPolicy REGISTRY_ONLY is a sound mesh, and everything holds."""
    mesh.change_mesh_config({"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}, undo)
