"""The parsers of archives: layers in tar, their compression, bundles, hash trees."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import Any

from tests.fuzz.target import Target, WrongAcceptError, require
from trust.bundle_file import BundleReader, BundleWriter, Entry
from trust.errors import InputError
from trust.runtime.decompression import decompressed
from trust.runtime.merkle import BLOCK, leaf_hashes
from trust.runtime.tar import Entry as TarEntry
from trust.runtime.tar import TarReader

_MOST_BYTES = 4 * 1024 * 1024
_KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)
_FORMATS = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
_ROOT = bytes.fromhex("b7b877b0cd46f8c88fb32e1cd10793bd89f982365e7cc5736dda7acad2ac3f9d")


def _tar(untrusted: bytes) -> list[tuple[TarEntry, bytes]]:
    size = 1 + len(untrusted) // 3  # pieces end anywhere
    reader = TarReader(iter([untrusted[at : at + size] for at in range(0, len(untrusted), size)]))
    return [(entry, b"".join(map(bytes, reader.body()))) for entry in reader.entries()]


def _entries(untrusted: bytes, found: list[tuple[TarEntry, bytes]]) -> None:
    for entry, body in found:
        require(not {b"..", b".", b""} & set(entry.path), "a name stays below the root")
        require(not any(b"/" in part or b"\0" in part for part in entry.path), "a name is of components")
        require(len(body) == entry.size_bytes - entry.hole_bytes, "a body has the size that was said")
        end = 0
        for extent in entry.extents or ():
            require(
                end <= extent.offset <= extent.offset + extent.size_bytes <= entry.size_bytes, "parts in order"
            )
            end = extent.offset + extent.size_bytes
    require(sum(len(body) for _, body in found) <= len(untrusted), "nothing is made of nothing")


def _written(untrusted: bytes) -> tuple[list[tarfile.TarInfo], bytes]:
    """Return a benign archive that ``tarfile`` wrote of what the bytes choose."""
    out, infos = io.BytesIO(), []
    form = _FORMATS[untrusted[0] % 3] if untrusted else tarfile.PAX_FORMAT
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for number, piece in enumerate(untrusted[1:].split(b"\n")[:20]):
            info = tarfile.TarInfo("/".join(["d" * (1 + number), piece.hex()[:90] or "x"] * (1 + number % 3)))
            info.type = _KINDS[len(piece) % 5]
            info.mode, info.uid, info.gid = sum(piece) & 0o7777, sum(piece), len(piece)
            info.mtime = sum(piece) * 1000 + (0.5 if form == tarfile.PAX_FORMAT else 0)
            info.linkname = piece.hex()[::-1][:99] or "y" if info.issym() or info.islnk() else ""
            info.size = len(piece) if info.isreg() else 0
            try:
                archive.addfile(info, io.BytesIO(piece))
            except ValueError:  # a name that this form cannot hold
                continue
            infos.append(info)
    return infos, out.getvalue()


def _benign(untrusted: bytes) -> Any:
    infos, data = _written(untrusted)
    try:
        return infos, _tar(data)
    except InputError as err:
        raise WrongAcceptError(f"a benign archive is refused: {err}") from err


def _as_written(_untrusted: bytes, found: tuple[list[tarfile.TarInfo], list[tuple[TarEntry, bytes]]]) -> None:
    infos, read = found
    expected = [(one.name.encode(), one.type, one.mode, one.uid, one.gid, one.size, one.linkname.encode(),
                 int(one.mtime * 10**9)) for one in infos]  # fmt: skip
    got = [(b"/".join(one.path), one.kind.value, one.mode, one.uid, one.gid, one.size_bytes, one.link,
            one.mtime_ns) for one, _ in read]  # fmt: skip
    require(got == expected, "two readers, one archive")


def _inflated(untrusted: bytes) -> bytes:
    content = b""
    for piece in decompressed(io.BytesIO(untrusted)):
        content += piece
        if len(content) > _MOST_BYTES:
            raise InputError("larger than is looked at here")
    return content


def _inflates(untrusted: bytes, found: bytes) -> None:
    if not untrusted.startswith(b"\x1f\x8b"):
        return
    try:
        second = gzip.decompress(untrusted)
    except (OSError, EOFError, zlib.error):
        return  # it wants header checksums that others leave alone
    require(second == found, "two readers, one content")


def _bundle(untrusted: bytes) -> list[tuple[Entry, bytes]]:
    reader = BundleReader(io.BytesIO(untrusted))
    found = []
    for entry in reader.entries():
        _ = entry.metadata, entry.blob
        found.append((entry, reader.content(_MOST_BYTES)))
    return found


def _one_spelling(untrusted: bytes, found: list[tuple[Entry, bytes]]) -> None:
    if untrusted.startswith(b"\x28\xb5\x2f\xfd"):
        return
    out = io.BytesIO()
    with BundleWriter(out.write, in_zstd=False) as writer:
        for entry, content in found:
            writer.add(entry.name, entry.size_bytes, [content])
    require(out.getvalue() == untrusted, "a bundle has one spelling")


def _tree(untrusted: bytes) -> bytes:
    return leaf_hashes(untrusted, blocks=3, salt=b"salt", root=_ROOT)


ARCHIVES = (
    Target(name="tar", parse=_tar, refuses=(InputError,), judge=_entries, form="tar"),
    Target(name="tar_benign", parse=_benign, refuses=(), judge=_as_written, form="bytes", share=2),
    Target(name="compressed", parse=_inflated, refuses=(InputError,), judge=_inflates, form="bytes", share=5),
    Target(name="bundle", parse=_bundle, refuses=(InputError,), judge=_one_spelling, form="tar"),
    Target(
        name="hash_tree", parse=_tree, refuses=(ValueError,), form="bytes", share=2,
        judge=lambda untrusted, _found: require(len(untrusted) >= BLOCK, "a tree of nothing has no root"),
    ),
)  # fmt: skip
