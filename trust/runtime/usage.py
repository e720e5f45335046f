"""Owns what a running container uses: read of its own control groups, or else summed over its processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from trust.runtime.cgroup import Controllers
from trust.value import dataclass

_NANOSECONDS = 1e9
_MICROSECONDS = 1e6
_NO_LIMIT = 1 << 60  # v1 says "none" by a number near 2^63


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a container uses now, ``cpu_seconds`` since it began; a limit is None where it has none.

    ``is_exact``: the kernel counted it for the container's own group. Else it is the sum of its processes, where
    memory that two of them share counts twice and those that have ended count no more.
    """

    memory_bytes: int
    memory_limit_bytes: int | None
    cpu_seconds: float
    pids: int
    pids_limit: int | None
    is_exact: bool


def usage_of(identity: str, pid: int, controllers: Controllers, *, proc: Path = Path("/proc")) -> Usage | None:
    """Return what the container uses whose first process is ``pid``; None where it has just ended."""
    own = {name: path for name, path in controllers.groups_of(pid).items() if identity in path.name}
    counted = _counted(own)
    if counted is None:
        return _summed(pid, own, proc)
    memory, cpu_seconds, pids = counted
    return Usage(
        memory_bytes=memory,
        memory_limit_bytes=_limit(own, "memory", "memory.max", "memory.limit_in_bytes"),
        cpu_seconds=cpu_seconds,
        pids=pids,
        pids_limit=_limit(own, "pids", "pids.max"),
        is_exact=True,
    )


def _counted(own: dict[str, Path]) -> tuple[int, float, int] | None:
    memory = _number(own, "memory", "memory.current", "memory.usage_in_bytes")
    pids = _number(own, "pids", "pids.current")
    cpu_seconds = None
    if (nanoseconds := _number(own, "cpuacct", "cpuacct.usage")) is not None:
        cpu_seconds = nanoseconds / _NANOSECONDS
    elif "cpuacct" in own:
        with suppress(OSError, ValueError, LookupError):
            lines = (own["cpuacct"] / "cpu.stat").read_text(encoding="ascii").splitlines()
            cpu_seconds = int(dict(line.split(" ", 1) for line in lines)["usage_usec"]) / _MICROSECONDS
    return None if memory is None or pids is None or cpu_seconds is None else (memory, cpu_seconds, pids)


def _summed(pid: int, own: dict[str, Path], proc: Path) -> Usage | None:
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    memory = ticks = threads = 0
    for directory in _processes_with(pid, proc):
        with suppress(OSError, ValueError, IndexError):
            fields = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime and stime; fields count from the state
            threads += int(fields[17])
            memory += int(fields[21]) * page
    if threads == 0:
        return None
    return Usage(
        memory_bytes=memory,
        memory_limit_bytes=_limit(own, "memory", "memory.max", "memory.limit_in_bytes"),
        cpu_seconds=ticks / tick,
        pids=threads,
        pids_limit=_limit(own, "pids", "pids.max"),
        is_exact=False,
    )


def _processes_with(pid: int, proc: Path) -> Iterator[Path]:
    """Yield the processes of the process namespace of ``pid``."""
    with suppress(OSError):
        wanted = (proc / str(pid) / "ns/pid").readlink()
        for directory in proc.iterdir():
            if directory.name.isdigit():
                with suppress(OSError):
                    if (directory / "ns/pid").readlink() == wanted:
                        yield directory


def _number(own: dict[str, Path], controller: str, *files: str) -> int | None:
    for file in files:
        if controller in own:
            with suppress(OSError, ValueError):
                return int((own[controller] / file).read_text(encoding="ascii"))
    return None


def _limit(own: dict[str, Path], controller: str, *files: str) -> int | None:
    number = _number(own, controller, *files)
    return None if number is None or number > _NO_LIMIT else number
