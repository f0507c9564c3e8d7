"""Connects to a port of a pod through the API server, because this machine may not reach the network of the pod."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube import api_websocket
from splithorizon.kube.api_websocket import Endpoint

_DATA, _ERROR = 0, 1
# How the kernel of the pod ends a connection: no process listens on the port, or the process closed the connection.
# The rest of the message depends on the container runtime.
_ENDINGS = ("connection refused", "connection reset by peer", "broken pipe")


class Stream:
    """Bytes to and from one port, until a deadline. ``ending`` says how the connection ended, or is empty."""

    def __init__(self, socket: Any, what: str, deadline: float) -> None:
        """Use an open websocket; ``what`` names the port in errors."""
        self.ending = ""
        self._socket = socket
        self._what = what
        self._deadline = deadline
        self._port_received = {_DATA: False, _ERROR: False}

    def send(self, data: bytes) -> None:
        """Send bytes; they are lost if the connection has ended, which ``receive`` then reports."""
        import websocket

        self._socket.settimeout(self._left())
        try:
            self._socket.send_binary(bytes([_DATA]) + data)
        except websocket.WebSocketTimeoutException:
            raise self._timeout() from None
        except (websocket.WebSocketException, OSError):
            return

    def receive(self) -> bytes:
        """Wait for bytes; an empty result means that the connection has ended.

        Raises EnvironmentBroke if the port is not reached, or if neither bytes nor an end come in time.
        """
        import websocket

        while not self.ending:
            self._socket.settimeout(self._left())
            try:
                opcode, data = self._socket.recv_data()
            except websocket.WebSocketTimeoutException:
                raise self._timeout() from None
            except (websocket.WebSocketException, OSError):
                opcode, data = websocket.ABNF.OPCODE_CLOSE, b""
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                self.ending = "closed"
            elif payload := self._payload(data):
                return payload
        return b""

    def _payload(self, message: bytes) -> bytes:
        """The payload of a message; the first message of each channel begins with the number of the port."""
        channel, payload = message[0], message[1:]
        if not self._port_received[channel]:
            self._port_received[channel] = True
            (_,) = struct.unpack("<H", payload[:2])
            payload = payload[2:]
        if channel == _DATA or not payload:
            return payload
        message_text = payload.decode(errors="replace").strip()
        self.ending = next((ending for ending in _ENDINGS if ending in message_text), "")
        if not self.ending:
            raise EnvironmentBroke(f"{self._what} is not reached", seen=message_text)
        return b""

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())

    def _timeout(self) -> EnvironmentBroke:
        return EnvironmentBroke(f"{self._what} timed out: no answer, no refusal and no end of the connection")


@contextmanager
def opened(endpoint: Endpoint, path: str, port: int, *, what: str, within: float) -> Iterator[Stream]:
    """Connect to a port of the pod whose ``portforward`` subresource is ``path``; ends within ``within`` seconds.

    Raises EnvironmentBroke if the API server or the kubelet refuses.
    """
    import websocket

    deadline = time.monotonic() + within
    try:
        with api_websocket.opened(endpoint, path, [("ports", str(port))], within=within) as socket:
            yield Stream(socket, what, deadline)
    except (websocket.WebSocketException, OSError) as error:
        raise EnvironmentBroke(f"{what} is not reached", seen=api_websocket.reason(error)) from None
