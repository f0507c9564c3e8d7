"""How the mesh that two contexts lead to is read: a table of meshes as people build them, and what is said of each."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.base.timeouts import shortened
from splithorizon.istio.discover import (
    RemoteSecrets,
    arrange,
    read_mesh,
    remote_secrets,
    system_namespaces,
    versions_running,
)
from splithorizon.istio.info import ExternalIstiod, MeshInfo, NetworkMode
from splithorizon.istio.names import CONTROL_PLANE_ANNOTATION, GATEWAY_PORT
from splithorizon.kube.api_resources import path_of
from tests.support.controllers import pods_of
from tests.support.existing_mesh import (
    CONTEXTS,
    ROLES,
    TwoClusters,
    installed_mesh,
    put_istiod,
    put_remote_secret,
)
from tests.support.external_istiod import (
    CONTEXT,
    WATCHES_SECRETS_THERE,
    ExternalMesh,
    external_control_plane,
    lead_by_url,
)
from tests.support.small_api import Failure, SmallApi
from tests.support.snapshots import snapshot

SYSTEM = "istio-system"
GATEWAY = "istio-eastwestgateway"
REMOTE_SECRET = "istio-remote-secret-remote"
INJECTOR = "istio-sidecar-injector"
NETWORK = "topology.istio.io/network"
LABELS, MESH_NETWORKS = NetworkMode.LABELS, NetworkMode.MESH_NETWORKS

Change = Callable[[TwoClusters], object]


@dataclass(frozen=True)
class Case:
    """A mesh that differs from the suite's own by ``change``, and what is then read of it, by field."""

    change: Change
    expected: dict[str, Any] = field(default_factory=dict)
    mode: NetworkMode = LABELS
    revision: str = ""


# What is read of the suite's own installation.
OWN = {
    "revision": "default",
    "network_mode": LABELS,
    "istio": "1.29.1",
    "kubernetes": "1.34.4",
    "primary.network": "primary-network",
    "remote.network": "remote-network",
    "primary.cluster_id": "primary",
    "remote.cluster_id": "remote",
    "primary.system_namespace": SYSTEM,
    "remote.system_namespace": SYSTEM,
    "primary.gateways": ["172.18.0.2:15443"],
    "remote.gateways": ["172.18.0.3:15443"],
    "primary.gateway_pods": [f"{SYSTEM}: app={GATEWAY},istio=eastwestgateway"],
    "remote.gateway_pods": [f"{SYSTEM}: app={GATEWAY},istio=eastwestgateway"],
    "primary.pod_subnet": "10.10.0.0/16",
    "remote.pod_subnet": "10.20.0.0/16",
}


def nothing(_: TwoClusters) -> None: ...


def then(*changes: Change) -> Change:
    """One change after the other."""

    def change(mesh: TwoClusters) -> None:
        for each in changes:
            each(mesh)

    return change


def find(api: SmallApi, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    return api.objects[path_of(kind, namespace, name)]


def remove(api: SmallApi, kind: str, name: str, namespace: str | None = None) -> None:
    del api.objects[path_of(kind, namespace, name)]


def run_controllers(mesh: TwoClusters) -> None:
    for api in mesh.apis.values():
        for controller in api.controllers:
            controller()


def gateway(mesh: TwoClusters) -> dict[str, Any]:
    return find(mesh.remote, "Service", GATEWAY, SYSTEM)


def another_gateway(api: SmallApi, namespace: str = SYSTEM, **content: Any) -> dict[str, Any]:
    """A second gateway Service of the remote's network."""
    spec = {"selector": {"app": "second"}, "ports": [{"port": 15443}], **content.pop("spec", {})}
    labels = {NETWORK: "remote-network", **content.pop("labels", {})}
    return api.put("Service", "second", namespace, labels=labels, spec=spec, **content)


def node_ports(mesh: TwoClusters) -> None:
    """The remote's gateway is reached at the external addresses of some of its nodes."""
    gateway(mesh)["metadata"]["annotations"] = {"traffic.istio.io/nodeSelector": '{"edge": "true"}'}
    gateway(mesh)["spec"].update(type="NodePort", ports=[{"port": 15443, "nodePort": 30443}])
    for name, labels, address in (("a", {"edge": "true"}, "203.0.113.7"), ("b", {}, "203.0.113.8")):
        addresses = [{"type": "InternalIP", "address": "172.18.0.7"}, {"type": "ExternalIP", "address": address}]
        mesh.remote.put("Node", name, labels=labels, status={"addresses": addresses})


def named_by_gateway(
    mesh: TwoClusters, address: str = "172.18.0.3", *, role: str = "primary", gateway_class: str = "istio-remote",
    labels: dict[str, str] | None = None, **listener: Any,
) -> None:  # fmt: skip
    """A Gateway of Gateway API names the gateway of the remote's network."""
    api, name = "gateway.networking.k8s.io/v1", "remote-gateway"
    listener = {"name": "cross-network", "port": 15443, "protocol": "TLS", "tls": {"mode": "Passthrough"}, **listener}
    mesh.apis[role].objects[path_of("Gateway", SYSTEM, name, api=api)] = {
        "apiVersion": api,
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": SYSTEM, "labels": {NETWORK: "remote-network", **(labels or {})}},
        "spec": {
            "gatewayClassName": gateway_class,
            "addresses": [{"type": "IPAddress", "value": address}, {"type": "example.com/other", "value": "unknown"}],
            "listeners": [listener],
        },
    }


def unlabelled(mesh: TwoClusters) -> None:
    """The Service of the remote's gateway does not say which network it belongs to."""
    del gateway(mesh)["metadata"]["labels"][NETWORK]


def with_address(*ingress: dict[str, str]) -> dict[str, Any]:
    return {"loadBalancer": {"ingress": list(ingress)}}


def mesh_networks(mesh: TwoClusters, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the networks of istiod's ConfigMap."""
    data = find(mesh.primary, "ConfigMap", "istio", SYSTEM)["data"]
    networks = yaml.safe_load(data["meshNetworks"])
    change(networks["networks"])
    data["meshNetworks"] = yaml.safe_dump(networks)


def another_revision(mesh: TwoClusters, *, alone: bool = True, tag: str = "") -> None:
    """An istiod of the revision canary, with a ConfigMap and webhooks of its own; by default it is the only one."""
    put_istiod(mesh.primary, SYSTEM, "canary")
    data = find(mesh.primary, "ConfigMap", "istio", SYSTEM)["data"]
    mesh.primary.put("ConfigMap", "istio-canary", SYSTEM, data=data)
    if alone:
        remove(mesh.primary, "Deployment", "istiod", SYSTEM)
        remove(mesh.primary, "ConfigMap", "istio", SYSTEM)
    for api in mesh.apis.values():
        webhooks = find(api, "MutatingWebhookConfiguration", INJECTOR)["webhooks"]
        labels = {"app": "sidecar-injector", "istio.io/rev": "canary"}
        api.put("MutatingWebhookConfiguration", f"{INJECTOR}-canary", labels=labels, webhooks=webhooks)
        if tag:
            labels = {**labels, "istio.io/tag": tag}
            api.put("MutatingWebhookConfiguration", f"istio-revision-tag-{tag}", labels=labels, webhooks=webhooks)
        if alone:
            remove(api, "MutatingWebhookConfiguration", INJECTOR)
    run_controllers(mesh)


def moved(mesh: TwoClusters, namespace: str, *roles: str) -> None:
    """Have the system namespace of clusters be another one."""
    for role in roles:
        api = mesh.apis[role]
        for path in list(api.objects):
            kept = api.objects.pop(path)
            metadata = kept["metadata"]
            if metadata.get("namespace") == SYSTEM:
                metadata["namespace"] = namespace
            if (kept["kind"], metadata["name"]) == ("Namespace", SYSTEM):
                metadata["name"] = namespace
            for webhook in kept.get("webhooks", []):
                webhook["clientConfig"]["service"]["namespace"] = namespace
            api.objects[path_of(kept["kind"], metadata.get("namespace"), metadata["name"], api=kept["apiVersion"])] = (
                kept
            )


def webhook_paths(mesh: TwoClusters, path: str, *, url: bool = False) -> None:
    """The path at which the remote's API server asks istiod for sidecars, at its Service or its URL."""
    for webhook in find(mesh.remote, "MutatingWebhookConfiguration", INJECTOR)["webhooks"]:
        if url:
            webhook["clientConfig"] = {"url": f"https://172.18.0.2:15017{path}"}
        else:
            webhook["clientConfig"]["service"]["path"] = path


def root_of_the_remote(mesh: TwoClusters, authority: str) -> None:
    find(mesh.remote, "ConfigMap", "kube-root-ca.crt", "kube-system")["data"]["ca.crt"] = authority


def image_of_istiod(mesh: TwoClusters, image: str, **labels: str) -> None:
    template = find(mesh.primary, "Deployment", "istiod", SYSTEM)["spec"]["template"]
    template["spec"]["containers"][0]["image"] = image
    template["metadata"]["labels"] |= labels
    run_controllers(mesh)


def evicted(mesh: TwoClusters, **labels: str) -> None:
    """A pod of istiod that a node under pressure threw out, as it stays there until somebody deletes it."""
    (pod,) = pods_of(mesh.primary, "istiod", SYSTEM)
    labels = {"app": "istiod", "istio.io/rev": "default", **labels}
    status = {"phase": "Failed", "reason": "Evicted"}
    mesh.primary.put("Pod", "istiod-evicted", SYSTEM, labels=labels, spec=pod["spec"], status=status)


def two_secrets(mesh: TwoClusters) -> None:
    """The secret of a third cluster stands before the remote's."""
    kept = mesh.primary.objects.pop(path_of("Secret", SYSTEM, REMOTE_SECRET))
    put_remote_secret(mesh.primary, SYSTEM, "third", authority="CA of a third cluster\n")
    mesh.primary.objects[path_of("Secret", SYSTEM, REMOTE_SECRET)] = kept


def unreadable_secret(mesh: TwoClusters) -> None:
    data = {"broken": "no base64", "empty": "", "list": base64.b64encode(b"[1]").decode()}
    mesh.primary.objects = {
        path_of("Secret", SYSTEM, "a-broken-one"): {
            "kind": "Secret",
            "metadata": {"name": "a-broken-one", "namespace": SYSTEM, "labels": {"istio/multiCluster": "true"}},
            "data": data,
        },
        **mesh.primary.objects,
    }


def shared_authority(mesh: TwoClusters) -> None:
    """Both the remote and a third cluster, whose secret stands before, have one CA."""
    two_secrets(mesh)
    remove(mesh.primary, "Secret", "istio-remote-secret-third", SYSTEM)
    kept = mesh.primary.objects.pop(path_of("Secret", SYSTEM, REMOTE_SECRET))
    put_remote_secret(mesh.primary, SYSTEM, "third", authority="CA of the remote\n")
    mesh.primary.objects[path_of("Secret", SYSTEM, REMOTE_SECRET)] = kept


MESHES = {
    "networks by labels": Case(nothing),
    "networks by meshNetworks": Case(nothing, {"network_mode": MESH_NETWORKS}, MESH_NETWORKS),
    "meshNetworks beside labels, which prevail": Case(
        lambda mesh: [
            find(api, kind, name, space)["metadata"].setdefault("labels", {}).update({NETWORK: f"{role}-by-label"})
            for role, api in mesh.apis.items()
            for kind, name, space in (("Namespace", SYSTEM, None), ("Service", GATEWAY, SYSTEM))
        ],
        {"primary.network": "primary-by-label", "remote.network": "remote-by-label"},
        MESH_NETWORKS,
    ),
    "meshNetworks that are no YAML": Case(
        lambda mesh: find(mesh.primary, "ConfigMap", "istio", SYSTEM)["data"].update(meshNetworks="a: [")
    ),
    "meshNetworks that know nothing of the remote": Case(
        lambda mesh: mesh_networks(mesh, lambda networks: networks.pop("remote-network")),
        {
            "network_mode": MESH_NETWORKS,
            "remote.network": "",
        },
        MESH_NETWORKS,
    ),
    "a gateway that meshNetworks name by its Service": Case(
        lambda mesh: mesh_networks(
            mesh,
            lambda networks: networks["remote-network"].update(
                gateways=[{"registryServiceName": f"{GATEWAY}.{SYSTEM}.svc.cluster.local", "port": 443}]
            ),
        ),
        {"network_mode": MESH_NETWORKS, "remote.gateways": ["172.18.0.3:443"]},
        MESH_NETWORKS,
    ),
    "a system namespace without a network": Case(
        lambda mesh: find(mesh.remote, "Namespace", SYSTEM)["metadata"]["labels"].clear(),
        {"remote.network": "", "remote.gateways": [], "remote.gateway_pods": []},
    ),
    "one revision, which is not the default": Case(another_revision, {"revision": "canary"}),
    "a revision that is asked for": Case(another_revision, {"revision": "canary"}, revision="canary"),
    "two revisions, of which one is the default": Case(lambda mesh: another_revision(mesh, alone=False)),
    "two revisions, of which the other is asked for": Case(
        lambda mesh: another_revision(mesh, alone=False), {"revision": "canary"}, revision="canary"
    ),
    "a tag that is asked for": Case(
        lambda mesh: another_revision(mesh, alone=False, tag="prod"), {"revision": "canary"}, revision="prod"
    ),
    "the tag default, without a revision of that name": Case(
        then(
            lambda mesh: another_revision(mesh, tag="default"),
            lambda mesh: put_istiod(mesh.primary, SYSTEM, "older"),
            run_controllers,
        ),
        {"revision": "canary"},
    ),
    "two pods of istiod": Case(
        then(
            lambda mesh: find(mesh.primary, "Deployment", "istiod", SYSTEM)["spec"].update(replicas=2),
            run_controllers,
        )
    ),
    "an evicted pod of istiod": Case(evicted),
    "an evicted pod of another revision": Case(lambda mesh: evicted(mesh, **{"istio.io/rev": "before"})),
    "another system namespace": Case(
        lambda mesh: moved(mesh, "mesh-system", "primary", "remote"),
        {
            "primary.system_namespace": "mesh-system",
            "remote.system_namespace": "mesh-system",
            "primary.gateway_pods": [f"mesh-system: app={GATEWAY},istio=eastwestgateway"],
            "remote.gateway_pods": [f"mesh-system: app={GATEWAY},istio=eastwestgateway"],
        },
    ),
    "another system namespace in the remote": Case(
        lambda mesh: moved(mesh, "managed", "remote"),
        {
            "remote.system_namespace": "managed",
            "remote.gateway_pods": [f"managed: app={GATEWAY},istio=eastwestgateway"],
        },
    ),
    "a webhook with a URL": Case(lambda mesh: webhook_paths(mesh, "/inject/cluster/remote/net/n", url=True)),
    "no webhook in the remote": Case(lambda mesh: remove(mesh.remote, "MutatingWebhookConfiguration", INJECTOR)),
    "an istiod without a cluster id of its own": Case(
        then(
            lambda mesh: find(mesh.primary, "Deployment", "istiod", SYSTEM)["spec"]["template"]["spec"]["containers"][
                0
            ].pop("env"),
            run_controllers,
        ),
        {"primary.cluster_id": "Kubernetes"},
    ),
    "two gateways": Case(
        lambda mesh: another_gateway(mesh.remote, status=with_address({"ip": "172.18.0.9"})),
        {
            "remote.gateways": ["172.18.0.3:15443", "172.18.0.9:15443"],
            "remote.gateway_pods": [f"{SYSTEM}: app={GATEWAY},istio=eastwestgateway", f"{SYSTEM}: app=second"],
        },
    ),
    "two gateways with one address": Case(
        lambda mesh: another_gateway(mesh.remote, status=with_address({"ip": "172.18.0.3"})),
        {"remote.gateway_pods": [f"{SYSTEM}: app={GATEWAY},istio=eastwestgateway", f"{SYSTEM}: app=second"]},
    ),
    "a gateway at another port, which leads to one of its pods": Case(
        then(
            lambda mesh: gateway(mesh)["metadata"]["labels"].update({"networking.istio.io/gatewayPort": "443"}),
            lambda mesh: gateway(mesh)["spec"].update(ports=[{"port": 443, "targetPort": 8443}]),
        ),
        {
            "remote.gateways": ["172.18.0.3:443"],
            "remote.gateway_pods": [f"{SYSTEM}: app={GATEWAY},istio=eastwestgateway at 8443"],
        },
    ),
    "a gateway whose port leads to one with a name": Case(
        lambda mesh: gateway(mesh)["spec"].update(ports=[{"port": 15443, "targetPort": "tls"}])
    ),
    "a gateway at the ports of nodes": Case(node_ports, {"remote.gateways": ["203.0.113.7:30443"]}),
    "a gateway of that kind with addresses of its own": Case(
        then(node_ports, lambda mesh: gateway(mesh)["spec"].update(externalIPs=["198.51.100.1"])),
        {"remote.gateways": ["172.18.0.3:15443", "198.51.100.1:15443"]},
    ),
    "a gateway in a namespace of its own": Case(
        lambda mesh: another_gateway(mesh.remote, "ingress", status=with_address({"ip": "172.18.0.9"})),
        {
            "remote.gateways": ["172.18.0.3:15443", "172.18.0.9:15443"],
            "remote.gateway_pods": [f"{SYSTEM}: app={GATEWAY},istio=eastwestgateway", "ingress: app=second"],
        },
    ),
    "a gateway that selects no pods": Case(
        lambda mesh: another_gateway(mesh.remote, spec={"selector": None}, status=with_address({"ip": "172.18.0.9"})),
        {"remote.gateways": ["172.18.0.3:15443", "172.18.0.9:15443"]},
    ),
    "a Service of the network that is no gateway": Case(
        lambda mesh: another_gateway(
            mesh.remote, spec={"ports": [{"port": 443}]}, status=with_address({"ip": "172.18.0.9"})
        )
    ),
    "a gateway of an ambient mesh beside it, for tunnels alone": Case(
        lambda mesh: another_gateway(
            mesh.remote, spec={"ports": [{"port": 15008}]}, status=with_address({"ip": "172.18.0.9"})
        )
    ),
    "a gateway that a Gateway of the Gateway API made": Case(
        then(
            lambda mesh: remove(mesh.remote, "Service", GATEWAY, SYSTEM),
            lambda mesh: another_gateway(
                mesh.remote,
                spec={"selector": {"gateway.networking.k8s.io/gateway-name": "eastwest"}},
                status=with_address({"ip": "172.18.0.9"}),
            ),
        ),
        {
            "remote.gateways": ["172.18.0.9:15443"],
            "remote.gateway_pods": [f"{SYSTEM}: gateway.networking.k8s.io/gateway-name=eastwest"],
        },
    ),
    "a cluster with IPv6 alone": Case(
        then(
            lambda mesh: gateway(mesh).update(status=with_address({"ip": "fd00::3"})),
            lambda mesh: mesh.remote.kept("Node")[0]["spec"].update(podCIDR="fd00:20::/64"),
        ),
        {"remote.gateways": ["[fd00::3]:15443"], "remote.pod_subnet": "fd00:20::/64"},
    ),
    "a gateway with a host name": Case(
        lambda mesh: gateway(mesh).update(status=with_address({"hostname": "gateway.example.test"})),
        {"remote.gateways": ["gateway.example.test:15443"]},
    ),
    "a gateway with two addresses, one of them IPv6": Case(
        lambda mesh: gateway(mesh).update(status=with_address({"ip": "172.18.0.3"}, {"ip": "fd00::3"})),
        {"remote.gateways": ["172.18.0.3:15443", "[fd00::3]:15443"]},
    ),
    "a gateway with external addresses": Case(
        then(
            lambda mesh: gateway(mesh).pop("status"),
            lambda mesh: gateway(mesh)["spec"].update(externalIPs=["192.0.2.7", "192.0.2.8"]),
        ),
        {"remote.gateways": ["192.0.2.7:15443", "192.0.2.8:15443"]},
    ),
    "a gateway at another port, which its label names": Case(
        then(
            lambda mesh: gateway(mesh)["metadata"]["labels"].update({"networking.istio.io/gatewayPort": "443"}),
            lambda mesh: gateway(mesh)["spec"]["ports"].append({"port": 443}),
        ),
        {
            "remote.gateways": ["172.18.0.3:443"],
            "remote.gateway_pods": [f"{SYSTEM}: app={GATEWAY},istio=eastwestgateway at 443"],
        },
    ),
    "a gateway whose port label is no number, as istiod reads it": Case(
        lambda mesh: gateway(mesh)["metadata"]["labels"].update({"networking.istio.io/gatewayPort": "tls"})
    ),
    "a gateway without an address": Case(
        lambda mesh: gateway(mesh).update(status=with_address()), {"remote.gateways": []}
    ),
    "no gateway": Case(
        lambda mesh: remove(mesh.remote, "Service", GATEWAY, SYSTEM),
        {"remote.gateways": [], "remote.gateway_pods": []},
    ),
    "a gateway that an istio-remote Gateway names beside its Service": Case(named_by_gateway),
    "a gateway that only an istio-remote Gateway names": Case(then(unlabelled, named_by_gateway)),
    "an istio-remote Gateway where no istiod reads it": Case(
        then(unlabelled, lambda mesh: named_by_gateway(mesh, role="remote")),
        {"remote.gateways": [], "remote.gateway_pods": []},
    ),
    "a Gateway that the remote's own controller deploys": Case(
        then(unlabelled, lambda mesh: named_by_gateway(mesh, role="remote", gateway_class="istio"))
    ),
    "an istio-remote Gateway with the address of a load balancer that is in no Service": Case(
        then(unlabelled, lambda mesh: named_by_gateway(mesh, "203.0.113.9")),
        {"remote.gateways": ["203.0.113.9:15443"]},
    ),
    "an istio-remote Gateway at another port of the gateway's Service": Case(
        then(
            unlabelled,
            lambda mesh: gateway(mesh)["spec"].update(ports=[{"port": 443, "targetPort": 15443}]),
            lambda mesh: named_by_gateway(mesh, labels={"networking.istio.io/gatewayPort": "443"}, port=443),
        ),
        {"remote.gateways": ["172.18.0.3:443"]},
    ),
    "an istio-remote Gateway of which a listener says its mode": Case(
        then(
            unlabelled,
            lambda mesh: gateway(mesh)["spec"].update(ports=[{"port": 8443}]),
            lambda mesh: named_by_gateway(
                mesh, port=8443, tls={"options": {"gateway.istio.io/listener-mode": "auto-passthrough"}}
            ),
        ),
        {
            "remote.gateways": ["172.18.0.3:8443"],
            "remote.gateway_pods": [f"{SYSTEM}: app={GATEWAY},istio=eastwestgateway at 8443"],
        },
    ),
    "an istio-remote Gateway of an ambient mesh": Case(
        then(unlabelled, lambda mesh: named_by_gateway(mesh, port=15008, protocol="HBONE", tls={"mode": "Terminate"})),
        {"remote.gateways": [], "remote.gateway_pods": []},
    ),
    "an istio-remote Gateway without TLS": Case(
        then(unlabelled, lambda mesh: named_by_gateway(mesh, tls=None)),
        {"remote.gateways": [], "remote.gateway_pods": []},
    ),
    "no remote secret": Case(
        lambda mesh: remove(mesh.primary, "Secret", REMOTE_SECRET, SYSTEM), {"remote.cluster_id": ""}
    ),
    "no remote secret, and networks by meshNetworks": Case(
        lambda mesh: remove(mesh.primary, "Secret", REMOTE_SECRET, SYSTEM),
        {"network_mode": MESH_NETWORKS, "remote.cluster_id": "", "remote.network": ""},
        MESH_NETWORKS,
    ),
    "a third cluster's remote secret before the remote's": Case(two_secrets),
    "a remote secret before that nobody can read": Case(unreadable_secret),
    "a remote secret whose CA is not that of the remote's own pods": Case(
        lambda mesh: root_of_the_remote(mesh, "CA of the remote\nand the one that follows it\n")
    ),
    "the same, and a third cluster's before it": Case(
        then(
            lambda mesh: two_secrets(mesh),
            lambda mesh: root_of_the_remote(mesh, "CA of the remote's own pods\n"),
        )
    ),
    "the same, and a webhook with a URL": Case(
        then(
            lambda mesh: webhook_paths(mesh, "/inject/cluster/remote/net/remote-network", url=True),
            lambda mesh: root_of_the_remote(mesh, "CA of the remote's own pods\n"),
        )
    ),
    "a remote secret with another CA, and webhooks that name no cluster": Case(
        then(
            lambda mesh: webhook_paths(mesh, "/inject"),
            lambda mesh: root_of_the_remote(mesh, "CA of the remote's own pods\n"),
        ),
        {"remote.cluster_id": ""},
    ),
    "the same, and a gateway that was started with its cluster's id": Case(
        then(
            lambda mesh: webhook_paths(mesh, "/inject"),
            lambda mesh: root_of_the_remote(mesh, "CA of the remote's own pods\n"),
            lambda mesh: find(mesh.remote, "Deployment", GATEWAY, SYSTEM)["spec"]["template"]["spec"]["containers"][
                0
            ].update(env=[{"name": "ISTIO_META_CLUSTER_ID", "value": "remote"}]),
            run_controllers,
        ),
    ),
    "webhooks that name another cluster than the remote secret with the remote's CA": Case(
        lambda mesh: webhook_paths(mesh, "/inject/cluster/mistyped/net/remote-network")
    ),
    "two clusters with one CA": Case(shared_authority),
    "an image by digest": Case(
        lambda mesh: image_of_istiod(mesh, f"registry.test:5000/istio/pilot@sha256:{'ab' * 32}"),
        {"istio": "sha256:abababababab"},
    ),
    "an image by digest, in a pod that says its version": Case(
        lambda mesh: image_of_istiod(mesh, f"istio/pilot@sha256:{'ab' * 32}", **{"app.kubernetes.io/version": "1.29.1"})
    ),
    "an image by tag and digest": Case(
        lambda mesh: image_of_istiod(mesh, f"registry.test:5000/istio/pilot:1.29.1@sha256:{'ab' * 32}")
    ),
    "an image without a tag": Case(lambda mesh: image_of_istiod(mesh, "registry.test:5000/pilot"), {"istio": "latest"}),
    "nodes without a range of addresses": Case(
        lambda mesh: find(mesh.remote, "Node", "node")["spec"].clear(), {"remote.pod_subnet": ""}
    ),
}
REFUSED: dict[str, tuple[Change, str, str]] = {
    "one network twice": (
        lambda mesh: [
            find(mesh.remote, kind, name, space)["metadata"]["labels"].update({NETWORK: "primary-network"})
            for kind, name, space in (("Namespace", SYSTEM, None), ("Service", GATEWAY, SYSTEM))
        ],
        "",
        "all are in the network primary-network",
    ),
    "no istiod": (
        then(lambda mesh: remove(mesh.primary, "Deployment", "istiod", SYSTEM), run_controllers),
        "",
        "none of them runs an istiod: name the cluster that runs it too, or, if it is none of the mesh, by "
        "--istiod-context",
    ),
    "two revisions, and none is asked for": (
        then(another_revision, lambda mesh: put_istiod(mesh.primary, SYSTEM, "older"), run_controllers),
        "",
        "--revision has to be one of canary, older",
    ),
    "a revision that is not there": (nothing, "canary", "--revision has to be one of default"),
    "a tag of a revision that is gone": (
        lambda mesh: mesh.primary.put(
            "MutatingWebhookConfiguration", "istio-revision-tag-prod", webhooks=[],
            labels={"app": "sidecar-injector", "istio.io/rev": "gone", "istio.io/tag": "prod"},
        ),
        "prod",
        "--revision has to be one of default",
    ),
}  # fmt: skip


def read(mesh: TwoClusters, revision: str = "") -> MeshInfo:
    return read_mesh(mesh.kubes(), CONTEXTS, namespace="ours", revision=revision)


def told(found: MeshInfo) -> dict[str, Any]:
    """What was read, in the form of the table."""
    seen: dict[str, Any] = {
        "revision": found.revision,
        "network_mode": found.network_mode,
        "istio": found.versions["istio"],
        "kubernetes": found.versions["kubernetes"],
    }
    for role in ROLES:
        cluster = found.clusters[role]
        seen |= {
            f"{role}.network": cluster.network,
            f"{role}.cluster_id": cluster.cluster_id,
            f"{role}.system_namespace": cluster.system_namespace,
            f"{role}.gateways": [str(address) for address in cluster.gateways],
            f"{role}.gateway_pods": [
                f"{pods.namespace}: {pods.labels}" + (f" at {pods.port}" if pods.port != GATEWAY_PORT else "")
                for pods in cluster.gateway_pods
            ],
            f"{role}.pod_subnet": cluster.pod_subnet,
        }
    return seen


@contextmanager
def unchanged(mesh: TwoClusters) -> Iterator[None]:
    """A block that only reads."""
    before = snapshot(mesh)
    yield
    assert snapshot(mesh) == before
    assert {method for api in mesh.apis.values() for method, *_ in api.asked} == {"GET"}


@pytest.mark.parametrize("name", MESHES)
def test_a_mesh_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    case = MESHES[name]
    with installed_mesh(tmp_path, case.mode) as mesh:
        case.change(mesh)
        with unchanged(mesh):
            found = read(mesh, case.revision)
    assert told(found) == {**OWN, **case.expected}
    assert not found.owned
    assert found.namespace == "ours"
    assert {role: cluster.context for role, cluster in found.clusters.items()} == CONTEXTS


def test_what_a_case_expects_beyond_the_suites_own_mesh_differs_from_it() -> None:
    same = {name: key for name, case in MESHES.items() for key, value in case.expected.items() if value == OWN[key]}
    assert same == {}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_mesh_of_two_clusters_is_refused(name: str, tmp_path: Path) -> None:
    change, revision, why = REFUSED[name]
    with installed_mesh(tmp_path) as mesh:
        change(mesh)
        with unchanged(mesh), pytest.raises(UsageProblem) as refused:
            read(mesh, revision)
    assert str(refused.value) == f"--contexts east,west: {why}. Nothing was created."


def test_one_network_twice_is_refused_also_where_mesh_networks_say_so(tmp_path: Path) -> None:
    def join(networks: dict[str, Any]) -> None:
        networks["primary-network"]["endpoints"] += networks.pop("remote-network")["endpoints"]

    with installed_mesh(tmp_path, MESH_NETWORKS) as mesh:
        mesh_networks(mesh, join)
        with unchanged(mesh), pytest.raises(UsageProblem, match="all are in the network primary-network"):
            read(mesh)


def test_contexts_that_lead_to_one_cluster_are_refused(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        kubes = dict.fromkeys(ROLES, mesh.kubes()["primary"])
        with unchanged(mesh), pytest.raises(UsageProblem) as refused:
            arrange(kubes, CONTEXTS)
    assert str(refused.value) == "--contexts east,west: both lead to one and the same cluster. Nothing was created."


def test_a_single_cluster_is_refused(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh, pytest.raises(UsageProblem, match="a single cluster: the claims are about"):
        arrange({"primary": mesh.kubes()["primary"]}, CONTEXTS)


def test_of_three_contexts_two_may_not_lead_to_one_cluster(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        kubes = {**mesh.kubes(), "third": mesh.kubes()["remote"]}
        with pytest.raises(UsageProblem, match="west and north lead to one and the same cluster"):
            arrange(kubes, {**CONTEXTS, "third": "north"})


def second_primary(mesh: TwoClusters, *, revision: str = "default", cluster_id: str = "remote") -> None:
    """An istiod in the remote too, which watches the primary."""
    put_istiod(mesh.remote, SYSTEM, revision, cluster_id=cluster_id)
    data = find(mesh.primary, "ConfigMap", "istio", SYSTEM)["data"]
    mesh.remote.put("ConfigMap", "istio" if revision == "default" else f"istio-{revision}", SYSTEM, data=data)
    put_remote_secret(mesh.remote, SYSTEM, "primary", authority="CA of the primary\n")
    run_controllers(mesh)


def test_the_parts_of_the_clusters_are_the_same_in_any_order(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        own = mesh.kubes()
        for order in (ROLES, ROLES[::-1]):
            kubes = {CONTEXTS[role]: own[role] for role in order}
            with unchanged(mesh):
                found = arrange(kubes, {key: key for key in kubes})
            assert found.names == {"east": "primary", "west": "remote"}
            assert list(found.names) == ["east", "west"]
            assert found.renamed(found.names).managers == {"primary": "primary", "remote": "primary"}
            assert found.ids == {"east": "primary", "west": "remote"}


def test_two_primaries_are_called_by_their_ids_and_each_has_its_own_istiod(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        second_primary(mesh, revision="canary", cluster_id="western")
        put_remote_secret(mesh.primary, SYSTEM, "western", authority="CA of the remote\n")
        kubes = {CONTEXTS[role]: kube for role, kube in mesh.kubes().items()}
        with unchanged(mesh):
            found = arrange(kubes, {key: key for key in kubes})
            assert found.names == {"east": "primary", "west": "western"}
            info = read(mesh)
    assert {one.name: one.control_plane for one in info.topology} == {"primary": "primary", "remote": "remote"}
    assert [(one.cluster_id, one.revision) for one in info.clusters.values()] == [
        ("primary", "default"),
        ("western", "canary"),
    ]
    assert info.revision_of("remote") == "canary"
    assert [str(watch) for watch in info.watches] == [
        "istiod of primary watches remote",
        "istiod of remote watches primary",
    ]


@pytest.mark.parametrize("ids", [("Kubernetes", "Kubernetes"), ("a/b", "c")], ids=["the same", "no good name"])
def test_primaries_whose_ids_are_no_good_names_are_numbered(tmp_path: Path, ids: tuple[str, str]) -> None:
    with installed_mesh(tmp_path) as mesh:
        put_istiod(mesh.primary, SYSTEM, cluster_id=ids[0])
        second_primary(mesh, cluster_id=ids[1])
        assert arrange(mesh.kubes(), CONTEXTS).names == {"primary": "cluster1", "remote": "cluster2"}


@pytest.mark.parametrize(
    ("annotation", "manager"), [("", "remote"), ("primary", "primary"), ("remote", "remote"), ("third", "remote")]
)
def test_an_istiod_in_a_cluster_that_another_manages_by_annotation_is_none_of_the_mesh(
    tmp_path: Path, annotation: str, manager: str
) -> None:
    with installed_mesh(tmp_path) as mesh:
        second_primary(mesh)
        metadata = find(mesh.remote, "Namespace", SYSTEM)["metadata"]
        metadata["annotations"] = {"topology.istio.io/controlPlaneClusters": annotation}
        assert arrange(mesh.kubes(), CONTEXTS).managers == {"primary": "primary", "remote": manager}


@pytest.mark.parametrize("annotation", ["third", "other,third", "primary,third", "other", "*"])
def test_a_remote_whose_own_primary_is_not_named_is_not_given_to_another(tmp_path: Path, annotation: str) -> None:
    with installed_mesh(tmp_path) as mesh:
        find(mesh.remote, "Namespace", SYSTEM)["metadata"]["annotations"] = {CONTROL_PLANE_ANNOTATION: annotation}
        of_one_that_is_named = {"primary": "primary", "remote": "primary"}
        # No secret leads to a third cluster: what the annotation says may as well be wrong.
        assert arrange(mesh.kubes(), CONTEXTS).managers == of_one_that_is_named
        two_secrets(mesh)
        if annotation in ("third", "other,third"):
            with unchanged(mesh), pytest.raises(UsageProblem, match=r"the istiod of third manages west .*of third too"):
                arrange(mesh.kubes(), CONTEXTS)
        else:
            assert arrange(mesh.kubes(), CONTEXTS).managers == of_one_that_is_named


def test_primaries_of_other_revisions_than_the_one_asked_for_stand_where_they_have_only_one(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        second_primary(mesh, revision="canary")
        assert [one.revision for one in read(mesh, "canary").clusters.values()] == ["default", "canary"]
        assert [one.revision for one in read(mesh).clusters.values()] == ["default", "canary"]
        put_istiod(mesh.remote, SYSTEM, "older", cluster_id="remote")
        run_controllers(mesh)
        with pytest.raises(UsageProblem, match="--revision has to be one of canary, default, older"):
            read(mesh)


def test_clusters_that_are_watched_and_not_named_are_told(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        info = read(mesh)
        assert remote_secrets(mesh.kubes(), info) == {"primary": RemoteSecrets(("remote",))}
        two_secrets(mesh)
        put_remote_secret(mesh.primary, SYSTEM, "remote-mistyped", authority="CA of the remote\n")
        with unchanged(mesh):
            (found,) = remote_secrets(mesh.kubes(), info).values()
            # One that is named wrong and leads to a cluster of the mesh is none of another one.
            assert found == RemoteSecrets(("remote", "remote-mistyped"), ("third",))
        mesh.primary.failures.append(Failure(1, "GET", "/secrets", 403))
        assert remote_secrets(mesh.kubes(), info) == {}


# Without these a mesh is found all the same.
NOT_NEEDED = {
    "/api/v1/nodes",
    f"/api/v1/namespaces/{SYSTEM}/secrets",
    "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt",
    path_of("Gateway", None, api="gateway.networking.k8s.io/v1"),
}


def test_what_a_user_may_not_read_of_nodes_and_secrets_stays_empty(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        found = read(mesh)
        for api in mesh.apis.values():
            api.failures += [Failure(1, "GET", path, 403) for path in NOT_NEEDED]
        poorer = read(mesh)
        # The remote's webhooks say its id: its CA is not asked for then.
        assert [sum(one.times for one in api.failures) for api in mesh.apis.values()] == [1, 2]
    assert {name: replace(one, pod_subnet="") for name, one in found.clusters.items()} == poorer.clusters


def test_a_refusal_in_the_middle_names_the_request_and_the_cluster_and_nothing_is_written(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        read(mesh)
        requests = {role: dict.fromkeys(api.requests("GET")) for role, api in mesh.apis.items()}
        assert [len(paths) for paths in requests.values()] == [9, 8]
        with unchanged(mesh):
            for role, paths in requests.items():
                for path in paths.keys() - NOT_NEEDED:
                    mesh.apis[role].failures[:] = [Failure(1, "GET", path, 403)]
                    with pytest.raises(EnvironmentBroke) as refused:
                        read(mesh)
                    assert f"the {role} cluster's API server refused GET {path}" in str(refused.value)
                    assert "HTTP 403" in str(refused.value)


@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_an_api_server_that_hangs_up_in_the_middle_breaks_the_reading(tmp_path: Path, how: str) -> None:
    with installed_mesh(tmp_path) as mesh:
        mesh.remote.failures.append(Failure(9, "GET", "/nodes", how))
        with (
            shortened(0.02),
            unchanged(mesh),
            pytest.raises(EnvironmentBroke, match="the remote cluster's API server does not answer"),
        ):
            read(mesh)


def test_every_namespace_of_an_istiod_is_found_also_where_none_runs_now(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        primary, remote = mesh.kubes().values()
        put_istiod(mesh.primary, "canary-system", "canary")
        find(mesh.primary, "Deployment", "istiod-canary", "canary-system")["spec"]["replicas"] = 0
        mesh.primary.put("Pod", "istiod-1", "by-hand", labels={"app": "istiod"}, status={})
        assert system_namespaces(primary) == {SYSTEM, "canary-system", "by-hand"}
        assert system_namespaces(remote) == {SYSTEM}
        webhook_paths(mesh, "/inject", url=True)
        assert system_namespaces(remote) == set()


def test_the_versions_that_run_are_told_by_the_primary_itself(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        primary, remote = mesh.kubes().values()
        assert versions_running(primary) == {"istio": "1.29.1", "kubernetes": "1.34.4"}
        assert versions_running(remote) == {"kubernetes": "1.34.4"}


def test_an_external_istiod_is_that_of_the_cluster_whose_id_it_has(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        kubes = found.mesh.kubes()
        with unchanged(found.mesh):
            arranged = arrange(kubes, CONTEXTS, runs_istiod=found.named)
            info = read_mesh(kubes, CONTEXTS, namespace="ours", arrangement=arranged)
        assert {method for method, *_ in found.outside.asked} == {"GET"}
        assert arranged.managers == {"primary": "primary", "remote": "primary"}
        assert arranged.ids == {"primary": "primary", "remote": "remote"}
        primary, remote = info.clusters.values()
        assert primary.external_istiod == ExternalIstiod(CONTEXT, found.file, found.named.kube.kubectl, True)
        assert (primary.istio, primary.revision, primary.running_istiod.context) == ("1.29.1", "default", CONTEXT)
        assert primary.holding_secrets == primary.running_istiod
        assert remote.external_istiod is None
        assert remote_secrets(kubes, info) == {"primary": RemoteSecrets(("remote",))}
        put_remote_secret(found.outside, SYSTEM, "third", authority="of the third")
        assert remote_secrets(kubes, info) == {"primary": RemoteSecrets(("remote",), ("third",))}


def test_an_external_istiod_reads_remote_secrets_with_its_rules_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    with external_control_plane(tmp_path, secrets_outside=False) as found:
        kubes = found.mesh.kubes()
        arranged = arrange(kubes, CONTEXTS, runs_istiod=found.named)
        info = read_mesh(kubes, CONTEXTS, namespace="ours", arrangement=arranged)
        primary = info.clusters["primary"]
        assert primary.holding_secrets is primary
        put_remote_secret(found.mesh.primary, SYSTEM, "third", authority="of the third")
        assert remote_secrets(kubes, info) == {"primary": RemoteSecrets(("remote",), ("third",))}


def test_networks_are_those_of_the_external_istiods_own_config_map(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        for api in found.mesh.apis.values():
            find(api, "Namespace", SYSTEM)["metadata"]["labels"].clear()
        networks = {f"{role}-net": {"endpoints": [{"fromRegistry": role}], "gateways": []} for role in ROLES}
        data = {"meshNetworks": yaml.safe_dump({"networks": networks})}
        found.outside.put("ConfigMap", "istio", SYSTEM, data=data)
        kubes = found.mesh.kubes()
        arranged = arrange(kubes, CONTEXTS, runs_istiod=found.named)
        info = read_mesh(kubes, CONTEXTS, namespace="ours", arrangement=arranged)
    assert info.networks == {"primary": "primary-net", "remote": "remote-net"}
    assert info.network_mode is MESH_NETWORKS


def test_of_several_istiods_outside_those_of_other_meshes_are_left_out(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        found.outside.put("Namespace", "other-mesh")
        found.add_istiod("another", "other-mesh", CLUSTER_ID="of-another-mesh")
        arranged = arrange(found.mesh.kubes(), CONTEXTS, runs_istiod=found.named)
        assert [(one.namespace, one.revision) for one in arranged.istiods.values()] == [(SYSTEM, "default")]
        found.add_istiod("canary", **WATCHES_SECRETS_THERE)
        (chosen,) = arrange(found.mesh.kubes(), CONTEXTS, revision="canary", runs_istiod=found.named).istiods.values()
        assert chosen.revision == "canary"
        with pytest.raises(UsageProblem, match="--revision has to be one of canary, default"):
            arrange(found.mesh.kubes(), CONTEXTS, revision="none", runs_istiod=found.named)


@pytest.mark.parametrize("by_url", [False, True], ids=["a Service", "a URL"])
def test_an_external_istiod_that_is_not_named_is_that_of_the_cluster_with_the_mesh_configuration(
    tmp_path: Path, by_url: bool
) -> None:
    with external_control_plane(tmp_path) as found:
        if by_url:
            lead_by_url(found)
        with unchanged(found.mesh):
            info = read(found.mesh)
        assert found.outside.asked == []
    assert {one.name: one.control_plane for one in info.topology} == {"primary": "primary", "remote": "primary"}
    assert {name: one.cluster_id for name, one in info.clusters.items()} == {"primary": "primary", "remote": "remote"}
    assert info.clusters["primary"].external_istiod == ExternalIstiod()
    assert not info.clusters["primary"].istiod_is_asked
    assert "istio" not in info.versions


def test_the_annotation_of_the_system_namespaces_goes_before_the_mesh_configuration(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        for api in found.mesh.apis.values():
            metadata = find(api, "Namespace", SYSTEM)["metadata"]
            metadata["annotations"] = {"topology.istio.io/controlPlaneClusters": "remote"}
        assert arrange(found.mesh.kubes(), CONTEXTS).managers == {"primary": "remote", "remote": "remote"}


def test_the_namespace_of_an_external_istiod_behind_a_url_is_in_the_webhooks_name(tmp_path: Path) -> None:
    with external_control_plane(tmp_path) as found:
        lead_by_url(found, "external-istiod")
        found.mesh.primary.put("Namespace", "external-istiod", labels={NETWORK: "one"})
        found.mesh.remote.put("Namespace", "external-istiod", labels={NETWORK: "two"})
        found.mesh.primary.put("ConfigMap", "istio", "external-istiod", data={})
        info = read(found.mesh)
    assert info.networks == {"primary": "one", "remote": "two"}


def no_config_map(found: ExternalMesh) -> None:
    remove(found.mesh.primary, "ConfigMap", "istio", SYSTEM)


def no_pod_outside(found: ExternalMesh) -> None:
    remove(found.outside, "Deployment", "istiod", SYSTEM)
    for controller in found.outside.controllers:
        controller()


def another_id_outside(found: ExternalMesh) -> None:
    found.add_istiod(CLUSTER_ID="of-another-mesh")


def one_cluster_twice(found: ExternalMesh) -> None:
    find(found.outside, "Namespace", "kube-system")["metadata"]["uid"] = "uid-of-remote"


def service_of_pods(found: ExternalMesh) -> None:
    find(found.mesh.primary, "Service", "istiod", SYSTEM)["spec"]["selector"] = {"app": "istiod"}


@pytest.mark.parametrize(
    ("change", "names_it", "why"),
    [
        (no_pod_outside, True, "--istiod-context north: no istiod runs there"),
        (another_id_outside, True, "have the cluster ids of-another-mesh, and no named cluster without an istiod has"),
        (one_cluster_twice, True, "--istiod-context north leads to the cluster of west"),
        (no_config_map, False, "in which of them the external one reads its rules cannot be read"),
        (service_of_pods, False, "none of them runs an istiod: name the cluster that runs it too"),
    ],
    ids=["no istiod", "another id", "a cluster of the mesh", "no sign of where rules are", "an istiod that is gone"],
)
def test_what_is_no_external_control_plane_is_refused(
    tmp_path: Path, change: Callable[[ExternalMesh], None], names_it: bool, why: str
) -> None:
    with external_control_plane(tmp_path) as found:
        change(found)
        with unchanged(found.mesh), pytest.raises(UsageProblem) as refused:
            arrange(found.mesh.kubes(), CONTEXTS, runs_istiod=found.named if names_it else None)
    assert why in str(refused.value)
    assert str(refused.value).endswith("Nothing was created.")
