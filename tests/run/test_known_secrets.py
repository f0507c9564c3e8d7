"""The secrets of kubeconfigs and of a mesh are read, and a mesh without any has none."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from lab.ca import Trust
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube.client import Kube
from splithorizon.run import known_secrets
from splithorizon.run.redaction import Redactor
from tests.support.small_api import SmallApi, write_kubeconfig

SECRETS = "/api/v1/namespaces/istio-system/secrets"
TRUST = Trust.make()
KEY = TRUST.files["primary"]["ca-key.pem"]
TOKEN = b"a-bearer-token-of-the-remote"


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def kubeconfig(**user: str) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "users": [{"name": "u", "user": user}]})


def test_the_client_keys_of_kubeconfigs_are_kept_out_of_reports_decoded_and_in_base64(tmp_path: Path) -> None:
    file = tmp_path / "primary.kubeconfig"
    file.write_text(kubeconfig(**{"client-key-data": in_base64(KEY)}))
    secrets = list(known_secrets.of_kubeconfigs([file]))
    assert secrets == [KEY]
    reports = tmp_path / "reports"
    reports.mkdir()
    body = "".join(KEY.decode().splitlines()[1:-1])
    for name, text in {"decoded": KEY.decode(), "encoded": in_base64(KEY), "junit.xml": f"<x>{body[:64]}</x>"}.items():
        (reports / name).write_text(text)
        assert Redactor(secrets).leaks(reports) == [reports / name]
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
        "users: [{name: u, user: {token: short}}]",
        "users: [{name: u, user: {token: [sixteen, letters]}}]",
        "users: [{name: u, user: {tokenFile: /nowhere/at/all}}]",
        "users: [{name: u, user: {client-key-data: abc}}]",
    ],
)
def test_a_kubeconfig_without_a_key_or_not_yet_whole_has_none(tmp_path: Path, content: str) -> None:
    half, whole = tmp_path / "half", tmp_path / "whole"
    half.write_text(content)
    whole.write_text(kubeconfig(**{"client-key-data": in_base64(KEY)}))
    assert list(known_secrets.of_kubeconfigs([half, tmp_path / "missing", whole])) == [KEY]


@pytest.fixture
def api(api: SmallApi) -> SmallApi:
    api.objects[SECRETS] = {"items": []}
    return api


EKS = "k8s-aws-v1.aHR0cHM6Ly9zdHMuZXhhbXBsZS8_QWN0aW9uPUdldENhbGxlcklkZW50aXR5"
GKE = "ya29.a0AfB_byC-opaque-and-of-no-fixed-length_0123456789"
OPENSHIFT = "sha256~" + "Qx3" * 14 + "Z"
OPAQUE = "0c9d7f-opaque-of-some-gateway-42"


@pytest.mark.parametrize("token", [EKS, GKE, OPENSHIFT, OPAQUE], ids=["EKS", "GKE", "OpenShift", "opaque"])
@pytest.mark.parametrize("field", ["token", "password", "tokenFile", "client-key", "auth-provider"])
def test_whatever_a_user_is_known_by_is_kept_out_of_reports(tmp_path: Path, token: str, field: str) -> None:
    named = tmp_path / "named-by-the-kubeconfig"
    named.write_text(f"{token}\n")
    value: object = {"name": "oidc", "config": {"id-token": token, "client-id": "public"}}
    value = value if field == "auth-provider" else str(named) if field in {"tokenFile", "client-key"} else token
    file = tmp_path / "primary.kubeconfig"
    file.write_text(yaml.safe_dump({"users": [{"name": "u", "user": {field: value}}]}))

    (secret,) = known_secrets.of_run(tmp_path)

    assert secret.decode() == token
    shown = Redactor([secret]).redact(f"refused {token}; {in_base64(token.encode())}")
    assert shown.startswith("refused [redacted]; [redacted]")
    reports = tmp_path / "reports"
    reports.mkdir()
    (reports / "junit.xml").write_text(f"<x>{token}</x>")
    assert Redactor([secret]).leaks(reports) == [reports / "junit.xml"]


PLUG_IN = """#!/bin/sh
echo call >>"$(dirname "$0")/calls"
expires=$(cat "$(dirname "$0")/expires")
token="opaque-token-number-$(grep -c call "$(dirname "$0")/calls")"
printf '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": '
printf '{"token": "%s", "expirationTimestamp": "%s"}}' "$token" "$expires"
"""


def with_plug_in(folder: Path, api: SmallApi, *, expires: str) -> Kube:
    command = folder / "plug-in"
    command.write_text(PLUG_IN)
    command.chmod(0o700)
    (folder / "expires").write_text(expires)
    file = folder / "remote.kubeconfig"
    write_kubeconfig(file, api.url)
    content = yaml.safe_load(file.read_text())
    plug_in = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(command), "interactiveMode": "Never"}
    content["users"][0]["user"] = {"exec": plug_in}
    file.write_text(yaml.safe_dump(content))
    return Kube(file, "remote")


@pytest.mark.parametrize(("expires", "tokens"), [("2999-01-01T00:00:00Z", 1), ("2020-01-01T00:00:00Z", 2)])
def test_every_token_that_a_plug_in_returned_is_known(tmp_path: Path, api: SmallApi, expires: str, tokens: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    kube = with_plug_in(folder, api, expires=expires)
    assert list(known_secrets.of_run(folder)) == []

    for _ in range(2):
        kube.list("Secret", "istio-system")

    sent = {headers["authorization"].removeprefix("Bearer ") for *_, headers, _ in api.asked}
    known = {secret.decode() for secret in known_secrets.of_run(folder)}
    assert sent <= known
    assert known == {f"opaque-token-number-{number}" for number in range(1, tokens + 1)}
    open_to_others = [
        path for path in folder.rglob("*") if path.parent.name == "credentials" and path.stat().st_mode & 0o077
    ]
    assert open_to_others == []


def test_a_folder_that_is_full_or_gone_keeps_no_request_from_being_sent(tmp_path: Path, api: SmallApi) -> None:
    kube = with_plug_in(tmp_path, api, expires="2020-01-01T00:00:00Z")
    (tmp_path / "credentials").write_text("no folder")
    assert kube.list("Secret", "istio-system") == []


def test_a_mesh_tells_its_own_key_and_the_token_it_watches_the_other_with(api: SmallApi, kube: Kube) -> None:
    api.objects[f"{SECRETS}/cacerts"] = TRUST.cacerts("primary")
    watching = kubeconfig(token=TOKEN.decode())
    api.objects[SECRETS] = {"items": [{"data": {"remote": in_base64(watching.encode())}}]}
    assert list(known_secrets.of_mesh(kube)) == [KEY, TOKEN]
    assert list(known_secrets.of_remote_secrets(kube, "istio-system")) == [TOKEN]
    (query, _) = (query for _, path, query, *_ in api.asked if path == SECRETS)
    assert query == {"labelSelector": ["istio/multiCluster=true"]}


@pytest.mark.parametrize(
    "data",
    [{}, {"a": "no base64"}, {"a": in_base64(b"users: [{")}, {"a": in_base64(b"\xff\xfe")}, {"a": in_base64(b"[]")}],
    ids=["none", "no base64", "no YAML", "no text", "no kubeconfig"],
)
def test_a_remote_secret_that_nobody_can_read_hides_none_of_the_others(
    api: SmallApi, kube: Kube, data: dict[str, str]
) -> None:
    good = {"a": in_base64(kubeconfig(token=EKS).encode()), "b": in_base64(kubeconfig(token=GKE).encode())}
    api.objects[SECRETS.replace("istio-system", "mesh-system")] = {"items": [{"data": data}, {"data": good}, {}]}
    secrets = known_secrets.of_remote_secrets(kube, "mesh-system")
    assert list(secrets) == [EKS.encode(), GKE.encode()]


def test_a_mesh_without_either_has_no_secret(api: SmallApi, kube: Kube) -> None:
    assert list(known_secrets.of_mesh(kube)) == []


def test_an_api_server_that_does_not_answer_is_not_taken_for_one_without_secrets(api: SmallApi, kube: Kube) -> None:
    api.answers[f"{SECRETS}/cacerts"] = (403, json.dumps({"message": "no", "code": 403}).encode())
    with pytest.raises(EnvironmentBroke):
        list(known_secrets.of_mesh(kube))
