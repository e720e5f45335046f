"""The real shim as a process, with a policy, upstreams and a home of its own; a client that sees a short answer.

A traceback in what it says fails whoever stops it: whatever a client or an upstream sends, it must have an answer.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import tomli_w

from tests.simulators.command_line import CHECKOUT, plain_environment
from trust.policy import Stanza

if TYPE_CHECKING:
    from typing_extensions import Self

STARTS_IN_SECONDS = 30.0
ENDS_IN_SECONDS = 40.0
PATIENCE_SECONDS = 20.0
_SERVES = "trust-shim serves on "


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer as a client has it; ``is_whole``: as many bytes came as were promised."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    is_whole: bool = True

    @property
    def error(self) -> dict[str, Any]:
        """The one error of a refusal."""
        (error,) = json.loads(self.body)["errors"]
        assert isinstance(error, dict)
        return error

    @property
    def reason(self) -> str:
        """The reason of a refusal, which stands in its detail and begins its message."""
        error = self.error
        reason = error["detail"]["reason"]
        assert error["message"].startswith(f"{reason}: "), error
        return str(reason)


def until(holds: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> Any:
    """Return the first true value of ``holds``, asked again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = holds()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"it did not come about in {seconds} s: {what}")


def policy_text(*stanzas: Stanza, deny: Mapping[str, Any] | None = None, pinned: list[Any] | None = None) -> str:
    """Return the policy of ``stanzas``."""
    return tomli_w.dumps(
        {
            "schema": 1,
            **({"deny": dict(deny)} if deny else {}),
            **({"pinned": pinned} if pinned else {}),
            "collection": [_stanza(stanza) for stanza in stanzas],
        }
    )


def _stanza(stanza: Stanza) -> dict[str, Any]:
    return {
        "name": str(stanza.collection),
        "root": str(stanza.root),
        "metadata": stanza.metadata,
        "digests": stanza.digests,
        "mode": stanza.mode,
        "max_age": f"{int(stanza.max_age.total_seconds()) or 1}s",
        **({"registries": list(stanza.registries)} if stanza.registries else {}),
    }


@dataclass(kw_only=True)
class Shim:
    """A shim below ``folder``; ``settings`` are further keys of its configuration. A context manager.

    ``moves_clock``: its clock runs as ``set_clock`` says.
    """

    folder: Path
    policy: str
    upstreams: list[dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    moves_clock: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.home = self.folder / "shim"
        self.policy_file = self.folder / "policy.toml"
        self.policy_file.write_text(self.policy)
        self.config_file = self.folder / "shim.toml"
        self.log_file = self.folder / "shim.log"
        self.decision_log = self.folder / "decisions.jsonl"
        self._clock_file = self.folder / "clock"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(forgives=kind is not None)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """Everything that it said so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """What its log of decisions holds so far."""
        lines = self.decision_log.read_bytes().split(b"\n")[:-1] if self.decision_log.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def process_id(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers."""
        children = Path(f"/proc/{self.process_id}/task/{self.process_id}/children")
        return [int(child) for child in children.read_text().split()]

    def write_config(self) -> None:
        """Write the configuration that ``start`` uses."""
        document = {
            "listen": "127.0.0.1:0",
            "home": str(self.home),
            "policy": str(self.policy_file),
            "decisions": str(self.decision_log),
            "default": self.upstreams[0]["name"],
            **self.settings,
            "upstream": self.upstreams,
        }
        self.config_file.write_text(tomli_w.dumps(document))

    def launch(self) -> None:
        """Start it, whether it comes to serve or not."""
        self.write_config()
        environment = {**plain_environment(), "HOME": str(self.folder), **self.environment}
        if self.moves_clock:
            self.set_clock(0)
            environment |= {
                "LD_PRELOAD": str(_libfaketime()),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("trust-shim")), "serve", "--config", str(self.config_file)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=CHECKOUT,
            )  # fmt: skip

    def start(self) -> None:
        """Have it serving after this."""
        before = len(self.said)
        self.launch()
        process = self.process
        assert process is not None

        def has_started() -> bool:
            assert process.poll() is None, f"the shim did not start: {self.said[before:]}"
            return _SERVES in self.said[before:]

        until(has_started, "the shim serves", seconds=STARTS_IN_SECONDS)
        line = next(line for line in self.said[before:].splitlines() if line.startswith(_SERVES))
        self.port = int(line.rpartition(":")[2])

    def stop(self, *, number: int = signal.SIGTERM, forgives: bool = False) -> None:
        """End it and require that it ended well and never stumbled."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(ENDS_IN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        if not forgives:
            for sign in ("Traceback", "never retrieved"):
                before, found, after = self.said.partition(sign)
                assert not found, before[-300:] + found + after[:3000]
            assert code == (0 if number == signal.SIGTERM else -number), self.said[-3000:]

    def set_clock(self, ahead_seconds: float) -> None:
        """Have its clock that far ahead of this machine's from now on."""
        new = self._clock_file.with_suffix(".new")
        new.write_text(f"{ahead_seconds:+.0f}\n")
        new.rename(self._clock_file)

    def write_policy(self, text: str) -> None:
        """Replace the policy, as an editor does."""
        new = self.policy_file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.policy_file)

    def ask(self, target: str, method: str = "GET", **headers: str) -> Reply:
        """Return the answer; header names have ``_`` for ``-``."""
        return ask(self.port, target, method, **headers)

    def raw(self, data: bytes, *, seconds: float = 10.0) -> bytes:
        """Return what came after ``data`` was sent, until the shim closed or said no more for a while."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(data)
            return receive_all(connection)


def receive_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side ends, breaks off or falls silent."""
    got = b""
    try:
        while data := connection.recv(65536):
            got += data
    except OSError:
        pass
    return got


def ask(port: int, target: str, method: str = "GET", **headers: str) -> Reply:
    """Return what the server on ``port`` of this machine answers, as far as it came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        body, is_whole = _read(response)
        return Reply(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=body,
            is_whole=is_whole,
        )
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse) -> tuple[bytes, bool]:
    got = b""
    try:
        while data := response.read1(65536):
            got += data
    except (OSError, http.client.IncompleteRead):
        return got, False
    return got, not response.length


def _libfaketime() -> Path:
    program = shutil.which("faketime")
    assert program is not None, "faketime is not on PATH: run the tests through scripts/test"
    folder = re.search(r"LD_PRELOAD=(/\S+)/\$library", Path(program).read_text(errors="replace"))
    assert folder is not None, f"no libfaketime in {program}"
    return Path(folder[1]) / "libfaketimeMT.so.1"


def is_alive(process_id: int) -> bool:
    """Tell whether the process runs: neither gone nor a zombie."""
    try:
        os.kill(process_id, 0)
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
