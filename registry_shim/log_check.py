"""Owns the check of a decision log: that its files, in order, are one unbroken chain. Reads line by line.

A crash is accepted and told: a torn piece must be named, with its size and hash, by the line behind it, or be the
very end and without a newline, which only the next line would bring. Everything else that is not the next line of
the chain ends the check as broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from registry_shim.log_chain import GENESIS, LONGEST_LINE_BYTES, Head, Line, Torn, may_begin, parse_line
from trust.errors import InputError
from trust.value import dataclass

_LONGEST_SHOWN = 60
_NEWLINE = b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The first place where the chain does not hold; ``line`` counts the lines of ``file`` from 1."""

    file: Path
    line: int
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What the files hold, up to the first break if there is one; moments are UTC seconds, or None.

    ``first_seq`` above 1 says that the files before were not given. ``torn`` counts torn pieces, ``tail_bytes`` is
    the size of one at the very end, ``lost`` are decisions that could not be written.
    """

    lines: int
    first_seq: int
    first_at: float | None
    last_at: float | None
    torn: int
    tail_bytes: int
    lost: int
    head: Head
    broken: Broken | None


def check_log(*paths: Path, noted: Sequence[Head] = ()) -> LogReport:
    """Return what ``paths``, oldest first, hold; ``noted`` are heads that must be among their lines.

    Raises:
        InputError: a file cannot be read.
    """
    walk = _Walk(noted)
    broken: Broken | None = None
    for path in paths:
        broken = walk.file(path)
        if broken is not None:
            break
    else:
        broken = walk.end(paths[-1]) if paths else None
    return walk.report(broken)


class _Walk:
    """Where the check stands."""

    def __init__(self, noted: Sequence[Head]) -> None:
        self._noted = {head.seq: head.digest for head in noted}
        self._head: Head | None = None
        self._torn = Torn()
        self._is_cut_short = False
        self._first: Line | None = None
        self._at: tuple[float, float] | None = None
        self._number = self._lines = self._torn_count = self._lost = 0

    def file(self, path: Path) -> Broken | None:
        """Take in the lines of ``path``; return where the chain breaks."""
        try:
            with path.open("rb") as stream:
                for self._number, pieces in enumerate(_lines(stream), 1):
                    broken = self._line(path, pieces)
                    if broken is not None:
                        return broken
        except OSError as err:
            raise InputError(
                f"{path}: cannot be read: {err.strerror or err}",
                hint="name the files of a decision log, oldest first",
            ) from err
        return None

    def end(self, path: Path) -> Broken | None:
        """Return what is wrong once no line follows."""
        if self._torn.is_there and not self._is_cut_short:
            return self._broken(path, "a line of the chain at the end", "one that is none, and was not cut short")
        if self._noted:
            head = Head(seq=min(self._noted), digest=self._noted[min(self._noted)])
            last = f"a last line {self._head}" if self._head else "no line"
            return self._broken(path, f"the noted line {head}", last)
        return None

    def report(self, broken: Broken | None) -> LogReport:
        """Return what was found."""
        tail = self._torn.size_bytes if self._torn.is_there and broken is None else 0
        return LogReport(
            lines=self._lines,
            first_seq=self._first.seq if self._first else 0,
            first_at=self._at[0] if self._at else None,
            last_at=self._at[1] if self._at else None,
            torn=self._torn_count + (tail > 0),
            tail_bytes=tail,
            lost=self._lost,
            head=self._head or Head(),
            broken=broken,
        )

    def _line(self, path: Path, pieces: Iterator[bytes]) -> Broken | None:
        first = next(pieces)
        raw = first.removesuffix(_NEWLINE)
        line = parse_line(raw)
        if line is None:
            if self._head is None and not self._torn.is_there and not may_begin(raw):
                return self._broken(path, "a line of a decision log", repr(raw[:_LONGEST_SHOWN]))
            self._torn.add(raw)
            last = first
            for last in pieces:
                self._torn.add(last.removesuffix(_NEWLINE), continues=True)
            self._is_cut_short = not last.endswith(_NEWLINE)
            return None
        broken = self._torn_piece(path, line) or (
            self._follows(path, line, self._head) if self._head else self._begins(path, line)
        )
        if broken is None:
            broken = self._is_as_noted(path, line)
        if broken is None:
            self._count(line)
        return broken

    def _torn_piece(self, path: Path, line: Line) -> Broken | None:
        """What lies before ``line`` is what it says of it: nothing, or one torn piece."""
        got = self._torn.marker() if self._torn.is_there else None
        if line.torn == got:
            return None
        if line.is_rotated and self._first is None and got is None:
            return None  # what was torn lies in the file before, which is not here
        return self._broken(path, f"{_told(line.torn)} before line {line.seq} of the chain", _told(got))

    def _begins(self, path: Path, line: Line) -> Broken | None:
        if line.is_rotated and line.seq > 1:
            return None
        return self._follows(path, line, Head())

    def _follows(self, path: Path, line: Line, head: Head) -> Broken | None:
        if line.seq != head.seq + 1:
            return self._broken(path, f"line {head.seq + 1} of the chain", f"line {line.seq}")
        if line.previous != head.digest:
            before = "the beginning" if head.digest == GENESIS else f"line {head.seq} with hash {head.digest}"
            return self._broken(path, f"a line that follows {before}", f"one that follows {line.previous}")
        return None

    def _is_as_noted(self, path: Path, line: Line) -> Broken | None:
        digest = self._noted.pop(line.seq, line.digest)
        if digest == line.digest:
            return None
        return self._broken(path, f"the noted line {line.seq}:{digest}", f"{line.seq}:{line.digest}")

    def _count(self, line: Line) -> None:
        self._first = self._first or line
        self._head = line.head
        self._lines += 1
        self._lost += line.lost
        self._torn_count += self._torn.is_there
        self._torn = Torn()
        if line.at is not None:
            self._at = (self._at[0] if self._at else line.at, line.at)

    def _broken(self, path: Path, expected: str, got: str) -> Broken:
        return Broken(file=path, line=self._number, expected=expected, got=got)


def _told(torn: dict[str, Any] | None) -> str:
    return (
        f"a torn piece of {torn.get('bytes')} bytes ({torn.get('sha256')})" if torn is not None else "nothing torn"
    )


def _lines(stream: BinaryIO) -> Iterator[Iterator[bytes]]:
    """Yield each line as its pieces, newline and all; only a line that is none of ours has more than one."""
    while first := stream.readline(LONGEST_LINE_BYTES + 1):
        is_whole = first.endswith(_NEWLINE) or len(first) <= LONGEST_LINE_BYTES
        yield chain((first,), () if is_whole else _rest(stream))


def _rest(stream: BinaryIO) -> Iterator[bytes]:
    piece = b""
    while not piece.endswith(_NEWLINE) and (piece := stream.readline(LONGEST_LINE_BYTES)):
        yield piece
