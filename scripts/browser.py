"""A browser without a screen, driven over a pair of pipes: for tests of pages and pictures of them.

It speaks the DevTools protocol: one JSON document after the other, each ended by a zero byte. Nothing listens on
a port, and the profile is gone afterwards.
"""

import base64
import fcntl
import json
import os
import selectors
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_PROGRAM = "chromium-headless-shell"
_DEADLINE_SECONDS = 30.0
_FLAGS = (
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--no-proxy-server",
)


class BrowserError(Exception):
    """The browser did not do what it was asked for, or not in time."""


class RefusedError(BrowserError):
    """The browser answered that it cannot, as it does for a moment whenever a page gives way to another."""


@dataclass(slots=True, kw_only=True)
class Tab:
    """One page; ``events`` holds what the browser told of it unasked."""

    _write: int
    _read: int
    session: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 0
    _buffer: bytes = b""

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - the protocol's
        """Return the result of a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            answer = self._next(deadline)
            if answer.get("id") != self._number:
                self.events.append(answer)
            elif "error" in answer:
                raise RefusedError(f"{method}: {answer['error']}")
            else:
                found: dict[str, Any] = answer["result"]
                return found

    def open(
        self, url: str, *, width: int = 1200, height: int = 900, script: bool = True, dark: bool = False
    ) -> None:
        """Show ``url``, once it is loaded; ``script`` says whether its scripts run."""
        for domain in ("Page", "Runtime", "Log"):
            self.do(f"{domain}.enable")
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        self.do("Emulation.setScriptExecutionDisabled", value=not script)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])
        self.do("Page.navigate", url=url)
        self.wait_for("document.readyState !== 'loading' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:  # noqa: ANN401 - whatever JSON it is
        """Return what a JavaScript expression gives."""
        result = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RefusedError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Return once ``expression`` is true."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        said = "false"
        while time.monotonic() < deadline:
            try:
                if self.value(expression):
                    return
            except RefusedError as err:
                said = str(err)
            time.sleep(0.05)
        raise BrowserError(f"not true within {_DEADLINE_SECONDS} seconds: {expression}: {said}")

    def picture(self) -> bytes:
        """Return what is seen, as PNG, from the top of the page to its end."""
        taken = self.do("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(taken["data"])

    def complaints(self) -> list[str]:
        """Return every error that the page caused: blocked by its policy, not found, or thrown."""
        self.value("0")
        said = []
        for event in self.events:
            parameters = event.get("params", {})
            entry = parameters.get("entry", {})
            if event.get("method") == "Log.entryAdded" and entry.get("level") in {"error", "warning"}:
                said.append(f"{entry.get('text')} {entry.get('url', '')}")
            elif event.get("method") == "Runtime.exceptionThrown":
                said.append(str(parameters["exceptionDetails"]))
        return said

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            with selectors.DefaultSelector() as selector:
                selector.register(self._read, selectors.EVENT_READ)
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise BrowserError(f"no answer within {_DEADLINE_SECONDS} seconds")
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise BrowserError("the browser has ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        document: dict[str, Any] = json.loads(message)
        return document


@contextmanager
def tab() -> Iterator[Tab]:
    """Give a page of a new browser, which ends with it."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        pid = _started([*_FLAGS, f"--user-data-dir={profile}", "about:blank"], theirs_in, theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            page = Tab(_write=ours_out, _read=ours_in)
            targets = page.do("Target.getTargets")["targetInfos"]
            target = next(each["targetId"] for each in targets if each["type"] == "page")
            page.session = page.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            yield page
        finally:
            os.close(ours_out)
            os.close(ours_in)
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def _started(arguments: list[str], commands: int, answers: int) -> int:
    """Return the process of a browser that reads descriptor 3 and writes 4: it asks for just these numbers."""
    apart = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (commands, answers)]
    moves = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(apart, 3)]
    silent = (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)
    try:
        return os.posix_spawnp(_PROGRAM, [_PROGRAM, *arguments], os.environ, file_actions=[*moves, silent])
    finally:
        for fd in apart:
            os.close(fd)
