"""Owns runc and crun: both take an OCI runtime configuration and the same commands.

Their state lies in ``TRUST_HOME/engines/NAME``, so that a container is found again whoever started it and
whatever happened to that process. Engines hand on the container's exit status as their own, so that a number says
nothing of who failed: the container has started if the engine wrote down its process; before that, and where a
signal ended the engine itself, the failure is the engine's, in the words of its own log.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from trust.errors import StateError, UnavailableError
from trust.runtime.bundle import Bundle, Process, executed_process, runtime_config
from trust.runtime.disk import make_private_directory, read_document, write_document
from trust.runtime.engine import Streams, ask, exit_status, forwarded_signals, launch
from trust.runtime.overlay import WritableRoot
from trust.runtime.own_null import without_the_hosts_null

_LOG = "engine.log"
_STARTED = "pid"  # written by the engine once the container's process runs
_LOG_MAX_BYTES = 64 * 1024
_LIST_TRIES = 5
_ENTER_USER = ("nsenter", "--user", "--preserve-credentials", "--target")
_ENTER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RUNNING = frozenset({"running", "created", "paused", "pausing"})


class OciEngine:
    """One program that speaks the OCI runtime command line; ``name`` is ``runc`` or ``crun``."""

    takes_user_namespace = True

    def __init__(self, name: str, program: Path, *, home: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.program = program
        self.environment = environment
        self._state = home / "engines" / name

    def run(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> int:
        """Return the container's exit status when it has ended."""
        with forwarded_signals() as signals:
            process = self._launch(bundle, root, streams, [])
            signals.to(process.send_signal)
            status = process.wait()
        if status < 0 or not (bundle.directory / _STARTED).exists():
            raise self._failure(bundle, status)
        return status

    def start(self, bundle: Bundle, root: WritableRoot, streams: Streams) -> None:
        """Have the container running after this."""
        status = self._launch(bundle, root, streams, ["--detach"]).wait()
        if status != 0 or not (bundle.directory / _STARTED).exists():
            raise self._failure(bundle, status)

    def running(self, identities: Iterable[str]) -> Mapping[str, int]:
        """Return the first process of each of these containers that runs; a list of all takes long for one."""
        wanted = set(identities)
        if not wanted or not self._state.exists():
            return {}
        single = next(iter(wanted)) if len(wanted) == 1 else None
        try:
            listed = (self._one(single) if single else json.loads(self._list())) or []
            return {
                one["id"]: int(one["pid"]) for one in listed if one["id"] in wanted and one["status"] in _RUNNING
            }
        except (ValueError, LookupError, TypeError) as err:
            raise UnavailableError(f"{self.name} list is malformed: {err}") from err

    def _one(self, identity: str) -> Any:  # noqa: ANN401 - JSON that is not yet checked
        """Return the list that holds this container alone; nothing where the engine knows none, or no more."""
        if not (self._state / identity).exists():
            return []
        with suppress(UnavailableError):
            return [json.loads(ask([*self._command(), "state", identity], self.environment, what="state"))]
        return json.loads(self._list())  # it is being made or removed: the list knows how to say so

    def _list(self) -> bytes:
        """Return the engine's own list; it fails where one of its containers is deleted while it reads."""
        command = [*self._command(), "list", "--format", "json"]
        for _ in range(_LIST_TRIES - 1):
            with suppress(UnavailableError):
                return ask(command, self.environment, what=f"{self.name} list")
        return ask(command, self.environment, what=f"{self.name} list")

    def ended_with(self, _identity: str) -> int | None:
        """Return None: a detached container is a child of the machine's first process, which tells nobody."""
        return None

    def execute(self, bundle_directory: Path, pid: int, process: Process, streams: Streams) -> int:
        """Return the exit status of one more process in a running container.

        An ordinary user's container is in a user namespace that the engine must enter before it can ask anything.
        """
        config = read_document(bundle_directory / "config.json")
        if config is None:
            raise StateError(f"container in {bundle_directory} has no configuration")
        number = secrets.token_hex(8)
        words, started = bundle_directory / f"exec.{number}.json", bundle_directory / f"exec.{number}.pid"
        log = bundle_directory / f"exec.{number}.log"
        write_document(words, executed_process(config, process))
        enter = [] if os.geteuid() == 0 or _has_user_namespace(config) else [*_ENTER_USER, str(pid), "--"]
        command = [*enter, *self._command(), "--log", str(log), "--log-format", "json", "exec"]
        command += ["--process", str(words), "--pid-file", str(started), bundle_directory.name]
        try:
            with forwarded_signals() as signals, self._apart(streams) as apart:
                running = launch(command, apart, {"PATH": _ENTER_PATH, **self.environment})
                signals.to(running.send_signal)
                try:
                    status = running.wait()
                except BaseException:
                    _kill(running, started)
                    raise
            if status < 0 or not started.exists():
                told = _logged(log) or f"exit status {exit_status(status)}"
                raise UnavailableError(f"{self.name} could not run the command: {told}")
        except OSError as err:
            raise UnavailableError(f"{self.name} cannot be started: {err}") from err
        finally:
            for path in (words, started, log):
                path.unlink(missing_ok=True)
        return status

    def waited_for(self, bundle_directory: Path) -> int | None:
        """Return the container's first process: the engine is gone once it runs."""
        try:
            return int((bundle_directory / _STARTED).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def signal(self, identity: str, number: int) -> None:
        """Send a signal to the container's first process; nothing happens where it has ended."""
        try:
            command = [*self._command(), "kill", identity, f"{int(number)}"]
            ask(command, self.environment, what=f"{self.name} kill")
        except UnavailableError:
            if identity in self.running([identity]):
                raise

    def delete(self, identity: str) -> None:
        """Have nothing of the container left in the engine."""
        state = self._state / identity
        if state.exists():
            try:
                ask(
                    [*self._command(), "delete", "--force", identity],
                    self.environment,
                    what=f"{self.name} delete",
                )
            except UnavailableError:
                if state.exists():  # else the engine beside the container has just deleted it
                    raise

    def _command(self) -> list[str]:
        return [str(self.program), "--root", str(self._state)]

    def _launch(
        self, bundle: Bundle, root: WritableRoot, streams: Streams, flags: list[str]
    ) -> subprocess.Popen[bytes]:
        make_private_directory(self._state)
        config = runtime_config(bundle, has_user_namespace=root.has_user_namespace)
        if bundle.limits.controllers and not bundle.caller.is_root:
            from trust.runtime.cgroup import Controllers  # noqa: PLC0415 - few containers are limited by us

            groups = Controllers().make(bundle.identity, bundle.limits, is_root=False)
            config["hooks"] = {"createRuntime": [groups.hook()]}
        write_document(bundle.directory / "config.json", config)
        log = ["--log", str(bundle.directory / _LOG), "--log-format", "json"]
        where = ["--pid-file", str(bundle.directory / _STARTED), "--bundle", str(bundle.directory)]
        command = [*self._command(), *log, "run", *flags, *where, bundle.identity]
        try:
            with self._apart(streams) as apart:
                return root.start(
                    command,
                    lambda words: launch(words, apart, self.environment),
                    log=bundle.directory / _LOG,
                )
        except OSError as err:
            raise UnavailableError(f"{self.name} cannot be started: {err}") from err

    def _apart(self, streams: Streams) -> AbstractContextManager[Streams]:
        return (
            without_the_hosts_null(streams) if self.name == "crun" and os.geteuid() == 0 else nullcontext(streams)
        )

    def _failure(self, bundle: Bundle, status: int) -> UnavailableError:
        """Return the error of an engine that ended with ``status`` and started nothing, or was killed."""
        told = _logged(bundle.directory / _LOG) or f"exit status {exit_status(status)}"
        return UnavailableError(f"{self.name} could not run the container: {told}")


def _kill(engine: subprocess.Popen[bytes], started: Path) -> None:
    """Have neither the engine running nor what it has started, whoever lost patience."""
    with suppress(OSError, ValueError):
        os.kill(int(started.read_text(encoding="ascii")), signal.SIGKILL)
    engine.kill()
    engine.wait()


def _has_user_namespace(config: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "user" for one in config["linux"]["namespaces"])


def _logged(path: Path) -> str | None:
    """Return the first error in an engine's log."""
    try:
        with path.open("rb") as file:
            lines = file.read(_LOG_MAX_BYTES).splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            return str(entry.get("msg"))[:500]
    return None
