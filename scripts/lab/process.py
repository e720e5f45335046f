"""Children of set-up: started with the user's environment, less what would bend them.

A child inherits the descriptor of the checkout's lock, so the lock outlives a set-up that was killed for as
long as one of its children still writes; the next set-up waits for it instead of racing it.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.errors import SetupFailed

_BENDS_PYTHON = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONSAFEPATH")
_BENDS_PIP = (
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_REQUIREMENT",
    "PIP_CONSTRAINT",
    "PIP_PYTHON",
)
_ERROR_LINES = 12  # of a failed child's output that are shown


def cleaned(environ: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child: mirrors, proxies and certificates stay, what redirects an install goes."""
    kept = {name: value for name, value in environ.items() if name not in _BENDS_PYTHON + _BENDS_PIP}
    return {**kept, **changes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Starts children in ``environ``; ``lock_fd`` is the open, locked file that they inherit."""

    environ: Mapping[str, str]
    lock_fd: int

    def run(
        self,
        what: str,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        changes: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> str:
        """The standard output of ``argv``, which exited 0; ``changes`` were made to its environment.

        Raises:
            SetupFailed: it exited otherwise, took longer than ``timeout_seconds`` (and was killed), or is not
                there; the message has the end of what it said.
        """
        try:
            done = subprocess.run(
                [str(word) for word in argv],
                cwd=cwd,
                env=cleaned(self.environ, changes or {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                pass_fds=(self.lock_fd,),
                timeout=timeout_seconds,
            )
        except subprocess.TimeoutExpired as err:
            raise SetupFailed(f"{what}: expected an end within {timeout_seconds} s, got none") from err
        except OSError as err:
            raise SetupFailed(f"{what}: {os.fspath(argv[0])} did not start: {err.strerror}") from err
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_ERROR_LINES:]
            raise SetupFailed("\n  ".join([f"{what}: exit status {done.returncode}", *said]))
        return done.stdout
