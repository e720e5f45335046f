"""Owns the file to which every decision is written, one chained line each (see ``log_chain``).

It never holds up the shim and never lies about a gap: what cannot be written is counted, and the next line says
how many. After a crash the chain goes on from the last whole line; the torn piece behind it stays, and is told of.

1. Opening finds the end of the chain: the last line that is one, and what is torn behind it.
2. ``append`` collects; ``flush`` spells the lines and writes them at once.
3. A write that ends early (a full disk) leaves whole lines, perhaps a torn one, and lost ones.

Nothing is synced to the disk for each batch: lines survive the death of the process, not a power cut.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from registry_shim.log_chain import Head, Line, Torn, digest_of, line_bytes, may_begin, parse_line
from registry_shim.status import Decided
from trust.errors import StateError

_MODE = 0o600
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FIRST_LOOK_BYTES = 512 * 1024
_LAST_LOOK_BYTES = 64 * 1024 * 1024  # what a power cut can leave as zeros; more is no log


class DecisionLog:
    """The log at ``path``, open for writing by this process alone; not for several threads."""

    def __init__(self, path: Path) -> None:
        """Open or create it, and find where the chain goes on.

        Raises:
            StateError: it cannot be opened, another process writes it, or it is no decision log.
        """
        self._path = path
        self._pending: list[Decided] = []
        self._head = Head()
        self._torn: Torn | None = None
        self._lost = 0
        self._is_rotated = False
        self._is_due = False  # a line that tells of lost ones, though no decision follows
        self.lost_total = 0
        self._fd = _opened(path)
        try:
            self._is_open_line = self._find_end()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def head(self) -> Head:
        """The last line written: noted elsewhere, it later proves that everything up to it is still there."""
        return self._head

    def append(self, decided: Decided) -> None:
        """Take ``decided`` for the next ``flush``."""
        self._pending.append(decided)

    def lose(self, count: int) -> None:
        """Count decisions that never came here: the next ``flush`` writes a line that says so."""
        self._lost += count
        self.lost_total += count
        self._is_due = self._is_due or count > 0

    def flush(self) -> int:
        """Write what was collected; return the number of lines written.

        Raises:
            StateError: some were not written; they are counted in ``lost_total`` and in the next line.
        """
        marks = [None] * (self._is_rotated or self._is_due)  # such a line tells of no decision, and does not wait
        wanted: list[Decided | None] = [*marks, *self._pending]
        if not wanted:
            return 0
        lines, heads = self._spelled(wanted)
        prefix = b"\n" if self._is_open_line else b""
        payload = prefix + b"".join(line + b"\n" for line in lines)
        written, err = self._write(payload)
        done = self._settle(written - len(prefix), lines, heads) if written else 0
        missing = len(wanted[done:]) - wanted[done:].count(None)
        self._pending.clear()
        self._lost += missing
        self.lost_total += missing
        if err is not None and done < len(lines):
            every = len(wanted) - len(marks)
            raise StateError(
                f"decision log {self._path}: {missing} of {every} decisions were lost: {err.strerror or err}",
                hint="make room on its disk; decisions go on, and the next line says how many are missing",
            ) from err
        return done

    def reopen(self) -> None:
        """Go on in a new file at the same path: logrotate has moved the old one away. The chain carries over.

        What was collected is written to the old file first. If the path still is the old file, nothing changes.

        Raises:
            StateError: the new file cannot be opened; the old one is written on.
        """
        try:
            self.flush()
        finally:
            self._move_on()

    def close(self) -> None:
        """Write what was collected, bring it to the disk, and close the file.

        Raises:
            StateError: some lines were not written.
        """
        try:
            self.flush()
            _sync(self._fd)
        finally:
            os.close(self._fd)

    def _move_on(self) -> None:
        try:
            there, mine = self._path.stat(follow_symlinks=False), os.fstat(self._fd)
        except FileNotFoundError:
            pass
        else:
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return
        fd = _opened(self._path)
        _sync(self._fd)
        os.close(self._fd)
        self._fd = fd
        self._is_open_line = False
        # A file that holds something already is not one that rotation made: the chain goes on as if it were, and
        # `check` will say that what lies there does not belong.
        self._is_rotated = self._head.seq > 0 and os.fstat(fd).st_size == 0
        self.flush()

    def _spelled(self, wanted: list[Decided | None]) -> tuple[list[bytes], list[Head]]:
        lines: list[bytes] = []
        heads = [self._head]
        torn = self._torn.marker() if self._torn else None
        for decided in wanted:
            first = not lines
            line = line_bytes(
                decided,
                after=heads[-1],
                torn=torn if first else None,
                lost=self._lost if first else 0,
                is_rotated=first and self._is_rotated,
            )
            lines.append(line)
            heads.append(Head(seq=heads[-1].seq + 1, digest=digest_of(line)))
        return lines, heads

    def _write(self, payload: bytes) -> tuple[int, OSError | None]:
        """Return how many bytes are in the file, and what stopped the others."""
        view, written = memoryview(payload), 0
        try:
            while written < len(payload):
                written += os.write(self._fd, view[written:])
        except OSError as err:
            return written, err
        return written, None

    def _settle(self, written: int, lines: list[bytes], heads: list[Head]) -> int:
        """Take note that ``written`` bytes of ``lines`` are in the file; return how many whole lines those are."""
        done, end, self._is_open_line = 0, 0, False
        while done < len(lines) and written >= end + len(lines[done]):
            self._is_open_line = written == end + len(lines[done])  # whole, but for its newline
            end += len(lines[done]) + 1
            done += 1
        if done:
            self._head, self._torn, self._lost, self._is_rotated = heads[done], None, 0, False
            self._is_due = False
        if done < len(lines) and written > end:
            self._torn = self._torn or Torn()
            self._torn.add(lines[done][: written - end])
            self._is_open_line = True
        return done

    def _find_end(self) -> bool:
        """Set the head and what is torn behind it; return whether the file ends without a newline."""
        size = os.fstat(self._fd).st_size
        if not size:
            return False
        look = _FIRST_LOOK_BYTES
        while True:
            start = max(0, size - look)
            tail = os.pread(self._fd, size - start, start)
            found = _last_line(tail, is_whole=not start)
            if found is not None or not start:
                break
            if look >= _LAST_LOOK_BYTES:
                raise StateError(
                    f"decision log {self._path}: expected a line in its last {look} bytes, got none",
                    hint="move the file away, keep it, and start again",
                )
            look *= 16
        line, rest = found or (None, tail)
        if line is not None:
            self._head = line.head
        elif not may_begin(tail):
            raise StateError(
                f"decision log {self._path}: expected a decision log, got a file without any line of one",
                hint="name another file: nothing was written to this one",
            )
        is_open = not tail.endswith(b"\n")
        if rest:
            self._torn = Torn()
            self._torn.add(rest.removesuffix(b"\n"))
        return is_open


def _last_line(tail: bytes, *, is_whole: bool) -> tuple[Line, bytes] | None:
    """Return the last line in ``tail`` and the bytes behind its newline; ``is_whole``: it begins with a line."""
    end = len(tail)
    rest = end
    while end > 0:
        if tail.endswith(b"\n", 0, end):
            end -= 1
        start = tail.rfind(b"\n", 0, end) + 1
        line = parse_line(tail[start:end]) if start or is_whole else None
        if line is not None:
            return line, tail[rest:]
        end = rest = start
    return None


def _opened(path: Path) -> int:
    try:
        fd = os.open(path, _FLAGS, _MODE)
    except OSError as err:
        raise StateError(
            f"decision log {path}: cannot be opened: {err.strerror or err}",
            hint="its directory must be there and belong to the shim's user; a link is not followed",
        ) from err
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise StateError(f"decision log {path}: expected a regular file")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two writers would fork the chain
    except OSError as err:
        os.close(fd)
        raise StateError(
            f"decision log {path}: another process writes it", hint="give each shim a log of its own"
        ) from err
    return fd


def _sync(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError as err:
        raise StateError(f"decision log: cannot be brought to the disk: {err.strerror or err}") from err
