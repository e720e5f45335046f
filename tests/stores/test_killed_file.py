"""``file:`` is killed, or runs out of disk, at every system call of every write: old or new, and no repair."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.command_line import CHECKOUT, plain_environment
from tests.simulators.file_writer import (
    DONE,
    FAILED,
    NEW_PENDING,
    OLD,
    OLD_PENDING,
    OLD_TIMESTAMP,
    new_files,
    new_timestamp,
    publish,
    soon,
)
from trust.stores.file import FileStore
from trust.stores.interface import TIMESTAMP

MOVES = ("found", "publish", "wait", "clear", "remove")
MIN_POINTS = 15
# Memory is the interpreter's own affair: how often it asks for some differs from run to run.
_MEMORY = frozenset({"brk", "mmap", "munmap", "mremap", "madvise", "exit_group", "restart_syscall"})
_ROOM = ("openat", "write", "fsync", "linkat", "renameat", "mkdir", "mkdirat", "unlinkat", "fchmod")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a writer ended: its exit code or None where it was killed, and whether it had said that it was done."""

    code: int | None
    done: bool


class Writers:
    """Starts writers under strace."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulators.file_writer"], cwd=CHECKOUT, text=True,
            env=plain_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def traced(self, directory: Path, move: str, *options: str) -> Ended:
        """Have ``move`` made in ``directory`` under strace with ``options``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"directory": str(directory), "move": move}) + "\n")
        self._process.stdin.flush()
        writer = int(self._line())
        _wait_until(writer, r"State:\t[Tt]")
        strace = shutil.which("strace")
        assert strace is not None, "strace is not on PATH: run the tests through scripts/test"
        tracer = subprocess.Popen([strace, "-qq", "-p", str(writer), *options], stderr=subprocess.DEVNULL)
        _wait_until(writer, r"TracerPid:\t[1-9]")
        os.kill(writer, signal.SIGCONT)
        answer = json.loads(self._line())
        tracer.wait()
        status = answer["status"]
        return Ended(code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None, done=answer["done"])

    def close(self) -> None:
        """End them all."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _wait_until(process_id: int, pattern: str) -> None:
    until = time.monotonic() + 20
    while not re.search(pattern, Path(f"/proc/{process_id}/status").read_text()):
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    writers = Writers()
    yield writers
    writers.close()


def prepared(directory: Path, move: str) -> Path:
    """Return a store as it is before ``move``."""
    directory.mkdir()
    if move == "found":
        return directory
    for name, data in {**OLD, TIMESTAMP: OLD_TIMESTAMP}.items():
        (directory / name).write_bytes(data)
    store = FileStore("file:store", directory)
    store.set_pending("targets", OLD_PENDING, replaces=None, deadline=soon())
    if move == "remove":
        publish(store, 2)
    return directory


def points(writers: Writers, directory: Path, move: str, log: Path) -> list[tuple[str, int]]:
    """Return every system call of ``move`` by its name and its number."""
    assert writers.traced(directory, move, "-o", str(log)).code == DONE
    seen: Counter[str] = Counter()
    found = []
    for line in log.read_text().splitlines():
        match = re.match(r"(\w+)\(", line)
        if match is not None and match[1] not in _MEMORY:
            seen[match[1]] += 1
            found.append((match[1], seen[match[1]]))
    return found


def require_whole(directory: Path, move: str, ended: Ended) -> None:
    """Require the old state or the new one, the new one where it was acknowledged, and that the next goes on."""
    store = FileStore("file:store", directory)
    view = store.view(known=None, deadline=soon())
    assert view is not None
    timestamp, waiting = view.read(TIMESTAMP, 10_000), store.pending(deadline=soon()).get("targets")
    old, new = {
        "found": ((None, None), (new_timestamp(1), None)),
        "publish": ((OLD_TIMESTAMP, OLD_PENDING), (new_timestamp(2), OLD_PENDING)),
        "wait": ((OLD_TIMESTAMP, OLD_PENDING), (OLD_TIMESTAMP, NEW_PENDING)),
        "clear": ((OLD_TIMESTAMP, OLD_PENDING), (OLD_TIMESTAMP, None)),
        "remove": ((new_timestamp(2), OLD_PENDING),) * 2,
    }[move]
    assert (timestamp, waiting) in {old, new}
    assert not ended.done or (timestamp, waiting) == new
    files = {} if timestamp is None else dict(OLD) if timestamp != new_timestamp(2) else {**OLD, **new_files(2)}
    if move == "remove":
        files = {**new_files(2), "1.root.json": OLD["1.root.json"]}
        assert not ended.done or set(store.names(deadline=soon())) == set(files)
    for name, data in files.items():
        assert view.read(name, 10_000) == data, name
    _require_next(store, old_pending=waiting)


def _require_next(store: FileStore, *, old_pending: bytes | None) -> None:
    view = store.view(known=None, deadline=soon())
    assert view is not None
    number = next(n for n in range(2, 9) if not any(view.taken(name) for name in new_files(n)))
    before = {name: view.read(name, 10_000) for name in store.names(deadline=soon())}
    publish(store, number)
    store.set_pending("targets", b"next", replaces=old_pending, deadline=soon())
    assert view.read(TIMESTAMP, 10_000) == new_timestamp(number)
    assert {name: view.read(name, 10_000) for name in before} == before, "a version never has two contents"
    assert not list(Path(store._directory).glob("**/.tmp-*")), "what the dead left is swept"


@pytest.mark.parametrize("move", MOVES)
def test_writer_killed_at_every_system_call_leaves_old_or_new(
    writers: Writers, tmp_path: Path, move: str, record_property: Callable[[str, object], None]
) -> None:
    log = tmp_path / "log"
    tried, broken = 0, []
    for call, count in points(writers, prepared(tmp_path / "rehearsal", move), move, log):
        directory = prepared(tmp_path / f"{call}-{count}", move)
        ended = writers.traced(directory, move, "-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={count}")
        tried += ended.code is None
        try:
            require_whole(directory, move, ended)
        except AssertionError as err:
            broken.append((call, count, ended, str(err)))
    record_property("points", tried)
    record_property("broken", len(broken))
    assert tried > MIN_POINTS
    assert broken == []


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_disk_that_fails_at_every_call_leaves_old_or_new(
    writers: Writers, tmp_path: Path, move: str, error: str, record_property: Callable[[str, object], None]
) -> None:
    log = tmp_path / "log"
    tried, broken = 0, []
    calls = points(writers, prepared(tmp_path / "rehearsal", move), move, log)
    for call, count in (point for point in calls if point[0] in _ROOM):
        directory = prepared(tmp_path / f"{call}-{count}", move)
        ended = writers.traced(
            directory, move, "-o", os.devnull, "-e", f"inject={call}:error={error}:when={count}"
        )
        tried += 1
        try:
            assert ended.code in {DONE, FAILED}, ended
            require_whole(directory, move, ended)
        except AssertionError as err:
            broken.append((call, count, ended, str(err)))
    record_property("points", tried)
    record_property("broken", len(broken))
    assert tried > 5
    assert broken == []


@pytest.mark.parametrize("move", ["found", "publish", "wait"])
def test_all_is_on_the_disk_before_it_is_named_and_each_name_before_the_next_step(
    writers: Writers, tmp_path: Path, move: str
) -> None:
    """A power cut leaves nothing of what was not synced: no timestamp over what is not there, no lost answer."""
    directory, log = prepared(tmp_path / "store", move), tmp_path / "log"
    assert writers.traced(directory, move, "-y", "-o", str(log)).code == DONE
    synced: set[str] = set()
    named: dict[str, set[str]] = {}
    names = 0
    for line in log.read_text().splitlines():
        if match := re.match(r"fsync\(\d+<(.+)>\) += 0", line):
            synced.add(match[1])
            named.pop(match[1], None)
        elif match := re.match(r"(?:link|rename)at2?\(\d+<(.+?)>, \"(.+?)\", \d+<(.+?)>, \"(.+?)\"", line):
            assert f"{match[1]}/{match[2]}" in synced, line
            assert not line.count(TIMESTAMP) or not named, line
            named.setdefault(match[3], set()).add(match[4])
            names += 1
    assert names
    assert not named, "the last names are synced before the answer"
