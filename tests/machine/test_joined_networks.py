"""Nodes of one network let their pods reach each other untranslated, and nobody else, by the kernel's own rules.

Each node and each pod is a network namespace of this machine, on a bridge that is one as well: it takes root.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import permutations
from types import SimpleNamespace
from typing import cast

import pytest

from lab import network_isolation
from lab.kind import MeshCluster
from splithorizon.base.errors import CommandFailed

pytestmark = pytest.mark.engine

PORT = 8080
# Answers each connection with the address that it comes from.
ANSWER = f"""
import socket
server = socket.create_server(("0.0.0.0", {PORT}))
print("ready", flush=True)
while True:
    connection, peer = server.accept()
    connection.sendall(peer[0].encode())
    connection.close()
"""
DIAL = f"""
import socket, sys
try:
    print(socket.create_connection((sys.argv[1], {PORT}), 5).recv(99).decode())
except OSError as refused:
    print(refused.strerror)
"""
NOT_ROUTED = "No route to host"


def inside(namespace: str, *command: str) -> str:
    return subprocess.run(
        ["ip", "netns", "exec", namespace, *command], check=True, capture_output=True, text=True, timeout=30
    ).stdout


@dataclass(frozen=True)
class Node:
    """A node with a pod, as ``network_isolation`` takes one."""

    name: str
    number: int

    @property
    def address(self) -> str:
        return f"10.89.7.{self.number}"

    @property
    def pod(self) -> str:
        return f"{self.name}p"

    @property
    def pod_address(self) -> str:
        return f"10.{self.number}0.0.4"

    @property
    def plan(self) -> SimpleNamespace:
        return SimpleNamespace(pod_subnet=f"10.{self.number}0.0.0/16", service_subnet=f"10.1{self.number}0.0.0/16")

    def in_node(self, *command: str) -> SimpleNamespace:
        try:
            return SimpleNamespace(stdout=inside(self.name, *command))
        except subprocess.CalledProcessError as failed:
            raise CommandFailed(command, failed.returncode, failed.stdout, failed.stderr) from None

    def make(self, bridge: str) -> None:
        """Put the node on the bridge and the pod behind it, with the translation that CNI's bridge plug-in sets up."""
        link, router = f"link{self.number}", f"10.{self.number}0.0.1"
        inside(bridge, "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        inside(bridge, "ip", "link", "set", link, "master", "br0", "up")
        inside(self.name, "ip", "link", "add", "pods0", "type", "veth", "peer", "name", "eth0", "netns", self.pod)
        for namespace, device, address in (
            (self.name, "eth0", self.address),
            (self.name, "pods0", router),
            (self.pod, "eth0", self.pod_address),
        ):
            inside(namespace, "ip", "address", "add", f"{address}/24", "dev", device)
            inside(namespace, "ip", "link", "set", device, "up")
        inside(self.pod, "ip", "route", "add", "default", "via", router)
        inside(self.name, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        nat = ("iptables", "--table", "nat")
        inside(self.name, *nat, "--new-chain", "PODS")
        inside(self.name, *nat, "--append", "PODS", "--destination", f"{router}/24", "--jump", "ACCEPT")
        inside(self.name, *nat, "--append", "PODS", "--jump", "MASQUERADE")
        inside(self.name, *nat, "--append", "POSTROUTING", "--source", self.pod_address, "--jump", "PODS")


@pytest.fixture
def nodes() -> Iterator[Sequence[Node]]:
    mark = secrets.token_hex(2)
    made = [Node(f"splithorizon-{mark}-{number}", number) for number in (1, 2, 3)]
    bridge = f"splithorizon-{mark}-bridge"
    with ExitStack() as undo:
        for namespace in (bridge, *(name for node in made for name in (node.name, node.pod))):
            subprocess.run(["ip", "netns", "add", namespace], check=True, timeout=30)
            undo.callback(subprocess.run, ["ip", "netns", "delete", namespace], check=True, timeout=30)
        inside(bridge, "ip", "link", "add", "br0", "type", "bridge")
        inside(bridge, "ip", "link", "set", "br0", "up")
        for node in made:
            node.make(bridge)
            network_isolation.apply(cast(MeshCluster, node))
            command = ["ip", "netns", "exec", node.pod, sys.executable, "-c", ANSWER]
            server = undo.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            undo.callback(server.kill)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield made


def seen(nodes: Sequence[Node]) -> dict[tuple[int, int], str]:
    """For each pair of pods the address that a connection has at the other end, or why there is none."""
    return {
        (one.number, other.number): inside(one.pod, sys.executable, "-c", DIAL, other.pod_address).strip()
        for one, other in permutations(nodes, 2)
    }


def test_pods_of_one_network_are_seen_by_their_own_addresses_and_reach_no_other(nodes: Sequence[Node]) -> None:
    apart = dict.fromkeys(permutations((1, 2, 3), 2), NOT_ROUTED)
    assert seen(nodes) == apart
    first, second, _ = nodes
    for _ in range(2):
        network_isolation.join(cast(MeshCluster, first), [cast(MeshCluster, second)])
        network_isolation.join(cast(MeshCluster, second), [cast(MeshCluster, first)])
        assert seen(nodes) == {**apart, (1, 2): first.pod_address, (2, 1): second.pod_address}


def test_a_route_alone_would_show_the_nodes_address(nodes: Sequence[Node]) -> None:
    first, second, _ = nodes
    first.in_node("ip", "route", "replace", second.plan.pod_subnet, "via", second.address)
    second.in_node("ip", "route", "replace", first.plan.pod_subnet, "via", first.address)
    assert seen(nodes)[1, 2] == first.address
