"""Owns the strict reading of JSON that came from outside: one meaning, bounded size, depth and numbers.

It is UTF-8 without a byte order mark and without lone surrogates (RFC 8259 §8.1, §8.2): the library would guess
UTF-16 and UTF-32, and a lone surrogate is a text that other readers replace, refuse or cannot write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from trust.errors import InputError

DEPTH_MAX = 32  # the standard library's reader recurses
INTEGER_MAX = 2**63  # canonical JSON and every other reader agree below it

_SHOWN = 40
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_BYTE_ORDER_MARK = "\ufeff"
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")  # the only way to a surrogate: UTF-8 has none


def strict_json(
    untrusted_bytes: bytes, *, max_bytes: int, what: str, allow_floats: bool = False, max_depth: int = DEPTH_MAX
) -> Any:  # noqa: ANN401 - JSON is any shape
    """Return the value of ``untrusted_bytes``: UTF-8, no duplicate keys, no floats, at most ``max_depth`` deep.

    ``allow_floats`` is for documents of others that are read for a few fields and never written.

    Raises:
        InputError: above ``max_bytes``, too deep, or not such JSON; ``what`` names the document.
    """
    if len(untrusted_bytes) > max_bytes:
        raise InputError(f"{what} is too large: expected at most {max_bytes} bytes, got {len(untrusted_bytes)}")
    if _depth(untrusted_bytes) > max_depth:
        raise InputError(f"{what} is nested too deeply: expected at most {max_depth} levels")
    try:
        text = _text(untrusted_bytes)
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=float if allow_floats else _no_number,
            parse_int=_bounded,
        )
        if _SURROGATE_ESCAPE.search(text) is not None:
            _require_characters(value)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{what} is not valid JSON: {err}") from err
    return value


def fields(*names: str) -> Mapping[str, str]:
    """Return ``names`` by what ``one_spelling`` looks for."""
    return {name.casefold(): name for name in names}


def one_spelling(
    table: dict[str, Any], known: Mapping[str, str], *, what: str, error: type[InputError] = InputError
) -> dict[str, Any]:
    """Return ``table`` if each of its keys that is one of ``known`` in any case is spelled as there.

    Go's readers of JSON and TOML pass over case, and so does whatever runs images: of ``User`` and ``user`` they
    take the last, of two tables either.

    Raises:
        InputError: a key is ambiguous; ``what`` names the document, and it is an ``error``.
    """
    for key in table:
        name = known.get(key.casefold(), key)
        if key != name:
            raise error(f"{what} is ambiguous: {key[:_SHOWN]!r} is {name} to some readers")
    return table


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        raise ValueError(f"expected UTF-8, got byte 0x{data[err.start]:02x} at {err.start}") from err
    if text.startswith(_BYTE_ORDER_MARK):
        raise ValueError("expected UTF-8 without a byte order mark")
    if text.startswith("\0") or text[1:2] == "\0":
        raise ValueError("expected UTF-8, got UTF-16 or UTF-32")
    return text


def _require_characters(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as err:
        raise ValueError(f"a lone surrogate is no character: \\u{ord(err.object[err.start]):04x}") from err


def _depth(data: bytes) -> int:
    """Return an upper bound of the nesting depth: brackets inside strings count too."""
    depth = deepest = 0
    for byte in data.translate(None, delete=_NOT_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _bounded(text: str) -> int:
    number = int(text) if len(text) <= len(str(INTEGER_MAX)) + 1 else INTEGER_MAX
    if not -INTEGER_MAX < number < INTEGER_MAX:
        raise ValueError("a number is too large")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is no integer")
