"""Owns the chain of the decision log: how a line is spelled, what it is bound to, and when two lines follow.

One line is one JSON object, ASCII, ended by a newline::

    {"seq":7,"previous":"<sha256 hex>","rotated":true,"torn":{"bytes":41,"sha256":"<hex>"},"lost":3,"at":...}

- ``seq`` counts lines from 1 without a gap, over restarts and rotations.
- ``previous`` is the hash of the bytes of the last whole line before, without its newline; first: ``GENESIS``.
- ``rotated`` is there in the line with which a file begins after a rotation, and that tells of no decision: a file
  that begins later than 1 without it was cut.
- ``torn`` tells of what a crash or a full disk left between the line before and this one: its size and hash. So a
  torn piece is bound to the chain as a line is; nothing can stand in the place of a line and be called torn.
- ``lost`` is how many decisions before this one could not be written. They have no ``seq``.

The chain has no key: who can write the file can write all of it anew from some line on. What shows that is a
``Head`` noted elsewhere before. Pure: no file, no clock.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from registry_shim.status import Decided, as_json
from trust.errors import InputError
from trust.value import dataclass

GENESIS = "0" * 64
LONGEST_LINE_BYTES = 256 * 1024  # a longer piece is no line of ours; both sides rely on it to bound their memory
_LONGEST_TEXT = 2_000  # characters of a field; twelve bytes for each in the worst escape, and there are nine
_BEGINNING = b'{"seq":'
_LATEST = 1e11  # UTC seconds; dates end before
_CUT = "…"
_HASH = re.compile("[0-9a-f]{64}", re.ASCII)
_HEAD = re.compile("([1-9][0-9]{0,17}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A line by its number and the hash of its bytes; number 0 is the place before the first line."""

    seq: int = 0
    digest: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.digest}"


def parse_head(text: str) -> Head:
    """Return the head that ``str`` spelled: ``SEQ:HASH``.

    Raises:
        InputError: any other spelling.
    """
    match = _HEAD.fullmatch(text)
    if match is None:
        raise InputError(f"head is malformed: expected SEQ:<64 lower-case hex>, got {text[:90]!r}")
    return Head(seq=int(match[1]), digest=match[2])


class Torn:
    """What lies between two lines and is none: pieces joined by newlines, by size and hash alone."""

    __slots__ = ("_hash", "size_bytes")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = -1  # until the first piece: a blank line is a piece of no bytes

    def add(self, piece: bytes, *, continues: bool = False) -> None:
        """Take in ``piece`` without its newline; ``continues`` says that it goes on with the one before."""
        raw = piece if continues or self.size_bytes < 0 else b"\n" + piece
        self._hash.update(raw)
        self.size_bytes = max(self.size_bytes, 0) + len(raw)

    @property
    def is_there(self) -> bool:
        """Whether there is any piece."""
        return self.size_bytes >= 0

    def marker(self) -> dict[str, Any]:
        """Return the value of ``torn`` in the line that follows."""
        return {"bytes": self.size_bytes, "sha256": self._hash.hexdigest()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the chain needs of one line; ``digest`` is that of its own bytes."""

    seq: int
    previous: str
    digest: str
    at: float | None
    lost: int
    is_rotated: bool
    torn: dict[str, Any] | None

    @property
    def head(self) -> Head:
        """This line as a head."""
        return Head(seq=self.seq, digest=self.digest)


def line_bytes(
    decided: Decided | None,
    *,
    after: Head,
    torn: dict[str, Any] | None = None,
    lost: int = 0,
    is_rotated: bool = False,
) -> bytes:
    """Return the line of ``decided`` that follows ``after``, without its newline; without one, it only marks."""
    document: dict[str, Any] = {"seq": after.seq + 1, "previous": after.digest}
    if is_rotated:
        document["rotated"] = True
    if torn is not None:
        document["torn"] = torn
    if lost:
        document["lost"] = lost
    for name, value in (as_json(decided) if decided is not None else {}).items():
        document[name] = _cut(value) if isinstance(value, str) else value
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def parse_line(raw: bytes) -> Line | None:
    """Return what ``raw`` (without its newline) says, or None if it is no line of a decision log."""
    if len(raw) > LONGEST_LINE_BYTES or not raw.startswith(b"{"):
        return None
    try:
        document = json.loads(raw.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    seq, previous, torn = document.get("seq"), document.get("previous"), document.get("torn")
    lost, at = document.get("lost", 0), document.get("at")
    if type(seq) is not int or seq < 1 or not isinstance(previous, str) or not _HASH.fullmatch(previous):
        return None
    if type(lost) is not int or lost < 0 or not isinstance(torn, dict | None):
        return None
    return Line(
        seq=seq,
        previous=previous,
        digest=digest_of(raw),
        at=float(at) if isinstance(at, int | float) and 0 <= at < _LATEST else None,
        lost=lost,
        is_rotated=document.get("rotated") is True,
        torn=torn,
    )


def may_begin(raw: bytes) -> bool:
    """Whether ``raw``, in a file without any line, can be a torn one: its beginning, or a power cut's zeros."""
    return raw.startswith(_BEGINNING) or _BEGINNING.startswith(raw) or not raw.strip(b"\0")


def digest_of(raw: bytes) -> str:
    """Return the sha256 of a line's bytes, in hex."""
    return hashlib.sha256(raw).hexdigest()


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + _CUT
