"""Owns runc and crun: both take an OCI runtime configuration and the same commands.

Their state lies in ``TRUST_HOME/engines/NAME``, so that a container is found again whoever started it and
whatever happened to that process. An engine's failures are read from its own log: its exit status is the
container's.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from trust.errors import UnavailableError
from trust.runtime.bundle import Bundle, runtime_config
from trust.runtime.disk import make_private_directory, write_document
from trust.runtime.engine import Streams, ask, exit_status, forwarded_signals, launch
from trust.runtime.overlay import WritableRoot

_LOG = "engine.log"
_LOG_MAX_BYTES = 64 * 1024
_RUNNING = frozenset({"running", "created", "paused", "pausing"})


class OciEngine:
    """One program that speaks the OCI runtime command line; ``name`` is ``runc`` or ``crun``."""

    takes_user_namespace = True

    def __init__(self, name: str, program: Path, *, home: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._program = program
        self._environment = environment
        self._state = home / "engines" / name

    def run(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> int:
        """Return the container's exit status when it has ended."""
        with forwarded_signals() as signals:
            process = self._launch(bundle, root, streams, [])
            signals.to(process.send_signal)
            status = process.wait()
        if status != 0:
            self._raise_logged(bundle)
        return exit_status(status)

    def start(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> None:
        """Have the container running after this."""
        status = self._launch(bundle, root, streams, ["--detach"]).wait()
        if status != 0:
            self._raise_logged(bundle)
            raise UnavailableError(f"{self.name} could not start the container: exit status {status}")

    def running(self, identities: Iterable[str]) -> Mapping[str, int]:
        """Return the first process of each of these containers that runs."""
        wanted = set(identities)
        if not wanted or not self._state.exists():
            return {}
        output = ask([*self._command(), "list", "--format", "json"], self._environment, what=f"{self.name} list")
        try:
            listed = json.loads(output) or []
            return {
                one["id"]: int(one["pid"]) for one in listed if one["id"] in wanted and one["status"] in _RUNNING
            }
        except (ValueError, LookupError, TypeError) as err:
            raise UnavailableError(f"{self.name} list is malformed: {err}") from err

    def signal(self, identity: str, number: int) -> None:
        """Send a signal to the container's first process; nothing happens where it has ended."""
        try:
            command = [*self._command(), "kill", identity, f"{int(number)}"]
            ask(command, self._environment, what=f"{self.name} kill")
        except UnavailableError:
            if identity in self.running([identity]):
                raise

    def delete(self, identity: str) -> None:
        """Have nothing of the container left in the engine."""
        if (self._state / identity).exists():
            ask([*self._command(), "delete", "--force", identity], self._environment, what=f"{self.name} delete")

    def _command(self) -> list[str]:
        return [str(self._program), "--root", str(self._state)]

    def _launch(
        self, bundle: Bundle, root: WritableRoot, streams: Streams, flags: list[str]
    ) -> subprocess.Popen[bytes]:
        make_private_directory(self._state)
        config = runtime_config(bundle, has_user_namespace=root.has_user_namespace)
        write_document(bundle.directory / "config.json", config)
        log = ["--log", str(bundle.directory / _LOG), "--log-format", "json"]
        where = ["--bundle", str(bundle.directory), bundle.identity]
        command = [*self._command(), *log, "run", *flags, *where]

        try:
            return root.start(
                command,
                lambda words: launch(words, streams, self._environment),
                log=bundle.directory / _LOG,
            )
        except OSError as err:
            raise UnavailableError(f"{self.name} cannot be started: {err}") from err

    def _raise_logged(self, bundle: Bundle) -> None:
        """Raise what the engine says went wrong, if it says so; else the container itself failed."""
        try:
            with (bundle.directory / _LOG).open("rb") as file:
                log = file.read(_LOG_MAX_BYTES)
        except FileNotFoundError:
            return
        for line in log.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
                raise UnavailableError(f"{self.name} could not run the container: {str(entry.get('msg'))[:500]}")
