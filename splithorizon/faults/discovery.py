"""Faults of what istiod finds out and tells."""

from __future__ import annotations

from contextlib import ExitStack

from splithorizon import changes, manifests, workloads
from splithorizon.faults.registry import fault
from splithorizon.mesh.foreign import NETWORK_LABEL
from splithorizon.mesh.model import Mesh
from splithorizon.topology import MANIFESTS, Role

_FAULTS = MANIFESTS / "faults"


@fault("test_networks_are_named_alike_everywhere", cause="the system namespace lost its")
def namespace_without_network(mesh: Mesh, undo: ExitStack) -> None:
    """The remote's system namespace loses its network label: what runs goes on, for its pods have the label still."""
    changes.remove_label(mesh.remote.kube, "Namespace", mesh.remote.system_namespace, None, NETWORK_LABEL, undo)


@fault("test_every_proxy_is_synced", cause="Envoy refused what it was sent")
def cluster_refused(mesh: Mesh, undo: ExitStack) -> None:
    """The clients' side-cars are sent a cluster that Envoy refuses; those that they have go on."""
    changes.apply(mesh.primary.kube, _FAULTS / "cluster-refused.yaml", mesh.facts.namespace, undo)


@fault("test_gateway_weighs_as_much_as_its_pods", cause="one without a side-car is not reached across networks")
def far_pod_without_sidecar(mesh: Mesh, undo: ExitStack) -> None:
    """A second pod of the remote's helloworld has no side-car: no other network reaches it, and nothing tells."""
    kube, namespace = mesh.remote.kube, mesh.facts.namespace
    name = f"{workloads.SERVICE}-{workloads.VERSION_OF[Role.REMOTE]}"
    (deployment, *_) = manifests.load(MANIFESTS / "workloads" / f"{name}.yaml")
    deployment["metadata"] |= {"name": f"{name}-bare", "namespace": namespace}
    labels = {"sidecar.istio.io/inject": "false"}
    for part in (deployment["spec"]["selector"]["matchLabels"], deployment["spec"]["template"]["metadata"]["labels"]):
        part |= labels
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = mesh.image_of(name, Role.REMOTE)
    changes.apply(kube, [deployment], namespace, undo)


@fault("test_answers_follow_the_weights", cause="the side-car balances without weights")
def balanced_without_weights(mesh: Mesh, undo: ExitStack) -> None:
    """A DestinationRule has side-cars choose at random, where every endpoint counts for one."""
    changes.apply(mesh.primary.kube, _FAULTS / "balanced-without-weights.yaml", mesh.facts.namespace, undo)
