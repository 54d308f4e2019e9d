"""A headless Chromium, driven through chromedriver by the WebDriver protocol (https://w3.org/TR/webdriver2)."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""Key of an element's reference in the protocol."""
KEYS = {
    "ArrowRight": "\ue014",
    "ArrowLeft": "\ue012",
    "Home": "\ue011",
    "End": "\ue010",
    "Tab": "\ue004",
    "Enter": "\ue007",
}


class Browser:
    """One window."""

    def __init__(self, port: int, profile: Path) -> None:
        self._port = port
        options = {"binary": CHROMIUM, "args": [*SWITCHES, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def close(self) -> None:
        """Close the window and with it Chromium."""
        self._ask("DELETE", f"/session/{self._session}")

    def open(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._tell("url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self._tell("execute/sync", script=script, args=list(arguments))

    def resize(self, width: int, height: int) -> None:
        """Give the page a viewport of so many CSS pixels: a window of Chromium cannot be narrower than 500."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", **metrics)

    def press(self, key: str) -> None:
        """Press a key by its name in KEYS, where the focus is."""
        strokes = [{"type": kind, "value": KEYS[key]} for kind in ("keyDown", "keyUp")]
        self._tell("actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def point_at(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the mouse to a place in the window, and click there."""
        moves: list[dict[str, Any]] = [{"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}]
        moves += [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")] if click else []
        self._tell("actions", actions=[{"type": "pointer", "id": "mouse", "actions": moves}])

    def click(self, selector: str) -> None:
        """Click on the first element that a CSS selector names."""
        found = self._tell("element", using="css selector", value=selector)
        self._tell(f"element/{found[ELEMENT]}/click")

    def messages(self) -> list[str]:
        """Return what the console has said since the last call."""
        return [entry["message"] for entry in self._tell("se/log", type="browser")]

    def emulate(self, media: str) -> None:
        """Show the page as on 'screen' or in 'print'."""
        self._devtools("Emulation.setEmulatedMedia", media=media)

    def printed(self) -> bytes:
        """Return the page as PDF."""
        return base64.b64decode(self._tell("print"))

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save a picture of the window, or of the whole page."""
        shot = self._devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _devtools(self, method: str, **params: Any) -> Any:
        return self._tell("goog/cdp/execute", cmd=method, params=params)

    def _tell(self, command: str, **body: Any) -> Any:
        return self._ask("POST", f"/session/{self._session}/{command}", body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = json.loads(connection.getresponse().read())["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{path}: {answer['error']}: {answer['message']}")
        return answer


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start chromedriver and one window, with its profile in the folder, and end both afterwards."""
    assert CHROMEDRIVER is not None
    driver = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        window = Browser(_port(driver.stdout or ()), profile)
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait(timeout=30)
        if driver.stdout:
            driver.stdout.close()


def _port(lines: Iterator[str] | Sequence[str] | Any) -> int:
    for line in lines:
        if found := re.search(r"started successfully on port (\d+)", line):
            return int(found.group(1))
    raise AssertionError("chromedriver did not start")
