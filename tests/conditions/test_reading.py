"""The conditions of a mesh are read off the objects of its clusters, and what may not be read is listed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from splithorizon.conditions import reading
from splithorizon.conditions.reading import MeshConditions
from splithorizon.istio.discover import read_mesh
from splithorizon.kube.api_resources import path_of
from tests.support.controllers import PROXY_IMAGE
from tests.support.existing_mesh import CONTEXTS, TwoClusters, installed_mesh
from tests.support.small_api import Failure

SYSTEM = "istio-system"
LABELS = {name: {"istio.io/rev": "default"} for name in ("primary", "remote")}


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[TwoClusters]:
    with installed_mesh(tmp_path) as clusters:
        yield clusters


def read(mesh: TwoClusters) -> MeshConditions:
    info = read_mesh(mesh.kubes(), CONTEXTS, namespace="ours")
    found = reading.read(mesh.kubes(), info, labels=LABELS)
    assert not [method for api in mesh.apis.values() for method, *_ in api.asked if method != "GET"]
    return found


def istiod(mesh: TwoClusters) -> dict[str, object]:
    pods = [one for one in mesh.primary.kept("Pod", SYSTEM) if one["metadata"]["labels"].get("app") == "istiod"]
    container: dict[str, object] = pods[0]["spec"]["containers"][0]
    return container


def test_a_mesh_is_read_with_its_configuration_and_its_nodes(mesh: TwoClusters) -> None:
    mesh.primary.put("AuthorizationPolicy", "deny", SYSTEM, spec={})
    mesh.primary.put("AuthorizationPolicy", "theirs", "prod", spec={})
    mesh.remote.put("AuthorizationPolicy", "that-nobody-reads", SYSTEM, spec={})
    mesh.remote.put("Node", "arm", status={"nodeInfo": {"operatingSystem": "linux", "architecture": "arm64"}})
    found = read(mesh)
    primary, remote = found.clusters
    assert [one["metadata"]["name"] for one in primary.all("AuthorizationPolicy")] == ["deny"]
    assert remote.all("AuthorizationPolicy") == ()
    assert primary.mesh["accessLogFile"] == "/dev/stdout"
    assert (primary.runs_istiod, remote.runs_istiod) == (True, False)
    assert primary.version == "1.29.1"
    assert [one["architecture"] for one in remote.all("Node") if one["metadata"]["name"] == "arm"] == ["arm64"]
    of_each = {"istio.io/rev": "default", "kubernetes.io/metadata.name": "ours"}
    assert found.labels == {"primary": of_each, "remote": of_each}
    assert [one.unread for one in found.clusters] == [(), ()]
    assert [one.openshift for one in found.clusters] == [False, False]


def test_the_gateways_images_are_read_of_pods_that_run(mesh: TwoClusters) -> None:
    labels = {"app": "istio-eastwestgateway", "istio": "eastwestgateway"}
    containers = [{"name": "other", "image": "h/other:1"}, {"name": "istio-proxy", "image": "h/proxyv2:1.27.3"}]
    for name, phase in (("old", "Running"), ("evicted", "Failed")):
        mesh.remote.put("Pod", name, SYSTEM, labels=labels, spec={"containers": containers}, status={"phase": phase})
    primary, remote = read(mesh).clusters
    assert remote.gateway_images["istio-system/old"] == "h/proxyv2:1.27.3"
    assert "istio-system/evicted" not in remote.gateway_images
    assert {*primary.gateway_images.values()} == {PROXY_IMAGE}


def test_what_istiod_is_started_with_is_read(mesh: TwoClusters) -> None:
    istiod(mesh).update(
        args=["discovery", "--domain", "corp.internal"],
        env=[{"name": "ENABLE_DEBUG_ON_HTTP", "value": "false"}, {"name": "SHARED_MESH_CONFIG", "value": "shared"}],
    )
    shared = {"accessLogFormat": "x", "trustDomain": "overridden"}
    mesh.primary.put("ConfigMap", "shared", SYSTEM, data={"mesh": yaml.safe_dump(shared)})
    (primary, _) = read(mesh).clusters
    assert primary.domain == "corp.internal"
    assert primary.environment["ENABLE_DEBUG_ON_HTTP"] == "false"
    assert primary.mesh["accessLogFormat"] == "x"
    assert primary.trust_domain == "cluster.local", "the revision's own ConfigMap has the last word"


def test_what_may_not_be_read_is_listed_and_the_rest_is_read(mesh: TwoClusters) -> None:
    mesh.primary.failures.append(Failure(9, "GET", path_of("EnvoyFilter", SYSTEM), 403))
    mesh.primary.put("AuthorizationPolicy", "deny", SYSTEM, spec={})
    (primary, _) = read(mesh).clusters
    assert primary.unread == ("EnvoyFilter objects of istio-system: HTTP 403",)
    assert primary.all("AuthorizationPolicy")


def test_an_openshift_is_known_by_what_it_serves(mesh: TwoClusters) -> None:
    mesh.remote.answers["/apis/security.openshift.io/v1"] = (200, b"{}")
    assert [one.openshift for one in read(mesh).clusters] == [False, True]
