"""Starts the servers of the play, and ends them: each by its own handle, never by name."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_ENOUGH_SECONDS = 20.0
_STEP_SECONDS = 0.05


def wait_until(true: Callable[[], bool], *, seconds: float = _ENOUGH_SECONDS) -> bool:
    """Return whether ``true()`` came true within ``seconds``."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(_STEP_SECONDS)
    return True


def answers(port: int) -> bool:
    """Whether something listens on a loopback ``port``."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Server:
    """A child that runs until ``stop``; what it says goes to ``log``."""

    def __init__(self, argv: Sequence[str | Path], *, log: Path, environ: dict[str, str] | None = None) -> None:
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environ or {})},
                start_new_session=True,  # a Ctrl-C on the terminal is ours to handle, in order
            )

    @property
    def is_alive(self) -> bool:
        """Whether the child still runs."""
        return self._child.poll() is None

    def stop(self) -> None:
        """The child is gone: asked first, then made to."""
        if self.is_alive:
            self._child.terminate()
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
