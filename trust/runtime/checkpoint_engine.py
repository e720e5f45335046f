"""Owns what is asked of runc and crun to move a container: freeze, dump, thaw, kill frozen, resume from images.

A frozen container that is killed runs not one instruction more: the signal waits for it when it is thawed. What a
failed restore leaves in the engine and its cgroups is taken away here.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from trust.errors import TrustError, UnavailableError
from trust.runtime.bundle import Bundle, runtime_config
from trust.runtime.checkpoint_guard import guarded
from trust.runtime.criu import DUMP_LOG, RESTORE_LOG, Criu, first_error
from trust.runtime.disk import make_private_directory, write_document
from trust.runtime.engine import COMMAND_TIMEOUT_SECONDS, Streams, ask, launch
from trust.runtime.loopback import loopback_hooks
from trust.runtime.oci_engine import OciEngine
from trust.runtime.overlay import WritableRoot

DUMP_TIMEOUT_SECONDS = 600.0
_KNOWN = {
    "Unsupported proto 262": "CRIU knows no MPTCP, by which Go programs listen: start it with"
    " -e GODEBUG=multipathtcp=0",
}
_FREEZE_ATTEMPTS = 5  # where processes are started all the time, an old kernel's freezer misses some at first
_CGROUPS = Path("/sys/fs/cgroup")


class MovingEngine(OciEngine):
    """An engine whose containers CRIU can freeze and resume."""

    def __init__(
        self, name: str, program: Path, *, home: Path, environment: Mapping[str, str], criu: Criu
    ) -> None:
        super().__init__(name, program, home=home, environment=criu.environment(environment))
        self._held: tuple[int, ...] = ()

    @contextmanager
    def guarded(self, identity: str) -> Iterator[None]:
        """Have the container thawed if this process dies meanwhile, once the engine's commands have ended too."""
        with guarded([*self._command(), "resume", identity], self.environment) as held:
            self._held = (held,)
            try:
                yield
            finally:
                self._held = ()

    def freeze(self, identity: str) -> None:
        """Have no process of the container running, also where it was frozen before."""
        failures: list[UnavailableError] = []
        while not self._frozen(identity, failures):
            if len(failures) == _FREEZE_ATTEMPTS:
                raise failures[-1]

    def thaw(self, identity: str) -> None:
        """Have the container running again, if it is frozen."""
        try:
            self._ask("resume", identity)
        except UnavailableError:
            if self._status(identity) == "paused":
                raise

    def end_frozen(self, identity: str) -> None:
        """Have a frozen container ended before it runs again."""
        with suppress(UnavailableError):  # some versions thaw what they kill
            self._ask("kill", identity, str(int(signal.SIGKILL)))
        with suppress(UnavailableError):
            self._ask("resume", identity)

    def dump(self, identity: str, *, images: Path, work: Path) -> None:
        """Have CRIU's images of the container in ``images``; it stays as it is, frozen or running.

        Raises:
            UnavailableError: CRIU cannot; the message has its own words.
        """
        words = ["--image-path", str(images), "--work-path", str(work), "--leave-running", identity]
        try:
            self._ask("checkpoint", *words, timeout_seconds=DUMP_TIMEOUT_SECONDS)
        except UnavailableError as err:
            told = first_error(work / DUMP_LOG) or str(err)
            hint = next((hint for words, hint in _KNOWN.items() if words in told), None)
            raise UnavailableError(f"container cannot be frozen: {told}", hint=hint) from err

    def restore(self, bundle: Bundle, root: WritableRoot, streams: Streams, *, images: Path, work: Path) -> int:
        """Have the container of the images running again, in what ``bundle`` says; return its first process.

        Raises:
            UnavailableError: CRIU cannot; nothing of it is left.
        """
        make_private_directory(self._state)
        configuration, config = runtime_config(bundle), bundle.directory / "config.json"
        log = bundle.directory / "engine.log"
        pid_file = bundle.directory / "pid"
        command = [
            *self._command(), "--log", str(log), "--log-format", "json", "restore", "--detach",
            "--image-path", str(images), "--work-path", str(work),
            "--bundle", str(bundle.directory), "--pid-file", str(pid_file), bundle.identity,
        ]  # fmt: skip
        try:
            with loopback_hooks(bundle.directory) as hooks:
                write_document(config, {**configuration, "hooks": hooks})
                process = root.start(command, lambda words: launch(words, streams, self.environment), log=log)
                status = process.wait(DUMP_TIMEOUT_SECONDS)
            write_document(config, configuration)
            if status != 0 or not pid_file.exists():
                raise UnavailableError(
                    f"{self.name} could not resume the container: "
                    f"{first_error(work / RESTORE_LOG) or f'exit status {status}'}"
                )
            pid = int(pid_file.read_text())
        except (OSError, subprocess.TimeoutExpired, TrustError) as err:
            with suppress(TrustError):
                self.delete(bundle.identity)
            remove_cgroups(bundle.identity)
            if isinstance(err, TrustError):
                raise
            raise UnavailableError(f"{self.name} could not resume the container: {err}") from err
        return pid

    def _frozen(self, identity: str, failures: list[UnavailableError]) -> bool:
        try:
            self._ask("pause", identity)
        except UnavailableError as err:
            failures.append(err)
            return self._status(identity) == "paused"  # whoever froze it was killed before it could thaw it
        return True

    def _status(self, identity: str) -> str | None:
        output = ask([*self._command(), "state", identity], self.environment, what=f"{self.name} state")
        try:
            return str(json.loads(output)["status"])
        except (ValueError, LookupError, TypeError):
            return None

    def _ask(self, verb: str, *words: str, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS) -> None:
        command = [*self._command(), verb, *words]
        what = f"{self.name} {verb}"
        ask(command, self.environment, what=what, timeout_seconds=timeout_seconds, kept=self._held)


def remove_cgroups(identity: str) -> None:
    """Have no empty cgroup of a container left: a failed restore leaves some."""
    for found in (*_CGROUPS.glob(f"*/trust/{identity}"), _CGROUPS / "trust" / identity):
        with suppress(OSError):
            found.rmdir()
