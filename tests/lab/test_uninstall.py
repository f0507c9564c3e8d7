"""What is told of a cluster that Istio was taken out of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.uninstall import Uninstallation
from splithorizon.base import timeouts
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.timeouts import Timeouts
from splithorizon.kube.client import Kube
from splithorizon.mesh import snapshot
from splithorizon.mesh.mesh import Mesh
from splithorizon.mesh.snapshot import Remains
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi, small_api

NAMESPACE = {"kind": "Namespace", "name": "namespaces", "verbs": ["list"]}
WAITS = {"type": "NamespaceContentRemaining", "status": "True", "message": "one pod has yet to go"}
HELD = {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "nobody/knows in 1 resource instances"}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallApi]:
    monkeypatch.setattr(timeouts, "_current", replace(Timeouts(), uninstalled=0.2))
    with small_api(tmp_path / "remote.kubeconfig") as api:
        api.objects |= {"/apis": {"groups": []}, "/api/v1": {"resources": [NAMESPACE]}}
        hold(api, "default")
        yield api


def hold(api: SmallApi, *namespaces: str) -> None:
    items = [{"metadata": {"name": name}, "status": {}} for name in namespaces]
    api.objects["/api/v1/namespaces"] = {"items": items}


def delete(api: SmallApi, namespace: str, *conditions: dict[str, str]) -> None:
    for space in api.objects["/api/v1/namespaces"]["items"]:
        if space["metadata"]["name"] == namespace:
            space["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z"
            space["status"] = {"conditions": conditions}


@pytest.fixture
def remains(api: SmallApi, tmp_path: Path) -> Callable[[], Remains]:
    told, before = mesh_info(tmp_path), tmp_path / "bare.json"
    before.write_text(json.dumps(snapshot.take(Kube(tmp_path / "remote.kubeconfig", "remote"))))
    remote = replace(told.clusters["remote"], snapshot_before_install=before)
    mesh = Mesh(replace(told, clusters={**told.clusters, "remote": remote}))

    def look() -> Remains:
        return Uninstallation(mesh, tmp_path / "istioctl").remains_of("remote")

    return look


def test_a_cluster_as_it_was_has_no_remains(remains: Callable[[], Remains]) -> None:
    assert remains() == Remains("remote", 1, (), (), (), 0.2)


def test_only_a_finalizer_is_said_to_hold_what_is_left(api: SmallApi, remains: Callable[[], Remains]) -> None:
    hold(api, "default", "istio-system")
    left = ("left: Namespace istio-system",)
    assert remains() == Remains("remote", 1, left, (), (), 0.2)
    delete(api, "istio-system", WAITS)
    assert remains() == Remains("remote", 1, left, ("istio-system",), (), 0.2)
    delete(api, "istio-system", WAITS, HELD)
    assert remains().stuck == ("namespace istio-system: nobody/knows in 1 resource instances",)


def test_a_kind_that_goes_while_one_looks_is_waited_for(api: SmallApi, remains: Callable[[], Remains]) -> None:
    api.objects["/apis"] = {"groups": [{"preferredVersion": {"groupVersion": "istio.io/v1"}}]}
    with pytest.raises(EnvironmentBroke, match=r"istio\.io/v1 not found"):
        remains()
    api.objects["/apis"] = {"groups": []}
    assert remains().differences == ()
