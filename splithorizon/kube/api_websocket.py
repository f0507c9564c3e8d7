"""A websocket to an API server, with a deadline: the transport of exec and port-forward.

The websocket of the client library has no deadline. It also replaces a method of the shared client while it is open, so
that requests of other threads would be sent through the websocket.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

# In this protocol the first byte of each message is the number of its channel.
_PROTOCOL = "v4.channel.k8s.io"


# websocket-client bypasses a proxy for its own list of hosts where it is given none.
_NO_HOST = ("-",)


@dataclass(frozen=True)
class Endpoint:
    """An API server by the client library's configuration, and the headers by which the user acts as another one."""

    configuration: Any
    impersonation: Sequence[tuple[str, str]] = ()


@contextmanager
def opened(endpoint: Endpoint, path: str, query: Sequence[tuple[str, str]], *, within: float) -> Iterator[Any]:
    """Open a websocket as the other requests are sent: with the same credentials, by the same proxy.

    Raises websocket-client's errors and OSError.
    """
    import websocket

    configuration = endpoint.configuration
    headers = [*_credentials(configuration), *(f"{name}: {value}" for name, value in endpoint.impersonation)]
    socket = websocket.WebSocket(sslopt=_tls(configuration))
    try:
        socket.connect(  # type: ignore[no-untyped-call]  # websocket-client types only a part
            f"{configuration.host.replace('http', 'ws', 1)}{path}?{urlencode(query)}", timeout=within,
            suppress_origin=True, header=headers, subprotocols=[_PROTOCOL], **_proxy(configuration, within),
        )  # fmt: skip
        yield socket
    finally:
        socket.shutdown()  # type: ignore[no-untyped-call]  # as above


def reason(error: Exception) -> str:
    """The message of the server's Status object, or else the error itself; never the headers of the request."""
    body = getattr(error, "resp_body", None)
    try:
        return str(json.loads(body or b"")["message"])
    except (KeyError, TypeError, ValueError):
        return f"{type(error).__name__}: {error}"


def _tls(configuration: Any) -> dict[str, Any]:
    import ssl

    options = {
        "ca_certs": configuration.ssl_ca_cert,
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
        "check_hostname": configuration.assert_hostname,
        "cert_reqs": None if configuration.verify_ssl else ssl.CERT_NONE,
    }
    return {name: value for name, value in options.items() if value is not None}


def _proxy(configuration: Any, within: float) -> dict[str, Any]:
    """The proxy of the kubeconfig or the environment, as websocket-client takes it."""
    if not configuration.proxy or configuration.no_proxy:
        # It looks into the environment by itself.
        return {}
    proxy = urlsplit(configuration.proxy)
    found: dict[str, Any] = {
        "http_proxy_host": proxy.hostname,
        "http_proxy_port": proxy.port or (80 if proxy.scheme == "http" else 1080),
        "proxy_type": proxy.scheme,
        "http_proxy_timeout": within,
        "http_no_proxy": list(_NO_HOST),
    }
    if proxy.username:
        found["http_proxy_auth"] = (unquote(proxy.username), unquote(proxy.password or ""))
    return found


def _credentials(configuration: Any) -> list[str]:
    bearer = configuration.auth_settings().get("BearerToken", {}).get("value")
    return [f"Authorization: {bearer}"] if bearer else []
