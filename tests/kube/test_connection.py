"""A client is made of a kubeconfig as kubectl makes it: proxy, impersonation, and credentials that end."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from splithorizon.base import clock
from splithorizon.kube import exec_plugin
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Kube
from tests.support.forward_proxy import forward_proxy
from tests.support.small_api import Failure, SmallApi, small_api

READY = "/readyz"


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    return tmp_path / "primary.kubeconfig"


@pytest.fixture
def api(kubeconfig: Path) -> Iterator[SmallApi]:
    with small_api(kubeconfig) as server:
        server.answers[READY] = (200, b"ok")
        server.frames = [(1, b"hello"), (3, b'{"status":"Success"}')]
        yield server


def change(kubeconfig: Path, *, user: dict[str, Any] | None = None, proxy: str = "") -> None:
    content = json.loads(kubeconfig.read_text())
    if proxy:
        content["clusters"][0]["cluster"]["proxy-url"] = proxy
    if user is not None:
        content["users"][0]["user"] = user
    kubeconfig.write_text(json.dumps(content))


def sent(api: SmallApi) -> list[str]:
    told = [{name.lower(): value for name, value in headers.items()} for *_, headers, _ in api.asked]
    return [headers["authorization"] for headers in told]


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_requests_and_websockets_go_through_the_proxy_of_the_kubeconfig(
    scheme: str, api: SmallApi, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with forward_proxy() as proxy:
        change(kubeconfig, proxy=f"{scheme}://{proxy.address}")
        kube = Kube(kubeconfig, "primary")
        assert kube.request(READY) == "ok"
        assert kube.execute("p", "n", "c", ["hello"], within=60) == ("hello", "", 0)
    there = f"127.0.0.1:{api.server_port}"
    how = {"http": ["plain", "connect"]}.get(scheme, ["socks", "socks"])
    assert proxy.reached == [(one, there) for one in how]


def test_the_user_acts_as_another_one_in_requests_and_websockets(api: SmallApi, kubeconfig: Path) -> None:
    user = {"token": "the-token-of-an-administrator", "as": "jane", "as-uid": "7", "as-groups": ["a, b", "c"],
            "as-user-extra": {"Scopes/x": ["one", "two"]}}  # fmt: skip
    change(kubeconfig, user=user)
    kube = Kube(kubeconfig, "primary")
    kube.request(READY)
    kube.execute("p", "n", "c", ["hello"], within=60)
    assert len(api.asked) == 2
    for *_, headers, _ in api.asked:
        told = {name.lower(): value for name, value in headers.items()}
        assert told["impersonate-user"] == "jane"
        assert told["impersonate-uid"] == "7"
        assert told["impersonate-group"] == "a, b\nc"
        assert told["impersonate-extra-scopes%2fx"] == "one\ntwo"
        assert told["authorization"] == "Bearer the-token-of-an-administrator"


def test_a_token_in_a_file_is_read_again_once_it_is_replaced(api: SmallApi, kubeconfig: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("the-first-token-of-the-account")
    change(kubeconfig, user={"tokenFile": str(token)})
    kube = Kube(kubeconfig, "primary")
    kube.request(READY)
    kube.request(READY)
    # As a kubelet does it: another file under the same name.
    (tmp_path / "new").write_text("the-second-token-of-the-account")
    (tmp_path / "new").replace(token)
    kube.request(READY)
    kube.execute("p", "n", "c", ["hello"], within=60)
    first, second = ("Bearer the-first-token-of-the-account", "Bearer the-second-token-of-the-account")
    assert sent(api) == [first, first, second, second]


class Plugin:
    """An exec plug-in that counts how often it is run, and gives another token each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "plugin"
        self.answers(seconds=3600)

    def answers(self, *, seconds: float) -> None:
        """Its tokens end so much after now."""
        expires = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
        self._write(
            f"import json, os; runs = {str(self.folder / 'runs')!r}\n"
            "open(runs, 'a').write(os.environ['KUBERNETES_EXEC_INFO'] + '\\n')\n"
            "number = len(open(runs).readlines())\n"
            "status = {'token': f'the-token-of-run-{number}', 'expirationTimestamp': '" + expires + "'}\n"
            "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential', "
            "'status': status}))"
        )

    def fails(self) -> None:
        self._write("import sys; print('your session has expired: run `cloud login`', file=sys.stderr); sys.exit(3)")

    def _write(self, code: str) -> None:
        self.path.write_text(f"#!{sys.executable}\n{code}\n")
        self.path.chmod(0o700)

    @property
    def runs(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in (self.folder / "runs").read_text().splitlines()]
        except FileNotFoundError:
            return []

    @property
    def user(self) -> dict[str, Any]:
        return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(self.path),
                         "interactiveMode": "IfAvailable", "provideClusterInfo": True}}  # fmt: skip


@pytest.fixture
def plugin(kubeconfig: Path, api: SmallApi, tmp_path: Path) -> Plugin:  # writes the kubeconfig first
    found = Plugin(tmp_path)
    change(kubeconfig, user=found.user)
    return found


def test_a_plug_in_is_run_once_for_all_processes_of_a_run(plugin: Plugin, api: SmallApi, kubeconfig: Path) -> None:
    exec_plugin.authenticate(kubeconfig, "east")
    # Each worker has a client of its own.
    for _ in range(3):
        Kube(kubeconfig, "primary").request(READY)
    assert sent(api) == ["Bearer the-token-of-run-1"] * 3
    (info,) = plugin.runs
    assert info["spec"] == {"interactive": False, "cluster": {"server": api.url}}
    assert stat.S_IMODE(kubeconfig.with_name("primary.kubeconfig.credential").stat().st_mode) == 0o600


def test_a_credential_that_ends_is_replaced(plugin: Plugin, api: SmallApi, kubeconfig: Path) -> None:
    plugin.answers(seconds=-5)
    exec_plugin.authenticate(kubeconfig, "east")
    plugin.answers(seconds=3600)
    kube = Kube(kubeconfig, "primary")
    kube.request(READY)
    kube.request(READY)
    assert sent(api) == ["Bearer the-token-of-run-2"] * 2
    assert len(plugin.runs) == 2


def test_a_credential_that_is_refused_is_replaced_once(plugin: Plugin, api: SmallApi, kubeconfig: Path) -> None:
    exec_plugin.authenticate(kubeconfig, "east")
    kube = Kube(kubeconfig, "primary")
    api.failures.append(Failure(1, how=401))
    assert kube.request(READY) == "ok"
    assert sent(api) == ["Bearer the-token-of-run-1", "Bearer the-token-of-run-2"]
    api.failures.append(Failure(9, how=401))
    with pytest.raises(Refused, match="HTTP 401"):
        kube.request(READY)
    assert len(plugin.runs) == 3


def test_a_plug_in_that_fails_later_leaves_its_old_credential(plugin: Plugin, api: SmallApi, kubeconfig: Path) -> None:
    exec_plugin.authenticate(kubeconfig, "east")
    kube = Kube(kubeconfig, "primary")
    kube.request(READY)
    plugin.fails()
    api.failures.append(Failure(1, how=401))
    with pytest.raises(Refused, match="HTTP 401"):
        kube.request(READY)


def test_a_credential_ends_by_the_clusters_clock(plugin: Plugin, api: SmallApi, kubeconfig: Path) -> None:
    exec_plugin.authenticate(kubeconfig, "east")
    # This machine's clock is a day behind the cluster's.
    api.now = datetime.now(UTC).timestamp() + 86400
    kube = Kube(kubeconfig, "primary")
    kube.request(READY)
    assert clock.difference() > timedelta(hours=23)
    kube.request(READY)
    assert sent(api) == ["Bearer the-token-of-run-1", "Bearer the-token-of-run-2"]


def test_a_kubeconfig_without_a_user_asks_as_nobody(api: SmallApi, kubeconfig: Path) -> None:
    content = json.loads(kubeconfig.read_text())
    del content["contexts"][0]["context"]["user"]
    kubeconfig.write_text(json.dumps({**content, "users": []}))
    assert Kube(kubeconfig, "primary").request(READY) == "ok"
    assert "authorization" not in {name.lower() for name in api.asked[0][3]}
    assert os.environ.get("KUBERNETES_EXEC_INFO") is None
