"""Commands by which a person looks further: given as for a mesh of ours, told as they can be run as they stand.

Whoever gives one writes a cluster's role where its context goes, and our own meshes' namespaces and names.
"""

from __future__ import annotations

import re

from splithorizon import workloads
from splithorizon.mesh.facts import ClusterFacts, MeshFacts, Selection
from splithorizon.mesh.gateway import NAME as GATEWAY
from splithorizon.mesh.gateway import NAMESPACE as SYSTEM_NAMESPACE
from splithorizon.topology import Role

REMOTE_CLUSTERS = f"istioctl --context {Role.PRIMARY} remote-clusters"
_OUR_GATEWAY = f"deploy/{GATEWAY} -n {SYSTEM_NAMESPACE}"
# Each asks an istiod, and the one without a revision where none is named.
_ASKS_ISTIOD = r"(istioctl\b.* (?:remote-clusters|proxy-status|internal-debug \w+))"


def endpoints_of(role: Role) -> str:
    """The endpoints of helloworld that the client's side-car in that cluster holds."""
    return (
        f"istioctl --context {role} proxy-config endpoints deploy/sleep -n {workloads.NAMESPACE} "
        f"--cluster 'outbound|5000||helloworld.{workloads.NAMESPACE}.svc.cluster.local'"
    )


def logs_of(role: Role) -> str:
    """The end of the access log of the client's side-car in that cluster."""
    return f"kubectl --context {role} -n {workloads.NAMESPACE} logs deploy/sleep -c istio-proxy --tail 20"


def gateway_listeners_of(role: Role) -> str:
    """What that cluster's gateway listens for from other networks."""
    return f"istioctl --context {role} proxy-config listeners {_OUR_GATEWAY} --port 15443"


def told(text: str, mesh: MeshFacts) -> str:
    """Commands in a text, for this mesh: its contexts or kubeconfigs, its namespaces, gateways and revision."""
    text = "\n".join(_for_its_cluster(line, mesh) for line in text.split("\n"))
    if mesh.revision not in {"", "default"}:
        text = re.sub(_ASKS_ISTIOD, rf"\1 --revision {mesh.revision}", text)
    return re.sub(rf"(-n |\.){workloads.NAMESPACE}\b", rf"\g<1>{mesh.namespace}", text)


def _for_its_cluster(line: str, mesh: MeshFacts) -> str:
    named = re.search(rf"\b(kubectl|istioctl) --context ({'|'.join(Role)})\b", line)
    if not named or Role(named[2]) not in mesh.clusters:
        return line
    cluster = mesh.clusters[Role(named[2])]
    kubectl = cluster.kubectl or f"kubectl --kubeconfig {cluster.kubeconfig}"
    program = f"{named[1]} {kubectl.partition(' ')[2]}"
    if cluster.system_namespace != SYSTEM_NAMESPACE and named[1] == "istioctl":
        program += f" --istioNamespace {cluster.system_namespace}"
    line = line[: named.start()] + program + line[named.end() :]
    if cluster.gateway_pods:
        line = line.replace(_OUR_GATEWAY, _gateway(cluster.gateway_pods[0], kubectl))
    return re.sub(rf"-n {SYSTEM_NAMESPACE}\b", f"-n {cluster.system_namespace}", line)


def _gateway(pods: Selection, kubectl: str) -> str:
    """One of these pods as istioctl takes it: by a name, for it knows no labels."""
    if pods == ClusterFacts.gateway_pods[0]:
        return _OUR_GATEWAY
    found = f"{kubectl} -n {pods.namespace} get pods -l {pods.labels} -o name"
    return f'"$({found} | head -n 1)" -n {pods.namespace}'
