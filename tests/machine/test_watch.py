"""A watch while a gateway's pod goes, its address is wrong for a while, and istiod restarts: what each cost."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest

from lab.engine import Engine
from splithorizon.traffic.sender import KEPT
from tests.machine.conftest import Starter, unused
from tests.machine.existing_mesh import ExistingMesh, Shape, installed

pytestmark = pytest.mark.engine

GATEWAY = "istio-eastwestgateway"
# In the clusters' closed network, and nobody's.
UNUSED = "10.89.255.254"


@pytest.fixture(scope="module")
def mesh(podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExistingMesh]:
    """A mesh of its own: other tests compare theirs with what was installed."""
    with installed(podman, unused("watched"), Shape(), tmp_path_factory.mktemp("watched-mesh")) as mesh:
        yield mesh


def give_address(mesh: ExistingMesh, address: str) -> None:
    patch = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}})
    mesh.kubectl(
        mesh.remote, "patch", "service", GATEWAY, "-n", mesh.system_namespace, "--subresource=status", "--type=merge",
        "-p", patch,
    )  # fmt: skip


def test_a_watch_shows_each_change_and_what_it_cost(
    start: Starter, mesh: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(mesh.kubeconfig))
    address = mesh.kubectl(
        mesh.remote, "get", "service", GATEWAY, "-n", mesh.system_namespace,
        "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}",
    )  # fmt: skip

    run = start("suites/placement", "--contexts", mesh.named, "--watch")
    run.reaches("change the mesh now")
    mesh.kubectl(mesh.remote, "delete", "pod", "-n", mesh.system_namespace, "-l", f"app={GATEWAY}")
    mesh.kubectl(mesh.remote, "rollout", "status", f"deployment/{GATEWAY}", "-n", mesh.system_namespace)
    mesh.kubectl(mesh.primary, "rollout", "restart", "deployment/istiod", "-n", mesh.system_namespace)
    mesh.kubectl(mesh.primary, "rollout", "status", "deployment/istiod", "-n", mesh.system_namespace)
    # What the ends of these pods cost is over, and istiod is heard again: no more is lost from one line to the next.
    run.reaches(
        r"(?s)istiod pods: \S+ is gone.*primary→remote: \S+ sent, (\S+) lost.*primary→remote: \S+ sent, \1 lost"
    )
    give_address(mesh, UNUSED)
    outage = r"primary→remote: [^\n]*nothing answered for.*"
    run.reaches(rf"(?s)gateway addresses: \S+ \S+ → {re.escape(UNUSED)}.*{3 * outage}")
    give_address(mesh, address)
    run.reaches(rf"(?s)gateway addresses: \S+ {re.escape(UNUSED)} → .*primary→remote: \d+,\d{{3}} sent")
    run.send(signal.SIGINT)

    assert run.ends() == 1, run.output
    watch = run.report["watch"]
    (there,) = (one for one in watch["routes"] if one["route"] == "primary→remote")
    (back,) = (one for one in watch["routes"] if one["route"] == "remote→primary")
    assert there["sent"] == there["answered"] + there["lost"] >= 1000
    assert back["lost"] * 2 < there["lost"], "on a busy machine some answers come too late on any route"
    assert (back["wrong_paths"], there["wrong_paths"]) == ({}, {})
    changed = {(one["cluster"], one["subject"]) for one in watch["events"]}
    assert {("remote", "gateway pods"), ("remote", "gateway addresses"), ("primary", "istiod pods")} <= changed
    beside = sum(one["lost"] for one in watch["events"] if one["subject"] == "gateway addresses")
    assert beside * 2 > there["lost"], "the losses lie beside the change that bracketed them"
    # The nodes have the sender's image: a stream of each protocol is kept, and the gateway's end cuts each.
    assert len(watch["claimed"]) == 1 + len(KEPT)
    kept = {one["stream"]: one for one in there["kept"]}
    assert kept.keys() == {*KEPT.values()}
    for stream, one in kept.items():
        assert one["sent"] > one["lost"] + 50, stream
        assert one["cuts"] > 0, stream
    # Each answered request was attributed to its path by its own log line.
    assert sum(there["paths"].values()) >= there["answered"]
