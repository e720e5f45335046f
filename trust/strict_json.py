"""Owns the strict reading of JSON that came from outside: one meaning, bounded size, depth and numbers."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from trust.errors import InputError

DEPTH_MAX = 32  # the standard library's reader recurses
INTEGER_MAX = 2**63  # canonical JSON and every other reader agree below it

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def strict_json(untrusted_bytes: bytes, *, max_bytes: int, what: str) -> Any:  # noqa: ANN401 - JSON is any shape
    """Return the value of ``untrusted_bytes``: no duplicate keys, no floats, at most ``DEPTH_MAX`` deep.

    Raises:
        InputError: above ``max_bytes``, too deep, or not such JSON; ``what`` names the document.
    """
    if len(untrusted_bytes) > max_bytes:
        raise InputError(f"{what} is too large: expected at most {max_bytes} bytes, got {len(untrusted_bytes)}")
    if _depth(untrusted_bytes) > DEPTH_MAX:
        raise InputError(f"{what} is nested too deeply: expected at most {DEPTH_MAX} levels")
    try:
        return json.loads(
            untrusted_bytes,
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_no_number,
            parse_int=_bounded,
        )
    except (ValueError, RecursionError) as err:
        raise InputError(f"{what} is not valid JSON: {err}") from err


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
