"""The secrets that a mesh brought with it are found where they lie, and nowhere is fine."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from splithorizon.errors import EnvironmentBroke
from splithorizon.kube import Kube
from splithorizon.mesh import known_secrets
from splithorizon.mesh.trust import Trust
from splithorizon.redaction import Redactor
from splithorizon.topology import Role
from tests.small_api import SmallApi

SECRETS = "/api/v1/namespaces/istio-system/secrets"
TRUST = Trust.make()
KEY = TRUST.files[Role.PRIMARY]["ca-key.pem"]
TOKEN = b"a-bearer-token-of-the-remote"


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def kubeconfig(**user: str) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "users": [{"name": "u", "user": user}]})


def test_the_client_keys_of_kubeconfigs_are_kept_out_of_reports_decoded_and_in_base64(tmp_path: Path) -> None:
    file = tmp_path / "primary.kubeconfig"
    file.write_text(kubeconfig(**{"client-key-data": in_base64(KEY)}))
    found = list(known_secrets.client_keys([file]))
    assert found == [KEY]
    reports = tmp_path / "reports"
    reports.mkdir()
    body = "".join(KEY.decode().splitlines()[1:-1])
    for name, text in {"decoded": KEY.decode(), "encoded": in_base64(KEY), "junit.xml": f"<x>{body[:64]}</x>"}.items():
        (reports / name).write_text(text)
        assert Redactor(found).leaks(reports) == [reports / name]
        (reports / name).unlink()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "users:",
        "users: 1",
        "users: [u]",
        "users: [{",
        "users: [{name: u}]",
        "users: [{name: u, user: {token: t}}]",
        "users: [{name: u, user: {client-key-data: abc}}]",
    ],
)
def test_a_kubeconfig_without_a_key_or_not_yet_whole_has_none(tmp_path: Path, content: str) -> None:
    half, whole = tmp_path / "half", tmp_path / "whole"
    half.write_text(content)
    whole.write_text(kubeconfig(**{"client-key-data": in_base64(KEY)}))
    assert list(known_secrets.client_keys([half, tmp_path / "missing", whole])) == [KEY]


@pytest.fixture
def api(api: SmallApi) -> SmallApi:
    api.objects[SECRETS] = {"items": []}
    return api


def test_a_mesh_tells_its_own_key_and_the_token_it_watches_the_other_with(api: SmallApi, kube: Kube) -> None:
    api.objects[f"{SECRETS}/cacerts"] = TRUST.cacerts(Role.PRIMARY)
    watching = kubeconfig(token=TOKEN.decode())
    api.objects[SECRETS] = {"items": [{"data": {"remote": in_base64(watching.encode())}}]}
    assert list(known_secrets.of_mesh(kube)) == [KEY, TOKEN]
    (query,) = (query for _, path, query, *_ in api.asked if path == SECRETS)
    assert query == {"labelSelector": ["istio/multiCluster=true"]}


def test_a_mesh_without_either_has_no_secret(api: SmallApi, kube: Kube) -> None:
    assert list(known_secrets.of_mesh(kube)) == []


def test_an_api_server_that_does_not_answer_is_not_taken_for_one_without_secrets(api: SmallApi, kube: Kube) -> None:
    api.answers[f"{SECRETS}/cacerts"] = (403, json.dumps({"message": "no", "code": 403}).encode())
    with pytest.raises(EnvironmentBroke):
        list(known_secrets.of_mesh(kube))
