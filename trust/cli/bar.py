"""Owns the bar that shows on a terminal how far a download or an unpacking is.

One line of standard error, written over and over, never longer than the terminal is wide at that moment, and gone
before anything else is said. Where there is no terminal, or ``--json`` or ``--quiet``, there is none.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trust.cli.render import Output
from trust.runtime.progress import UNTOLD, Progress

_INTERVAL_SECONDS = 0.1
_BAR_MAX = 40
_BAR_MIN = 8  # a shorter one says nothing
_DEFAULT_COLUMNS = 80
_MIB = 1 << 20


class Bar:
    """A progress on the terminal ``fd``; ``clock`` counts seconds."""

    def __init__(self, fd: int, clock: Callable[[], float]) -> None:
        self._fd = fd
        self._clock = clock
        self._lock = threading.Lock()  # layers are fetched several at a time
        self._what, self._total, self._done = "", 0, 0
        self._next = 0.0
        self._is_drawn = False

    def begin(self, what: str, total_bytes: int) -> None:
        """Show that ``what`` has begun."""
        with self._lock:
            self._what, self._total, self._done = what, total_bytes, 0
            self._draw()

    def advance(self, count: int) -> None:
        """Show ``count`` bytes more, if it is time to show something."""
        with self._lock:
            self._done += count
            if self._clock() >= self._next or self._done == self._total:
                self._draw()

    def erase(self) -> None:
        """Have the line as it was before."""
        with self._lock:
            if self._is_drawn:
                self._write("\r\x1b[K")
                self._is_drawn = False

    def _draw(self) -> None:
        self._next = self._clock() + _INTERVAL_SECONDS
        self._is_drawn = True
        line = bar_line(self._what, self._done, self._total, columns=columns_of(self._fd))
        self._write(f"\r{line}\x1b[K")

    def _write(self, text: str) -> None:
        try:
            os.write(self._fd, text.encode("ascii", "replace"))
        except OSError:  # a terminal that is gone; the work goes on
            self._next = float("inf")


@contextmanager
def bar(output: Output, clock: Callable[[], float]) -> Iterator[Progress]:
    """Give a progress that is shown while this lasts, where ``output`` and standard error allow it."""
    fd = terminal(output)
    if fd is None:
        yield UNTOLD
        return
    shown = Bar(fd, clock)
    try:
        yield shown
    finally:
        shown.erase()


def terminal(output: Output) -> int | None:
    """Return standard error, if it is a terminal that may be written to beside a result."""
    if output.as_json or output.quiet or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty():
        return None
    return sys.stderr.fileno()


def columns_of(fd: int) -> int:
    """Return how wide the terminal is now; some say nothing, or nought."""
    try:
        return os.get_terminal_size(fd).columns or _DEFAULT_COLUMNS
    except OSError:
        return _DEFAULT_COLUMNS


def bar_line(what: str, done: int, total: int, *, columns: int) -> str:
    """Return the line, shorter than ``columns``: a full one would wrap. What finds no room is left out."""
    share = min(done / total, 1.0) if total else 1.0
    percent = f"{int(share * 100):3d} %"
    sizes = f"{done / _MIB:.1f} of {total / _MIB:.1f} MiB"
    room = min(columns - 1 - len(f"{what} [] {percent}  {sizes}"), _BAR_MAX)
    if room >= _BAR_MIN:
        filled = int(share * room)
        return f"{what} [{'#' * filled}{'.' * (room - filled)}] {percent}  {sizes}"
    return f"{what} {percent}"[: max(columns - 1, 0)]
