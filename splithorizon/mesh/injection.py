"""Sidecar injection, and the images that injected pods run."""

from __future__ import annotations

from collections.abc import Mapping
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
    pod = new_pod(cluster)

    def injected() -> None:
        if not pod_status.of_pod(cluster.kube.as_admitted(pod, cluster.namespace)).sidecar:
            raise NotYet("a pod would get no sidecar")

    eventually(f"new pods of the {cluster} are injected", injected, within=timeouts().webhook_ready)


def new_pod(cluster: Cluster) -> dict[str, Any]:
    """A pod of our namespace that does not exist; raises EnvironmentBroke where there is no client."""
    # The client's own template: every other webhook of the cluster has admitted that one before.
    template = _template(cluster, workloads.CLIENT)
    metadata = {**template["metadata"], "name": "splithorizon-injected"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def environment_of_proxy(pod: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables of a pod's proxy that have a value of their own; none without a sidecar."""
    return {
        str(variable["name"]): str(variable["value"])
        for container in _containers(pod)
        if container["name"] == pod_status.SIDECAR
        for variable in container.get("env") or []
        if "value" in variable
    }


def _containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"].get("containers", []), *pod["spec"].get("initContainers", [])]


def image_of(cluster: Cluster, deployment: str) -> str:
    """The image that a deployment of ours runs; raises EnvironmentBroke where the deployment is not there."""
    return str(_template(cluster, deployment)["spec"]["containers"][0]["image"])


def pod_spec_of(cluster: Cluster, deployment: str) -> dict[str, Any]:
    """What the pods of a deployment of ours are made of, before injection."""
    return dict(_template(cluster, deployment)["spec"])


def proxy_image(cluster: Cluster) -> str:
    """The image of the client's sidecar."""
    pod = cluster.kube.get("Pod", cluster.client.pod, cluster.namespace) or {"spec": {}}
    return next(str(one["image"]) for one in _containers(pod) if one["name"] == pod_status.SIDECAR)


def _template(cluster: Cluster, deployment: str) -> dict[str, Any]:
    found = cluster.kube.get("Deployment", deployment, cluster.namespace)
    if found is None:
        raise EnvironmentBroke(f"there is no Deployment {deployment} in the {cluster} cluster")
    template: dict[str, Any] = found["spec"]["template"]
    return template
