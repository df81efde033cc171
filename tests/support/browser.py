"""Chromium without a window, to look at pages with: by its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Draws every character of the page, and one that no font has, and returns those that look like the latter.
_MISSING_GLYPHS = """(() => {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d", {willReadFrequently: true});
  canvas.width = canvas.height = 24;
  const drawn = text => {
    pen.clearRect(0, 0, 24, 24);
    pen.font = "16px " + getComputedStyle(document.body).fontFamily;
    pen.fillText(text, 2, 18);
    return canvas.toDataURL();
  };
  const tofu = drawn("\\u0378");
  return [...new Set(document.body.textContent)].filter(each => each.trim() && drawn(each) === tofu);
})()"""


class Page:
    """A page that is open in the browser."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = os.fdopen(requests, "wb", buffering=0), os.fdopen(answers, "rb")
        self._number, self._session = 0, ""
        self.problems: list[str] = []  # what the console said, and what was loaded from elsewhere
        self._origin = "file:"
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, file: Path | str, *, width: int, dark: bool) -> None:
        """Open a file, or the address of a server's page, in a window of a width, in CSS pixels."""
        address = file.as_uri() if isinstance(file, Path) else file
        self._origin = "file:" if isinstance(file, Path) else "/".join(address.split("/")[:3])
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=address)
        while self.value("document.readyState") != "complete":
            pass

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60.0) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"{expression} is still {found!r}; {self.problems}"
            time.sleep(0.02)
        return found

    def type(self, text: str) -> None:
        """Type where the focus is."""
        self._call("Input.insertText", text=text)

    def press(self, key: str, code: int, *, control: bool = False) -> None:
        """Press a key, such as Enter with the code 13."""
        for kind in ("rawKeyDown", "char", "keyUp") if key == "Enter" and not control else ("rawKeyDown", "keyUp"):
            more = {"text": "\r"} if kind == "char" else {}
            event = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 2 * control}
            self._call("Input.dispatchKeyEvent", **event, **more)

    def missing_glyphs(self) -> list[str]:
        """Characters of the page that no font has."""
        found: list[str] = self.value(_MISSING_GLYPHS)
        return found

    def screenshot(self, file: Path) -> None:
        """Write the whole page as a picture."""
        picture = self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(picture))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._requests.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer.get("method", ""), answer.get("params", {}))
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        """The next message. They end in a zero byte."""
        message = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has gone"
            message += byte
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.problems.append(json.dumps(told))
        if event == "Network.requestWillBeSent" and not told["request"]["url"].startswith(self._origin):
            self.problems.append(f"loads {told['request']['url']}")


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start the browser with a profile of its own, and open an empty page."""
    assert CHROMIUM is not None
    its_requests, requests = os.pipe()
    answers, its_answers = os.pipe()
    quiet = ["--no-first-run", "--disable-component-update", "--disable-background-networking", "--disable-sync"]
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", *quiet]
    # It reads requests from descriptor 3, and answers on 4.
    script = f'exec "$@" 3<&{its_requests} 4>&{its_answers}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", CHROMIUM, *options, "--remote-debugging-pipe"],
        pass_fds=(its_requests, its_answers),
        stderr=subprocess.DEVNULL,
    )
    os.close(its_requests)
    os.close(its_answers)
    try:
        yield Page(requests, answers)
    finally:
        process.kill()
        process.wait()
