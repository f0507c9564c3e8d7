"""The address at which a network's east-west gateway is reached from the other network."""

from __future__ import annotations

import json
from enum import StrEnum

import psutil

from lab.engine import Engine
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio.info import Address, status_with_address
from splithorizon.istio.names import EASTWEST_GATEWAY, GATEWAY_PORT, SYSTEM_NAMESPACE
from splithorizon.kube.client import Kube

_KIND_BALANCER = "cloud-provider-kind"

_NODE_PORT = {"name": "tls-node", "port": 31443, "nodePort": 31443, "targetPort": GATEWAY_PORT}


class Addressing(StrEnum):
    """Where the address comes from: a load balancer, the node in its stead, or the node's own port."""

    LOAD_BALANCER = "loadbalancer"
    NODE = "node"
    NODE_PORT = "nodeport"


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
    answers there. With NODE_PORT a label makes istiod send to the node's port instead of 15443.
    """
    if addressing is not Addressing.LOAD_BALANCER:
        eventually(
            "the gateway's Service is there",
            lambda: _service(kube),
            within=timeouts().object_appears,
        )
        kube.patch_status("Service", EASTWEST_GATEWAY, SYSTEM_NAMESPACE, status_with_address(node_address))
    if addressing is Addressing.NODE_PORT:
        # istiod takes the label's port only where the Service itself has it, so it becomes one of its ports.
        ports = [*_service(kube)["spec"]["ports"], _NODE_PORT]
        labels = {"networking.istio.io/gatewayPort": str(_NODE_PORT["port"])}
        kube.patch(
            "Service", EASTWEST_GATEWAY, SYSTEM_NAMESPACE, {"metadata": {"labels": labels}, "spec": {"ports": ports}}
        )
    return eventually("the gateway has an address", lambda: address(kube), within=timeouts().gateway_address)


def address(kube: Kube) -> Address:
    """Read the gateway's address off its Service; raises NotYet while there is none."""
    service = _service(kube)
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    hosts = [entry.get("ip") or entry.get("hostname") for entry in ingress]
    if not hosts:
        status = json.dumps(service.get("status"))
        raise NotYet(f"Service {SYSTEM_NAMESPACE}/{EASTWEST_GATEWAY} has no load-balancer address: {status}")
    if len(hosts) > 1:
        raise EnvironmentBroke(
            "the east-west gateway has more than one address", seen=", ".join(map(str, hosts)),
            next_command=f"{kube.kubectl} -n {SYSTEM_NAMESPACE} get service {EASTWEST_GATEWAY} -o yaml",
        )  # fmt: skip
    port = service["metadata"].get("labels", {}).get("networking.istio.io/gatewayPort", GATEWAY_PORT)
    return Address(str(hosts[0]), int(port))


def _service(kube: Kube) -> dict:  # type: ignore[type-arg]  # a Kubernetes object is a plain dict
    service = kube.get("Service", EASTWEST_GATEWAY, SYSTEM_NAMESPACE)
    if service is None:
        raise NotYet(f"there is no Service {SYSTEM_NAMESPACE}/{EASTWEST_GATEWAY}")
    return service
