"""Whether CRIU works on this kernel: a process that listens on a socket is checkpointed, and restored.

``criu check`` says yes where any socket makes a checkpoint fail. ``python -m scripts.lab.checkpoint_probe CRIU``
exits 0 if it works, else 1 with the last line of CRIU's log.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_LISTENER = (
    "import os, socket, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
    " open('ready', 'w').close(); time.sleep(600)"
)
_FLAGS = ("--network-lock", "skip", "--manage-cgroups=ignore", "--log-file", "log")
_WAIT_SECONDS = 20.0


def main(argv: Sequence[str]) -> int:
    """Probe the program ``argv[0]``; return the exit status."""
    program = argv[0]
    with tempfile.TemporaryDirectory(prefix="checkpoint-probe-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        listener = subprocess.Popen(
            [sys.executable, "-I", "-c", _LISTENER], cwd=folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return _moved(program, folder, listener)
        finally:
            listener.kill()
            listener.wait()


def _moved(program: str, folder: Path, listener: "subprocess.Popen[bytes]") -> int:
    with suppress(subprocess.TimeoutExpired):
        while not (folder / "ready").exists():
            listener.wait(0.02)
    where = ["-D", str(folder / "images"), *_FLAGS]
    if not _done([program, "dump", "-t", str(listener.pid), *where], folder):
        return 1
    listener.wait()
    if not _done([program, "restore", "-d", "--pidfile", str(folder / "pid"), *where], folder):
        return 1
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
    return 0


def _done(command: list[str], folder: Path) -> bool:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_WAIT_SECONDS, check=False
    )
    if done.returncode == 0:
        return True
    log = folder / "images/log"
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    errors = [line for line in lines if "Error" in line] or [done.stderr.decode("utf-8", "replace").strip()]
    print(f"criu {command[1]} failed: {errors[-1]}", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
