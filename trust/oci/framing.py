"""Owns the reading of HTTP/1.1 responses: head and body, each with exactly one reading or refused.

Written out here, and not left to ``http.client``: that one takes an end in mid-headers for their end, stops at
a header without a colon, folds bare CRs into new headers, reads a 103 as the answer, takes ``-5`` and ``0x1_0``
for chunk sizes, and costs the import of ``ssl`` and ``email``. Source: RFC 9112 §§2-7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trust.errors import UnreachableError
from trust.oci.errors import MalformedAnswerError
from trust.oci.message import Headers
from trust.oci.wire import RECEIVE_BYTES, Wire
from trust.value import dataclass

HEAD_MAX_BYTES = 64 * 1024
INTERIM_MAX = 8  # 1xx answers before the real one

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t -~\x80-\xff]*)?")
# The blanks around a value are taken off afterwards: an expression for them takes hours for a header of blanks.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~\x80-\xff]*)?")
_CHUNK_LINE_MAX_BYTES = 4096

_OK = 200
_SWITCHING = 101
_NO_CONTENT = 204
_WITHOUT_BODY = frozenset({_NO_CONTENT, 304})


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a response, and how its body is framed: by length, in chunks, or until the end."""

    status: int
    headers: Headers
    length: int | None
    chunked: bool
    keeps_alive: bool


def read_head(wire: Wire, method: str) -> Head:
    """Return the head of the answer to ``method``; interim answers are passed over.

    Raises:
        UnreachableError: malformed, or more than one reading of where the body ends.
        LimitError: above ``HEAD_MAX_BYTES``, or the deadline passed.
    """
    budget = HEAD_MAX_BYTES
    for _ in range(INTERIM_MAX):
        line = wire.receive_line(budget)
        match = _STATUS.fullmatch(line)
        if match is None:
            raise _malformed(wire, f"expected an HTTP/1.1 status line, got {line[:40]!r}")
        minor, status = int(match[1]), int(match[2])
        budget -= len(line)
        pairs: list[tuple[str, str]] = []
        while line := wire.receive_line(budget):
            budget -= len(line)
            field = _FIELD.fullmatch(line)
            if field is None:
                raise _malformed(wire, f"expected NAME: VALUE, got {line[:40]!r}")
            pairs.append((field[1].decode("ascii"), field[2].strip(b" \t").decode("latin-1")))
        if status >= _OK:
            return _framed(wire, method, status, Headers(pairs), minor=minor)
        if status == _SWITCHING:
            break
    raise _malformed(wire, "expected an answer, got interim ones only")


def read_body(wire: Wire, head: Head) -> Iterator[bytes]:
    """Yield the body of ``head`` in pieces of at most ``RECEIVE_BYTES``; it ends only where the body does.

    Raises:
        UnreachableError: cut short, malformed, or broken; LimitError: the deadline passed.
    """
    if head.chunked:
        while size := _chunk_size(wire):
            yield from _exactly(wire, size)
            if wire.receive_line(_CHUNK_LINE_MAX_BYTES):
                raise _malformed(wire, "expected the end of a chunk")
        budget = HEAD_MAX_BYTES
        while trailer := wire.receive_line(budget):
            budget -= len(trailer)
    elif head.length is not None:
        yield from _exactly(wire, head.length)
    else:
        while data := wire.receive(RECEIVE_BYTES):
            yield data


def _malformed(wire: Wire, what: str) -> MalformedAnswerError:
    return MalformedAnswerError(f"{wire.peer}: malformed answer: {what}")


def _framed(wire: Wire, method: str, status: int, headers: Headers, *, minor: int) -> Head:
    codings = [coding.lower() for coding in _listed(headers, "transfer-encoding")]
    lengths = set(_listed(headers, "content-length"))
    if codings and (lengths or codings != ["chunked"] or minor == 0):
        raise _malformed(wire, f"Transfer-Encoding {codings} beside Content-Length {sorted(lengths)}"[:200])
    if codings and status == _NO_CONTENT:  # RFC 9112 §6.1: some read chunks there, and some the next answer
        raise _malformed(wire, f"Transfer-Encoding {codings} where there is no body")
    if len(lengths) > 1 or not all(_LENGTH.fullmatch(value) for value in lengths):
        raise _malformed(wire, f"expected one Content-Length, got {sorted(lengths)}"[:200])
    length = int(lengths.pop()) if lengths else None
    if method == "HEAD" or status in _WITHOUT_BODY:
        length, codings = 0, []
    options = {option.lower() for option in _listed(headers, "connection")}
    has_end = bool(codings) or length is not None
    return Head(
        status=status,
        headers=headers,
        length=length,
        chunked=bool(codings),
        keeps_alive=has_end and "close" not in options and minor == 1,
    )


def _listed(headers: Headers, name: str) -> list[str]:
    """Return the elements of a list, without blanks: space and tab, and none of those that are beyond ASCII."""
    elements = (element.strip(" \t") for element in headers.get(name, "").split(","))
    return [element for element in elements if element]


def _chunk_size(wire: Wire) -> int:
    line = wire.receive_line(_CHUNK_LINE_MAX_BYTES)
    match = _CHUNK.fullmatch(line)
    if match is None:
        raise _malformed(wire, f"expected the size of a chunk, got {line[:40]!r}")
    return int(match[1], 16)


def _exactly(wire: Wire, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left:
        data = wire.receive(min(left, RECEIVE_BYTES))
        if not data:
            raise UnreachableError(
                f"{wire.peer}: the body was cut short: expected {size_bytes} bytes, got {size_bytes - left}",
                hint="try again later",
            )
        left -= len(data)
        yield data
