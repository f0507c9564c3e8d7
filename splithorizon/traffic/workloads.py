"""The workloads of a run: in each cluster a version of helloworld that runs nowhere else, and a client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from splithorizon.base.paths import MANIFESTS
from splithorizon.istio.info import MeshInfo
from splithorizon.kube import manifests
from splithorizon.kube.client import Kube, Object
from splithorizon.traffic import new_connections

HUB = "splithorizon.local"
NAMESPACE = "sample"
SERVICE = "helloworld"
HEADLESS = "helloworld-headless"
SUBSETS = "helloworld-subsets"
CLUSTER_LOCAL = "helloworld-cluster-local"
HOPS = "helloworld-hops"
FOR_NOBODY = "helloworld-for-nobody"
FOR_CLIENT = "helloworld-for-sleep"
RULE_SERVICES = (SUBSETS, CLUSTER_LOCAL, HOPS, FOR_NOBODY, FOR_CLIENT)
"""More names for the pods of helloworld: each is asked under a rule that binds no request to another."""
PORT = 5000
CLIENT = "sleep"
SENDER = "sender"
IMAGES = ("curl", "helloworld-v1", "helloworld-v2", SENDER)
"""The names of our images, as a user gives others for them."""

_EXPORT_TO = "networking.istio.io/exportTo"
_WORKLOADS = MANIFESTS / "workloads"
_FIRST = "v1"


@dataclass(frozen=True)
class Adaptation:
    """How our workloads are made to fit into a cluster that the suite did not make.

    ``overlay`` is a merge patch for every pod: its containers are merged by name into the pods that have them.
    ``pull_secrets`` are names of Secrets in our namespace. ``names_user`` is whether pods name the user that they run
    as: a platform that chooses it itself refuses them then.
    """

    service_annotations: Mapping[str, str] = field(default_factory=dict)
    pull_secrets: tuple[str, ...] = ()
    overlay: Mapping[str, Any] = field(default_factory=dict)
    names_user: bool = True

    def of(self, documents: Iterable[Object]) -> list[Object]:
        """Copies of the documents that fit."""
        return [self._of(document) for document in deepcopy(list(documents))]

    def _of(self, document: Object) -> Object:
        if document["kind"] == "Service" and self.service_annotations:
            document["metadata"].setdefault("annotations", {}).update(self.service_annotations)
        if document["kind"] == "Deployment":
            document["spec"]["template"] = self._pod(document["spec"]["template"])
        return document

    def _pod(self, pod: Object) -> Object:
        spec = pod["spec"]
        if self.pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in self.pull_secrets]
        if not self.names_user:
            spec.get("securityContext", {}).pop("runAsUser", None)
        patch = dict(self.overlay)
        if containers := (patch.get("spec") or {}).get("containers"):
            own = {container["name"] for container in spec["containers"]}
            patch["spec"] = {**patch["spec"], "containers": [one for one in containers if one["name"] in own]}
            if not patch["spec"]["containers"]:
                del patch["spec"]["containers"]
        return manifests.overlay(pod, patch)


def helloworld_of(version: str) -> str:
    """The Deployment of a version, and the Service that only the cluster of that version has."""
    return f"{SERVICE}-{version}"


def make_namespace(kube: Kube, version: str) -> None:
    """Apply the workloads' namespace alone, so that istiod gets it ready for sidecars before they come."""
    kube.apply([document for document in _documents(version) if document["kind"] == "Namespace"])


def fitted(
    version: str,
    images: Mapping[str, str],
    *,
    namespace: str = NAMESPACE,
    labels: Mapping[str, str] | None = None,
    adapted: Adaptation | None = None,
    first: Iterable[Object] = (),
    versions: Iterable[str] = ("v1", "v2"),
) -> list[Object]:
    """The workloads of the cluster that runs ``version``, the namespace first; ``versions`` are those of all clusters.

    ``images`` maps the published names to what this run uses.

    ``first`` are applied between the namespace and its workloads. ``labels`` take the place of the namespace's own,
    which ask the default revision for injection. ``adapted`` makes the workloads fit into an existing cluster.
    """
    documents = manifests.with_images(documents_of(version, versions), images)
    for document in documents:
        if document["kind"] == "Namespace":
            document["metadata"] |= {"name": namespace, "labels": dict(labels or document["metadata"]["labels"])}
        else:
            document["metadata"]["namespace"] = namespace
    # The namespace comes first, and what pods need before them.
    documents = [
        documents[0],
        *({**one, "metadata": {**one["metadata"], "namespace": namespace}} for one in first),
        *documents[1:],
    ]
    return adapted.of(documents) if adapted else documents


def exported(info: MeshInfo) -> dict[str, str]:
    """Annotations that export our Services to our namespace and to the gateways' namespaces only.

    Whatever the mesh's default is; and no other proxy of the mesh is sent anything about them.
    """
    gateways = {pods.namespace for cluster in info.clusters.values() for pods in cluster.gateway_pods}
    return {_EXPORT_TO: ",".join([".", *sorted(gateways)])}


def images_for(kube: Kube, version: str, hub: str | None, named: Mapping[str, str] | None = None) -> dict[str, str]:
    """Where an existing cluster gets each of our images.

    As ``named``, by the names of ``IMAGES``; or from ``hub``, or as its nodes have it, or as published.
    """
    published = manifests.images(_documents(version))
    names = {image: _parts(image)[1].removeprefix("examples-") for image in published}
    chosen = {image: named[name] for image, name in names.items() if named and name in named}
    return {**_images_for(kube, published, hub), **chosen}


def sender_image(kube: Kube, named: Mapping[str, str] | None = None) -> str:
    """Where an existing cluster gets the image of a watch's sender: as ``named``, or as its nodes have it, built by us.

    Empty where it gets none: no registry is known to have it.
    """
    if named and SENDER in named:
        return named[SENDER]
    return next((name for name in _held(kube) if _parts(name)[:2] == (HUB, SENDER)), "")


def _images_for(kube: Kube, published: Iterable[str], hub: str | None) -> dict[str, str]:
    if hub is not None:
        return {image: f"{hub}/{image.rpartition('/')[2]}" for image in published}
    held = _held(kube)
    return {image: next((name for name in held if _is_copy(name, image)), image) for image in published}


def _held(kube: Kube) -> list[str]:
    """The names by tag of the images that the nodes have."""
    held = [image for node in kube.list_if_allowed("Node") or [] for image in node["status"].get("images", [])]
    # A node lists images without a name too, as a pull of a moved tag leaves them.
    return [name for image in held for name in image.get("names") or [] if "@" not in name]


def helloworld_manifests(version: str) -> list[Object]:
    """What runs one version of helloworld: the Deployment, and the Service that only its cluster has.

    A version without its own file is the first one's program, which the variable SERVICE_VERSION names.
    """
    if (file := _WORKLOADS / f"{helloworld_of(version)}.yaml").is_file():
        return manifests.load(file)
    documents = manifests.load(_WORKLOADS / f"{helloworld_of(_FIRST)}.yaml")
    for document in documents:
        _name_version(document, version)
    return documents


def _name_version(document: Object, version: str) -> None:
    document["metadata"]["name"] = helloworld_of(version)
    document["metadata"]["labels"]["version"] = version
    selector = document["spec"]["selector"]
    selector.get("matchLabels", selector)["version"] = version
    if document["kind"] == "Deployment":
        template = document["spec"]["template"]
        template["metadata"]["labels"]["version"] = version
        (container,) = template["spec"]["containers"]
        container["env"] = [{"name": "SERVICE_VERSION", "value": version}]


def _new_connections_services(versions: Iterable[str]) -> list[Object]:
    """A Service for the pods of each version, in every cluster."""
    one, *_ = manifests.load(_WORKLOADS / "new-connections-services.yaml")
    services = []
    for version in versions:
        service = deepcopy(one)
        service["metadata"]["name"] = new_connections.service_of(version)
        service["spec"]["selector"]["version"] = version
        services.append(service)
    return services


def documents_of(version: str, versions: Iterable[str]) -> list[Object]:
    """All workloads of the cluster that runs ``version``, the namespace first.

    ``versions`` are those of all clusters.
    """
    return [*_documents(version), *_new_connections_services(versions)]


def _documents(version: str) -> list[Object]:
    before = ("namespace", "helloworld-service", "headless-service", "echo-service", "rule-services")
    common = [document for stem in before for document in manifests.load(_WORKLOADS / f"{stem}.yaml")]
    return [*common, *helloworld_manifests(version), *manifests.load(_WORKLOADS / "sleep.yaml")]


def _is_copy(held: str, published: str) -> bool:
    """Whether an image of a node is a copy of the published one, from any registry, or built by us.

    The folder counts, because another ``curl`` image may have no shell, and the tag, because an older one may lack
    options.
    """
    folder, name, tag = _parts(held)
    return (folder, name, tag) == _parts(published) or (folder == HUB and name == _parts(published)[1])


def _parts(image: str) -> tuple[str, str, str]:
    """The last folder of an image, or its registry without a folder, its name and its tag."""
    path, _, name = image.rpartition("/")
    return path.rpartition("/")[2], *_name_and_tag(name)


def _name_and_tag(name: str) -> tuple[str, str]:
    first, _, tag = name.partition(":")
    return first, tag
