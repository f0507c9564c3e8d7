"""A run's copy of one context: what kubectl would use, and nothing that would spend the user's own credentials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from splithorizon.base.errors import UsageProblem
from splithorizon.kube import kubeconfig


def write(folder: Path, *, user: dict[str, Any] | None, name: str = "config", **cluster: Any) -> Path:
    context = {"cluster": "c"} | ({"user": "u"} if user is not None else {})
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443", **cluster}}],
        "users": [] if user is None else [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": context}],
    }
    (folder / name).write_text(json.dumps(content))
    return folder / name


def extracted(file: Path, context: str = "x") -> dict[str, Any]:
    target = file.parent / "copy"
    kubeconfig.extract(context, [file], target)
    found: dict[str, Any] = yaml.safe_load(target.read_text())
    return found


def test_paths_of_certificates_and_of_a_plug_in_are_those_of_the_users_file(tmp_path: Path) -> None:
    user = {"client-certificate": "pki/c.crt", "client-key": "/abs/c.key", "tokenFile": "t",
            "exec": {"command": "./bin/login", "apiVersion": "v"}}  # fmt: skip
    found = extracted(write(tmp_path, user=user, **{"certificate-authority": "pki/ca.crt"}))
    assert found["users"][0]["user"] == {
        "client-certificate": f"{tmp_path}/pki/c.crt",
        "client-key": "/abs/c.key",
        "tokenFile": f"{tmp_path}/t",
        "exec": {"command": f"{tmp_path}/bin/login", "apiVersion": "v"},
    }
    assert found["clusters"][0]["cluster"]["certificate-authority"] == f"{tmp_path}/pki/ca.crt"


def test_a_context_may_have_no_user(tmp_path: Path) -> None:
    assert extracted(write(tmp_path, user=None))["users"] == []


def test_an_auth_provider_is_used_by_its_id_token_and_never_asked_for_another(tmp_path: Path) -> None:
    config = {"id-token": "the.id.token", "refresh-token": "spent-if-it-were-used", "client-secret": "s"}
    found = extracted(write(tmp_path, user={"auth-provider": {"name": "oidc", "config": config}}))
    assert found["users"][0]["user"] == {"token": "the.id.token"}
    assert "spent-if-it-were-used" not in (tmp_path / "copy").read_text()


@pytest.mark.parametrize("provider", [{"name": "gcp", "config": {"access-token": "a"}}, {"name": "oidc"}])
def test_an_auth_provider_without_an_id_token_is_refused(provider: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="use an exec plug-in instead"):
        extracted(write(tmp_path, user={"auth-provider": provider}))


def test_a_proxy_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"proxy-url https://proxy\.example: only proxies of http, socks5, socks5h"):
        extracted(write(tmp_path, user={}, **{"proxy-url": "https://proxy.example"}))
    for scheme in ("http", "socks5"):
        assert extracted(write(tmp_path, user={}, **{"proxy-url": f"{scheme}://proxy.example"}))


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that a kubelet puts into a pod."""
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("the-token")
    monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT", account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return account


def test_in_a_pod_the_own_cluster_needs_no_kubeconfig_and_its_token_stays_in_its_file(
    pod: Path, tmp_path: Path
) -> None:
    found = extracted(tmp_path / "missing", "in-cluster")
    assert found["clusters"][0]["cluster"] == {
        "server": "https://[fd00::1]:443", "certificate-authority": str(pod / "ca.crt")
    }  # fmt: skip
    assert found["users"][0]["user"] == {"tokenFile": str(pod / "token")}


def test_a_context_of_that_name_comes_first_and_outside_of_a_pod_it_is_refused(
    pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, user={"token": "mine"})
    file.write_text(file.read_text().replace('"name": "x"', '"name": "in-cluster"'))
    assert extracted(file, "in-cluster")["users"][0]["user"] == {"token": "mine"}
    assert pod.exists()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(UsageProblem, match="this process runs in no pod"):
        extracted(tmp_path / "missing", "in-cluster")
