"""Owns hostile layers: random sequences of entries with every name, link, whiteout, map and size that ever hurt.

Pure: the same random numbers make the same layer. ``outside`` is a directory that none of them may reach.
"""

from __future__ import annotations

import random
import tarfile
from pathlib import Path

from tests.fuzz.mutation import BLOCK, mutated
from tests.runtime.images import END, Layer, Piece, layer_of, pax_records, raw_entry, tar

_PARTS = (
    "..", ".", "", "a", "a", "b", "b", "c", "way", "way", "etc", "dev", "proc", ".wh.a", ".wh.b", ".wh.way",
    ".wh..",
    ".wh...", ".wh.", ".wh..wh..opq", ".wh..wh.plnk", "\\..", "...", "..\\", "x" * 255, "x" * 256, "é",
    "\udcff", "a\nb",
    "*", "~", " ", "-rf", "CON", "secret",
)  # fmt: skip
_TAKEN = tuple(part for part in _PARTS if part not in {"..", ".wh..", ".wh...", ".wh.", "x" * 256, "."})
_KINDS = (tarfile.REGTYPE,) * 6 + (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE) * 4 + (
    tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE, b"9", b"V", b"M",
)  # fmt: skip
_PAX = (
    {"path": "../../outside/secret"}, {"path": "OUTSIDE/secret"}, {"linkpath": "../../../outside"}, {"size": "0"},
    {"size": str(2**60)}, {"mtime": "-1"}, {"mtime": "9" * 30}, {"mtime": "1.5"}, {"uid": str(2**32)},
    {"path": "a\0b"},
    {"SCHILY.xattr.trusted.overlay.opaque": "y"}, {"SCHILY.xattr.user.x": "y" * 2000}, {"SCHILY.xattr.": "x"},
    {"SCHILY.xattr.security.capability": "x"}, {"GNU.sparse.size": str(2**50), "GNU.sparse.map": "0,0"},
    {"GNU.sparse.size": "10", "GNU.sparse.map": "5,9"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
    {"GNU.sparse.size": str(2**40), "GNU.sparse.map": ",".join(["1,0"] * 99)}, {"path": "/".join(["d"] * 300)},
)  # fmt: skip


def hostile_layer(chance: random.Random, outside: Path) -> Layer:
    """Return one layer of up to twelve entries; some are damaged afterwards.

    Most have only names and kinds that are taken, so that what they do together is done; the others hold what must
    be refused.
    """
    is_bold = chance.random() < 0.3
    names = ["a"]
    content = b"".join(_entry(chance, outside, names, is_bold=is_bold) for _ in range(chance.randint(1, 12)))
    if is_bold and chance.random() < 0.3:
        content = mutated(content, "tar", chance)
    return layer_of(content + END)


def _entry(chance: random.Random, outside: Path, names: list[str], *, is_bold: bool) -> bytes:
    kind = chance.choice(_KINDS if is_bold else _KINDS[:-3])
    name, link = _name(chance, outside, is_bold=is_bold), ""
    if kind == tarfile.SYMTYPE:
        link = _name(chance, outside, is_bold=True)
    elif kind == tarfile.LNKTYPE:
        link = _name(chance, outside, is_bold=True) if is_bold else chance.choice(names)
    content = chance.choice((b"", b"evil", b"evil" * 200, bytes(chance.choice((BLOCK, 300_000)))))
    if kind != tarfile.REGTYPE and not (is_bold and chance.random() < 0.1):
        content = b""
    if kind == tarfile.REGTYPE:
        names.append(name)
    if is_bold and chance.random() < 0.2:
        return _overridden(chance, outside, name, kind, content, link)
    piece = Piece(name=name, kind=kind, content=content, link=link, device=(8, 1),
                  mode=chance.choice((0o644, 0, 0o6777, 0o1777)), uid=chance.choice((0, 7, 2**31)))  # fmt: skip
    whole = tar(piece, encoding=chance.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)))
    return whole[: _end(whole)]


def _overridden(  # noqa: PLR0917 - an entry
    chance: random.Random, outside: Path, name: str, kind: bytes, content: bytes, link: str
) -> bytes:
    """Return an entry whose extended header says something else than its header, and whose size may be a lie."""
    records = {key: _raw(value.replace("OUTSIDE", str(outside))) for key, value in chance.choice(_PAX).items()}
    size = chance.choice((None, None, None, 0, 2**33 - 1))
    entry = raw_entry(_raw(name)[:99], kind=kind, content=content, size=size, link=_raw(link)[:99])
    return pax_records(records) + entry


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _name(chance: random.Random, outside: Path, *, is_bold: bool) -> str:
    parts = _PARTS if is_bold else _TAKEN
    name = "/".join(chance.choices(parts, k=chance.choice((1, 1, 1, 2, 2, 3, 6))))
    leads = ("", "/", f"{outside}/", "way/", "proc/self/root/", "../" * 8)
    return chance.choices(leads, (12, 2, 2, 2, 1, 1 if is_bold else 0))[0] + name


def _end(archive: bytes) -> int:
    """Return where the zero blocks at the end of an archive begin, the padding of its last entry before them."""
    end = len(archive.rstrip(b"\0"))
    return -(-end // BLOCK) * BLOCK
