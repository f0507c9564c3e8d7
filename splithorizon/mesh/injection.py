"""Sidecar injection, and the images that injected pods run."""

from __future__ import annotations

from typing import Any

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import pod_status
from splithorizon.mesh.cluster import Cluster
from splithorizon.traffic import workloads


def await_injection(cluster: Cluster) -> None:
    """Wait until the API server would admit a pod with a sidecar: a dry run, which makes no pod.

    After an istiod is replaced, an API server may keep its connection to the old one for half a minute and more.
    Raises EnvironmentBroke where a pod would get no sidecar in time.
    """
    # The client's own template: every other webhook of the cluster has admitted that one before.
    template = _template(cluster, workloads.CLIENT)
    metadata = {**template["metadata"], "name": "splithorizon-injected"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}

    def injected() -> None:
        if not pod_status.of_pod(cluster.kube.as_admitted(pod, cluster.namespace)).sidecar:
            raise NotYet("a pod would get no sidecar")

    eventually(f"new pods of the {cluster} are injected", injected, within=timeouts().webhook_ready)


def image_of(cluster: Cluster, deployment: str) -> str:
    """The image that a deployment of ours runs; raises EnvironmentBroke where the deployment is not there."""
    return str(_template(cluster, deployment)["spec"]["containers"][0]["image"])


def pod_spec_of(cluster: Cluster, deployment: str) -> dict[str, Any]:
    """What the pods of a deployment of ours are made of, before injection."""
    return dict(_template(cluster, deployment)["spec"])


def proxy_image(cluster: Cluster) -> str:
    """The image of the client's sidecar."""
    pod = cluster.kube.get("Pod", cluster.client.pod, cluster.namespace) or {"spec": {}}
    containers = [*pod["spec"].get("containers", []), *pod["spec"].get("initContainers", [])]
    return next(str(one["image"]) for one in containers if one["name"] == "istio-proxy")


def _template(cluster: Cluster, deployment: str) -> dict[str, Any]:
    found = cluster.kube.get("Deployment", deployment, cluster.namespace)
    if found is None:
        raise EnvironmentBroke(f"there is no Deployment {deployment} in the {cluster} cluster")
    template: dict[str, Any] = found["spec"]["template"]
    return template
