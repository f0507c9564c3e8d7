"""What a user reads whose exec plug-in gives no credential: its own words, and how the run ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base import timeouts
from splithorizon.base.errors import UsageProblem
from splithorizon.kube import exec_plugin

VERSION = "client.authentication.k8s.io/v1"


def kubeconfig(folder: Path, code: str, **more: Any) -> Path:
    plugin = folder / "plugin"
    plugin.write_text(f"#!{sys.executable}\n{code}\n")
    plugin.chmod(0o700)
    user = {"exec": {"apiVersion": VERSION, "command": str(plugin), **more}}
    authority = folder / "ca.crt"
    authority.write_text("a certificate")
    cluster = {"server": "https://127.0.0.1:9", "certificate-authority": str(authority)}
    content = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = folder / "primary.kubeconfig"
    file.write_text(json.dumps(content))
    return file


def answer(**status: str) -> str:
    return f"print({json.dumps(json.dumps({'apiVersion': VERSION, 'kind': 'ExecCredential', 'status': status}))})"


FAILURES = {
    "its own words": (
        "import sys; print('your session has expired: run `cloud login`', file=sys.stderr); sys.exit(3)", {},
        "ended with status 3. your session has expired: run `cloud login`",
    ),
    "no JSON": ("print('Welcome!')", {}, "what it prints is no ExecCredential in JSON"),
    "nothing in it": (answer(), {}, "neither a token nor a certificate with a key"),
    "a certificate without a key": (answer(clientCertificateData="x"), {}, "neither a token nor a certificate"),
    "another version": (
        answer(token="t").replace("/v1", "/v1beta1"), {}, "the kubeconfig asks for 'client.authentication.k8s.io/v1'"
    ),
    "no terminal": (answer(token="t"), {"interactiveMode": "Always"}, "it needs a terminal"),
    "not installed": ("", {"command": "/nowhere/cloud-login", "installHint": "install it with\n  cloud get"},
                      "no such program. install it with cloud get"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_a_plug_in_that_gives_no_credential_ends_the_run_with_what_it_says(name: str, tmp_path: Path) -> None:
    code, more, said = FAILURES[name]
    file = kubeconfig(tmp_path, code, **more)
    with pytest.raises(UsageProblem) as problem:
        exec_plugin.authenticate(file, "east")
    assert str(problem.value).startswith("context east: the plug-in `")
    assert said in str(problem.value)
    assert str(problem.value).endswith("Nothing was created.")
    assert exec_plugin.kept(file) is None


def test_a_plug_in_that_never_answers_is_ended(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "import time; time.sleep(60)")
    with timeouts.shortened(0.002), pytest.raises(UsageProblem, match="did not end within"):
        exec_plugin.authenticate(file, "east")


def test_a_plug_in_may_give_a_certificate_and_is_told_of_the_cluster(tmp_path: Path) -> None:
    code = (
        "import os, json; info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "assert os.environ['REGION'] == 'north', info\n"
        "assert info['spec']['cluster']['certificate-authority-data'] == 'YSBjZXJ0aWZpY2F0ZQ==', info\n"
    ) + answer(clientCertificateData="the certificate", clientKeyData="the key")
    file = kubeconfig(tmp_path, code, provideClusterInfo=True, env=[{"name": "REGION", "value": "north"}])
    exec_plugin.authenticate(file, "east")
    found = exec_plugin.kept(file)
    assert found is not None
    assert (found.token, found.certificate, found.key) == ("", "the certificate", "the key")


def test_a_user_without_a_plug_in_runs_none(tmp_path: Path) -> None:
    file = tmp_path / "primary.kubeconfig"
    file.write_text(json.dumps({"users": [{"name": "u", "user": {"token": "t"}}]}))
    exec_plugin.authenticate(file, "east")
    assert exec_plugin.kept(file) is None
