"""Owns how the supervisor learns that a process has ended, and how: its own children and those it was left.

A container that is started is an orphan, which comes to us; it can end before we have heard of its number. One
whose parent was another supervisor is no child of ours: a descriptor tells when it ends, and not how.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from trust.runtime.engine import exit_status
from trust.runtime.watched import Watched
from trust.runtime.workers import Workers


class Ends:
    """The processes whose end is a container's end."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Watched] = {}
        self._strangers: dict[int, int] = {}  # ends of processes whose start we have not heard of yet

    def expect(self, pid: int, one: Watched) -> tuple[bool, int | None]:
        """Wait for the end of ``pid``; return whether it has ended already, and how, where anybody knows.

        ``one`` has a ``pidfd`` afterwards where the process is not our child.
        """
        self._by_pid[pid] = one
        if pid in self._strangers:
            return True, self._strangers.pop(pid)
        try:
            if _parent(pid) != os.getpid():
                one.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True, None
        return False, None

    def forget(self, one: Watched) -> None:
        """Wait no more for the end of a container."""
        if one.pid is not None:
            self._by_pid.pop(one.pid, None)

    def reaped(self, workers: Workers) -> Iterator[tuple[Watched, int]]:
        """Yield each container that has ended; another's end is kept only while we may yet hear whose it was."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                code = exit_status(os.waitstatus_to_exitcode(status))
                one = self._by_pid.get(pid)
                if one is not None and one.pid == pid:
                    yield one, code
                elif not workers.has(pid):
                    self._strangers[pid] = code
        if not workers.count("start"):
            self._strangers.clear()  # or one who gets the same number would be taken for dead


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except FileNotFoundError as err:
        raise ProcessLookupError(pid) from err
    return int(stat.rpartition(")")[2].split()[1])
