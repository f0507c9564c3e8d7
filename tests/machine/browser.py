"""A headless Chromium, driven by its DevTools protocol: what a page logs, what it measures, how it looks."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)  # fmt: skip
_WITHIN = 120


class Page:
    """One tab. ``logged`` are the console messages, errors and violations of policies since it was opened."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=_WITHIN, suppress_origin=True)
        self._number = 0
        self.logged: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, file: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.logged.clear()
        self._ask("Page.navigate", url=file.resolve().as_uri())
        while self.evaluate("document.readyState + location.protocol") != "completefile:":
            pass

    def looks(self, *, width: int, height: int = 1600, dark: bool = False) -> None:
        """Give the window a size, and the user a preference for dark or light."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", features=features)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self._ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press_tab(self) -> str:
        """Press the tabulator, and return the name of the element that has the focus then."""
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        return str(self.evaluate("document.activeElement.tagName"))

    def screenshot(self, file: Path) -> bytes:
        """Write a picture of the whole page, and return it."""
        taken = self._ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(taken))
        return file.read_bytes()

    def close(self) -> None:
        self._socket.close()

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                self.logged.append(json.dumps(message["params"]))
            if message.get("id") == self._number:
                assert "error" not in message, (method, message)
                return dict(message["result"])


@contextmanager
def chromium(program: str, folder: Path) -> Iterator[Page]:
    """A tab of a browser that was started for it, with a profile in a folder."""
    with subprocess.Popen(
        [program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"ws://127\.0\.0\.1:(\d+)/", line):
                    break
            else:
                raise AssertionError("".join(said))
            request = urllib.request.Request(f"http://127.0.0.1:{found[1]}/json/new?about:blank", method="PUT")
            with urllib.request.urlopen(request, timeout=_WITHIN) as answer:
                page = Page(json.load(answer)["webSocketDebuggerUrl"])
            try:
                yield page
            finally:
                page.close()
        finally:
            process.terminate()
