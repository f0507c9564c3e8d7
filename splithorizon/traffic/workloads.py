"""The seed's workloads: in each cluster a version of helloworld that runs nowhere else, and a client."""

from __future__ import annotations

from collections.abc import Mapping

from splithorizon.base.paths import MANIFESTS
from splithorizon.istio.info import MeshInfo
from splithorizon.kube import manifests
from splithorizon.kube.client import Kube, Object

HUB = "splithorizon.local"
NAMESPACE = "sample"
SERVICE = "helloworld"
HEADLESS = "helloworld-headless"
PORT = 5000
CLIENT = "sleep"

_EXPORT_TO = "networking.istio.io/exportTo"
_WORKLOADS = MANIFESTS / "workloads"


def helloworld_of(version: str) -> str:
    """The Deployment of a version, and the Service that only the cluster of that version has."""
    return f"{SERVICE}-{version}"


def make_namespace(kube: Kube, version: str) -> None:
    """Apply the workloads' namespace alone, so that istiod gets it ready for sidecars before they come."""
    kube.apply([document for document in _documents(version) if document["kind"] == "Namespace"])


def deploy(
    kube: Kube,
    version: str,
    images: Mapping[str, str],
    *,
    namespace: str = NAMESPACE,
    labels: Mapping[str, str] | None = None,
    service_annotations: Mapping[str, str] | None = None,
) -> None:
    """Apply the workloads of the cluster that runs ``version``.

    ``images`` maps the published names to what this run uses.

    ``labels`` take the place of the namespace's own, which ask the default revision for injection.
    Raises NotAdmitted, which is a NotYet, where another try may succeed.
    """
    documents = manifests.with_images(_documents(version), images)
    for document in documents:
        if document["kind"] == "Namespace":
            document["metadata"] |= {"name": namespace, "labels": dict(labels or document["metadata"]["labels"])}
        else:
            document["metadata"]["namespace"] = namespace
        if document["kind"] == "Service" and service_annotations:
            document["metadata"].setdefault("annotations", {}).update(service_annotations)
    kube.apply(documents)


def exported(info: MeshInfo) -> dict[str, str]:
    """Annotations by which our Services are known to our namespace and to the gateways', and to nobody else.

    Whatever the mesh's default is; and no other proxy of the mesh is sent anything about them.
    """
    gateways = {pods.namespace for cluster in info.clusters.values() for pods in cluster.gateway_pods}
    return {_EXPORT_TO: ",".join([".", *sorted(gateways)])}


def images_for(kube: Kube, version: str, hub: str | None) -> dict[str, str]:
    """Where an existing cluster gets each of our images: from ``hub``, or as its nodes have it, or as published."""
    published = manifests.images(_documents(version))
    if hub is not None:
        return {image: f"{hub}/{image.rpartition('/')[2]}" for image in published}
    held = [image for node in kube.list_if_allowed("Node") or [] for image in node["status"].get("images", [])]
    tagged = [name for image in held for name in image["names"] if "@" not in name]
    return {image: next((name for name in tagged if _is_copy(name, image)), image) for image in published}


def _documents(version: str) -> list[Object]:
    stems = (
        "namespace",
        "helloworld-service",
        "headless-service",
        "echo-service",
        helloworld_of(version),
        "sleep",
    )
    return [document for stem in stems for document in manifests.load(_WORKLOADS / f"{stem}.yaml")]


def _is_copy(held: str, published: str) -> bool:
    """Whether an image of a node is a copy of the published one, from any registry and with any tag, or built by us.

    The folder counts too, because another ``curl`` image may have no shell.
    """
    folder, name = _parts(held)
    return (folder, name) == _parts(published) or (folder == HUB and name == _parts(published)[1])


def _parts(image: str) -> tuple[str, str]:
    """The last folder of an image, or its registry without a folder, and its name without a tag."""
    path, _, name = image.rpartition("/")
    return path.rpartition("/")[2], name.partition(":")[0]
