"""A reading of a sound mesh on two networks, made up, and helpers that break it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from splithorizon.diagnosis.reading.model import (
    CLIENT,
    GATEWAY,
    SERVER,
    Cluster,
    Host,
    Istiod,
    LogCount,
    Proxy,
    Reading,
    RemoteSecret,
)

HOST = "helloworld.sample.svc.cluster.local"
OUTBOUND = f"outbound|5000||{HOST}"
SNI = f"outbound_.5000_._.{HOST}"
GATEWAYS = {"primary": "10.89.0.3:15443", "remote": "10.89.0.2:15443"}
PODS = {"primary": "10.10.0.4", "remote": "10.20.0.3"}
VERSIONS = {"primary": "v1", "remote": "v2"}
READS = ["get", "list", "watch"]
NAMES = ("primary", "remote")
PAGES = ("clusters", "config", "warming", "routes", "listeners", "listening", "identity", "log")

Object = dict[str, Any]
Change = Callable[[Reading], Reading]


def made(
    kind: str,
    name: str,
    namespace: str = "",
    labels: dict[str, str] | None = None,
    *,
    annotations: dict[str, str] | None = None,
    **content: Any,
) -> Object:
    """An object as an API server gives it."""
    metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels or {}}
    metadata["creationTimestamp"] = "2026-11-27T04:00:00Z"
    if annotations:
        metadata["annotations"] = annotations
    return {"kind": kind, "metadata": metadata, **content}


def pod(name: str, namespace: str, ip: str, labels: dict[str, str], *, sidecar: bool = True) -> Object:
    containers = [{"name": name.partition("-")[0], "ports": [{"containerPort": 5000}]}]
    containers += [{"name": "istio-proxy"}] if sidecar else []
    status = {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}
    return made("Pod", name, namespace, labels, spec={"containers": containers}, status=status)


def sound() -> Reading:
    """Both clusters complete: every rule is content."""
    return Reading(tuple(_cluster(name) for name in NAMES), "sample", "helloworld", ("echo",))


def two_primaries() -> Reading:
    """The same two clusters, each with an istiod that watches the other: every rule is content."""
    primary, remote = sound().clusters
    (secret,), istiods = primary.secrets, primary.istiods
    back = replace(
        secret, name="istio-remote-secret-primary", cluster_id="primary", leads_to="primary",
        server="https://10.89.0.3:6443",
    )  # fmt: skip
    kinds = ("Deployment", "ConfigMap", "Gateway", "PeerAuthentication", "AuthorizationPolicy", "Telemetry")
    own = {kind: primary.objects[kind] for kind in kinds if kind in primary.objects}
    istiod_pods = tuple(one for one in primary.objects["Pod"] if one["metadata"]["labels"].get("app") == "istiod")
    objects = {**primary.objects, **remote.objects, **own, "Pod": (*remote.objects["Pod"], *istiod_pods)}
    second = replace(remote, control_plane="remote", secrets=(back,), istiods=istiods, objects=objects)
    return replace(sound(), clusters=(primary, second))


SECOND = "second"
SECOND_POD, SECOND_GATEWAY = "10.30.0.3", "10.89.0.4:15443"


def three_clusters(*, gateway: bool = False) -> Reading:
    """The two primaries, and a second cluster on the first one's network, which the first one's istiod manages.

    Requests from the other network come in at the first cluster's gateway, unless the second has one of its own.
    """
    text = Reading((sound()["remote"],), "sample", "helloworld").to_json().decode()
    for old, new in (
        ('"remote"', f'"{SECOND}"'), ("remote-network", "primary-network"), (PODS["remote"], SECOND_POD),
        (GATEWAYS["remote"].partition(":")[0], SECOND_GATEWAY.partition(":")[0]),
    ):  # fmt: skip
        text = text.replace(old, new)
    (second,) = Reading.from_json(text).clusters
    if not gateway:
        second = _without_gateway(second)
    found = replace(two_primaries(), clusters=(*two_primaries().clusters, second))
    for plane in NAMES:
        found = change(plane, lambda one: _watching_the_second(one, gateway=gateway))(found)
    near_both = tuple(Host(f"{one}:5000", successes=300, requests=300) for one in (PODS["primary"], SECOND_POD))
    far = Host(GATEWAYS["remote"], successes=300, requests=300)
    behind = (GATEWAYS["primary"], SECOND_GATEWAY) if gateway else (GATEWAYS["primary"],)
    back = tuple(Host(one, weight=2 // len(behind), successes=300, requests=300) for one in behind)
    return also(
        holds("primary", *near_both, far), holds(SECOND, *near_both, far), holds("remote", near("remote"), *back)
    )(found)


def _without_gateway(cluster: Cluster) -> Cluster:
    def kept(kind: str) -> tuple[Object, ...]:
        return tuple(one for one in cluster.objects[kind] if "eastwestgateway" not in one["metadata"]["name"])

    objects = {**cluster.objects, "Service": kept("Service"), "Pod": kept("Pod")}
    proxies = tuple(one for one in cluster.proxies if one.kind != GATEWAY)
    return replace(cluster, gateways=(), objects=objects, proxies=proxies)


def _watching_the_second(plane: Cluster, *, gateway: bool) -> Cluster:
    (istiod,) = plane.istiods
    secret = replace(
        plane.secrets[0], name=f"istio-remote-secret-{SECOND}", cluster_id=SECOND, leads_to=SECOND,
        server="https://10.89.0.4:6443",
    )  # fmt: skip
    known = [{**one, "Cluster": str(one["Network"]).removesuffix("-network")} for one in istiod.networks or ()]
    if gateway:
        host = SECOND_GATEWAY.partition(":")[0]
        known.append({"Network": "primary-network", "Cluster": SECOND, "Addr": host, "Port": 15443})
    own = [{"Addresses": [SECOND_POD], "TLSMode": "istio", "Network": "primary-network", "Labels": {}}]
    pages = replace(
        istiod,
        clusters=(*(istiod.clusters or ()), {"id": SECOND, "syncStatus": "synced"}),
        networks=tuple(known),
        shards={HOST: {**(istiod.shards or {})[HOST], SECOND: own}},
    )
    return replace(plane, secrets=(*plane.secrets, secret), istiods=(pages,))


def _cluster(name: str) -> Cluster:
    network = f"{name}-network"
    mesh = {"topology.istio.io/network": network, "security.istio.io/tlsMode": "istio"}
    other = NAMES[1 - NAMES.index(name)]
    objects: dict[str, tuple[Object, ...]] = {
        "Namespace": (
            made(
                "Namespace",
                "istio-system",
                labels={"topology.istio.io/network": network},
                annotations={"topology.istio.io/controlPlaneClusters": "primary"},
            ),
            made("Namespace", "sample", labels={"istio-injection": "enabled"}),
        ),
        "Service": (
            made(
                "Service",
                "helloworld",
                "sample",
                spec={
                    "selector": {"app": "helloworld"},
                    "clusterIP": "10.96.0.9",
                    "ports": [{"name": "http", "port": 5000}],
                },
            ),
            made(
                "Service",
                "istio-eastwestgateway",
                "istio-system",
                {"istio": "eastwestgateway", "topology.istio.io/network": network},
                spec={
                    "type": "LoadBalancer",
                    "selector": {"app": "istio-eastwestgateway", "istio": "eastwestgateway"},
                    "ports": [{"name": "tls", "port": 15443, "targetPort": 15443}],
                },
                status={"loadBalancer": {"ingress": [{"ip": GATEWAYS[name].partition(":")[0]}]}},
            ),
            made("Service", "istiod", "istio-system", spec={"ports": [{"port": 15012}, {"port": 443}]}),
        ),
        "Pod": (
            pod("sleep-1", "sample", f"{PODS[name]}0", {"app": "sleep", **mesh}),
            pod("helloworld-1", "sample", PODS[name], {"app": "helloworld", "version": VERSIONS[name], **mesh}),
            pod(
                "istio-eastwestgateway-1",
                "istio-system",
                f"{PODS[name]}1",
                {"app": "istio-eastwestgateway", "istio": "eastwestgateway", "topology.istio.io/network": network},
            ),
        ),
        "EndpointSlice": (
            made(
                "EndpointSlice",
                "istiod",
                "istio-system",
                {"kubernetes.io/service-name": "istiod"},
                endpoints=[{"addresses": [GATEWAYS["primary"].partition(":")[0]]}],
            ),
        ),
        "MutatingWebhookConfiguration": (
            made(
                "MutatingWebhookConfiguration",
                "istio-sidecar-injector",
                labels={"app": "sidecar-injector"},
                webhooks=[
                    {
                        "name": "namespace.sidecar-injector.istio.io",
                        "clientConfig": {
                            "service": {"name": "istiod", "namespace": "istio-system", "port": 443},
                            "caBundle": "3 characters",
                        },
                    }
                ],
            ),
        ),
        "ConfigMap": (made("ConfigMap", "istio-ca-root-cert", "sample", data={"root-cert.pem": "the root"}),),
        "ClusterRoleBinding": (
            made(
                "ClusterRoleBinding",
                "reader",
                subjects=[{"name": "istio-reader-service-account"}],
                roleRef={"name": "r"},
            ),
        ),
        "ClusterRole": (
            made(
                "ClusterRole",
                "istio-reader-clusterrole-istio-system",
                rules=[
                    {"apiGroups": [""], "resources": ["configmaps"], "verbs": [*READS, "create", "update"]},
                    {
                        "apiGroups": ["admissionregistration.k8s.io"],
                        "resources": ["mutatingwebhookconfigurations"],
                        "verbs": [*READS, "patch"],
                    },
                    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
                    {"apiGroups": [""], "resources": ["pods", "services", "nodes", "namespaces"], "verbs": READS},
                    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READS},
                ],
            ),
        ),
        "NetworkPolicy": (),
        "Deployment": (),
    }
    istiods: tuple[Istiod, ...] = ()
    secrets: tuple[RemoteSecret, ...] = ()
    if name == "primary":
        objects["Pod"] += (
            pod("istiod-1", "istio-system", "10.10.0.2", {"app": "istiod", "istio.io/rev": "default"}, sidecar=False),
        )
        objects["ConfigMap"] += (
            made("ConfigMap", "istio", "istio-system", data={"mesh": MESH, "meshNetworks": "networks: {}"}),
        )
        objects |= {
            "Gateway": (
                made(
                    "Gateway", "cross-network-gateway", "istio-system",
                    spec={
                        "selector": {"istio": "eastwestgateway"},
                        "servers": [
                            {"port": {"number": 15443}, "tls": {"mode": "AUTO_PASSTHROUGH"}, "hosts": ["*.local"]}
                        ],
                    },
                ),
            ),
        }  # fmt: skip
        kinds = "DestinationRule VirtualService Sidecar EnvoyFilter ServiceEntry WorkloadEntry ProxyConfig Telemetry"
        for kind in f"{kinds} AuthorizationPolicy PeerAuthentication RequestAuthentication".split():
            objects.setdefault(kind, ())
        secrets = (
            RemoteSecret(
                "istio-system", "istio-remote-secret-remote", "remote", "https://10.89.0.2:6443", "remote", answer=200
            ),
        )
        istiods = (
            Istiod(
                "istiod-1",
                clusters=tuple({"id": one, "syncStatus": "synced"} for one in NAMES),
                networks=tuple(
                    {"Network": f"{one}-network", "Addr": GATEWAYS[one].partition(":")[0], "Port": 15443}
                    for one in NAMES
                ),
                proxies=(),
                mesh={"enablePrometheusMerge": True, "accessLogFile": "/dev/stdout"},
                shards={
                    HOST: {
                        one: [{"Addresses": [PODS[one]], "TLSMode": "istio", "Network": f"{one}-network", "Labels": {}}]
                        for one in NAMES
                    }
                },
            ),
        )
    identity = {"NETWORK": network, "CLUSTER_ID": name}
    log = (LogCount(500, 200, "", "via_upstream", OUTBOUND, f"{PODS[name]}:5000", "helloworld.sample:5000"),)
    listener = {
        "name": "0.0.0.0_5000",
        "all_chains": 1,
        "default": None,
        "chains": [
            {
                "match": {},
                "filters": [],
                "settings": {},
                "http_filters": [],
                "routes": ["5000"],
                "access_log": [{"path": "/dev/stdout", "format": "…"}],
                "tls": {},
            }
        ],
    }
    passing = {
        "name": "0.0.0.0_15443",
        "all_chains": 9,
        "default": None,
        "chains": [{"match": {"server_names": [SNI]}, "filters": ["envoy.filters.network.tcp_proxy"], "settings": {}}],
    }
    hosts = (
        Host(f"{PODS[name]}:5000", successes=500, requests=500),
        Host(GATEWAYS[other], successes=500, requests=500),
    )
    return Cluster(
        name,
        network,
        name,
        "istio-system",
        "primary",
        (GATEWAYS[name],),
        objects,
        secrets,
        istiods,
        (
            Proxy(
                CLIENT,
                "sleep-1",
                "sample",
                identity,
                {OUTBOUND: hosts},
                {OUTBOUND: {"name": OUTBOUND, "type": "EDS", "lb_policy": "LEAST_REQUEST"}},
                listeners=(listener,),
                log=log,
                read=PAGES,
            ),
            Proxy(SERVER, "helloworld-1", "sample", identity, read=PAGES),
            Proxy(
                GATEWAY,
                "istio-eastwestgateway-1",
                "istio-system",
                identity,
                {SNI: (Host(f"{PODS[name]}:5000"),)},
                listeners=(passing,),
                listening={15443: "0.0.0.0_15443", 15021: "readiness"},
                read=PAGES,
            ),
        ),
    )


MESH = "accessLogFile: /dev/stdout\nenablePrometheusMerge: true\nrootNamespace: istio-system\n"


def change(name: str, alter: Callable[[Cluster], Cluster]) -> Change:
    """A change of one cluster of a reading."""
    return lambda reading: replace(
        reading, clusters=tuple(alter(one) if one.name == name else one for one in reading.clusters)
    )


def also(*changes: Change) -> Change:
    """Several changes as one."""

    def apply(reading: Reading) -> Reading:
        for one in changes:
            reading = one(reading)
        return reading

    return apply


def adds(name: str, one: Object) -> Change:
    """A cluster has one object more."""
    return change(
        name,
        lambda cluster: replace(
            cluster, objects={**cluster.objects, one["kind"]: (*cluster.objects.get(one["kind"], ()), one)}
        ),
    )


def edits(name: str, kind: str, object_name: str, edit: Callable[[Object], object]) -> Change:
    """An object of a cluster is edited in place."""

    def alter(cluster: Cluster) -> Cluster:
        found = copy.deepcopy(cluster.objects[kind])
        (one,) = (each for each in found if each["metadata"]["name"] == object_name)
        edit(one)
        return replace(cluster, objects={**cluster.objects, kind: found})

    return change(name, alter)


def removes(name: str, kind: str, object_name: str) -> Change:
    """An object of a cluster is gone."""
    return change(
        name,
        lambda cluster: replace(
            cluster,
            objects={
                **cluster.objects,
                kind: tuple(one for one in cluster.objects[kind] if one["metadata"]["name"] != object_name),
            },
        ),
    )


def proxies(name: str, kind: str, **fields: Any) -> Change:
    """The proxies of one kind in a cluster say something else."""
    return change(
        name,
        lambda cluster: replace(
            cluster, proxies=tuple(replace(one, **fields) if one.kind == kind else one for one in cluster.proxies)
        ),
    )


def istiod(**fields: Any) -> Change:
    """The istiod says something else."""
    return change("primary", lambda cluster: replace(cluster, istiods=(replace(cluster.istiods[0], **fields),)))


def mesh(text: str, name: str = "primary") -> Change:
    """The mesh configuration of a primary has lines more."""
    return edits(name, "ConfigMap", "istio", lambda one: one["data"].update(mesh=f"{MESH}{text}\n"))


def holds(name: str, *hosts: Host) -> Change:
    """The client of a cluster holds these endpoints of the service."""
    return proxies(name, CLIENT, endpoints={OUTBOUND: hosts})


def near(name: str) -> Host:
    """The endpoint of a cluster's own pod."""
    return Host(f"{PODS[name]}:5000", successes=1000, requests=1000)


def logs(name: str, kind: str = CLIENT, *, count: int = 20, **fields: Any) -> Change:
    """The proxies of one kind in a cluster logged these lines."""
    return proxies(name, kind, log=(LogCount(count, **fields),))


FAR_LOST = holds("primary", near("primary"))
"""The primary's client holds no endpoint of the remote any more."""
