"""Owns how a tar header spells names, numbers and records.

Pure. Where other readers (Go's ``archive/tar``, star) read a field differently, it is refused.
Source: POSIX pax "ustar Interchange Format"; GNU tar manual "Basic Tar Format"; star(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from trust.errors import InputError

_USTAR, _GNU, _STAR = b"ustar\0", b"ustar  \0", b"tar\0"


def field_text(raw: bytes) -> bytes:
    """Return what stands before the first NUL byte."""
    return raw.split(b"\0", 1)[0]


def header_name(header: bytes) -> bytes:
    """Return the name in a header, with its prefix where the format has one.

    Raises:
        InputError: readers disagree on what is a prefix.
    """
    name = field_text(header[0:100])
    if header[257:265] == _GNU:
        # times of access and change, where there are any; Go takes what is no number for a prefix
        for raw in (header[345:357], header[357:369]):
            if raw[:4] != b"\xff" * 4 or raw[4] < 0x80:  # noqa: PLR2004 - else it lies before 1970
                field_number(raw, "time in a GNU header")
    if header[257:263] != _USTAR or header[345] == 0:
        return name
    if header[508:512] == _STAR and header[475] != 0:  # star ends a prefix there and has times behind it
        raise InputError("layer is malformed: the prefix of a star header has no end")
    return field_text(header[345:500]) + b"/" + name


def field_number(raw: bytes, what: str) -> int:
    """Return an octal number, or GNU's base 256, which is refused where it is negative.

    Raises:
        InputError: it is no number, or has more behind a NUL: others skip a NUL in front.
    """
    if raw[0] & 0x80:
        number = int.from_bytes(raw[1:], "big")
        if raw[0] != 0x80 or number >> 63:  # noqa: PLR2004 - 0xff begins a negative number
            raise InputError(f"layer is malformed: {what} is negative or too large")
        return number
    text, _, rest = raw.partition(b"\0")
    if rest.strip(b" \0"):
        raise InputError(f"layer is malformed: {what} has more behind a NUL: got {raw[:40]!r}")
    text = text.strip(b" ")
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise InputError(f"layer is malformed: {what} is no octal number: got {text[:40]!r}")
    return int(text, 8)


def decimal_number(text: bytes, what: str) -> int:
    """Return a decimal number, as extended headers spell them.

    Raises:
        InputError: it is no number.
    """
    if not text.isdigit() or len(text) > 20:  # noqa: PLR2004 - the digits of 2^64
        raise InputError(f"layer is malformed: {what} is no number: got {text[:40]!r}")
    return int(text)


def pax_records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each ``LENGTH KEY=VALUE`` and newline.

    Raises:
        InputError: malformed.
    """
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 8)
        length = content[at:space]
        end = at + int(length) if space > 0 and length.isdigit() else 0
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not space + 1 < end <= len(content) or content[end - 1] != ord("\n") or not key or not equals:
            raise InputError("layer is malformed: a PAX record is")
        yield key, value
        at = end
