"""A headless Chromium, driven through a pair of pipes: the DevTools protocol without a client."""

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PATIENCE_S = 30.0
# What is said of a script whose page makes way for the next.
_MOVED_ON = ("navigated", "context was destroyed", "find context", "default execution context")


class MovedOnError(Exception):
    """The page went away before a script had run in it."""


def path() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One page of a browser."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._held = b""
        self._serial = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.expected: list[str] = []  # parts of those that a test brings about
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        self._serial += 1
        message = {"id": self._serial, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            self._note(answer)
            if answer.get("id") == self._serial:
                error = answer.get("error", {}).get("message", "")
                if any(sign in error for sign in _MOVED_ON):
                    raise MovedOnError(error)
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Return the first true value of a script; fail if it never is."""
        until_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until_s:
            with suppress(MovedOnError):
                value = self.evaluate(
                    f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()"
                )
                if value:
                    return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}; {self.problems}")

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(taken["data"]))

    def _note(self, message: Any) -> None:
        """Keep what the page complains of: exceptions, refusals by its policy, missing files."""
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(message["params"]["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded":
            entry = message["params"]["entry"]
            if entry["level"] == "error":
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    def _read(self) -> Any:
        while b"\0" not in self._held:
            data = os.read(self._reader, 1 << 16)
            assert data, "the browser has ended"
            self._held += data
        message, _, self._held = self._held.partition(b"\0")
        return json.loads(message)


@contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own; it ends with the block, and all its processes."""
    executable = path()
    assert executable is not None
    to_browser, writer = os.pipe()
    reader, from_browser = os.pipe()
    # The browser reads from 3 and writes to 4.
    command = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$0" "$@"'
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    flags += ["--no-first-run", "--disable-extensions", "--remote-debugging-pipe"]
    process = subprocess.Popen(
        ["/bin/bash", "-c", command, executable, *flags, f"--user-data-dir={profile}"],
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Tab(reader, writer)
    finally:
        os.close(writer)
        os.close(reader)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
