"""A mesh that others installed: what it is, read off its own objects. Nothing is changed to find out."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml

from splithorizon.base.errors import UsageProblem
from splithorizon.istio.info import Address, ClusterInfo, MeshInfo, NetworkMode, Selection
from splithorizon.istio.names import GATEWAY_PORT, NETWORK_LABEL, REVISION_LABEL, config_map_of
from splithorizon.istio.topology import PRIMARY_REMOTE, Topology
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, Object

_GATEWAY_PORT_LABEL = "networking.istio.io/gatewayPort"
_NODE_SELECTOR = "traffic.istio.io/nodeSelector"
_TAG_LABEL = "istio.io/tag"
_VERSION_LABEL = "app.kubernetes.io/version"
_INJECTED_CLUSTER = re.compile(r"/inject/.*\bcluster/([^/]+)")
# Of a digest: as many characters as tell images apart, behind "sha256:".
_DIGEST_SHOWN = 19
_FORBIDDEN = 403


@dataclass(frozen=True)
class _Istiod:
    """One installed control plane, by one of its pods."""

    pod: Object

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def revision(self) -> str:
        return str(self.pod["metadata"]["labels"].get(REVISION_LABEL, "default"))

    @property
    def container(self) -> Object:
        containers: list[Object] = self.pod["spec"]["containers"]
        return next((one for one in containers if one["name"] == "discovery"), containers[0])

    @property
    def cluster_id(self) -> str:
        """Istio's own default stands where the installation names none."""
        environment = {one["name"]: one.get("value", "") for one in self.container.get("env", [])}
        return environment.get("CLUSTER_ID") or "Kubernetes"

    @property
    def version(self) -> str:
        """The image's tag; without one what the pod's label says, or the beginning of the image's digest."""
        name, _, digest = self.container["image"].partition("@")
        # The part before the last slash may name the port of a registry.
        tag = name.rpartition("/")[2].partition(":")[2]
        return str(tag or self.pod["metadata"]["labels"].get(_VERSION_LABEL) or digest[:_DIGEST_SHOWN] or "latest")


def read_mesh(
    kubes: Mapping[str, Kube],
    contexts: Mapping[str, str],
    *,
    namespace: str,
    revision: str = "",
    plan: Topology = PRIMARY_REMOTE,
) -> MeshInfo:
    """Find out how the mesh is made: revision, networks and who tells of them, cluster ids, gateways.

    ``kubes`` and ``contexts`` are by the names of ``plan``'s clusters. What cannot be found stays empty, for the checks
    to judge. Raises UsageProblem where the contexts cannot be the clusters of one mesh of that shape, or a revision has
    to be chosen.
    """
    _require_two_clusters(kubes, contexts)
    primary, remote = plan.names
    istiod = _choose(kubes[primary], kubes[remote], contexts, revision)
    networks = mesh_networks(kubes[primary], istiod.namespace, istiod.revision)
    systems = {primary: istiod.namespace, remote: _system_namespace(kubes[remote], istiod)}
    ids = {primary: istiod.cluster_id, remote: _id_in_remote_secret(kubes[remote], kubes[primary], istiod)}
    labels = {name: _network_label(kube, systems[name]) for name, kube in kubes.items()}
    mode = NetworkMode.MESH_NETWORKS if networks and not all(labels.values()) else NetworkMode.LABELS
    clusters = {}
    network_names = {name: labels[name] or network_of(ids[name], networks) for name in kubes}
    if len({*network_names.values()}) == 1 and all(network_names.values()):
        raise _not_a_mesh(contexts, f"both are in the network {network_names[primary]}")
    for name, kube in kubes.items():
        network = network_names[name]
        services = gateway_services(kube, network, mode)
        clusters[name] = ClusterInfo(
            name=name,
            context=contexts[name],
            cluster_id=ids[name],
            network=network,
            control_plane=plan[name].control_plane,
            version=plan[name].version,
            kubeconfig=kube.kubeconfig,
            kubectl=kube.kubectl,
            system_namespace=systems[name],
            gateways=tuple(
                configured(networks[network], services)
                if mode is NetworkMode.MESH_NETWORKS and network in networks
                else gateway_addresses(kube, services)
            ),
            gateway_pods=tuple(
                Selection(
                    service["metadata"]["namespace"], _selector(service["spec"]["selector"]), _target_port(service)
                )
                for service in services
                # Without one it leads to what somebody else writes down: every pod of the namespace would be meant.
                if service["spec"].get("selector")
            ),
            pod_subnet=_pod_subnet(kube),
        )
    return MeshInfo(
        clusters=clusters,
        versions=_versions(istiod, kubes[primary]),
        namespace=namespace,
        revision=istiod.revision,
        network_mode=mode,
        owned=False,
    )


def _require_two_clusters(kubes: Mapping[str, Kube], contexts: Mapping[str, str]) -> None:
    systems = [kube.get("Namespace", "kube-system") or {} for kube in kubes.values()]
    identities = {system.get("metadata", {}).get("uid") for system in systems}
    if len(identities) < len(kubes):
        raise _not_a_mesh(contexts, "both lead to one and the same cluster")


def _istiods(kube: Kube) -> list[_Istiod]:
    return [_Istiod(pod) for pod in kube.list("Pod", labels="app=istiod", fields="status.phase=Running")]


def _choose(primary: Kube, remote: Kube, contexts: Mapping[str, str], wanted: str) -> _Istiod:
    found, elsewhere = _istiods(primary), _istiods(remote)
    if elsewhere and not found:
        raise _not_a_mesh(contexts, "only the second runs an istiod: name the primary first")
    if elsewhere:
        raise _not_a_mesh(contexts, "both run an istiod: a mesh of several primaries is not claimed by this suite")
    if not found:
        raise _not_a_mesh(contexts, "neither runs an istiod")
    by_revision = {one.revision: one for one in found}
    if not wanted and len(by_revision) == 1:
        return found[0]
    chosen = wanted or "default"
    if chosen not in by_revision:
        chosen = _revision_of_tag(primary, chosen)
    if chosen not in by_revision:
        raise _not_a_mesh(contexts, f"--revision has to be one of {', '.join(sorted(by_revision))}")
    return by_revision[chosen]


def _revision_of_tag(kube: Kube, tag: str) -> str:
    """The revision that a revision tag leads to (``istioctl tag set``); empty where there is no such tag."""
    labels = f"app=sidecar-injector,{_TAG_LABEL}={tag}"
    found = kube.list("MutatingWebhookConfiguration", labels=labels)
    return str(found[0]["metadata"]["labels"].get(REVISION_LABEL, "")) if found else ""


def _not_a_mesh(contexts: Mapping[str, str], why: str) -> UsageProblem:
    return UsageProblem(f"--contexts {','.join(contexts.values())}: {why}. Nothing was created.")


def mesh_networks(kube: Kube, system_namespace: str, revision: str) -> dict[str, Any]:
    """The networks of istiod's ConfigMap, as Istio's ``MeshNetworks`` has them."""
    data = (kube.get("ConfigMap", config_map_of(revision), system_namespace) or {}).get("data", {})
    with suppress(yaml.YAMLError):
        return (yaml.safe_load(data.get("meshNetworks", "")) or {}).get("networks") or {}
    return {}


def _system_namespace(remote: Kube, istiod: _Istiod) -> str:
    """Where the remote's injection webhook looks for istiod; by an address, it says nothing of a namespace."""
    for client in _injection_clients(remote, istiod.revision):
        if service := client.get("service"):
            return str(service["namespace"])
    return istiod.namespace


def _injected_id(watched: Kube, revision: str) -> str:
    """The cluster id that the injection webhooks of a cluster ask sidecars for; empty where they name none."""
    for client in _injection_clients(watched, revision):
        path = client.get("url") or client.get("service", {}).get("path", "")
        if match := _INJECTED_CLUSTER.search(path):
            return match[1]
    return ""


def _injection_clients(kube: Kube, revision: str) -> Iterator[Object]:
    """How a cluster's API server reaches the istiod that injects sidecars."""
    labels = f"app=sidecar-injector,{REVISION_LABEL}={revision}"
    for configuration in kube.list("MutatingWebhookConfiguration", labels=labels):
        yield from (webhook["clientConfig"] for webhook in configuration.get("webhooks", []))


def _id_in_remote_secret(watched: Kube, watching: Kube, istiod: _Istiod) -> str:
    """The data key of the remote secret that leads to the watched cluster; empty where there is none.

    It is the one that the cluster's injection webhooks name, or its running proxies. Where no data key has that id, it
    is the one whose CA is the cluster's own: CAs change, and several clusters may have one. Where this user may not
    read secrets, only the first two are left.
    """
    secrets = watching.list_if_allowed("Secret", istiod.namespace, "istio/multiCluster=true")
    known = [_injected_id(watched, istiod.revision), *_ids_of_proxies(watched, istiod.namespace)]
    if secrets is None:
        return next(filter(None, known), "")
    keys = [id_ for secret in secrets for id_ in secret.get("data") or {}]
    for named in known:
        if named in keys:
            return named
    authority = _authority(watched)
    return next((id_ for id_, ca in _remote_authorities(secrets) if ca == authority), "")


def _ids_of_proxies(watched: Kube, system_namespace: str) -> Iterator[str]:
    """The cluster ids that the running proxies of a cluster's system namespace were started with: its gateways'."""
    for pod in watched.list("Pod", system_namespace, fields="status.phase=Running"):
        spec = pod.get("spec", {})
        for container in (*(spec.get("containers") or []), *(spec.get("initContainers") or [])):
            for one in container.get("env") or []:
                if one.get("name") == "ISTIO_META_CLUSTER_ID" and one.get("value"):
                    yield str(one["value"])


def _authority(watched: Kube) -> str:
    """The CA of a cluster's API server; empty where this user may not read it."""
    try:
        own = (watched.get("ConfigMap", "kube-root-ca.crt", "kube-system") or {}).get("data", {})
    except Refused as refused:
        if refused.status != _FORBIDDEN:
            raise
        return ""
    return str(own.get("ca.crt", "")).strip()


def _remote_authorities(secrets: list[Object]) -> Iterator[tuple[str, str]]:
    for secret in secrets:
        for id_, encoded in (secret.get("data") or {}).items():
            # One that istiod cannot read either leads nowhere.
            with suppress(ValueError, yaml.YAMLError, KeyError, TypeError, IndexError):
                content = yaml.safe_load(base64.b64decode(encoded))
                authority = content["clusters"][0]["cluster"]["certificate-authority-data"]
                yield id_, base64.b64decode(authority).decode().strip()


def system_namespaces(kube: Kube) -> set[str]:
    """Every namespace of a cluster that holds, or in which its webhooks look for, an istiod of any revision.

    Also where no istiod runs now.
    """
    found = {str(pod["metadata"]["namespace"]) for pod in kube.list("Pod", labels="app=istiod")}
    found |= {str(one["metadata"]["namespace"]) for one in kube.list("Deployment", labels="app=istiod")}
    for configuration in kube.list("MutatingWebhookConfiguration", labels="app=sidecar-injector"):
        services = [webhook["clientConfig"].get("service") for webhook in configuration.get("webhooks", [])]
        found |= {str(service["namespace"]) for service in services if service}
    return found


def _network_label(kube: Kube, system_namespace: str) -> str:
    namespace = kube.get("Namespace", system_namespace) or {"metadata": {}}
    return str(namespace["metadata"].get("labels", {}).get(NETWORK_LABEL, ""))


def network_of(cluster_id: str, networks: Mapping[str, Any]) -> str:
    """The network that a cluster is in by istiod's ConfigMap; empty where it does not say."""
    for name, network in networks.items():
        if any(endpoint.get("fromRegistry") == cluster_id for endpoint in network.get("endpoints") or []):
            return name
    return ""


def gateway_services(kube: Kube, network: str, mode: NetworkMode) -> list[Object]:
    """The Services of the network's east-west gateways; by label, as istiod finds them, where there are labels."""
    labels = f"{NETWORK_LABEL}={network}" if mode is NetworkMode.LABELS else ""
    return [service for service in kube.list("Service", labels=labels) if _port(service)]


def _port(service: Object) -> int:
    """The port for other networks, or 0 where the Service has none."""
    named = service["metadata"].get("labels", {}).get(_GATEWAY_PORT_LABEL, "")
    port = int(named) if named.isdecimal() else GATEWAY_PORT
    return port if any(one["port"] == port for one in service["spec"].get("ports") or []) else 0


def _target_port(service: Object) -> int:
    """The port of the gateway's pods that the Service's port for other networks leads to."""
    port = _port(service)
    for one in service["spec"].get("ports") or []:
        if one["port"] == port and isinstance(one.get("targetPort"), int):
            return int(one["targetPort"])
    # A port of a pod by its name: Istio's own manifests give it the Service's number.
    return port


def gateway_addresses(kube: Kube, services: Sequence[Object]) -> tuple[Address, ...]:
    """Where other networks reach the gateways of a network, each address once."""
    asked = any(_node_selector(service) is not None for service in services)
    nodes = (kube.list_if_allowed("Node") or []) if asked else []
    return tuple(dict.fromkeys(address for service in services for address in addresses(service, nodes)))


def addresses(service: Object, nodes: Sequence[Object] = ()) -> Iterator[Address]:
    """Where other networks reach a gateway, as its Service has it.

    Of a Service of type NodePort istiod takes the external addresses of those of ``nodes`` that an annotation selects.
    """
    selector = _node_selector(service)
    if selector is not None:
        port = _port(service)
        ports = [one for one in service["spec"].get("ports") or [] if one["port"] == port]
        for node in nodes:
            if selector.items() <= (node["metadata"].get("labels") or {}).items():
                external = [
                    one["address"]
                    for one in node.get("status", {}).get("addresses") or []
                    if one["type"] == "ExternalIP"
                ]
                for host in external[:1]:
                    yield from (Address(str(host), int(one["nodePort"])) for one in ports if "nodePort" in one)
        return
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    hosts = [entry.get("ip") or entry.get("hostname") for entry in ingress]
    for host in [*hosts, *(service["spec"].get("externalIPs") or [])]:
        yield Address(str(host), _port(service))


def _node_selector(service: Object) -> Mapping[str, str] | None:
    """The labels of the nodes whose addresses a gateway has; None where its Service has no such annotation."""
    said = (service["metadata"].get("annotations") or {}).get(_NODE_SELECTOR, "")
    with suppress(ValueError):
        selector = json.loads(said) if said else None
        if isinstance(selector, dict) and service["spec"].get("type") == "NodePort":
            return None if service["spec"].get("externalIPs") else selector
    return None


def configured(network: Mapping[str, Any], services: list[Object]) -> Iterator[Address]:
    """The addresses that the ConfigMap gives for a network, Services named there looked up."""
    for gateway in network.get("gateways") or []:
        port = int(gateway.get("port", GATEWAY_PORT))
        if address := gateway.get("address"):
            yield Address(str(address), port)
        elif name := gateway.get("registryServiceName"):
            for service in services:
                metadata = service["metadata"]
                if str(name).startswith(f"{metadata['name']}.{metadata['namespace']}."):
                    yield from (Address(found.host, port) for found in addresses(service))


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _pod_subnet(kube: Kube) -> str:
    """The first node's; empty where the cluster's network gives nodes none."""
    nodes = kube.list_if_allowed("Node") or []
    return str(nodes[0]["spec"].get("podCIDR", "")) if nodes else ""


def versions_running(primary: Kube) -> dict[str, str]:
    """What the primary itself says of the versions that run; without Istio's where no istiod runs."""
    istiod = next(iter(_istiods(primary)), None)
    return _versions(istiod, primary)


def _versions(istiod: _Istiod | None, primary: Kube) -> dict[str, str]:
    kubernetes = str(json.loads(primary.request("/version"))["gitVersion"]).removeprefix("v")
    return {**({"istio": istiod.version} if istiod else {}), "kubernetes": kubernetes}
