"""The address at which a network's east-west gateway is reached from the other network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

import psutil

from splithorizon.durations import current as durations
from splithorizon.engine import Engine
from splithorizon.errors import EnvironmentBroke
from splithorizon.kube import Kube
from splithorizon.waiting import NotYet, eventually

NAME = "istio-eastwestgateway"
NAMESPACE = "istio-system"
PORT = 15443

_KIND_BALANCER = "cloud-provider-kind"

_NODE_PORT = {"name": "tls-node", "port": 31443, "nodePort": 31443, "targetPort": PORT}


class Addressing(StrEnum):
    """Where the address comes from: a load balancer, the node in its stead, or the node's own port."""

    LOAD_BALANCER = "loadbalancer"
    NODE = "node"
    NODE_PORT = "nodeport"


@dataclass(frozen=True)
class Address:
    """What the other network's side-cars dial."""

    host: str
    port: int

    @property
    def is_name(self) -> bool:
        """Whether it has to be looked up first: some load balancers have a name alone."""
        return not is_address(self.host)

    def __str__(self) -> str:
        """As Envoy logs it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_address(host: str) -> bool:
    """Whether it is an address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def choose(wanted: str, engine: Engine) -> Addressing:
    """Settle ``--gateway-address auto``: a load balancer if one serves this machine's kind clusters."""
    if wanted != "auto":
        return Addressing(wanted)
    return Addressing.LOAD_BALANCER if _kind_load_balancer(engine) else Addressing.NODE


def _kind_load_balancer(engine: Engine) -> bool:
    """cloud-provider-kind is the one load balancer that can serve a cluster not yet made.

    It runs as a container or as a program of this machine.
    """
    programs = [process.info["name"] or "" for process in psutil.process_iter(["name"])]
    # Linux cuts a program's name after fifteen characters where its command line may not be read.
    found = any(name in {_KIND_BALANCER, _KIND_BALANCER[:15]} for name in programs)
    return found or _KIND_BALANCER in engine.containers()


def give_address(kube: Kube, node_address: str, addressing: Addressing) -> Address:
    """Wait for the gateway's Service and make sure that it has an address.

    Without a load balancer the node's address is written into the Service's status, and kube-proxy
    answers there. With NODE_PORT istiod is told by label to send to the node's port instead of 15443.
    """
    if addressing is not Addressing.LOAD_BALANCER:
        eventually(
            "the gateway's Service is there",
            lambda: _service(kube),
            within=durations().object_appears,
        )
        kube.patch_status("Service", NAME, NAMESPACE, status_telling(node_address))
    if addressing is Addressing.NODE_PORT:
        # istiod takes the label's port only where the Service itself has it, so it becomes one of its ports.
        ports = [*_service(kube)["spec"]["ports"], _NODE_PORT]
        labels = {"networking.istio.io/gatewayPort": str(_NODE_PORT["port"])}
        kube.patch("Service", NAME, NAMESPACE, {"metadata": {"labels": labels}, "spec": {"ports": ports}})
    return eventually("the gateway has an address", lambda: address(kube), within=durations().gateway_address)


def status_telling(ip: str) -> dict[str, Any]:
    """The part of a Service's status that tells of its address, as a load balancer writes it."""
    return {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}


def address(kube: Kube) -> Address:
    """Read the gateway's address off its Service; raises NotYet while there is none."""
    service = _service(kube)
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    hosts = [entry.get("ip") or entry.get("hostname") for entry in ingress]
    if not hosts:
        raise NotYet(f"Service {NAMESPACE}/{NAME} has no load-balancer address: {json.dumps(service.get('status'))}")
    if len(hosts) > 1:
        raise EnvironmentBroke(
            "the east-west gateway has more than one address", seen=", ".join(map(str, hosts)),
            next_command=f"{kube.kubectl} -n {NAMESPACE} get service {NAME} -o yaml",
        )  # fmt: skip
    port = service["metadata"].get("labels", {}).get("networking.istio.io/gatewayPort", PORT)
    return Address(str(hosts[0]), int(port))


def _service(kube: Kube) -> dict:  # type: ignore[type-arg]  # a Kubernetes object is a plain dict
    service = kube.get("Service", NAME, NAMESPACE)
    if service is None:
        raise NotYet(f"there is no Service {NAMESPACE}/{NAME}")
    return service
