"""Owns the reading of tar streams: ustar, PAX and GNU long names, as the builders of images write them.

Pure: pieces of bytes in, entries and their bodies out; nothing is ever written, resolved or trusted here. Python's
``tarfile`` is not used: the versions in the field loop and backtrack on crafted headers (CVE-2024-6232,
CVE-2025-8194), and what two readers would read differently must be refused here: a name given twice, a link with
a body, one zero block among entries. Source: POSIX pax "ustar Interchange Format", GNU tar manual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from trust.errors import InputError
from trust.runtime.fields import decimal_number, field_number, field_text, header_name, pax_records
from trust.runtime.sparse import PREFIX, Block, Extent, SparseMap, header_map, is_repeated, pax_map
from trust.value import dataclass, field

BLOCK = 512
EXTENSION_MAX_BYTES = 1024 * 1024  # one PAX or long-name header: 64 KiB of xattr values is the kernel's own limit
PATH_MAX_BYTES = 4096  # the kernel takes no longer path
NAME_MAX_BYTES = 255
DEPTH_MAX = 256  # the deepest trees of real images stay below 50; every level costs a system call for each entry
ID_MAX = 2**32 - 2  # 2^32 - 1 means "leave as it is" to chown
MTIME_MAX_SECONDS = 2**34 - 1  # what ext4 can store, the year 2446

_XATTR = b"SCHILY.xattr."
_SPARSE_NAME = b"GNU.sparse.name"
_ZERO = bytes(BLOCK)


class Kind(Enum):
    """What an entry makes."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


_SPARSE = b"S"
_KINDS = {kind.value: kind for kind in Kind} | {b"\0": Kind.FILE, b"7": Kind.FILE, _SPARSE: Kind.FILE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: ``path`` in components without ``..``, empty for the root itself; ``link`` as it is written.

    ``mode`` has the twelve permission bits; ``mtime_ns`` is since 1970, not before; only a file has a size.
    ``extents`` are the parts of a sparse file that its body holds; None where it holds everything.
    """

    path: tuple[bytes, ...]
    kind: Kind
    mode: int
    uid: int
    gid: int
    size_bytes: int
    mtime_ns: int
    link: bytes
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    extents: tuple[Extent, ...] | None = None

    @property
    def hole_bytes(self) -> int:
        """How much longer the file is than what is stored of it."""
        return 0 if self.extents is None else self.size_bytes - sum(one.size_bytes for one in self.extents)


class TarReader:
    """Reads one tar stream, once; ``entries`` gives each entry, ``body`` the bytes of the latest."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")
        self._body_left = 0
        self._padding = 0

    def entries(self) -> Iterator[Entry]:
        """Yield the entries in their order; then the rest of the stream, which tar ignores, is read to its end.

        Raises:
            InputError: malformed, ambiguous, truncated, or of a kind that no image needs.
        """
        extension = _Extension()
        while (header := self._header()) is not None:
            kind = header[156:157]
            if kind in (b"x", b"g", b"L", b"K"):
                content = self._extension(header)
                if kind != b"g":  # builders of images write nothing global but comments
                    extension.add(kind, content)
                continue
            stored = extension.number(b"size", header[124:136], "size")
            sparse = extension.sparse(header, lambda: self._exactly(BLOCK))
            entry = _entry(header, extension, stored, sparse)
            extension = _Extension()
            if sparse is not None and sparse.stored_bytes != stored - sparse.read_bytes:
                raise InputError("layer is ambiguous: a sparse file has another size than its parts together")
            self._body_left, self._padding = stored - (sparse.read_bytes if sparse else 0), -stored % BLOCK
            yield entry
        for _ in self._chunks:
            pass

    def body(self) -> Iterator[memoryview]:
        """Yield what is left of the latest entry's body, in pieces that hold until the next one is asked for."""
        while self._body_left:
            piece = self._piece(self._body_left)
            self._body_left -= len(piece)
            yield piece

    def _header(self) -> bytes | None:
        for _ in self.body():
            pass
        self._exactly(self._padding)
        self._padding = 0
        if not self._more():
            return None  # some writers leave out the closing blocks
        block = self._exactly(BLOCK)
        if block != _ZERO:
            return _checked(block)
        if self._more() and self._exactly(BLOCK) != _ZERO:
            raise InputError("layer is ambiguous: expected two zero blocks at the end, got one")
        return None

    def _extension(self, header: bytes) -> bytes:
        size = field_number(header[124:136], "size")
        if size > EXTENSION_MAX_BYTES:
            raise InputError(f"layer has a header of {size} bytes: expected at most {EXTENSION_MAX_BYTES}")
        content = self._exactly(size)
        self._exactly(-size % BLOCK)
        return content

    def _more(self) -> bool:
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._chunk = memoryview(chunk)
        return True

    def _piece(self, wanted: int) -> memoryview:
        if not self._more():
            raise InputError("layer is truncated: it ends in the middle of an entry")
        piece, self._chunk = self._chunk[:wanted], self._chunk[wanted:]
        return piece

    def _exactly(self, wanted: int) -> bytes:
        pieces = []
        while wanted:
            piece = self._piece(wanted)
            wanted -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)


class _Extension:
    """What the headers before an entry say about it."""

    def __init__(self) -> None:
        self.pax: dict[bytes, bytes] = {}
        self.repeated: list[tuple[bytes, bytes]] = []
        self.names: dict[bytes, bytes] = {}

    def add(self, kind: bytes, content: bytes) -> None:
        if kind == b"x":
            records = list(pax_records(content))
            self.repeated = [record for record in records if is_repeated(record[0])]
            others = [record for record in records if not is_repeated(record[0])]
            if len(dict(others)) != len(others):  # the last counts, or the last that is not empty
                raise InputError("layer is malformed: a PAX header gives one key twice")
            # an empty value means "not given" (POSIX), but is one for an attribute
            self.pax = {key: value for key, value in others if value or key.startswith(_XATTR)}
        else:
            self.names[kind] = content.split(b"\0", 1)[0]

    def text(self, pax_key: bytes, gnu_kind: bytes, otherwise: bytes) -> bytes:
        pax, gnu = self.pax.get(pax_key), self.names.get(gnu_kind) or None  # an empty one means "not given"
        if pax is not None and gnu is not None:
            raise InputError("layer is ambiguous: an entry has a PAX and a GNU name")
        return pax if pax is not None else gnu if gnu is not None else otherwise

    def number(self, pax_key: bytes, otherwise: bytes, what: str) -> int:
        text = self.pax.get(pax_key)
        return field_number(otherwise, what) if text is None else decimal_number(text, what)

    def sparse(self, header: bytes, next_block: Block) -> SparseMap | None:
        kind = header[156:157]
        if kind == _SPARSE and not self.repeated and not any(key.startswith(PREFIX) for key in self.pax):
            return header_map(header, next_block)
        found = pax_map(self.pax, self.repeated, next_block)
        if found is not None and kind not in (b"0", b"\0"):
            raise InputError(f"layer is ambiguous: a sparse map for an entry of kind {kind!r}")
        return found


def _checked(block: bytes) -> bytes:
    """Return ``block`` if its checksum, of unsigned bytes, is right."""
    expected = field_number(block[148:156], "checksum")
    got = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if got != expected:
        raise InputError(f"layer is malformed: header checksum: expected {expected}, got {got}")
    return block


def _entry(header: bytes, extension: _Extension, stored: int, sparse: SparseMap | None) -> Entry:
    name = extension.text(b"path", b"L", header_name(header))
    name = extension.pax.get(_SPARSE_NAME, name) if sparse is not None else name
    kind = _KINDS.get(header[156:157])
    if kind is None:
        raise InputError(f"layer has an entry of a kind not supported: {header[156:157]!r}, {name[:80]!r}")
    if kind is Kind.FILE and name.endswith(b"/"):
        if header[156] != 0:  # only archives of before 1988 mark a directory so
            raise InputError(f"layer is malformed: {name[:80]!r} is a file and ends with a slash")
        kind = Kind.DIRECTORY
    if (stored or sparse) and kind is not Kind.FILE:
        raise InputError(f"layer is ambiguous: {name[:80]!r} is no file and has {stored} bytes")
    link = extension.text(b"linkpath", b"K", field_text(header[157:257]))
    if b"\0" in link or len(link) > PATH_MAX_BYTES or (not link and kind in (Kind.SYMLINK, Kind.HARD_LINK)):
        raise InputError(f"layer is malformed: {name[:80]!r} links to {link[:80]!r}")
    return Entry(
        path=split_path(name),
        kind=kind,
        mode=field_number(header[100:108], "mode") & 0o7777,
        uid=_id(extension.number(b"uid", header[108:116], "uid")),
        gid=_id(extension.number(b"gid", header[116:124], "gid")),
        size_bytes=stored if sparse is None else sparse.size_bytes,
        mtime_ns=_mtime_ns(header[136:148], extension.pax.get(b"mtime")),
        link=link,
        xattrs={key[len(_XATTR) :]: value for key, value in extension.pax.items() if key.startswith(_XATTR)},
        extents=None if sparse is None else sparse.extents,
    )


def split_path(name: bytes) -> tuple[bytes, ...]:
    """Return the components of a name in an archive, relative to the root whether it begins with ``/`` or not.

    Raises:
        InputError: a ``..``, a NUL byte, or longer or deeper than any path of a real image.
    """
    if len(name) > PATH_MAX_BYTES:
        raise InputError(f"layer has a name of {len(name)} bytes: expected at most {PATH_MAX_BYTES}")
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise InputError(f"layer has a name with '..': got {name[:80]!r}")
    if b"\0" in name or any(len(part) > NAME_MAX_BYTES for part in parts):
        raise InputError(f"layer has a name that no file can have: got {name[:80]!r}")
    if len(parts) > DEPTH_MAX:
        raise InputError(f"layer has a name {len(parts)} levels deep: expected at most {DEPTH_MAX}")
    return parts


def _id(number: int) -> int:
    if number > ID_MAX:
        raise InputError(f"layer is malformed: owner: expected at most {ID_MAX}, got {number}")
    return number


def _mtime_ns(raw: bytes, pax: bytes | None) -> int:
    """Return a time that every file system takes; what lies before 1970 or absurdly late is moved to the edge."""
    if pax is None:
        return 0 if raw[0] == 0xFF else min(field_number(raw, "mtime"), MTIME_MAX_SECONDS) * 10**9  # noqa: PLR2004
    seconds, _, fraction = pax.partition(b".")
    digits = seconds.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 20 or (fraction and not fraction.isdigit()):  # noqa: PLR2004
        raise InputError(f"layer is malformed: mtime is no number: got {pax[:40]!r}")
    if seconds.startswith(b"-"):
        return 0
    return min(int(digits), MTIME_MAX_SECONDS) * 10**9 + int(fraction[:9].ljust(9, b"0"))
