"""A connection to a port of a pod through the API server: where the pod's network is out of our reach."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.kube import api_websocket

_DATA, _ERROR = 0, 1
# How the pod's own kernel ends a connection: nobody listens, or who listened wants no more. The rest of such a
# sentence is the container runtime's, and differs.
_ENDINGS = ("connection refused", "connection reset by peer", "broken pipe")


class Stream:
    """Bytes to and from one port, until a deadline. ``ending`` tells how it came to its end, once it has."""

    def __init__(self, socket: Any, what: str, deadline: float) -> None:
        """Take a websocket that is open; ``what`` names the port in errors."""
        self.ending = ""
        self._socket = socket
        self._what = what
        self._deadline = deadline
        self._told_port = {_DATA: False, _ERROR: False}

    def send(self, data: bytes) -> None:
        """Send bytes; those that the other side no longer takes are lost, and ``receive`` tells its end."""
        import websocket

        self._socket.settimeout(self._left())
        try:
            self._socket.send_binary(bytes([_DATA]) + data)
        except websocket.WebSocketTimeoutException:
            raise self._late() from None
        except (websocket.WebSocketException, OSError):
            return

    def receive(self) -> bytes:
        """Wait for bytes; none at all is the end.

        Raises EnvironmentBroke where the port is not reached, or neither answers nor ends in time.
        """
        import websocket

        while not self.ending:
            self._socket.settimeout(self._left())
            try:
                opcode, data = self._socket.recv_data()
            except websocket.WebSocketTimeoutException:
                raise self._late() from None
            except (websocket.WebSocketException, OSError):
                opcode, data = websocket.ABNF.OPCODE_CLOSE, b""
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                self.ending = "closed"
            elif payload := self._payload(data):
                return payload
        return b""

    def _payload(self, message: bytes) -> bytes:
        """What a message brings; each channel's first one has the port's number alone."""
        channel, payload = message[0], message[1:]
        if not self._told_port[channel]:
            self._told_port[channel] = True
            (_,) = struct.unpack("<H", payload[:2])
            payload = payload[2:]
        if channel == _DATA or not payload:
            return payload
        said = payload.decode(errors="replace").strip()
        self.ending = next((ending for ending in _ENDINGS if ending in said), "")
        if not self.ending:
            raise EnvironmentBroke(f"{self._what} is not reached", seen=said)
        return b""

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())

    def _late(self) -> EnvironmentBroke:
        return EnvironmentBroke(f"{self._what} stays silent: no answer, no refusal and no end")


@contextmanager
def opened(configuration: Any, path: str, port: int, *, what: str, within: float) -> Iterator[Stream]:
    """Connect to a port of the pod whose ``portforward`` is at ``path``; all of it ends ``within`` seconds.

    Raises EnvironmentBroke where the API server or the kubelet does not let us.
    """
    import websocket

    deadline = time.monotonic() + within
    try:
        with api_websocket.opened(configuration, path, [("ports", str(port))], within=within) as socket:
            yield Stream(socket, what, deadline)
    except (websocket.WebSocketException, OSError) as error:
        raise EnvironmentBroke(f"{what} is not reached", seen=api_websocket.reason(error)) from None
