"""A websocket to an API server, with a deadline: the transport of exec and port-forward.

The websocket of the client library has no deadline. It also replaces a method of the shared client while it is open, so
that requests of other threads would be sent through the websocket.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

# In this protocol the first byte of each message is the number of its channel.
_PROTOCOL = "v4.channel.k8s.io"


@contextmanager
def opened(configuration: Any, path: str, query: Sequence[tuple[str, str]], *, within: float) -> Iterator[Any]:
    """Open a websocket with the client library's ``configuration``; raises websocket-client's errors and OSError."""
    import websocket

    socket = websocket.WebSocket(sslopt=_tls(configuration))
    try:
        socket.connect(  # type: ignore[no-untyped-call]  # websocket-client types only a part
            f"{configuration.host.replace('http', 'ws', 1)}{path}?{urlencode(query)}", timeout=within,
            suppress_origin=True, header=_credentials(configuration), subprotocols=[_PROTOCOL],
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


def _credentials(configuration: Any) -> list[str]:
    bearer = configuration.auth_settings().get("BearerToken", {}).get("value")
    return [f"Authorization: {bearer}"] if bearer else []
