"""Changes of an east-west gateway's Service that several faults make."""

from __future__ import annotations

from contextlib import ExitStack

from proof.targets import with_far_version
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.istio import names
from splithorizon.kube.client import Object
from splithorizon.kube.rollout import await_rollout
from splithorizon.mesh import injection
from splithorizon.mesh.cluster import Cluster
from splithorizon.undo import mutations

# Where a gateway answers for its own readiness, without TLS.
_READINESS_PORT = 15021


def service(cluster: Cluster, name: str, namespace: str) -> Object:
    """A Service that a fault breaks; raises EnvironmentBroke where it is missing."""
    found = cluster.kube.get("Service", name, namespace)
    if found is None:
        raise EnvironmentBroke(f"there is no Service {namespace}/{name} in the {cluster} cluster to break")
    return found


def lead_port_to_readiness(cluster: Cluster, number: int, undo: ExitStack) -> None:
    """Send a port of the cluster's gateway to the gateway's readiness port."""
    namespace = cluster.system_namespace
    ports = [
        {**port, "targetPort": _READINESS_PORT} if port["port"] == number else port
        for port in service(cluster, names.EASTWEST_GATEWAY, namespace)["spec"]["ports"]
    ]
    mutations.patch(cluster.kube, "Service", names.EASTWEST_GATEWAY, namespace, {"spec": {"ports": ports}}, undo)


def put_relay_in_front(cluster: Cluster, manifest: str, undo: ExitStack) -> None:
    """Run the relay of ``manifests/faults/<manifest>``; the gateway's Service then selects it, not the gateway."""
    kube, namespace = cluster.kube, cluster.system_namespace
    documents = with_far_version(MANIFESTS / "faults" / manifest, cluster)
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = injection.proxy_image(cluster)
    mutations.apply(kube, documents, namespace, undo)
    await_rollout(kube, deployment["metadata"]["name"], namespace, within=timeouts().workload_ready)
    gateway = service(cluster, names.EASTWEST_GATEWAY, namespace)
    selector = dict.fromkeys(gateway["spec"].get("selector", {})) | deployment["spec"]["selector"]["matchLabels"]
    mutations.patch(kube, "Service", names.EASTWEST_GATEWAY, namespace, {"spec": {"selector": selector}}, undo)
