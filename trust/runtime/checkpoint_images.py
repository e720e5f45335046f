"""Owns the reading of CRIU's image files: a magic number, then records of a length and a protocol buffer.

Pure: bytes in, numbered fields out. Only what the comparison of walls asks about is read; the bytes were verified
before, but a signer may be wrong, so that every length is checked. Sources: CRIU ``images/*.proto``, the encoding
of protocol buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from trust.errors import InputError, RefusedError

IMAGE_MAX_BYTES = 64 * 1024 * 1024  # of one image file that is read here; pages are not

_COMMON, _SERVICE = 0x54564319, 0x55105940
_LENGTH = struct.Struct("<I")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Value = int | bytes
Fields = Mapping[int, list[Value]]


def records(path: Path) -> Iterator[Fields]:
    """Yield the records of the image file ``path``.

    Raises:
        InputError: malformed.
    """
    with path.open("rb") as file:
        data = file.read(IMAGE_MAX_BYTES + 1)
    if len(data) > IMAGE_MAX_BYTES:
        raise _malformed(path.name, "it is too large")
    at = 4 if data[:4] not in (_LENGTH.pack(_COMMON), _LENGTH.pack(_SERVICE)) else 8
    if len(data) < at:
        raise _malformed(path.name, "it is truncated")
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise _malformed(path.name, "it is truncated")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            raise _malformed(path.name, "a record is longer than the file")
        yield fields(data[at : at + length], path.name)
        at += length


def fields(data: bytes, what: str) -> dict[int, list[Value]]:
    """Return every field of one message by its number, repeated ones in order.

    Raises:
        InputError: malformed.
    """
    found: dict[int, list[Value]] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at, what)
        value: Value
        if key & 7 == _VARINT:
            value, at = _varint(data, at, what)
        else:
            if key & 7 == _BYTES:
                length, at = _varint(data, at, what)
            elif key & 7 in (_FIXED64, _FIXED32):
                length = 8 if key & 7 == _FIXED64 else 4
            else:
                raise _malformed(what, f"wire type {key & 7}")
            if at + length > len(data):
                raise _malformed(what, "a field is longer than its message")
            value, at = data[at : at + length], at + length
        found.setdefault(key >> 3, []).append(value)
    return found


def encoded(field: int, value: Value) -> bytes:
    """Return one field, a number or bytes, as it is in a message."""
    if isinstance(value, int):
        return _spelled(field << 3 | _VARINT) + _spelled(value)
    return _spelled(field << 3 | _BYTES) + _spelled(len(value)) + value


def number(message: Fields, field: int, default: int = 0) -> int:
    """Return the last value of a field that CRIU declares with 32 bits and without a sign.

    Raises:
        InputError: it is no number, or a larger one, of which CRIU's reader would keep 32 bits.
    """
    return _narrow(long_number(message, field, default), field)


def long_number(message: Fields, field: int, default: int = 0) -> int:
    """Return the last value of a field that CRIU declares with 64 bits.

    Raises:
        InputError: it is no number.
    """
    value = message.get(field, [default])[-1]
    if not isinstance(value, int):
        raise InputError(f"checkpoint is malformed: field {field} is no number")
    return value


def signed_number(message: Fields, field: int) -> int:
    """Return the last value of a field that CRIU declares as ``int32``, 0 without one.

    Raises:
        InputError: it is no number, or none of 32 bits with its sign in front.
    """
    value = long_number(message, field)
    if value >> 31 not in (0, (1 << 33) - 1):
        raise InputError(f"checkpoint is malformed: field {field} has more than 32 bits")
    return value - (1 << 64) if value >> 63 else value


def numbers(message: Fields, field: int) -> tuple[int, ...]:
    """Return every value of a field of numbers of 32 bits.

    Raises:
        InputError: some are larger, or packed into bytes: CRIU's reader would take it, its writer never makes it.
    """
    found = message.get(field, [])
    values = tuple(_narrow(value, field) for value in found if isinstance(value, int))
    if len(values) != len(found):
        raise InputError(f"checkpoint is malformed: field {field} has other than numbers")
    return values


def text(message: Fields, field: int) -> str:
    """Return the last value of a text field, "" without one."""
    value = message.get(field, [b""])[-1]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else ""


def message(outer: Fields, field: int, what: str) -> dict[int, list[Value]]:
    """Return the message in a field; without one, an empty message.

    Raises:
        InputError: it is none, or there are several, which CRIU's reader would merge.
    """
    found = outer.get(field, [b""])
    value = found[-1]
    if not isinstance(value, bytes) or len(found) > 1:
        raise _malformed(what, f"field {field} is not one message")
    return fields(value, what)


def zigzag(value: int) -> int:
    """Return a number as the ``sint32`` that was encoded."""
    return (value >> 1) ^ -(value & 1)


def first_record(path: Path) -> Fields:
    """Return the first record of an image that must be there.

    Raises:
        InputError: it is not.
    """
    try:
        return next(records(path))
    except (StopIteration, FileNotFoundError) as err:
        raise InputError(f"checkpoint is malformed: it has no {path.name}") from err


def above(what: str) -> RefusedError:
    """Return the refusal of a snapshot that asks for what no container of this machine has."""
    return RefusedError(f"checkpoint {what}", reason="tampered")


def _narrow(value: int, field: int) -> int:
    if value >> 32 > 0:
        raise InputError(f"checkpoint is malformed: field {field} has more than 32 bits")
    return value


def _spelled(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits in each byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _varint(data: bytes, at: int, what: str) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:  # noqa: PLR2004 - of 64 bits
            raise _malformed(what, "a number has no end")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
            if value >> 64:
                raise _malformed(what, "a number has more than 64 bits")
            return value, at


def _malformed(what: str, why: str) -> InputError:
    return InputError(f"checkpoint is malformed: {what[:80]}: {why}")
