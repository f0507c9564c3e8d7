"""Faults of the two networks' separation."""

from __future__ import annotations

from contextlib import ExitStack

from proof.faults.registry import fault
from proof.targets import watched, watching
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.diagnosis import causes
from splithorizon.kube import manifests
from splithorizon.mesh import injection
from splithorizon.mesh.mesh import Mesh
from splithorizon.traffic import workloads

_JOINED = MANIFESTS / "faults" / "networks-joined.yaml"


@fault(
    "test_networks_are_separate",
    cause=causes.NETWORKS_JOINED,
    root_cause=causes.NETWORKS_JOINED,
    # A route in a node is no object: what it does is seen of the pod that it leads to.
    cites=[
        ("Pod remote/sample/helloworld-v2", "status.podIP", "answers the client of primary"),
        ("Pod primary/sample/helloworld-v1", "status.podIP", "answers the client of remote"),
    ],
)
def networks_joined(mesh: Mesh, undo: ExitStack) -> None:
    """The nodes of two networks get routes to each other's pods: they reach each other without a gateway."""
    one, other = watching(mesh), watched(mesh)
    for near, far in ((one, other.info), (other, one.info)):
        kube = near.kube
        (pod,) = manifests.load(_JOINED)
        (container,) = pod["spec"]["containers"]
        container["image"] = injection.image_of(near, workloads.CLIENT)
        container["env"] = [
            {"name": "FAR_PODS", "value": far.pod_subnet},
            {"name": "FAR_NODE", "value": far.node_address},
        ]
        name, namespace = pod["metadata"]["name"], mesh.info.namespace
        undo.callback(kube.delete, "Pod", name, namespace, gone_within=timeouts().object_appears)
        kube.apply(pod, namespace=namespace)
