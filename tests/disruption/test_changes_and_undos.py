"""Everything that a disruption changes in a mesh, field by field, and that each object is then as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base import timeouts
from splithorizon.disruption.bad_secret import BadSecret
from splithorizon.disruption.disruption import Disruption
from splithorizon.istio.info import NetworkMode
from splithorizon.istio.topology import Watch
from splithorizon.mesh.mesh import Mesh
from splithorizon.undo import remarks, undo_log
from tests.support import user_rights
from tests.support.existing_mesh import TwoClusters, dump_expecting, follow_remote_secret, installed_mesh
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi
from tests.support.snapshots import GONE, Made, differences, snapshot, without_pods

LABELS, MESH_NETWORKS = NetworkMode.LABELS, NetworkMode.MESH_NETWORKS

WATCH = Watch("primary", "remote")

REMOTE_SECRET = "primary Secret istio-system/istio-remote-secret-remote"
TOKEN = f"{REMOTE_SECRET}: data.remote.users.0.user.token"
SERVER = f"{REMOTE_SECRET}: data.remote.clusters.0.cluster.server"
SERVER_NAME = f"{REMOTE_SECRET}: data.remote.clusters.0.cluster.tls-server-name"
RESTARTED = "primary Deployment istio-system/istiod: spec.template.metadata.annotations"
WAY = "splithorizon-remote-api-server-run"


class AnyText(str):
    """Some text."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and bool(other) and other != GONE

    __hash__ = str.__hash__


@dataclass(frozen=True)
class Case:
    """What happens to a mesh, the fields that then differ, and those that still do after the undo."""

    act: Callable[[Disruption], object]
    effect: dict[str, Any]
    mode: NetworkMode = LABELS
    stays: dict[str, Any] = field(default_factory=dict)


def corrected(disruption: Disruption) -> None:
    secret = disruption.remote_secret(WATCH)
    secret.corrupt(BadSecret.REFUSED)
    secret.restore()


def cut_and_reconnected(disruption: Disruption) -> None:
    server = disruption.api_server(WATCH)
    server.cut()
    server.reconnect()


def deleted_and_made(**fields: Any) -> dict[str, Any]:
    """The remote secret in the place of another one: its label tells whose it is."""
    return {f"{REMOTE_SECRET}: metadata.labels.splithorizon.io/run": "run", **fields}


ROTATED = {"remote Secret istio-system/splithorizon-rotated-run": Made({"type": "kubernetes.io/service-account-token"})}
WAYS = {
    f"primary Service istio-system/{WAY}": Made({"spec": {"ports": [{"port": 6443}]}}),
    SERVER: f"https://{WAY}.istio-system.svc:6443",
    SERVER_NAME: "172.18.0.3",
}


def way_to(address: str) -> dict[str, Any]:
    slice_ = Made({"endpoints": [{"addresses": [address]}], "ports": [{"port": 6443}]})
    return {**deleted_and_made(**WAYS), f"primary EndpointSlice istio-system/{WAY}": slice_}


CASES = {
    "the remote secret is removed": Case(
        lambda disruption: disruption.remote_secret(WATCH).remove(), {REMOTE_SECRET: GONE}
    ),
    "the remote secret is rotated": Case(
        lambda disruption: disruption.remote_secret(WATCH).rotate(), {TOKEN: AnyText(), **ROTATED}
    ),
    "the remote secret is exchanged": Case(
        lambda disruption: disruption.remote_secret(WATCH).exchange(),
        {**deleted_and_made(**{TOKEN: AnyText()}), **ROTATED},
    ),
    "the remote secret leads to the loopback address": Case(
        lambda disruption: disruption.remote_secret(WATCH).corrupt(BadSecret.LOOPBACK),
        deleted_and_made(**{SERVER: "https://127.0.0.1:6443"}),
    ),
    "the remote secret has a token of no use": Case(
        lambda disruption: disruption.remote_secret(WATCH).corrupt(BadSecret.REFUSED),
        deleted_and_made(**{TOKEN: "of-no-use"}),
    ),
    "a bad remote secret is corrected": Case(
        corrected,
        deleted_and_made(),
    ),
    "the remote's API server is lost": Case(lambda disruption: disruption.api_server(WATCH).cut(), way_to("192.0.2.1")),
    "the remote's API server is back": Case(
        cut_and_reconnected,
        way_to("172.18.0.3"),
    ),
    # An undo would restart istiod once more.
    "istiod is restarted": Case(
        lambda disruption: disruption.istiod("primary").restart(),
        {RESTARTED: Made({"kubectl.kubernetes.io/restartedAt": AnyText()})},
        stays={RESTARTED: Made({"kubectl.kubernetes.io/restartedAt": AnyText()})},
    ),
    "istiod has no pod": Case(
        lambda disruption: disruption.istiod("primary").stop(),
        {"primary Deployment istio-system/istiod: spec.replicas": 0},
    ),
    "istiod's pods are replaced": Case(lambda disruption: disruption.istiod("primary").replace(), {}),
    "a helloworld pod is replaced": Case(lambda disruption: disruption.helloworld("remote").replace_pod(), {}),
    "a gateway pod is lost": Case(lambda disruption: disruption.gateway("remote").lose_oldest_pod(), {}),
    "helloworld has three pods": Case(
        lambda disruption: disruption.helloworld("primary").scale(3),
        {"primary Deployment sample/helloworld-v1: spec.replicas": 3},
    ),
    "helloworld has no pod": Case(
        lambda disruption: disruption.helloworld("remote").scale(0),
        {"remote Deployment sample/helloworld-v2: spec.replicas": 0},
    ),
    "the gateway has two pods, and so its autoscaler wants": Case(
        lambda disruption: disruption.gateway("remote").scale(2),
        {
            "remote Deployment istio-system/istio-eastwestgateway: spec.replicas": 2,
            "remote HorizontalPodAutoscaler istio-system/istio-eastwestgateway: spec.minReplicas": 2,
            "remote HorizontalPodAutoscaler istio-system/istio-eastwestgateway: spec.maxReplicas": 2,
        },
    ),
    "the gateway has no pod, which its autoscaler leaves alone": Case(
        lambda disruption: disruption.gateway("remote").scale(0),
        {"remote Deployment istio-system/istio-eastwestgateway: spec.replicas": 0},
    ),
    "clients prefer their own network": Case(
        lambda disruption: disruption.prefer_own_network(),
        {
            "primary DestinationRule sample/prefer-own-network": Made(
                {"spec": {"host": "helloworld", "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 3}}}}
            )
        },
    ),
    "istiod knows a wrong gateway address by the Service": Case(
        lambda disruption: disruption.gateway("remote").set_wrong_address(),
        {"remote Service istio-system/istio-eastwestgateway: status.loadBalancer.ingress.0.ip": "127.0.0.9"},
    ),
    "istiod knows a wrong gateway address by meshNetworks": Case(
        lambda disruption: disruption.gateway("remote").set_wrong_address(),
        {
            "primary ConfigMap istio-system/istio: data.meshNetworks.networks.remote-network.gateways.0.address": (
                "127.0.0.9"
            )
        },
        MESH_NETWORKS,
    ),
}


@dataclass(frozen=True)
class Lab:
    """A mesh whose clients are answered by the clusters that istiod watches, and a run that disrupts it."""

    clusters: TwoClusters
    disruption: Disruption
    undo: ExitStack
    folder: Path


@contextmanager
def lab(folder: Path, mode: NetworkMode, *, owned: bool) -> Iterator[Lab]:
    with installed_mesh(folder, mode) as clusters:
        follow_remote_secret(clusters)
        run = clusters.run(folder / "runs", "run", owned=owned)
        mesh = Mesh(mesh_info(run.folder, network_mode=mode, owned=owned))
        yield Lab(clusters, Disruption(mesh, run.undo, times=40), run.undo, run.folder)


def changed(found: dict[str, Any]) -> dict[str, Any]:
    """Without the pods that controllers replaced, their numbers, and the copies of undos in the cluster."""
    return {
        name: value
        for name, value in without_pods(found).items()
        if "splithorizon-undo-" not in name and not (" Deployment " in name and ": status." in name)
    }


@pytest.mark.parametrize("owned", [True, False], ids=["our own mesh", "an existing mesh"])
@pytest.mark.parametrize("name", CASES)
def test_a_disruption_changes_these_fields_alone_and_its_undo_leaves_every_object_as_it_was(
    name: str, owned: bool, tmp_path: Path
) -> None:
    case = CASES[name]
    with lab(tmp_path, case.mode, owned=owned) as found:
        before = snapshot(found.clusters)
        if not owned:
            # With the rights that the suite asks for, and no more.
            for api in found.clusters.apis.values():
                api.denies = user_rights.denies(system_namespace="istio-system", disruption=True)
        case.act(found.disruption)
        assert changed(differences(before, snapshot(found.clusters))) == case.effect
        found.undo.close()
        assert without_pods(differences(before, snapshot(found.clusters))) == case.stays
        assert remarks.read(found.folder) == []
        assert not undo_log.is_pending(found.folder)


@pytest.mark.parametrize("owned", [True, False], ids=["our own mesh", "an existing mesh"])
def test_what_a_test_restores_halfway_is_as_it_was_and_can_be_changed_again(owned: bool, tmp_path: Path) -> None:
    with lab(tmp_path, LABELS, owned=owned) as found:
        before = snapshot(found.clusters)
        for _ in range(2):
            found.disruption.remote_secret(WATCH).remove()
            assert changed(differences(before, snapshot(found.clusters))) == {REMOTE_SECRET: GONE}
            found.disruption.restore()
            assert snapshot(found.clusters) == before


def istiods(clusters: TwoClusters) -> set[str]:
    pods = [one["metadata"]["name"] for one in clusters.primary.kept("Pod", "istio-system")]
    return {name for name in pods if name.startswith("istiod-")}


def identities(api: SmallApi, *expected: str) -> None:
    """Have the sidecars of a cluster expect these identities of servers."""
    answered = api.execute
    assert answered is not None

    def execute(pod: str, command: list[str]) -> str:
        return (
            json.dumps(dump_expecting(*expected)) if command[-1].startswith("config_dump?") else answered(pod, command)
        )

    api.execute = execute


@pytest.mark.parametrize("expected", ["spiffe:///ns/sample/sa/default", "spiffe://cluster.local/ns/sample/sa/default"])
def test_an_istiod_whose_clients_refuse_pods_that_came_back_is_told_and_left_to_its_owner(
    expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab(tmp_path, LABELS, owned=False) as found:
        identities(found.clusters.primary, expected)
        found.disruption.remote_secret(WATCH).remove()
        found.disruption.restore()
        assert remarks.read(found.folder) == [], "not before the test's end"
        before = snapshot(found.clusters)
        monkeypatch.setattr(timeouts, "_current", replace(timeouts.current(), secret_processed=0.1))
        found.undo.close()
        assert snapshot(found.clusters) == before
        said = remarks.read(found.folder)
        assert [one.object for one in said] == (["istiod of the primary"] if "///" in expected else [])
        assert all(f"expect {expected} of pods in the remote" in one.reason for one in said)
        assert all("rollout restart deployment/istiod" in one.command for one in said)


def test_an_istiod_of_our_own_is_restarted_where_its_clients_refuse_pods_that_came_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab(tmp_path, LABELS, owned=True) as found:
        identities(found.clusters.primary, "spiffe:///ns/sample/sa/default")
        found.disruption.remote_secret(WATCH).remove()
        found.disruption.restore()
        before = istiods(found.clusters)
        monkeypatch.setattr(timeouts, "_current", replace(timeouts.current(), secret_processed=0.1))
        found.undo.close()
        assert before
        assert not before & istiods(found.clusters)
