"""Makes the client library's client of one kubeconfig as kubectl would: credentials, proxy and impersonation.

Credentials may end: those of an exec plug-in, and the token in a file, which a kubelet replaces. The client is made
again then.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from splithorizon.base import clock
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube import credentials, exec_plugin
from splithorizon.kube.exec_plugin import Credential

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# The client library keeps one table per process of the files that it has written, without a lock.
_CONNECTING = threading.Lock()


class Connection:
    """The client for a kubeconfig with one context. Threads can share it; nothing is read before the first request."""

    def __init__(self, kubeconfig: Path, cluster: str) -> None:
        """Set the kubeconfig and the cluster's name for messages."""
        self._kubeconfig = kubeconfig
        self._cluster = cluster
        self._mutex = threading.Lock()
        self._client: Any = None
        self._content: Mapping[str, Any] = {}
        self._credential: Credential | None = None
        self._token_file: tuple[int, int] | None = None
        self._is_refused = False

    def client(self) -> Any:
        """The library's client, with credentials that have not ended. Raises EnvironmentBroke for a bad kubeconfig."""
        with self._mutex:
            if self._client is None or self._is_stale():
                self._client = self._connected()
            return self._client

    def renew(self) -> bool:
        """Get another credential after the server refused this one; whether there is another one."""
        with self._mutex:
            if self._token_file is None and exec_plugin.plugin_of(self._content) is None:
                return False
            before = (self._credential, self._token())
            self._is_refused = True
            self._client = self._connected()
            self._is_refused = False
            return (self._credential, self._token()) != before

    @property
    def impersonation(self) -> Sequence[tuple[str, str]]:
        """The headers by which the user acts as another one, as kubectl sends them; none for most users."""
        self.client()
        return list(_impersonation(self._user))

    @property
    def _user(self) -> Mapping[str, Any]:
        users = self._content.get("users") or [{}]
        user: Mapping[str, Any] = users[0].get("user") or {}
        return user

    def _token(self) -> str:
        return str(self._client.configuration.api_key.get("BearerToken", "")) if self._client is not None else ""

    def _is_stale(self) -> bool:
        if self._credential is not None:
            return self._credential.expired(clock.now())
        if (file := self._user.get("tokenFile")) and not self._user.get("token"):
            try:
                return exec_plugin.stat_of(Path(file)) != self._token_file
            except OSError:
                return False
        return False

    def _connected(self) -> Any:
        try:
            self._content = yaml.safe_load(self._kubeconfig.read_text()) or {}
            self._check_proxy()
            content = self._with_credential()
            with _CONNECTING:
                return self._made(content)
        except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, yaml.YAMLError) as error:
            raise self._unusable(str(error)) from None

    def _with_credential(self) -> dict[str, Any]:
        """The kubeconfig as the library takes it: what a plug-in gave in place of the plug-in."""
        content = dict(self._content)
        user = dict(self._user)
        if user.get("tokenFile") and not user.get("token"):
            # Before the token is read: one that is replaced meanwhile is read again.
            self._token_file = exec_plugin.stat_of(Path(user["tokenFile"]))
        if exec_plugin.plugin_of(self._content) is not None:
            del user["exec"]
            refused = self._credential if self._is_refused else None
            self._credential = exec_plugin.renewed(self._kubeconfig, self._content, since=refused)
            if self._credential is None:
                raise self._unusable("its exec plug-in gives no credential")
            user |= _as_user(self._credential)
        if self._content.get("users"):
            content["users"] = [{**self._content["users"][0], "user": user}]
        return content

    def _made(self, content: dict[str, Any]) -> Any:
        from kubernetes import client, config, dynamic

        configuration = client.Configuration()
        try:
            # The library copies the client's key into a file (0600). It has to be in the folder of the run, because
            # a killed run would leave it behind in the temporary folder.
            config.load_kube_config_from_dict(  # type: ignore[no-untyped-call]  # the library has few types
                content, client_configuration=configuration,
                persist_config=False, temp_file_path=str(self._kubeconfig.parent),
            )  # fmt: skip
        except config.ConfigException as error:
            raise self._unusable(str(error)) from None
        # A token ends with this client, and a new client is made.
        configuration.refresh_api_key_hook = None
        # By default urllib3 retries three times, each time with the full deadline.
        configuration.retries = False
        if self._proxy():
            # As for kubectl, a proxy of the kubeconfig holds for every address, and one of the environment does not.
            configuration.no_proxy = None
        elif urlsplit(configuration.host).hostname in _LOOPBACK:
            # A proxy of the environment cannot reach the loopback address of this machine.
            configuration.proxy = None
        for value in configuration.api_key.values():
            credentials.keep(self._kubeconfig.parent, value.rpartition(" ")[2].encode())
        if configuration.key_file:
            credentials.keep(self._kubeconfig.parent, Path(configuration.key_file).read_bytes())
        api = client.ApiClient(configuration)
        if headers := list(_impersonation(self._user)):
            _add_headers(api.rest_client.pool_manager, headers)
        return dynamic.DynamicClient(api, discoverer=lambda *_: None)  # type: ignore[no-untyped-call]  # as above

    def _proxy(self) -> str:
        cluster = (self._content.get("clusters") or [{}])[0].get("cluster") or {}
        return str(cluster.get("proxy-url") or "")

    def _check_proxy(self) -> None:
        scheme = urlsplit(self._proxy()).scheme if self._proxy() else "http"
        if scheme not in ("http", "socks5", "socks5h"):
            raise self._unusable(f"proxy-url {self._proxy()}: only proxies of http and socks5 are supported")

    def _unusable(self, why: str) -> EnvironmentBroke:
        return EnvironmentBroke(f"the {self._cluster} cluster's kubeconfig {self._kubeconfig} cannot be used", seen=why)


def _as_user(credential: Credential) -> dict[str, str]:
    found = {"token": credential.token} if credential.token else {}
    if credential.certificate:
        found["client-certificate-data"] = base64.b64encode(credential.certificate.encode()).decode()
        found["client-key-data"] = base64.b64encode(credential.key.encode()).decode()
    return found


def _impersonation(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The headers of the API server's impersonation; groups and extras repeat theirs."""
    if user.get("as"):
        yield "Impersonate-User", str(user["as"])
    if user.get("as-uid"):
        yield "Impersonate-Uid", str(user["as-uid"])
    for group in user.get("as-groups") or ():
        yield "Impersonate-Group", str(group)
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(str(key).lower(), safe='')}", str(value)


def _add_headers(pool: Any, headers: Sequence[tuple[str, str]]) -> None:
    """Let every request of a pool have more headers; the library's own table of headers takes each name once."""
    from urllib3 import HTTPHeaderDict

    request = pool.request

    def send(method: str, url: str, *, headers: Any = None, **more: Any) -> Any:
        every = HTTPHeaderDict(headers or {})
        for name, value in added:
            every.add(name, value)
        return request(method, url, headers=every, **more)

    added = tuple(headers)
    pool.request = send
