"""Owns CRIU: which one is here, what it is told through its settings file, what it says of a failure.

Engines start it by the name ``criu`` from their ``PATH``, and hand on the file that the container's annotation
``org.criu.config`` names. Nothing in a snapshot reaches that file but two identifiers of open files, checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from trust.errors import InputError
from trust.runtime.engine import SYSTEM_PATH, ask
from trust.value import dataclass

SETTINGS = "criu.conf"  # in the container's directory; the runtime configuration names it
DUMP_LOG, RESTORE_LOG = "dump.log", "restore.log"
LOG_MAX_BYTES = 16 * 1024 * 1024

_LEAST = (4, 2)  # before it, a process with any socket fails on current kernels, and `criu check` says it is fine
_VERSION = re.compile(r"^Version: ([0-9][0-9A-Za-z.+~-]*)$", re.MULTILINE)
_INSTALL = "install criu 4.2 or newer"
_STREAM = re.compile(r"[0-9a-f]{1,16}:[0-9a-f]{1,16}", re.ASCII)
# Network: a container without one has no packet to lose, and locking needs programs that few machines have.
_ALWAYS = ("network-lock skip", "tcp-established", "file-locks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Criu:
    """The CRIU of this machine."""

    program: Path
    version: str

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return ``environment`` with a ``PATH`` on which this CRIU is the first."""
        return {**environment, "PATH": f"{self.program.parent}:{environment.get('PATH', '')}:{SYSTEM_PATH}"}


def find_criu(environment: Mapping[str, str]) -> Criu:
    """Return the CRIU that is on ``PATH`` or where systems have it.

    Raises:
        InputError: there is none, or one that is too old. UnavailableError: it does not start.
    """
    for directory in f"{environment.get('PATH', '')}:{SYSTEM_PATH}".split(":"):
        program = Path(directory) / "criu"
        if directory.startswith("/") and program.is_file():
            said = ask([str(program), "--version"], environment, what="criu --version").decode("utf-8", "replace")
            found = _VERSION.search(said)
            if found is None:
                raise InputError(f"criu says no version: got {said[:80].strip()!r}")
            if tuple(map(int, re.findall("[0-9]+", found[1])[:2])) < _LEAST:
                raise InputError(f"criu is too old: expected 4.2 or newer, got {found[1]}", hint=_INSTALL)
            return Criu(program=program, version=found[1])
    raise InputError(
        "criu is not installed: a running container cannot be frozen or resumed without it",
        hint=_INSTALL,
    )


def is_stream(text: str) -> bool:
    """Tell whether ``text`` names an open file as CRIU does: mount id and inode, in hexadecimal."""
    return _STREAM.fullmatch(text) is not None


def dump_settings(streams: Mapping[int, str]) -> str:
    """Return CRIU's settings for freezing; ``streams`` are the descriptors that lead to files of the host."""
    return _lines(*(f"external file[{stream}]" for stream in dict.fromkeys(streams.values())))


def restore_settings(streams: Mapping[int, str]) -> str:
    """Return CRIU's settings for resuming: what was written to ``streams`` goes to the engine's own."""
    first = {stream: fd for fd, stream in sorted(streams.items(), reverse=True)}  # both may be one open file
    inherited = (f"inherit-fd fd[{fd}]:file[{stream}]" for stream, fd in first.items())
    return _lines("skip-file-rwx-check", *inherited)  # logs have the mode of whoever restores


def streams_of(pid: int) -> dict[int, str]:
    """Return which of a process's output descriptors lead to files of the host, and their names for CRIU.

    Raises:
        OSError: the process has ended.
    """
    found = {}
    for fd in (1, 2):
        link = Path(f"/proc/{pid}/fd/{fd}")
        try:
            is_file, inode = link.is_file(), link.stat().st_ino
            text = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
        except FileNotFoundError:
            continue  # it closed the descriptor
        mount = next((line.split()[1] for line in text.splitlines() if line.startswith("mnt_id:")), None)
        if is_file and mount is not None:
            found[fd] = f"{int(mount):x}:{inode:x}"
    return found


def first_error(log: Path) -> str | None:
    """Return what CRIU first complained of in its log: what follows is that it therefore cannot go on."""
    try:
        with log.open("rb") as file:
            lines = file.read(LOG_MAX_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    errors = [line.partition("): ")[2] or line for line in lines if "Error (" in line and "rlimit:" not in line]
    return errors[0].strip()[:300] if errors else None


def _lines(*more: str) -> str:
    return "".join(f"{line}\n" for line in (*_ALWAYS, *more))
