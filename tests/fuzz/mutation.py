"""Owns how one input becomes the next: bytes cut, doubled, swapped; nodes of JSON replaced; tar headers resealed.

Used beside libFuzzer's own mutations, which seldom get past a checksum or a closing bracket, and by Hypothesis.
Pure: the same bytes and the same random numbers make the same input.
"""

from __future__ import annotations

import json
import random
from typing import Any

from tests.fuzz.target import Form

BLOCK = 512
WORDS = (
    b"..", b"/", b"%2f", b"\0", b":", b"@", b"sha256:", b"0" * 64, b"-1", b"9" * 20, b"9" * 5000, b"1e999", b"NaN",
    b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\xef\xbb\xbf", b"\r\n", b"\n", b"\r", b" " * 3000, b"{", b"[" * 40,
    b'"', b"''", b"=", b"[[", b"]]", b"true", b"null", b"0x" + b"f" * 5000, b"\t", b"chunked", b"A" * 300,
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 2**31, 2**62, 2**63 - 1, 2**63, "", "x", "x" * 5000, "\x00", "..", "/", [], {},
    [[]], ["x"], {"": {}}, {"x": None}, "2031-05-01T12:00:00Z", "9999-12-31T23:59:59Z", "root", "targets",
    "sha256:" + "0" * 64, "sha512:" + "0" * 128, "sha256:" + "A" * 64, "9" * 5000, "SIGRTMIN+" + "0" * 5000,
    "é", "\n", "a\nb", 1.5, "acme/web", "/proc/self/fd/3", "1", "+1", "\uff11",
)  # fmt: skip


def mutated(data: bytes, form: Form, chance: random.Random) -> bytes:
    """Return ``data`` changed in one to four places, as its form allows."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        changed = _node_changed(data, chance) if form == "json" and chance.random() < 0.7 else None
        data = _bytes_changed(data, chance) if changed is None else changed
    return repaired(data, form)


def repaired(data: bytes, form: Form) -> bytes:
    """Return ``data`` with what a reader checks first made right again: the checksums of tar headers."""
    if form != "tar" or len(data) < BLOCK:
        return data
    whole = bytearray(data)
    for at in range(0, len(whole) - BLOCK + 1, BLOCK):
        head = whole[at : at + BLOCK]
        if head[257:262] == b"ustar":
            head[148:156] = b" " * 8
            whole[at + 148 : at + 156] = b"%06o\0 " % sum(head)
    return bytes(whole)


def _bytes_changed(data: bytes, chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.choice((0, 1, 1, 2, 4, 8, 64, BLOCK)))
    piece = data[start:end]
    match chance.randrange(6):
        case 0:
            piece = b""
        case 1:
            piece = piece * 2
        case 2:
            piece = chance.choice(WORDS)
        case 3:
            piece = bytes([chance.randrange(256)]) + piece[1:]
        case 4:
            other = chance.randint(0, len(data))
            piece = data[other : other + len(piece) + 1]
        case _:
            piece += chance.choice(WORDS)
    return data[:start] + piece + data[end:]


def _node_changed(data: bytes, chance: random.Random) -> bytes | None:
    """Return a JSON document with one node replaced, dropped, doubled or added; None where it is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    places = list(_places(document))
    if not places:
        return None
    holder, key = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.append(holder[key])
        case 1:
            holder[f"{key}x"] = holder[key]
        case 2 if isinstance(holder[key], str):
            holder[key] = _bytes_changed(holder[key].encode(errors="replace"), chance).decode(errors="replace")
        case 3:
            other, name = chance.choice(places)
            holder[key] = json.loads(json.dumps(other[name])) if name in _keys(other) else None
        case _:
            holder[key] = chance.choice(ODD)
    try:
        return json.dumps(document, sort_keys=chance.random() < 0.8, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return None


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending and len(found) < 2000:
        holder = pending.pop()
        if isinstance(holder, dict | list):
            for key in _keys(holder):
                found.append((holder, key))
                pending.append(holder[key])
    return found
