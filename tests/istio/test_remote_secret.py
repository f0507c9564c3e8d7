"""Istio's remote secret, made from what a real HTTP server answers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from splithorizon.istio import remote_secret
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi, small_api

ACCOUNT = "/api/v1/namespaces/istio-system/serviceaccounts/istio-reader-service-account"
TOKEN = "/api/v1/namespaces/istio-system/secrets/istio-reader-service-account-istio-remote-secret-token"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[SmallApi]:
    with small_api(tmp_path / "remote.kubeconfig") as server:
        server.objects[ACCOUNT] = {"kind": "ServiceAccount"}
        encoded = {"ca.crt": b"the authority", "token": b"the-bearer-token"}
        data = {name: base64.b64encode(value).decode() for name, value in encoded.items()}
        server.objects[TOKEN] = {"data": data}
        yield server


@pytest.fixture
def secret(api: SmallApi, tmp_path: Path) -> dict[str, object]:
    kube = Kube(tmp_path / "remote.kubeconfig", "remote")
    return remote_secret.build(kube, cluster_id="remote", server="https://10.89.0.3:6443")


def test_the_secret_is_named_and_labelled_as_istioctl_does(secret: dict[str, object]) -> None:
    assert secret["metadata"] == {
        "name": "istio-remote-secret-remote",
        "namespace": "istio-system",
        "labels": {"istio/multiCluster": "true"},
        "annotations": {"networking.istio.io/cluster": "remote"},
    }


def test_its_one_entry_is_a_kubeconfig_for_the_given_address(secret: dict[str, object]) -> None:
    data = secret["data"]
    assert isinstance(data, dict)
    assert list(data) == ["remote"]
    kubeconfig = yaml.safe_load(base64.b64decode(data["remote"]))
    (cluster,) = kubeconfig["clusters"]
    assert cluster["cluster"]["server"] == "https://10.89.0.3:6443"
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == b"the authority"
    assert kubeconfig["users"][0]["user"] == {"token": "the-bearer-token"}
    assert kubeconfig["current-context"] == kubeconfig["contexts"][0]["name"] == "remote"
    assert remote_secret.token_of(secret) == b"the-bearer-token"


def test_kubernetes_is_asked_for_a_token_of_the_reader_account(api: SmallApi, secret: dict[str, object]) -> None:
    asked = api.objects[TOKEN]
    assert asked["type"] == "kubernetes.io/service-account-token"
    account = {"kubernetes.io/service-account.name": "istio-reader-service-account"}
    assert asked["metadata"]["annotations"] == account
    assert [(method, path) for method, path, *_ in api.asked] == [
        ("GET", ACCOUNT),
        ("PATCH", TOKEN),
        ("GET", TOKEN),
    ]
