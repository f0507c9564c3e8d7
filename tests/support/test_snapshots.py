"""A snapshot hides nothing but what the API server alone writes, and a difference is named by its field."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.support.controllers import pods_of
from tests.support.existing_mesh import TwoClusters, installed_mesh
from tests.support.snapshots import GONE, Made, differences, snapshot, without_pods

ECHO = "/api/v1/namespaces/sample/services/echo"
ISTIO = "/api/v1/namespaces/istio-system/configmaps/istio"
SECRET = "/api/v1/namespaces/istio-system/secrets/istio-remote-secret-remote"


def seen(mesh: TwoClusters, change: Any) -> dict[str, Any]:
    before = snapshot(mesh)
    change(mesh.primary.objects)
    return differences(before, snapshot(mesh))


def rewritten(text: str) -> str:
    return base64.b64encode(base64.b64decode(text).replace(b"6443", b"7443")).decode()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda kept: kept[ECHO]["metadata"].update(resourceVersion="9999", uid="another"), {}),
        (lambda kept: kept.pop(ECHO), {"primary Service sample/echo": GONE}),
        (
            lambda kept: kept[ECHO]["spec"]["ports"][0].update(port=1),
            {"primary Service sample/echo: spec.ports.0.port": 1},
        ),
        (lambda kept: kept[ECHO]["spec"]["ports"].clear(), {"primary Service sample/echo: spec.ports": []}),
        (
            lambda kept: kept[ECHO]["metadata"]["labels"].pop("app"),
            {"primary Service sample/echo: metadata.labels.app": GONE},
        ),
        (
            lambda kept: kept[ISTIO]["data"].update(mesh="accessLogFile: ''\ntrustDomain: cluster.local\n"),
            {"primary ConfigMap istio-system/istio: data.mesh.accessLogFile": ""},
        ),
        (
            lambda kept: kept[ISTIO]["data"].update(meshNetworks="networks:  {}\n"),
            {"primary ConfigMap istio-system/istio: data.meshNetworks": "networks:  {}\n"},
        ),
        (
            lambda kept: kept[SECRET]["data"].update(remote=rewritten(kept[SECRET]["data"]["remote"])),
            {
                "primary Secret istio-system/istio-remote-secret-remote: data.remote.clusters.0.cluster.server": (
                    "https://172.18.0.3:7443"
                )
            },
        ),
    ],
    ids=["the server's own", "gone", "in a list", "a list", "a label", "in a text", "a text's form", "in a secret"],
)
def test_a_difference_is_named_by_its_field(tmp_path: Path, change: Any, found: dict[str, Any]) -> None:
    with installed_mesh(tmp_path) as mesh:
        assert seen(mesh, change) == found


def test_pods_are_compared_by_what_they_are_and_count_as_their_deployments(tmp_path: Path) -> None:
    with installed_mesh(tmp_path) as mesh:
        (api, *_) = mesh.apis.values()
        before = snapshot(mesh)
        (pod,) = pods_of(api, "istiod", "istio-system")
        mesh.kubes()["primary"].delete("Pod", pod["metadata"]["name"], "istio-system")
        (other,) = pods_of(api, "istiod", "istio-system")
        assert other["metadata"]["name"] != pod["metadata"]["name"]
        assert snapshot(mesh) == before
        other["metadata"]["labels"]["app"] = "another"
        found = differences(before, snapshot(mesh))
        assert found == {"primary Pods of istio-system/istiod: 0.metadata.labels.app": "another"}
        assert without_pods(found) == found
        body = {"spec": {"template": {"metadata": {"labels": {"more": "yes"}}}}}
        mesh.kubes()["primary"].patch("Deployment", "istiod", "istio-system", body)
        assert without_pods(differences(before, snapshot(mesh))) == {
            "primary Deployment istio-system/istiod: spec.template.metadata.labels.more": "yes"
        }


def test_an_object_is_known_by_the_fields_that_are_named() -> None:
    made = {"spec": {"ports": [{"port": 1, "name": "a"}], "host": "h"}}
    assert made == Made({"spec": {"ports": [{"port": 1}]}})
    assert made == Made({"spec": {"host": "h", "other": None}})
    assert made != Made({"spec": {"ports": [{"port": 2}]}})
    assert made != Made({"spec": {"ports": []}})
    assert made != Made({"spec": {"host": None}})
    assert Made({}) != GONE
