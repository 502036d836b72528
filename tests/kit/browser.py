"""A real browser, headless: Chromium driven by its own debugging protocol, with real mouse clicks."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import websocket

from tests.kit.servers import free_ports
from tests.kit.waiting import wait_for

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One tab; a context manager."""

    def __init__(self) -> None:
        assert PROGRAM is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        (self._port,) = free_ports(1)
        self._process = subprocess.Popen(
            [
                PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                f"--remote-debugging-port={self._port}", f"--user-data-dir={self._profile.name}",
                "--remote-allow-origins=*", "--window-size=1200,1400", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._number = 0
        wait_for(self._tabs, 30, "the browser starts")
        address = self._tabs()[0]["webSocketDebuggerUrl"]
        self._socket = websocket.create_connection(address, timeout=20)
        self.problems: list[str] = []
        """Errors that the page's own console told of."""
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        os.killpg(self._process.pid, signal.SIGKILL)  # its helpers as well
        self._process.wait()
        self._profile.cleanup()

    def _tabs(self) -> list[dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/json", timeout=2) as found:
                tabs: list[dict[str, Any]] = json.load(found)
        except OSError:
            return []
        return [tab for tab in tabs if tab["type"] == "page"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; events that come in between are kept if they are errors."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._take_event(answer)

    def _take_event(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"])[:500])
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])

    def open(self, url: str) -> None:
        """Go there."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        """What an element shows; empty when there is none."""
        quoted = json.dumps(selector)
        return str(self.evaluate(f"document.querySelector({quoted})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element."""
        quoted = json.dumps(selector)
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({quoted}); e.scrollIntoView();"
            " const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        assert box, selector
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1],
                button="left", clickCount=1,
            )  # fmt: skip

    def type(self, selector: str, text: str) -> None:
        """Click into a field, replace what it holds, and press Enter."""
        self.click(selector)
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter",
                windowsVirtualKeyCode=13, text="\r" if kind == "keyDown" else "",
            )  # fmt: skip

    def prefer(self, scheme: str) -> None:
        """Let the page believe that the user likes ``light`` or ``dark``."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path: Path) -> None:
        """What it looks like now."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
