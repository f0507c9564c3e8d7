"""Next steps: commands by which a person looks further, as templates, and their one rendering for a mesh.

A check gives a template. ``render`` fills it in once, where a failure becomes a part of the report.

Whoever gives one writes ``kubectl <primary>`` or ``istioctl <remote>`` for a program and the cluster that it asks,
``<namespace>`` for that of our workloads, ``<primary system>`` and ``<remote system>`` for Istio's,
``<primary gateway>`` and ``<remote gateway>`` for a pod behind the east-west gateway, as istioctl takes one, and
``<revision>`` where an istiod is asked.
"""

from __future__ import annotations

import re

from splithorizon.istio.info import ClusterInfo, MeshInfo
from splithorizon.istio.names import EASTWEST_GATEWAY as GATEWAY
from splithorizon.istio.names import SYSTEM_NAMESPACE, is_default_revision
from splithorizon.istio.topology import Role

REMOTE_CLUSTERS = f"istioctl <{Role.PRIMARY}> remote-clusters<revision>"
_ROLES = "|".join(Role)
_PLACES = re.compile(rf"(kubectl|istioctl) <({_ROLES})>|<({_ROLES}) (system|gateway)>|<(namespace|revision)>")


def endpoints_of(role: Role) -> str:
    """The endpoints of helloworld that the client's sidecar in that cluster holds."""
    return (
        f"istioctl <{role}> proxy-config endpoints deploy/sleep -n <namespace> "
        "--cluster 'outbound|5000||helloworld.<namespace>.svc.cluster.local'"
    )


def logs_of(role: Role) -> str:
    """The end of the access log of the client's sidecar in that cluster."""
    return f"kubectl <{role}> -n <namespace> logs deploy/sleep -c istio-proxy --tail 20"


def gateway_listeners_of(role: Role) -> str:
    """What that cluster's gateway listens for from other networks."""
    return f"istioctl <{role}> proxy-config listeners <{role} gateway> --port 15443"


def render(text: str, mesh: MeshInfo) -> str:
    """Fill in the places of a text for one mesh; everything else in it stays as it is."""

    def fill(place: re.Match[str]) -> str:
        program, asked, role, what, plain = place.groups()
        if program:
            return _program(program, mesh.clusters[Role(asked)])
        if what == "system":
            return mesh.clusters[Role(role)].system_namespace
        if what == "gateway":
            return _gateway(mesh.clusters[Role(role)])
        if plain == "namespace":
            return mesh.namespace
        return "" if is_default_revision(mesh.revision) else f" --revision {mesh.revision}"

    return _PLACES.sub(fill, text)


def _program(name: str, cluster: ClusterInfo) -> str:
    chosen = cluster.kubectl.removeprefix("kubectl ")
    if name == "istioctl" and cluster.system_namespace != SYSTEM_NAMESPACE:
        chosen += f" --istioNamespace {cluster.system_namespace}"
    return f"{name} {chosen}"


def _gateway(cluster: ClusterInfo) -> str:
    """By a name, for istioctl knows no labels."""
    pods = (cluster.gateway_pods or ClusterInfo.gateway_pods)[0]
    if pods == ClusterInfo.gateway_pods[0]:
        return f"deploy/{GATEWAY} -n {pods.namespace}"
    found = f"{_program('kubectl', cluster)} -n {pods.namespace} get pods -l {pods.labels} -o name"
    return f'"$({found} | head -n 1)" -n {pods.namespace}'
