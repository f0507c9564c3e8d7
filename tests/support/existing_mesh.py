"""Two small API servers as the clusters of a mesh that somebody else installed, and runs that work on it."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from lab.ca import Trust
from splithorizon.base.paths import MANIFESTS
from splithorizon.istio.info import NetworkMode, status_with_address
from splithorizon.istio.names import (
    EASTWEST_GATEWAY,
    GATEWAY_PORT,
    NETWORK_LABEL,
    REVISION_LABEL,
    ROOT_CONFIG_MAP,
    SYSTEM_NAMESPACE,
)
from splithorizon.kube import kubeconfig, manifests
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.client import Kube
from splithorizon.run.journal import Journal
from splithorizon.traffic.requests import BATCH_SCRIPT
from splithorizon.undo import mesh_lease
from splithorizon.undo.mesh_lease import MeshLease, Place
from splithorizon.undo.ownership import Scope, ScopeCluster
from tests.support.controllers import PROXY_IMAGE, Controllers, encoded
from tests.support.small_api import SmallApi, small_api

ROLES = ("primary", "remote")
CONTEXTS = {"primary": "east", "remote": "west"}
SYSTEM = "mesh-system"
NAMESPACE = "splithorizon-run"
ISTIO = "1.29.1"
READERS_TOKEN = "the-reader's-token"
VERSIONS = {"primary": "v1", "remote": "v2"}
GATEWAYS = {"primary": "172.18.0.2", "remote": "172.18.0.3"}
POD_NETWORKS = {"primary": "10.10", "remote": "10.20"}


@dataclass
class Run:
    """One run's folder, and its clients and Lease."""

    journal: Journal
    kubes: dict[str, Kube]
    lease: MeshLease
    undo: ExitStack

    @property
    def folder(self) -> Path:
        return self.journal.folder

    @property
    def primary(self) -> Kube:
        return self.kubes["primary"]


@dataclass
class TwoClusters:
    """The API servers by role, and the folder with the user's kubeconfigs."""

    apis: dict[str, SmallApi]
    home: Path
    system: str = SYSTEM
    namespace: str = NAMESPACE

    @property
    def primary(self) -> SmallApi:
        return self.apis["primary"]

    @property
    def remote(self) -> SmallApi:
        return self.apis["remote"]

    def kubes(self) -> dict[str, Kube]:
        """A client of each cluster, by the user's own kubeconfigs."""
        return {role: Kube(self.file(role), role) for role in ROLES}

    def file(self, role: str) -> Path:
        return self.home / f"user-{role}"

    def run(
        self, base: Path, run_id: str, *, lease: bool = True, owned: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> Run:  # fmt: skip
        """A run that has begun on this mesh; by default it holds its Lease, which a mesh that it owns has not.

        ``labels`` are those of its objects in a namespace that was there before it.
        """
        base.mkdir(exist_ok=True)
        journal = Journal.open(run_id, base)
        kubes, clusters = {}, {}
        for role in ROLES:
            target = journal.folder / f"{role}.kubeconfig"
            kubeconfig.extract(CONTEXTS[role], [self.file(role)], target)
            kubes[role] = Kube(target, role, kubectl=kubeconfig.kubectl(self.file(role), CONTEXTS[role]))
            clusters[role] = ScopeCluster(
                CONTEXTS[role], f"uid-of-{role}", self.system, kubes[role].kubectl, str(self.file(role))
            )
        Scope(run_id, owned, self.namespace, clusters, labels=labels or {}).write(journal.folder)
        places = [Place(kubes[role], self.system, f"uid-of-{role}", CONTEXTS[role]) for role in ROLES]
        held = MeshLease(places, run_id, journal.folder)
        if lease and not owned:
            held.acquire()
        return Run(journal, kubes, held, ExitStack())

    def secret(self, token: str = "dG9rZW4=", **labels: str) -> dict[str, Any]:
        """The remote secret, as somebody makes it now."""
        labelled = {"istio/multiCluster": "true", **labels}
        return self.primary.put("Secret", "istio-remote", SYSTEM, labels=labelled, data={"remote": token})

    @property
    def token(self) -> str | None:
        """What the remote secret holds now; None without one."""
        found = self.primary.objects.get(f"/api/v1/namespaces/{SYSTEM}/secrets/istio-remote")
        return found["data"]["remote"] if found else None

    def backups(self, role: str = "primary") -> list[dict[str, Any]]:
        return [
            one for one in self.apis[role].kept("Secret") if one["metadata"]["name"].startswith("splithorizon-undo-")
        ]


@contextmanager
def bare_clusters(home: Path) -> Iterator[dict[str, SmallApi]]:
    """Two API servers that hold what Kubernetes itself makes, by role."""
    with ExitStack() as stack:
        apis = {}
        for role in ROLES:
            api = stack.enter_context(small_api(home / f"user-{role}", context=CONTEXTS[role]))
            api.versioned = True
            api.put("Namespace", "kube-system")["metadata"]["uid"] = f"uid-of-{role}"
            apis[role] = api
        yield apis


@contextmanager
def two_clusters(home: Path) -> Iterator[TwoClusters]:
    with bare_clusters(home) as apis:
        for api in apis.values():
            api.put("Namespace", SYSTEM)
        apis["primary"].put("Deployment", "istiod", SYSTEM, labels={"app": "istiod"}, spec={"replicas": 1})
        mesh = TwoClusters(apis, home)
        mesh.secret()
        yield mesh


def lose_disk(run: Run) -> None:
    """As where a runner goes, and its disk with it; its Lease expires."""
    shutil.rmtree(run.folder)


def expire(mesh: TwoClusters) -> None:
    """Let a minute pass at the API servers, without a renewal."""
    for api in mesh.apis.values():
        for lease in api.kept("Lease"):
            lease["spec"]["renewTime"] = "2020-01-01T00:00:00.000000Z"
    assert mesh_lease.NAME == "splithorizon"


@contextmanager
def installed_mesh(
    home: Path, network_mode: NetworkMode = NetworkMode.LABELS, *, workloads_in: str = "sample"
) -> Iterator[TwoClusters]:
    """Two clusters as the suite's own installation leaves them, with its workloads, in either network mode."""
    with bare_clusters(home) as apis:
        mesh = TwoClusters(apis, home, SYSTEM_NAMESPACE, workloads_in)
        for role, api in apis.items():
            _install(mesh, role, network_mode)
            _deploy(api, role, workloads_in)
            Controllers(api, POD_NETWORKS[role]).reconcile()
        yield mesh


def answers(mesh: TwoClusters, versions: Callable[[str, str], Sequence[str]]) -> None:
    """Let each cluster's client get answers: ``versions`` has those that answer, by the client's cluster and service.

    A client's sidecar says where istiod is, and that nothing drains; istiod, which clusters it watches.
    """
    for role, api in mesh.apis.items():
        api.execute = partial(_execute, mesh, partial(versions, role))


def follow_remote_secret(mesh: TwoClusters) -> None:
    """Let the clients of both clusters be answered by the remote as long as istiod can watch it, and by the primary."""

    def versions(cluster: str, service: str) -> Sequence[str]:
        if service != "helloworld":
            return [VERSIONS[cluster]]
        return [version for role, version in VERSIONS.items() if role == "primary" or watched(mesh)[role] == "synced"]

    answers(mesh, versions)


def watched(mesh: TwoClusters) -> dict[str, str]:
    """The clusters that the primary's istiod watches, with their states; "closed" for one that it does not know."""
    states = {"primary": "synced", "remote": "closed"}
    with mesh.primary.mutex:
        for secret in mesh.primary.kept("Secret", mesh.system):
            if secret["metadata"].get("labels", {}).get("istio/multiCluster") == "true":
                for cluster_id, content in secret["data"].items():
                    states[cluster_id] = "synced" if _leads_to_the_remote(mesh, content) else "timeout"
    return states


def _leads_to_the_remote(mesh: TwoClusters, content: str) -> bool:
    """Whether a remote secret's server is the remote's API server, or a way that leads there, and takes its token."""
    kubeconfig = yaml.safe_load(base64.b64decode(content))
    host = urlsplit(kubeconfig["clusters"][0]["cluster"]["server"]).hostname or ""
    way = mesh.primary.objects.get(path_of("EndpointSlice", mesh.system, host.partition(".")[0]))
    address = way["endpoints"][0]["addresses"][0] if way else host
    known = [one["data"]["token"] for one in mesh.remote.kept("Secret") if "token" in one.get("data", {})]
    token = kubeconfig["users"][0]["user"]["token"]
    return address == GATEWAYS["remote"] and (token == READERS_TOKEN or encoded(token) in known)


def _install(mesh: TwoClusters, role: str, network_mode: NetworkMode) -> None:
    api, system = mesh.apis[role], mesh.system
    network = {NETWORK_LABEL: f"{role}-network"} if network_mode is NetworkMode.LABELS else {}
    api.put("Namespace", system, labels=network)
    api.put("Node", "node", spec={"podCIDR": f"{POD_NETWORKS[role]}.0.0/16"}, status={"images": []})
    api.put("ConfigMap", "kube-root-ca.crt", "kube-system", data={"ca.crt": f"CA of the {role}\n"})
    api.answers["/version"] = (200, b'{"gitVersion": "v1.34.4"}')
    _put_gateway(api, system, network, GATEWAYS[role])
    for kind, name in (("sidecar-injector", "istio-sidecar-injector"), ("istiod", "istio-validator")):
        _put_webhook(api, role, kind, name, system)
    reader = f"istio-reader-clusterrole-{system}"
    writes = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "list", "watch", "update"]}
    patches = {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["mutatingwebhookconfigurations"],
        "verbs": ["get", "list", "watch", "update", "patch"],
    }
    slices = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}
    api.put("ClusterRole", reader, rules=[writes, patches, slices])
    api.put("ClusterRoleBinding", reader, roleRef={"kind": "ClusterRole", "name": reader}, subjects=[])
    if role == "primary":
        _put_control_plane(api, system, network_mode)
    else:
        api.put("ServiceAccount", "istio-reader-service-account", system)
        ports = [{"name": "tcp-istiod", "port": 15012}, {"name": "tcp-webhook", "port": 443}]
        api.put("Service", "istiod", system, spec={"ports": ports})
        api.put(
            "EndpointSlice", "istiod", system, labels={"kubernetes.io/service-name": "istiod"}, addressType="IPv4",
            ports=ports, endpoints=[{"addresses": [GATEWAYS["primary"]]}],
        )  # fmt: skip


def _put_control_plane(api: SmallApi, system: str, network_mode: NetworkMode) -> None:
    networks = {
        "networks": {
            f"{role}-network": {
                "endpoints": [{"fromRegistry": role}],
                "gateways": [{"address": GATEWAYS[role], "port": GATEWAY_PORT}],
            }
            for role in ROLES
        }
        if network_mode is NetworkMode.MESH_NETWORKS
        else {}
    }
    configuration = {"accessLogFile": "/dev/stdout", "trustDomain": "cluster.local"}
    data = {"mesh": yaml.safe_dump(configuration), "meshNetworks": yaml.safe_dump(networks)}
    api.put("ConfigMap", "istio", system, data=data)
    files = _ca_files()
    api.put("Secret", "cacerts", system, data={name: encoded(content.decode()) for name, content in files.items()})
    put_istiod(api, system)
    put_remote_secret(api, system, "remote", authority="CA of the remote\n")
    for name in ("expose-istiod", "cross-network-gateway", "strict-mtls"):
        for document in manifests.load(MANIFESTS / "istio" / f"{name}.yaml"):
            api.put(document["kind"], document["metadata"]["name"], system, spec=document["spec"])


@cache
def _ca_files() -> Mapping[str, bytes]:
    """The primary's CA, made once: its intermediate may have no other below it, as the lab's."""
    return Trust.make().files["primary"]


def put_istiod(api: SmallApi, system: str, revision: str = "default", *, cluster_id: str = "primary") -> None:
    """Put an istiod's Deployment; its pods are made by the controllers."""
    labels = {"app": "istiod", REVISION_LABEL: revision}
    environment = [{"name": "REVISION", "value": revision}, {"name": "CLUSTER_ID", "value": cluster_id}]
    container = {"name": "discovery", "image": f"istio/pilot:{ISTIO}", "env": environment}
    name = "istiod" if revision == "default" else f"istiod-{revision}"
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    api.put(
        "Deployment", name, system, labels=labels,
        spec={"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    )  # fmt: skip


def put_remote_secret(api: SmallApi, system: str, cluster_id: str, *, authority: str) -> None:
    """Put a remote secret as istioctl writes it."""
    cluster = {"server": "https://172.18.0.3:6443", "certificate-authority-data": encoded(authority)}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster_id, "cluster": cluster}],
        "users": [{"name": cluster_id, "user": {"token": READERS_TOKEN}}],
        "contexts": [{"name": cluster_id, "context": {"cluster": cluster_id, "user": cluster_id}}],
        "current-context": cluster_id,
    }
    api.put(
        "Secret", f"istio-remote-secret-{cluster_id}", system, labels={"istio/multiCluster": "true"},
        data={cluster_id: encoded(yaml.safe_dump(kubeconfig))},
    )  # fmt: skip


def _put_gateway(api: SmallApi, system: str, network: dict[str, str], address: str) -> None:
    labels = {"app": EASTWEST_GATEWAY, "istio": "eastwestgateway"}
    ports = [
        {"name": name, "port": port}
        for name, port in (("tls", GATEWAY_PORT), ("tls-istiod", 15012), ("tls-webhook", 15017))
    ]
    api.put(
        "Service", EASTWEST_GATEWAY, system, labels=labels | network,
        spec={"type": "LoadBalancer", "selector": labels, "ports": ports}, **status_with_address(address),
    )  # fmt: skip
    container = {"name": "istio-proxy", "image": PROXY_IMAGE}
    template = {"metadata": {"labels": labels | network}, "spec": {"containers": [container]}}
    api.put(
        "Deployment", EASTWEST_GATEWAY, system, labels=labels | network,
        spec={"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    )  # fmt: skip
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": EASTWEST_GATEWAY}
    limits = {"minReplicas": 1, "maxReplicas": 1}
    api.put("HorizontalPodAutoscaler", EASTWEST_GATEWAY, system, spec={"scaleTargetRef": scaled, **limits})


def _put_webhook(api: SmallApi, role: str, app: str, name: str, system: str) -> None:
    path = "/inject" if role == "primary" else "/inject/cluster/remote/net/remote-network"
    service = {"name": "istiod", "namespace": system, "port": 443, "path": path if app != "istiod" else "/validate"}
    client = {"service": service, "caBundle": encoded("the root of the mesh")}
    kind = "MutatingWebhookConfiguration" if app != "istiod" else "ValidatingWebhookConfiguration"
    webhooks = [{"name": f"{part}.{name}.istio.io", "clientConfig": client} for part in ("namespace", "object")]
    api.put(kind, name, labels={"app": app, REVISION_LABEL: "default"}, webhooks=webhooks)


def _deploy(api: SmallApi, role: str, namespace: str) -> None:
    services = ("helloworld-service", "headless-service", "echo-service", "rule-services", "new-connections-services")
    stems = (*services, f"helloworld-{VERSIONS[role]}", "sleep")
    api.put("Namespace", namespace, labels={"istio-injection": "enabled"})
    api.put("ConfigMap", ROOT_CONFIG_MAP, namespace, data={"root-cert.pem": "the root of the mesh\n"})
    for stem in stems:
        for document in manifests.load(MANIFESTS / "workloads" / f"{stem}.yaml"):
            metadata = document.pop("metadata")
            labels, kind = metadata.get("labels", {}), document.pop("kind")
            document.pop("apiVersion")
            api.put(kind, metadata["name"], namespace, labels=labels, **document)


def _execute(mesh: TwoClusters, versions: Callable[[str], Sequence[str]], pod: str, command: list[str]) -> str:
    """Run one of the commands that the suite runs in a pod; raises AssertionError for any other."""
    program, asked = command[0], command[-1]
    if program.endswith("pilot-discovery"):
        if command[1] == "version":
            return json.dumps({"clientVersion": {"version": ISTIO}})
        page, _, namespace = asked.partition("?namespace=")
        answer = {"/debug/clusterz": _clusterz, "/debug/syncz": _syncz}[page](mesh)
        return json.dumps([one for one in answer if not namespace or one["proxy"].endswith(f".{namespace}")])
    if program == "pilot-agent":
        if asked == "server_info":
            config = {"discoveryAddress": "istiod.istio-system.svc:15012"}
            return json.dumps({"node": {"metadata": {"PROXY_CONFIG": config}}})
        if asked.startswith("clusters?"):
            return json.dumps({"cluster_statuses": [_cluster_of_the_remote(asked)]})
        if asked.startswith("config_dump?"):
            return json.dumps(dump_expecting("spiffe://cluster.local/ns/sample/sa/default"))
        assert "draining" in asked, asked
        return json.dumps({"stats": []})
    assert command[:2] == ["sh", "-c"], command
    assert command[2] == BATCH_SCRIPT, command
    _, url, times, batch, *_ = command[3:]
    service = url.removeprefix("http://").partition(".")[0]
    answering = versions(service)
    ids = [f"{batch}-{number}" for number in range(1, int(times) + 1)]
    results = [f"reply {one} {200 if answering else 503} 0.01 0 " for one in ids]
    bodies = [
        f"./{one}:Hello version: {answering[number % len(answering)]}, instance: {pod.rpartition('/')[2]}"
        for number, one in enumerate(ids)
        if answering
    ]
    return "\n".join([*results, "bodies", *bodies, "end 0", ""])


def dump_expecting(*identities: str) -> dict[str, Any]:
    """The configuration of an Envoy cluster whose servers need one of these identities."""
    validation = {"match_subject_alt_names": [{"exact": one} for one in identities]}
    common = {"combined_validation_context": {"default_validation_context": validation}}
    socket = {"name": "tls", "typed_config": {"common_tls_context": common}}
    return {"configs": [{"cluster": {"transport_socket_matches": [{"transport_socket": socket}]}}]}


def _cluster_of_the_remote(asked: str) -> dict[str, Any]:
    """The one Envoy cluster that is asked for, with the remote's gateway for its endpoint."""
    address = {"socket_address": {"address": GATEWAYS["remote"], "port_value": 15443}}
    host = {"address": address, "health_status": {"eds_health_status": "HEALTHY"}, "weight": 1}
    name = unquote(asked.partition("filter=")[2]).strip("^$").replace("\\", "")
    return {"name": name, "host_statuses": [host]}


def _clusterz(mesh: TwoClusters) -> list[dict[str, str]]:
    return [{"id": one, "syncStatus": state} for one, state in watched(mesh).items() if state != "closed"]


def _syncz(mesh: TwoClusters) -> list[dict[str, str]]:
    """Every pod that has a proxy."""
    return [
        {
            "proxy": f"{pod['metadata']['name']}.{pod['metadata']['namespace']}",
            "cluster_id": role,
            "istio_version": ISTIO,
        }
        for role, api in mesh.apis.items()
        for pod in api.kept("Pod")
        if "istio-proxy" in json.dumps(pod["spec"])
    ]
