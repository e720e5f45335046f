"""Owns how a tar header spells names and numbers. Pure. Source: POSIX pax "ustar Interchange Format"; GNU tar."""

from __future__ import annotations

from trust.errors import InputError


def field_text(raw: bytes) -> bytes:
    """Return what stands before the first NUL byte."""
    return raw.split(b"\0", 1)[0]


def field_number(raw: bytes, what: str) -> int:
    """Return an octal number, or GNU's base 256, which is refused where it is negative.

    Raises:
        InputError: it is no number.
    """
    if raw[0] & 0x80:
        if raw[0] != 0x80:  # noqa: PLR2004 - 0xff begins a negative number, others do not fit 64 bits
            raise InputError(f"layer is malformed: {what} is negative or too large")
        return int.from_bytes(raw[1:], "big")
    text = field_text(raw).strip(b" ")
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
