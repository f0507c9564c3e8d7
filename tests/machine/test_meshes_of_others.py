"""A mesh that a plain script installed, which knows nothing of this suite: judged, and left as it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import what_by_hand_is_told
from splithorizon import topology
from splithorizon.engine import Engine, network
from splithorizon.images import supply
from splithorizon.options import Options
from splithorizon.progress import Progress
from splithorizon.waiting import NotYet, eventually
from tests.machine.conftest import CHECKOUT, Starter, unused

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

HOPS = "suites/routing/test_each_hop_of_a_far_answer_is_logged.py"
REMOVAL = "suites/resilience/test_a_removed_remote_secret_is_forgotten_and_found_again.py"
OTHERS = unused("others")
CONTEXTS = (f"kind-{OTHERS}-primary", f"kind-{OTHERS}-remote")
# They come and go by themselves.
FLEETING = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses", "pods.metrics.k8s.io"}
KEPT_BY_THE_SERVER = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


class Others:
    """Their kubeconfig, and what is in their clusters."""

    def __init__(self, kubectl: str, kubeconfig: Path) -> None:
        self._kubectl = kubectl
        self.kubeconfig = kubeconfig

    def snapshot(self) -> dict[str, str]:
        """Every object of both clusters, with a digest of what it says but for what only the server writes."""
        with ThreadPoolExecutor(len(CONTEXTS)) as pool:
            held = zip(CONTEXTS, pool.map(self._items, CONTEXTS), strict=True)
            return {f"{context} {_name(item)}": _digest(item) for context, items in held for item in items}

    def changed_since(self, before: dict[str, str]) -> set[str]:
        """What is not as it was, not there before or not any more."""
        after = self.snapshot()
        return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}

    @property
    def remote_secrets(self) -> list[str]:
        """The secrets by which their istiod watches a remote."""
        wanted = ("get", "secrets", "--namespace", "mesh-system", "--selector", "istio/multiCluster=true", "-o", "name")
        return self._ask(CONTEXTS[0], *wanted).split()

    def _items(self, context: str) -> list[dict[str, Any]]:
        kinds = set(self._ask(context, "api-resources", "--verbs=list", "-o", "name").split()) - FLEETING
        found = json.loads(self._ask(context, "get", ",".join(sorted(kinds)), "--all-namespaces", "-o", "json"))
        items: list[dict[str, Any]] = found["items"]
        return items

    def _ask(self, context: str, *arguments: str) -> str:
        command = [self._kubectl, "--kubeconfig", str(self.kubeconfig), "--context", context, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def _name(item: dict[str, Any]) -> str:
    return f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"


def _digest(item: dict[str, Any]) -> str:
    metadata = {name: value for name, value in item["metadata"].items() if name not in KEPT_BY_THE_SERVER}
    # istiod renews its leadership every few seconds.
    (metadata.get("annotations") or {}).pop("control-plane.alpha.kubernetes.io/leader", None)
    said = {**item, "metadata": metadata, "status": None}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def with_other_names(folder: Path) -> Path:
    """The script and its manifests for a revision, in another system namespace than Istio's usual one, without logs."""
    shutil.copytree(CHECKOUT / "manifests", folder / "manifests")
    script = folder / "bench" / "by_hand.sh"
    script.parent.mkdir()
    shutil.copy(CHECKOUT / "bench" / "by_hand.sh", script)
    for file in [script, *(folder / "manifests" / "istio").rglob("*.yaml")]:
        text = file.read_text().replace("istiod.istio-system", "istiod-canary.istio-system")
        text = text.replace("accessLogFile: /dev/stdout", 'accessLogFile: ""')
        text = text.replace("create-remote-secret", "create-remote-secret --istioNamespace=mesh-system")
        if "kind: IstioOperator" in text:
            text = text.replace("spec:\n", "spec:\n  revision: canary\n", 1)
            text = text.replace("    global:\n", "    global:\n      istioNamespace: mesh-system\n", 1)
        file.write_text(text.replace("istio-system", "mesh-system"))
    return script


@pytest.fixture(scope="module")
def others(podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Others]:
    """Two clusters and a mesh as ``bench/by_hand.sh`` makes them, of a revision and in a namespace of its own."""
    folder = tmp_path_factory.mktemp("theirs")
    images = supply.supply(Options(images="built"), podman, Progress(print))
    plan = topology.plan(OTHERS)
    told = {**podman.environment, **what_by_hand_is_told(podman, images, plan, folder), "MESH_ONLY": "yes"}
    script = ["bash", str(with_other_names(tmp_path_factory.mktemp("scripts")))]
    try:
        # kind would make a network that nobody removes.
        with network.approached(podman):
            done = subprocess.run(
                script, cwd=folder, env={**os.environ, **told}, capture_output=True, text=True, timeout=300, check=False
            )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        yield Others(str(images.kubectl), folder / "kubeconfig")
    finally:
        for cluster in plan:
            podman.remove_container(topology.node_of(cluster.name))
        network.remove(podman, podman.network)


@pytest.fixture(scope="module")
def installed(others: Others) -> dict[str, str]:
    """What is in their clusters before anything of ours has looked at them."""
    return others.snapshot()


def test_a_mesh_that_a_script_installed_is_judged_and_left_as_it_was(
    start: Starter, others: Others, installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = others.kubeconfig.read_bytes()
    monkeypatch.setenv("KUBECONFIG", str(others.kubeconfig))

    run = start("suites/", HOPS, "--contexts", ",".join(CONTEXTS), "--profile", "core,disruptive")

    assert run.ends(within=300) == 0, run.output
    assert run.report["verdict"] == "conformant", run.output
    assert run.report["totals"]["unjoined"] == 0
    assert run.report["totals"]["requests"] >= 2000
    assert {found["profile"] for found in run.report["behaviours"]} == {"core"}
    reasons = {entry["reason"] for entry in run.report["not_claimed"]}
    assert any("--allow-disruption" in reason for reason in reasons), reasons
    # Theirs logs no access: in our own namespace we have that changed, at their gateways we do not.
    assert any("istio-eastwestgateway" in reason and "holds none of the answers" in reason for reason in reasons), (
        reasons
    )
    assert others.kubeconfig.read_bytes() == text
    assert others.changed_since(installed) == set()


def test_what_a_killed_run_took_away_is_given_back_by_a_sweep(
    start: Starter, others: Others, installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(others.kubeconfig))

    def taken_away() -> None:
        if others.remote_secrets:
            raise NotYet(f"still there: {others.remote_secrets}")

    run = start(REMOVAL, "--contexts", ",".join(CONTEXTS), "--allow-disruption")
    run.reaches("both clients know both versions")
    eventually("the remote secret is taken away", taken_away, within=60)
    run.send(signal.SIGKILL)
    assert run.ends(within=10) == -signal.SIGKILL

    sweep = start("--sweep")

    assert sweep.ends(within=120) == 0, sweep.output
    assert "gave back Secret mesh-system/istio-remote-secret-remote of the primary" in sweep.output
    assert others.changed_since(installed) == set()


def test_swapped_contexts_are_noticed_before_anything_is_created(
    start: Starter, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(others.kubeconfig))
    for wrong in (CONTEXTS[::-1], (CONTEXTS[0], CONTEXTS[0]), (CONTEXTS[0], "kind-nobodys")):
        run = start("suites/", "--contexts", ",".join(wrong))
        assert run.ends(within=60) == 4, run.output
        assert "Nothing was created." in run.output
