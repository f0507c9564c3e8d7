"""Where a gateway is reached: an address as Envoy logs it, and the choice of where it comes from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import gateway_address
from lab.engine import Engine
from lab.gateway_address import Addressing
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.istio import names
from splithorizon.istio.info import Address
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi

SERVICE = "/api/v1/namespaces/istio-system/services/istio-eastwestgateway"
BALANCER = "cloud-provider-kind"


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [
        ("172.18.0.3", 15443, "172.18.0.3:15443"),
        ("fd00::3", 31443, "[fd00::3]:31443"),
        ("gateway.example", 15443, "gateway.example:15443"),
    ],
)
def test_an_address_is_written_as_envoy_logs_it(host: str, port: int, text: str) -> None:
    assert str(Address(host, port)) == text


def engine_that_says(folder: Path, *names: str) -> Engine:
    """A program in the engine's place, which lists these containers."""
    command = folder / "engine"
    command.write_text("#!/bin/sh\necho " + " ".join(names) + "\n")
    command.chmod(0o755)
    return Engine("docker", command, {}, lacks_resource_capability=False)


@pytest.mark.parametrize("wanted", ["loadbalancer", "node", "nodeport"])
def test_what_was_asked_for_is_taken_without_asking_the_engine(wanted: str) -> None:
    nowhere = Engine("docker", Path("/does/not/exist"), {}, lacks_resource_capability=False)
    assert gateway_address.choose(wanted, nowhere) == wanted


def named(pid: int) -> None:
    if (name := Path(f"/proc/{pid}/comm").read_text().strip()) != BALANCER[:15]:
        raise NotYet(name)


def test_auto_takes_a_load_balancer_wherever_one_runs(tmp_path: Path) -> None:
    without = engine_that_says(tmp_path, "lab-primary-control-plane")
    assert gateway_address.choose("auto", without) is Addressing.NODE
    program = Path(shutil.copy(shutil.which("sleep") or "", tmp_path / BALANCER))
    with subprocess.Popen([program, "60"]) as balancer:
        try:
            # The kernel lets Popen go on a moment before it renames the process.
            eventually("it has its name", lambda: named(balancer.pid), within=60, every=0.01)
            assert gateway_address.choose("auto", without) is Addressing.LOAD_BALANCER
        finally:
            balancer.kill()
    assert gateway_address.choose("auto", without) is Addressing.NODE
    beside = engine_that_says(tmp_path, "lab-primary-control-plane", BALANCER)
    assert gateway_address.choose("auto", beside) is Addressing.LOAD_BALANCER


def service(*ingress: dict[str, str], **labels: str) -> dict[str, Any]:
    named = {name.replace("_", "."): value for name, value in labels.items()}
    return {
        "kind": "Service",
        "metadata": {"name": names.EASTWEST_GATEWAY, "labels": named},
        "spec": {"ports": [{"port": 15021, "nodePort": 31021}, {"port": 15443, "nodePort": 31443}]},
        "status": {"loadBalancer": {"ingress": list(ingress)} if ingress else {}},
    }


@pytest.mark.parametrize(
    ("ingress", "text"),
    [({"ip": "172.18.0.3"}, "172.18.0.3:15443"), ({"hostname": "gw.example"}, "gw.example:15443")],
)
def test_the_address_is_read_off_the_service(api: SmallApi, kube: Kube, ingress: dict[str, str], text: str) -> None:
    api.objects[SERVICE] = service(ingress)
    assert str(gateway_address.address(kube)) == text


def test_a_service_without_an_address_is_waited_for(api: SmallApi, kube: Kube) -> None:
    with pytest.raises(NotYet, match="there is no Service istio-system/istio-eastwestgateway"):
        gateway_address.address(kube)
    api.objects[SERVICE] = service()
    with pytest.raises(NotYet, match="no load-balancer address"):
        gateway_address.address(kube)


def test_two_addresses_are_one_too_many(api: SmallApi, kube: Kube) -> None:
    api.objects[SERVICE] = service({"ip": "172.18.0.3"}, {"ip": "172.18.0.4"})
    with pytest.raises(EnvironmentBroke, match=r"172\.18\.0\.3, 172\.18\.0\.4.*Try: kubectl"):
        gateway_address.address(kube)


@pytest.mark.parametrize(
    ("addressing", "text"),
    [(Addressing.NODE, "172.18.0.3:15443"), (Addressing.NODE_PORT, "172.18.0.3:31443")],
)
def test_the_node_stands_in_for_a_load_balancer(api: SmallApi, kube: Kube, addressing: Addressing, text: str) -> None:
    api.objects[SERVICE] = service()
    assert str(gateway_address.give_address(kube, "172.18.0.3", addressing)) == text
    patched = [path for verb, path, *_ in api.asked if verb == "PATCH"]
    assert patched[0] == f"{SERVICE}/status"


def test_a_load_balancers_address_is_left_alone(api: SmallApi, kube: Kube) -> None:
    api.objects[SERVICE] = service({"ip": "172.18.0.9"})
    found = gateway_address.give_address(kube, "172.18.0.3", Addressing.LOAD_BALANCER)
    assert str(found) == "172.18.0.9:15443"
    assert not [verb for verb, *_ in api.asked if verb == "PATCH"]
