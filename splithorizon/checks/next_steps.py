"""Next steps: commands by which a person looks further, as templates, and their one rendering for a mesh.

A check gives a template. ``render`` fills it in once, where a failure becomes a part of the report.

In a template ``kubectl <east>`` or ``istioctl <east>`` names a program and the cluster that it asks, by the cluster's
name in the mesh. ``<east system>`` is Istio's namespace there, ``<east gateway>`` a pod of its east-west gateway in the
form that istioctl takes, ``<east helloworld>`` the Deployment of helloworld there. In each of them ``istiod of east``
is the cluster that runs the istiod of ``east``, ``secrets of east`` and ``config of east`` are those in which that
istiod reads remote secrets and its rules, and ``gateway of east`` is ``east`` itself where it has a gateway, or else
one of its network that has. ``<namespace>`` is that of our workloads, and ``<revision>`` the option for the istiod
that is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from splithorizon.istio.info import ClusterInfo, MeshInfo
from splithorizon.istio.names import DEFAULT_DOMAIN, SYSTEM_NAMESPACE, is_default_revision
from splithorizon.istio.names import EASTWEST_GATEWAY as GATEWAY
from splithorizon.traffic.workloads import helloworld_of

_PROGRAM = re.compile(r"(kubectl|istioctl) <((?:(?:istiod|secrets|config|gateway) of )?[^<> ]+)>")
_DETAIL = re.compile(r"<((?:(?:istiod|secrets|config|gateway) of )?[^<> ]+) (system|gateway|helloworld)>")


def remote_clusters_of(cluster: str) -> str:
    """The clusters that the istiod of that cluster watches."""
    return f"istioctl <istiod of {cluster}> remote-clusters<revision>"


def endpoints_of(cluster: str) -> str:
    """The endpoints of helloworld that the client's sidecar in that cluster holds."""
    return (
        f"istioctl <{cluster}> proxy-config endpoints deploy/sleep -n <namespace> "
        "--cluster 'outbound|5000||helloworld.<namespace>.svc.cluster.local'"
    )


def logs_of(cluster: str) -> str:
    """The end of the access log of the client's sidecar in that cluster."""
    return f"kubectl <{cluster}> -n <namespace> logs deploy/sleep -c istio-proxy --tail 20"


def gateway_listeners_of(cluster: str) -> str:
    """What that cluster's gateway listens for from other networks."""
    return f"istioctl <gateway of {cluster}> proxy-config listeners <gateway of {cluster} gateway> --port 15443"


def render(text: str, mesh: MeshInfo) -> str:
    """Fill in the places of a text for one mesh; everything else in it stays as it is."""
    asked = _revision(text, mesh)
    text = _PROGRAM.sub(lambda place: _for_cluster(place, place[2], mesh, partial(_program, place[1])), text)
    text = _DETAIL.sub(lambda place: _for_cluster(place, place[1], mesh, _DETAILS[place[2]]), text)
    revision = "" if is_default_revision(asked) else f" --revision {asked}"
    text = text.replace(f".svc.{DEFAULT_DOMAIN}", f".svc.{mesh.domain}")
    return text.replace("<namespace>", mesh.namespace).replace("<revision>", revision)


def _revision(text: str, mesh: MeshInfo) -> str:
    """That of the istiod which the command is about: of the first cluster that it names."""
    named = _PROGRAM.search(text)
    name = named[2].rpartition(" of ")[2] if named else ""
    return mesh.revision_of(name) if name in mesh.clusters else mesh.revision


def _for_cluster(place: re.Match[str], reference: str, mesh: MeshInfo, fill: Callable[[ClusterInfo], str]) -> str:
    """Fill in a place about a cluster; one that names no cluster of the mesh stays as it is."""
    relation, _, name = reference.rpartition(" of ")
    if name not in mesh.clusters:
        return place[0]
    if not relation:
        return fill(mesh.clusters[name])
    control_plane = mesh.clusters[mesh.clusters[name].control_plane]
    # An external istiod runs, and may read remote secrets, in another cluster than it reads its rules.
    places = {
        "istiod": control_plane.running_istiod,
        "secrets": control_plane.holding_secrets,
        "config": control_plane,
        "gateway": _with_gateway(name, mesh),
    }
    return fill(places[relation])


def _with_gateway(name: str, mesh: MeshInfo) -> ClusterInfo:
    """The cluster itself where it has a gateway, or where no other of its network has one either."""
    sharing = [one for one in mesh.sharing_network(name) if one.gateway_pods]
    cluster = mesh.clusters[name]
    return cluster if cluster.gateway_pods or not sharing else sharing[0]


def _program(name: str, cluster: ClusterInfo) -> str:
    chosen = cluster.kubectl.removeprefix("kubectl ")
    if name == "istioctl" and cluster.system_namespace != SYSTEM_NAMESPACE:
        chosen += f" --istioNamespace {cluster.system_namespace}"
    return f"{name} {chosen}"


def _system(cluster: ClusterInfo) -> str:
    return cluster.system_namespace


def _gateway(cluster: ClusterInfo) -> str:
    """By a name, for istioctl knows no labels."""
    pods = (cluster.gateway_pods or ClusterInfo.gateway_pods)[0]
    if pods == ClusterInfo.gateway_pods[0]:
        return f"deploy/{GATEWAY} -n {pods.namespace}"
    found = f"{_program('kubectl', cluster)} -n {pods.namespace} get pods -l {pods.labels} -o name"
    return f'"$({found} | head -n 1)" -n {pods.namespace}'


def _helloworld(cluster: ClusterInfo) -> str:
    return f"deploy/{helloworld_of(cluster.version)}"


_DETAILS = {"system": _system, "gateway": _gateway, "helloworld": _helloworld}
