"""Owns the timing of whole processes, side by side: A B A B …, so that whatever the machine does meets all alike.

  1. every command runs ``WARM_UP`` times unmeasured: caches of files and of bytecode are filled
  2. in each round every command runs once, in turn; preparations are not timed
  3. a timing is judged by its median; its quartiles say how far the machine can be believed

From the start of the process to its end as its parent sees them, standard output and error discarded. A command
that does not exit with the status it should has measured something else, and ends the benchmark.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scripts.bench.setting import BenchError

WARM_UP = 2
_TIMEOUT_SECONDS = 600.0
_SHOWN = 500  # characters of what a failed command said


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A process to time: its arguments in round ``n`` (the warm-up's are below zero), its environment and end."""

    argv: Callable[[int], Sequence[str]]
    environ: Mapping[str, str]
    prepare: Callable[[int], None] | None = None
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Wall clock and processor time (user and system) of each measured run, in seconds."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """The median wall clock time, in milliseconds."""
        return statistics.median(self.wall) * 1000

    @property
    def cpu_ms(self) -> float:
        """The median processor time, in milliseconds."""
        return statistics.median(self.cpu) * 1000

    @property
    def quartiles_ms(self) -> tuple[float, float]:
        """The first and the third quartile of the wall clock time, in milliseconds."""
        if len(self.wall) == 1:
            return (self.median_ms, self.median_ms)
        first, _, third = statistics.quantiles(self.wall, n=4, method="inclusive")
        return (first * 1000, third * 1000)

    def over(self, other: Timing) -> float:
        """Return how many times ``other`` this takes, by their medians."""
        return self.median_ms / other.median_ms


def fixed(*argv: str, environ: Mapping[str, str]) -> Command:
    """Return the command that is the same in every round."""
    return Command(argv=lambda _round: argv, environ=environ)


def side_by_side(commands: Mapping[str, Command], *, rounds: int) -> dict[str, Timing]:
    """Return the timing of each command, measured by the steps of this module.

    Raises:
        BenchError: one of them did not start or did not end as it should.
    """
    wall: dict[str, list[float]] = {name: [] for name in commands}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(-WARM_UP, rounds):
        for name, command in commands.items():
            if command.prepare is not None:
                command.prepare(number)
            wall_seconds, cpu_seconds = _timed(name, command, number)
            if number >= 0:
                wall[name].append(wall_seconds)
                cpu[name].append(cpu_seconds)
    return {name: Timing(wall=tuple(wall[name]), cpu=tuple(cpu[name])) for name in commands}


def _timed(name: str, command: Command, number: int) -> tuple[float, float]:
    """Return wall clock and processor seconds of one run.

    ``posix_spawn`` and ``wait4``, not ``subprocess``: the parent's own work is a tenth of a millisecond so.
    """
    argv = list(command.argv(number))
    silent = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    began = time.perf_counter()
    try:
        child = os.posix_spawn(argv[0], argv, command.environ, file_actions=silent)
    except OSError as err:
        raise BenchError(f"{name} did not start: {argv[0]}: {err.strerror}") from err
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    code = os.waitstatus_to_exitcode(status)
    if code != command.exit_code:
        said = _end_of(_again(argv, command.environ))
        raise BenchError(f"{name} ended with status {code}, expected {command.exit_code}: {said}")
    return seconds, usage.ru_utime + usage.ru_stime


def run(*argv: str, environ: Mapping[str, str]) -> str:
    """Return the standard output of ``argv``, which exited 0; it is not timed.

    Raises:
        BenchError: it did not; the message has the end of what it said.
    """
    return _completed(argv, environ).stdout


def said_beside(*argv: str, environ: Mapping[str, str]) -> str:
    """Return the standard error of ``argv``, which exited 0.

    Raises:
        BenchError: as ``run``.
    """
    return _completed(argv, environ).stderr


def _completed(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    done = _again(argv, environ)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv[:2])} ended with status {done.returncode}, expected 0: {_end_of(done)}")
    return done


def _again(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=_TIMEOUT_SECONDS,
    )


def _end_of(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip() or "it says nothing")[-_SHOWN:]
