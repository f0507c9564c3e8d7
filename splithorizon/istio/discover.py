"""A mesh that others installed: what it is, read off its own objects. Nothing is changed to find out."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import yaml

from splithorizon.base.errors import UsageProblem
from splithorizon.istio import gateway_resources, gateway_services
from splithorizon.istio.gateway_resources import NamedGateways
from splithorizon.istio.info import Address, ClusterInfo, ExternalIstiod, MeshInfo, NetworkMode, Selection
from splithorizon.istio.names import (
    CONTROL_PLANE_ANNOTATION,
    NETWORK_LABEL,
    REVISION_LABEL,
    SYSTEM_NAMESPACE,
    config_map_of,
    is_default_revision,
)
from splithorizon.istio.topology import PRIMARY_REMOTE
from splithorizon.istio.versions import tag_of
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube, Object

_TAG_LABEL = "istio.io/tag"
_VERSION_LABEL = "app.kubernetes.io/version"
_INJECTOR = "istio-sidecar-injector"
_INJECTED_CLUSTER = re.compile(r"/inject/.*\bcluster/([^/]+)")
# Of istiod's environment: remote secrets are read in the cluster that runs it.
_SECRETS_OF_ITS_CLUSTER = ("LOCAL_CLUSTER_SECRET_WATCHER", "EXTERNAL_ISTIOD")
_GOOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")
# Of a digest: as many characters as tell images apart, behind "sha256:".
_DIGEST_SHOWN = 19
_FORBIDDEN = 403


@dataclass(frozen=True)
class NamedCluster:
    """A cluster by the context that leads to it."""

    context: str
    kube: Kube


@dataclass(frozen=True)
class _Istiod:
    """One installed control plane: its namespace, which is the same in every cluster, and what it is called.

    The version is empty where it runs in a cluster that is not named.
    """

    namespace: str
    revision: str
    cluster_id: str
    version: str
    external: ExternalIstiod | None = None

    @classmethod
    def of_pod(cls, pod: Object) -> _Istiod:
        """As one of its pods shows it."""
        metadata, container = pod["metadata"], _discovery_container(pod)
        return cls(
            namespace=str(metadata["namespace"]),
            revision=str(metadata["labels"].get(REVISION_LABEL, "default")),
            # Istio's own default stands where the installation names none.
            cluster_id=_environment(pod).get("CLUSTER_ID") or "Kubernetes",
            version=_version(container["image"], str(metadata["labels"].get(_VERSION_LABEL, ""))),
        )


def _discovery_container(pod: Object) -> Object:
    containers: list[Object] = pod["spec"]["containers"]
    return next((one for one in containers if one["name"] == "discovery"), containers[0])


def _environment(istiod: Object) -> dict[str, str]:
    return {one["name"]: str(one.get("value", "")) for one in _discovery_container(istiod).get("env", [])}


def _version(image: str, label: str) -> str:
    """The image's tag; without one what the pod's label says, or the beginning of the image's digest."""
    return tag_of(image) or label or image.partition("@")[2][:_DIGEST_SHOWN] or "latest"


@dataclass(frozen=True)
class Arrangement:
    """Which of some clusters have an istiod, and whom each manages; every field is by the keys of the clusters.

    ``managers`` has for each cluster the key of the one whose istiod manages it: its own where it has one itself. An
    external istiod is that of the cluster whose id it has. A cluster's id is empty where it is not known.
    """

    istiods: Mapping[str, _Istiod]
    managers: Mapping[str, str]
    ids: Mapping[str, str]

    def istiod_of(self, key: str) -> _Istiod:
        """The istiod that manages a cluster."""
        return self.istiods[self.managers[key]]

    def renamed(self, names: Mapping[str, str]) -> Arrangement:
        """The same by other keys, in the order of ``names``."""
        return Arrangement(
            {name: self.istiods[key] for key, name in names.items() if key in self.istiods},
            {name: names[self.managers[key]] for key, name in names.items()},
            {name: self.ids[key] for key, name in names.items()},
        )

    @property
    def names(self) -> dict[str, str]:
        """A name for each cluster, by its key: first those that run istiod, each followed by those that it manages.

        A pair is called primary and remote. More primaries, or more clusters, are called by their ids, which their
        owners gave them, or by number where an id is no good name.
        """
        order = [key for manager in self.istiods for key in sorted(self.managers, key=manager.__ne__)
                 if self.managers[key] == manager]  # fmt: skip
        if len(order) == len(PRIMARY_REMOTE.names) and len(self.istiods) == 1:
            return dict(zip(order, PRIMARY_REMOTE.names, strict=True))
        ids = [self.ids[key] for key in order]
        good = len({*ids}) == len(ids) and all(map(_GOOD_NAME.fullmatch, ids))
        return {key: self.ids[key] if good else f"cluster{number}" for number, key in enumerate(order, start=1)}


def arrange(
    kubes: Mapping[str, Kube],
    contexts: Mapping[str, str],
    *,
    revision: str = "",
    runs_istiod: NamedCluster | None = None,
) -> Arrangement:
    """Find out which of the clusters have an istiod, and which istiod manages each of the others.

    ``runs_istiod`` is the cluster of an external control plane, where it is named. Raises UsageProblem where the
    contexts cannot be the clusters of one mesh, or a revision has to be chosen.
    """
    if len(kubes) < 2:
        raise _not_a_mesh(contexts, "a single cluster: the claims are about clusters on different networks")
    _require_distinct(kubes, contexts)
    running = {key: found for key, kube in kubes.items() if (found := _istiods(kube))}
    if runs_istiod:
        _require_apart(runs_istiod, kubes, contexts)
        without = {key: kube for key, kube in kubes.items() if key not in running}
        running |= _external(without, contexts, runs_istiod)
    chosen = _chosen(running, kubes, contexts, revision) if running else _external_elsewhere(kubes, contexts, revision)
    ids = {key: istiod.cluster_id for key, istiod in chosen.items()}
    managers = {key: _manager(key, kubes, chosen, ids, contexts) for key in kubes}
    istiods = {key: istiod for key, istiod in chosen.items() if managers[key] == key}
    for key, manager in managers.items():
        if key != manager:
            ids[key] = _id_in_remote_secret(kubes[key], _secrets(kubes[manager], istiods[manager]), istiods[manager])
    return Arrangement(istiods, managers, ids)


def read_mesh(
    kubes: Mapping[str, Kube],
    contexts: Mapping[str, str],
    *,
    namespace: str,
    revision: str = "",
    arrangement: Arrangement | None = None,
) -> MeshInfo:
    """Find out how the mesh is made: revisions, networks and where istiod reads them, cluster ids, gateways.

    ``kubes`` and ``contexts`` are by the names of the clusters, ``arrangement`` where it is known already. What cannot
    be found stays empty, for the checks to judge. Raises UsageProblem where the contexts cannot be the clusters of one
    mesh on several networks, or a revision has to be chosen.
    """
    found = arrangement or arrange(kubes, contexts, revision=revision)
    networks: dict[str, Any] = {}
    for name, istiod in found.istiods.items():
        networks |= mesh_networks(kubes[name], istiod.namespace, istiod.revision)
        # What is mounted where it runs comes before what it reads elsewhere.
        if istiod.external and istiod.external.is_named:
            networks |= mesh_networks(kube_of(istiod.external), istiod.namespace, istiod.revision)
    systems = {
        name: found.istiods[name].namespace
        if name in found.istiods
        else _system_namespace(kubes[name], found.istiod_of(name))
        for name in kubes
    }
    labels = {name: _network_label(kube, systems[name]) for name, kube in kubes.items()}
    mode = NetworkMode.MESH_NETWORKS if networks and not all(labels.values()) else NetworkMode.LABELS
    network_names = {name: labels[name] or network_of(found.ids[name], networks) for name in kubes}
    if len({*network_names.values()}) == 1 and all(network_names.values()):
        raise _not_a_mesh(contexts, f"all are in the network {next(iter(network_names.values()))}")
    named = gateway_resources.by_cluster(kubes, network_names, gateway_resources.named(kubes, found.istiods))
    clusters = {}
    for number, (name, kube) in enumerate(kubes.items(), start=1):
        network, manager = network_names[name], found.managers[name]
        gateways = _gateways(kube, network, mode, networks, named.get(name, NamedGateways()))
        clusters[name] = ClusterInfo(
            name=name,
            context=contexts[name],
            cluster_id=found.ids[name],
            network=network,
            control_plane=manager,
            version=f"v{number}",
            kubeconfig=kube.kubeconfig,
            kubectl=kube.kubectl,
            revision=found.istiods[manager].revision,
            istio=found.istiods[manager].version,
            system_namespace=systems[name],
            gateways=gateways.addresses,
            named_gateways=gateways.named,
            gateway_pods=gateways.pods,
            pod_subnet=_pod_subnet(kube),
            external_istiod=found.istiods[name].external if name in found.istiods else None,
        )
    first = next(iter(found.istiods))
    return MeshInfo(
        clusters=clusters,
        versions=_versions(found.istiods[first], kubes[first]),
        namespace=namespace,
        revision=found.istiods[first].revision,
        network_mode=mode,
        owned=False,
    )


@dataclass(frozen=True)
class _Gateways:
    """The east-west gateways of a cluster: all addresses, those that only a Gateway names, and the pods."""

    addresses: tuple[Address, ...]
    named: tuple[Address, ...]
    pods: tuple[Selection, ...]


def _gateways(
    kube: Kube, network: str, mode: NetworkMode, networks: Mapping[str, Any], named: NamedGateways
) -> _Gateways:
    services = gateway_services.of_network(kube, network, mode)
    of_services = tuple(
        gateway_services.configured(networks[network], services)
        if mode is NetworkMode.MESH_NETWORKS and network in networks
        else gateway_services.all_addresses(kube, services)
    )
    pods = gateway_services.pods(services) or gateway_services.pods_at(named.services)
    if named.addresses and not pods:
        # A load balancer that no Service's status shows leads to them: what takes other networks has the port.
        pods = gateway_services.pods(gateway_services.of_network(kube, network, NetworkMode.MESH_NETWORKS))
    beside = tuple(address for address in named.addresses if address not in of_services)
    return _Gateways((*of_services, *beside), beside, pods)


@dataclass(frozen=True)
class RemoteSecrets:
    """The ids of the clusters for which an istiod holds remote secrets: named ones, and others that were not named."""

    named: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def remote_secrets(kubes: Mapping[str, Kube], mesh: MeshInfo) -> Mapping[str, RemoteSecrets]:
    """The remote secrets of each cluster that has an istiod, by its name; without those that cannot be read.

    They are those of an istiod in a cluster that is not named, and what this user may not read.
    """
    authorities = {_authority(kube) for kube in kubes.values()}
    ids = {cluster.cluster_id for cluster in mesh.clusters.values()}
    found = {}
    for cluster in mesh.control_planes:
        if not cluster.istiod_is_asked:
            continue
        held = cluster.external_istiod if cluster.holding_secrets is not cluster else None
        kube = kube_of(held) if held else kubes[cluster.name]
        secrets = kube.list_if_allowed("Secret", cluster.system_namespace, "istio/multiCluster=true")
        if secrets is None:
            continue
        leads_here = {id_ for id_, authority in _remote_authorities(secrets) if authority in authorities}
        known = {id_ for secret in secrets for id_ in secret.get("data") or {}}
        others = known - ids - leads_here
        found[cluster.name] = RemoteSecrets(tuple(sorted(known - others)), tuple(sorted(others)))
    return found


def _require_distinct(kubes: Mapping[str, Kube], contexts: Mapping[str, str]) -> None:
    known: dict[str, str] = {}
    for key, kube in kubes.items():
        uid = _uid(kube)
        if uid in known:
            pair = "both" if len(kubes) == 2 else f"{contexts[known[uid]]} and {contexts[key]}"
            raise _not_a_mesh(contexts, f"{pair} lead to one and the same cluster")
        known[uid] = key


def _uid(kube: Kube) -> str:
    return str((kube.get("Namespace", "kube-system") or {}).get("metadata", {}).get("uid"))


def _istiods(kube: Kube) -> list[_Istiod]:
    return [_Istiod.of_pod(pod) for pod in _istiod_pods(kube)]


def _istiod_pods(kube: Kube) -> list[Object]:
    return kube.list("Pod", labels="app=istiod", fields="status.phase=Running")


def _require_apart(runs_istiod: NamedCluster, kubes: Mapping[str, Kube], contexts: Mapping[str, str]) -> None:
    uid = _uid(runs_istiod.kube)
    for key, kube in kubes.items():
        if _uid(kube) == uid:
            raise _not_a_mesh(
                contexts,
                f"--istiod-context {runs_istiod.context} leads to the cluster of {contexts[key]}: the option is for a "
                "cluster that runs istiod and no workload of the mesh",
            )


def _external(
    kubes: Mapping[str, Kube], contexts: Mapping[str, str], runs_istiod: NamedCluster
) -> dict[str, list[_Istiod]]:
    """The istiods of an external control plane, by the cluster whose id they have; those of other meshes are left out.

    ``kubes`` are the clusters without an istiod.
    """
    said = f"--istiod-context {runs_istiod.context}"
    pods = _istiod_pods(runs_istiod.kube)
    if not pods:
        raise _not_a_mesh(contexts, f"{said}: no istiod runs there")
    known = [
        replace(_Istiod.of_pod(pod), external=_external_of(runs_istiod, _environment(pod)))
        for pod in pods
    ]  # fmt: skip
    found = {key: own for key, kube in kubes.items() if (own := [one for one in known if _has_id(kube, one)])}
    if not found:
        ids = ", ".join(sorted({one.cluster_id for one in known}))
        raise _not_a_mesh(
            contexts,
            f"{said}: the istiods there have the cluster ids {ids}, and no named cluster without an istiod has one of "
            "them: name the cluster in which that istiod reads its rules",
        )
    return found


def _external_of(runs_istiod: NamedCluster, environment: Mapping[str, str]) -> ExternalIstiod:
    return ExternalIstiod(
        runs_istiod.context,
        runs_istiod.kube.kubeconfig,
        runs_istiod.kube.kubectl,
        holds_secrets=all(environment.get(name, "").lower() == "true" for name in _SECRETS_OF_ITS_CLUSTER),
    )


def _has_id(kube: Kube, istiod: _Istiod) -> bool:
    return istiod.cluster_id in {_injected_id(kube), *_ids_of_proxies(kube, istiod.namespace)}


def _external_elsewhere(kubes: Mapping[str, Kube], contexts: Mapping[str, str], wanted: str) -> dict[str, _Istiod]:
    """The istiod of a cluster that is not named, by what refers to it: the cluster in which it reads its rules has it.

    That is the cluster which the annotation of the system namespaces names, or the only one with the mesh's ConfigMap.
    """
    known = {key: found for key, kube in kubes.items() if (found := _referred_to(kube, wanted))}
    if len(known) < len(kubes):
        raise _not_a_mesh(
            contexts,
            "none of them runs an istiod: name the cluster that runs it too, or, if it is none of the mesh, by "
            "--istiod-context",
        )
    named = {key: _managers_by_annotation(kubes[key], one.namespace) for key, one in known.items()}
    annotated = [key for key, one in known.items() if one.cluster_id in frozenset[str]().union(*named.values())]
    holding = [
        key for key, one in known.items() if kubes[key].get("ConfigMap", config_map_of(one.revision), one.namespace)
    ]
    for candidates in (annotated, holding):
        if len(candidates) == 1:
            return {candidates[0]: known[candidates[0]]}
    raise _not_a_mesh(
        contexts,
        "none of them runs an istiod, and in which of them the external one reads its rules cannot be read: the "
        f"annotation {CONTROL_PLANE_ANNOTATION} of their system namespaces has to name one. --istiod-context names the "
        "cluster that runs it",
    )


def _referred_to(kube: Kube, wanted: str) -> _Istiod | None:
    """The istiod outside of a cluster to which its injection webhook leads; None where no such one is there.

    A Service with a selector is for pods of the cluster itself, of which none runs now.
    """
    wanted = (_revision_of_tag(kube, wanted) or wanted) if wanted else ""
    found = [
        one
        for one in kube.list("MutatingWebhookConfiguration", labels="app=sidecar-injector")
        if _TAG_LABEL not in one["metadata"]["labels"]
        and (not wanted or one["metadata"]["labels"].get(REVISION_LABEL) == wanted)
    ]
    if len(found) != 1 or not all(_leads_out(kube, one["clientConfig"]) for one in found[0].get("webhooks", [])):
        return None
    revision = str(found[0]["metadata"]["labels"].get(REVISION_LABEL, "default"))
    namespace = _namespace_in(found[0], revision)
    ids = [_injected_id(kube, revision), *_ids_of_proxies(kube, namespace)]
    return _Istiod(namespace, revision, next(filter(None, ids), ""), "", ExternalIstiod())


def _leads_out(kube: Kube, client: Object) -> bool:
    """Whether a webhook leads out of its cluster: by an address, or by a Service whose endpoints are no pods of it."""
    if not (service := client.get("service")):
        return True
    try:
        found = kube.get("Service", service["name"], service["namespace"])
    except Refused as refused:
        if refused.status != _FORBIDDEN:
            raise
        return False
    return found is not None and not found["spec"].get("selector")


def _namespace_in(configuration: Object, revision: str) -> str:
    """Istiod's namespace by an injection webhook: of its Service, else by how Istio's chart calls the webhook."""
    for webhook in configuration.get("webhooks", []):
        if service := webhook["clientConfig"].get("service"):
            return str(service["namespace"])
    own = _INJECTOR if is_default_revision(revision) else f"{_INJECTOR}-{revision}"
    return str(configuration["metadata"]["name"]).removeprefix(own).removeprefix("-") or SYSTEM_NAMESPACE


def kube_of(external: ExternalIstiod) -> Kube:
    """A client for the cluster that runs an external istiod, which has to be named."""
    return Kube(external.kubeconfig, f"cluster of {external.context}", kubectl=external.kubectl)


def _secrets(kube: Kube, istiod: _Istiod) -> Kube | None:
    """The cluster in which an istiod reads remote secrets; None where it is not named."""
    if istiod.external is None:
        return kube
    if not istiod.external.is_named:
        return None
    return kube_of(istiod.external) if istiod.external.holds_secrets else kube


def _chosen(
    running: Mapping[str, list[_Istiod]], kubes: Mapping[str, Kube], contexts: Mapping[str, str], wanted: str
) -> dict[str, _Istiod]:
    """One istiod of each cluster that runs any: of the revision that is asked for, or the only one that there is."""
    of_wanted = {key: _of_revision(kubes[key], istiods, wanted or "default") for key, istiods in running.items()}
    revisions = sorted({one.revision for istiods in running.values() for one in istiods})
    if wanted and not any(of_wanted.values()):
        raise _not_a_mesh(contexts, f"--revision has to be one of {', '.join(revisions)}")
    chosen = {}
    for key, istiods in running.items():
        alone = istiods[0] if len({one.revision for one in istiods}) == 1 else None
        # Primaries need not be of one revision: where another one is asked for, a cluster's only one stands.
        istiod = (of_wanted[key] or alone) if wanted else (alone or of_wanted[key])
        if istiod is None:
            raise _not_a_mesh(contexts, f"--revision has to be one of {', '.join(revisions)}")
        chosen[key] = istiod
    return chosen


def _of_revision(kube: Kube, istiods: list[_Istiod], wanted: str) -> _Istiod | None:
    by_revision = {one.revision: one for one in istiods}
    if wanted not in by_revision:
        wanted = _revision_of_tag(kube, wanted)
    return by_revision.get(wanted)


def _manager(
    key: str,
    kubes: Mapping[str, Kube],
    istiods: Mapping[str, _Istiod],
    ids: Mapping[str, str],
    contexts: Mapping[str, str],
) -> str:
    """The cluster whose istiod manages a cluster: by the annotation of its system namespace, or the only one."""
    named = _managers_by_annotation(kubes[key], istiods[key].namespace) if key in istiods else frozenset()
    if key in istiods and not named - {ids[key]} & {*ids.values()}:
        return key
    for manager in istiods:
        space = _system_namespace(kubes[key], istiods[manager])
        named = _managers_by_annotation(kubes[key], space)
        known = [one for one in istiods if ids[one] in named and one != key]
        if len(known) == 1:
            return known[0]
    if len(istiods) == 1:
        (only,) = istiods
        if named:
            _require_named(named, key, kubes, _secrets(kubes[only], istiods[only]), istiods[only], contexts)
        return only
    raise _not_a_mesh(
        contexts,
        f"which istiod manages {contexts[key]} cannot be read: the annotation {CONTROL_PLANE_ANNOTATION} of its system "
        "namespace has to name that istiod's cluster id",
    )


def _require_named(
    managers: Set[str],
    managed: str,
    kubes: Mapping[str, Kube],
    secrets_in: Kube | None,
    istiod: _Istiod,
    contexts: Mapping[str, str],
) -> None:
    """Raise UsageProblem where the primary of a remote is part of the mesh, and not named.

    The evidence is a remote secret that leads to that primary. Without one the annotation may be wrong, and the checks
    judge it.
    """
    secrets = secrets_in and secrets_in.list_if_allowed("Secret", istiod.namespace, "istio/multiCluster=true")
    authorities = {_authority(kube) for kube in kubes.values()}
    for id_, authority in _remote_authorities(secrets or []):
        if id_ in managers and authority not in authorities:
            raise _not_a_mesh(
                contexts,
                f"the istiod of {id_} manages {contexts[managed]} (annotation {CONTROL_PLANE_ANNOTATION} of its system "
                f"namespace): name the context of {id_} too",
            )


def _managers_by_annotation(kube: Kube, system_namespace: str) -> frozenset[str]:
    namespace = kube.get("Namespace", system_namespace) or {"metadata": {}}
    text = str((namespace["metadata"].get("annotations") or {}).get(CONTROL_PLANE_ANNOTATION, ""))
    return frozenset(one.strip() for one in text.split(",") if one.strip())


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


def _injected_id(watched: Kube, revision: str = "") -> str:
    """The cluster id that the injection webhooks of a cluster ask sidecars for; empty where they name none.

    Those of a revision, or of any.
    """
    for client in _injection_clients(watched, revision):
        path = client.get("url") or client.get("service", {}).get("path", "")
        if match := _INJECTED_CLUSTER.search(path):
            return match[1]
    return ""


def _injection_clients(kube: Kube, revision: str) -> Iterator[Object]:
    """How a cluster's API server reaches the istiod that injects sidecars; an empty revision stands for any."""
    labels = "app=sidecar-injector" + (f",{REVISION_LABEL}={revision}" if revision else "")
    for configuration in kube.list("MutatingWebhookConfiguration", labels=labels):
        yield from (webhook["clientConfig"] for webhook in configuration.get("webhooks", []))


def _id_in_remote_secret(watched: Kube, watching: Kube | None, istiod: _Istiod) -> str:
    """The data key of the remote secret that leads to the watched cluster; empty where there is none.

    It is the one that the cluster's injection webhooks name, or its running proxies. Where no data key has that id, it
    is the one whose CA is the cluster's own: CAs change, and several clusters may have one. Where this user may not
    read secrets, or ``watching`` is not known, only the first two are left.
    """
    secrets = watching.list_if_allowed("Secret", istiod.namespace, "istio/multiCluster=true") if watching else None
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
    return {**({"istio": istiod.version} if istiod and istiod.version else {}), "kubernetes": kubernetes}
