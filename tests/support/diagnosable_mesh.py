"""Two small API servers whose istiod and Envoys answer what a diagnosis asks them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from splithorizon.kube.api_resources import path_of
from tests.support.existing_mesh import CONTEXTS, GATEWAYS, ROLES, TwoClusters, installed_mesh

HOST = "helloworld.sample.svc.cluster.local"
Endpoints = Callable[[str], list[str]]


@contextmanager
def diagnosable_mesh(home: Path) -> Iterator[TwoClusters]:
    """The suite's own installation, sound; ``kubeconfig`` in the folder leads to both contexts."""
    with installed_mesh(home, workloads_in="sample") as mesh:
        for role, api in mesh.apis.items():
            for pod in api.kept("Pod", "sample"):
                mutual = {"topology.istio.io/network": f"{role}-network", "security.istio.io/tlsMode": "istio"}
                pod["metadata"]["labels"].update(mutual)
        ports = [{"name": "https-webhook", "port": 443}, {"name": "grpc-xds", "port": 15012}]
        mesh.primary.put("Service", "istiod", mesh.system, spec={"selector": {"app": "istiod"}, "ports": ports})
        answer(mesh, lambda role: [f"{pod_address(mesh, role)}:5000", f"{GATEWAYS[other(role)]}:15443"])
        merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
        for role in ROLES:
            own = json.loads(mesh.file(role).read_text())
            name = CONTEXTS[role]
            merged["clusters"].append({**own["clusters"][0], "name": name})
            merged["users"].append({**own["users"][0], "name": name})
            merged["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
        (home / "kubeconfig").write_text(json.dumps(merged))
        yield mesh


def other(role: str) -> str:
    return ROLES[1 - ROLES.index(role)]


def pod_address(mesh: TwoClusters, role: str) -> str:
    """The address of a cluster's pod of helloworld."""
    pods = [one for one in mesh.apis[role].kept("Pod", "sample") if one["metadata"]["labels"]["app"] == "helloworld"]
    return str(pods[0]["status"]["podIP"])


def answer(mesh: TwoClusters, endpoints: Endpoints) -> None:
    """Let every Envoy of a cluster hold these endpoints of helloworld, by the cluster; and istiod know both clusters.

    Ports of pods are not forwarded: the programs' own commands are asked.
    """
    for role, api in mesh.apis.items():
        api.execute = partial(_execute, endpoints(role))
        for pod in api.kept("Pod"):
            path = path_of("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])
            api.answers[f"{path}/portforward"] = (403, b"{}")
            api.answers.setdefault(f"{path}/log", (200, b""))


def _execute(endpoints: list[str], pod: str, command: list[str]) -> str:
    asked = command[-1].removeprefix("/")
    if asked.startswith("debug/"):
        return json.dumps(_DEBUG[asked])
    if asked.startswith("clusters"):
        hosts = [_host(one) for one in endpoints]
        return json.dumps({"cluster_statuses": [{"name": f"outbound|5000||{HOST}", "host_statuses": hosts}]})
    if asked.startswith("listeners"):
        place = {"socket_address": {"address": "0.0.0.0", "port_value": 15443}}
        return json.dumps({"listener_statuses": [{"name": "0.0.0.0_15443", "local_address": place}]})
    return json.dumps({"configs": []} if asked.startswith("config_dump") else {})


def _host(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    place = {"socket_address": {"address": host, "port_value": int(port)}}
    return {"address": place, "weight": 1, "health_status": {"eds_health_status": "HEALTHY"}}


_DEBUG: dict[str, Any] = {
    "debug/clusterz": [{"id": role, "syncStatus": "synced"} for role in ROLES],
    "debug/networkz": [{"Network": f"{role}-network", "Addr": GATEWAYS[role], "Port": 15443} for role in ROLES],
    "debug/syncz": [],
    "debug/mesh": {},
    "debug/endpointShardz": {},
}
