"""A mesh that Helm installed, with other domains and a gateway that Gateway API names: judged right, left as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import topology
from lab.engine import Engine
from tests.machine import helm_sources
from tests.machine.conftest import Starter, unused
from tests.machine.existing_mesh import ExistingMesh, Shape, installed

pytestmark = [pytest.mark.engine, pytest.mark.long]

GATEWAY = "istio-eastwestgateway"
PORT = 15443


@pytest.fixture(scope="module")
def helm_mesh(podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExistingMesh]:
    """All that helm_mesh.sh has."""
    shape = Shape(access_log="", helm=helm_sources.supply())
    with installed(podman, unused("helm"), shape, tmp_path_factory.mktemp("helm-mesh")) as mesh:
        yield mesh


def test_a_mesh_installed_by_helm_is_conformant_and_left_as_it_was(
    start: Starter, helm_mesh: ExistingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = helm_mesh.snapshot()
    monkeypatch.setenv("KUBECONFIG", str(helm_mesh.kubeconfig))

    run = start("suites/", "--contexts", helm_mesh.named)

    assert run.ends() == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    assert {found["verdict"] for found in run.report["behaviours"]} == {"conformant"}
    assert {
        "some endpoints are preferred mesh-wide",
        "the cluster domain is another",
        "the trust domain is another",
    } <= {condition["name"] for condition in run.report["conditions"]}
    assert helm_mesh.changed_since(before) == set()


def test_a_network_policy_without_the_port_for_other_networks_is_the_root_cause(
    start: Starter, helm_mesh: ExistingMesh, podman: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(helm_mesh.kubeconfig))

    with port_left_out(helm_mesh, podman):
        run = start("suites/routing/test_both_versions_answer.py", "--contexts", helm_mesh.named, "--requests", "100")
        assert run.ends() == 1, run.output

    diagnosis = run.report["diagnosis"]
    assert diagnosis["cause_id"] == "network-policy-drops", run.output
    assert {fact["object"] for fact in diagnosis["evidence"]} == {f"NetworkPolicy remote/istio-system/{GATEWAY}"}
    assert run.report["other_causes"] == []


@contextmanager
def port_left_out(mesh: ExistingMesh, engine: Engine) -> Iterator[None]:
    """Take the port out of the policy of the remote's gateway, for the block.

    Built nodes enforce no NetworkPolicy: the node's packet filter drops what the policy does not admit any more.
    """
    name = ("networkpolicy", GATEWAY, "-n", mesh.system_namespace)
    admitted = json.loads(mesh.kubectl(mesh.remote, "get", *name, "-o", "json"))["spec"]["ingress"]
    fewer = [one for one in admitted if all(port["port"] != PORT for port in one["ports"])]
    assert len(fewer) == len(admitted) - 1
    where = ("-n", mesh.system_namespace, "-l", f"app={GATEWAY}", "-o", "jsonpath={.items[*].status.podIP}")
    address = mesh.kubectl(mesh.remote, "get", "pods", *where)
    node = topology.node_of(mesh.remote.removeprefix("kind-"))
    rule = ("FORWARD", "--destination", address, "--protocol", "tcp", "--dport", str(PORT), "--syn", "--jump", "DROP")
    engine.execute(node, "iptables", "--table", "mangle", "--insert", *rule, within=30)
    try:
        _admit(mesh, name, fewer)
        yield
    finally:
        engine.execute(node, "iptables", "--table", "mangle", "--delete", *rule, within=30)
        _admit(mesh, name, admitted)


def _admit(mesh: ExistingMesh, name: tuple[str, ...], ingress: list[object]) -> None:
    mesh.kubectl(mesh.remote, "patch", *name, "--type=merge", "-p", json.dumps({"spec": {"ingress": ingress}}))
