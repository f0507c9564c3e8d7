"""Runs a command in a container through the API server's websocket, with a deadline on all of it.

The client library's own stream connects and reads without one, and borrows the shared client for
as long, so that other threads' requests would go down the websocket.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from splithorizon.errors import EnvironmentBroke

_STDOUT, _STDERR, _STATUS = 1, 2, 3
_PROTOCOL = "v4.channel.k8s.io"


def run(
    configuration: Any, path: str, query: Sequence[tuple[str, str]], *, what: str, within: float
) -> tuple[str, str, int]:
    """Run the command that ``query`` names; return standard output, standard error, exit status.

    ``what`` names it in errors. Raises EnvironmentBroke where it cannot be run, is cut off or has
    not ended ``within`` seconds; it then goes on in the container, for Kubernetes cannot stop it.
    """
    import websocket

    deadline = time.monotonic() + within
    channels = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    socket = websocket.WebSocket(sslopt=_tls(configuration))
    try:
        socket.connect(  # type: ignore[no-untyped-call]  # websocket-client types only a part
            _url(configuration.host, path, query), timeout=within, suppress_origin=True,
            header=_credentials(configuration), subprotocols=[_PROTOCOL],
        )  # fmt: skip
        while True:
            socket.settimeout(max(0.001, deadline - time.monotonic()))
            opcode, data = socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                break
            if data:
                channels[data[0]] += data[1:]
    except websocket.WebSocketTimeoutException:
        seen = (channels[_STDERR] or channels[_STDOUT])[-300:].decode(errors="replace")
        raise EnvironmentBroke(f"{what} has not ended within {within:g} s", seen=seen) from None
    except (websocket.WebSocketException, OSError) as error:
        if not channels[_STATUS]:
            raise EnvironmentBroke(f"{what} could not be run", seen=_reason(error)) from None
    finally:
        socket.shutdown()  # type: ignore[no-untyped-call]  # as above
    status = _exit_status(bytes(channels[_STATUS]), what)
    stdout, stderr = (channels[channel].decode(errors="replace") for channel in (_STDOUT, _STDERR))
    return stdout, stderr, status


def _url(host: str, path: str, query: Sequence[tuple[str, str]]) -> str:
    streams = [("stdout", "true"), ("stderr", "true")]
    return f"{host.replace('http', 'ws', 1)}{path}?{urlencode([*query, *streams])}"


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


def _exit_status(answer: bytes, what: str) -> int:
    """Read the Status that ends the stream; raises EnvironmentBroke where nothing was run."""
    status = json.loads(answer or b"{}")
    if status.get("status") == "Success":
        return 0
    for cause in status.get("details", {}).get("causes", []):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    seen = status.get("message", "the stream was cut off")
    raise EnvironmentBroke(f"{what} could not be run", seen=seen)


def _reason(error: Exception) -> str:
    """Find the server's own words, where the refusal came with any; never the request's headers."""
    body = getattr(error, "resp_body", None)
    try:
        return str(json.loads(body or b"")["message"])
    except (KeyError, TypeError, ValueError):
        return f"{type(error).__name__}: {error}"
