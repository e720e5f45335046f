"""The bytes of a bundle: one spelling, which other tools read, and nothing that could be read in two ways."""

from __future__ import annotations

import io
import tarfile

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.moving.bundles import put_together, read_all
from trust.bundle_file import BLOCK, MARKER, MARKER_BYTES, BundleWriter, _header, blob_name
from trust.digest import parse_digest, sha256
from trust.errors import InputError

FILES = [(MARKER, MARKER_BYTES), ("index.json", b"{}"), (blob_name(sha256(b"x")), b"x" * 1000), ("empty", b"")]
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789./_-", min_size=1, max_size=99)
contents = st.lists(st.tuples(names, st.binary(max_size=2000)), max_size=4)


@given(files=contents, in_zstd=st.booleans())
def test_what_is_written_is_read_back(files: list[tuple[str, bytes]], in_zstd: bool) -> None:  # noqa: FBT001
    data = put_together(files, in_zstd=in_zstd)
    assert [(entry.name, content) for entry, content in read_all(data)] == files
    assert put_together(files, in_zstd=in_zstd) == data


def test_other_tools_read_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(put_together(FILES))) as archive:
        assert [(member.name, member.mtime, member.uid, member.isreg()) for member in archive] == [
            (name, 0, 0, True) for name, _ in FILES
        ]


def test_size_beyond_octal_digits_is_what_other_tools_read() -> None:
    size = 9 * 1024**3
    assert tarfile.TarInfo.frombuf(_header("large", size), "ascii", "strict").size == size


def archived(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member.tobuf(tarfile.GNU_FORMAT, "ascii", "strict") + bytes(2 * BLOCK)


@pytest.mark.parametrize(
    "data",
    [
        archived("link", tarfile.SYMTYPE, linkname="/etc/passwd"),
        archived("link", tarfile.LNKTYPE, linkname="oci-layout"),
        archived("directory", tarfile.DIRTYPE),
        archived("device", tarfile.CHRTYPE),
        archived("pipe", tarfile.FIFOTYPE),
        archived("n" * 200),
        archived("dated", mtime=1),
        archived("owned", uid=1000),
        archived("negative", size=-1),
        tarfile.TarInfo("ü").tobuf(tarfile.PAX_FORMAT) + bytes(2 * BLOCK),
        b"",
        b"\x1f\x8b" + bytes(1000),
        bytes(BLOCK),
        bytes(3 * BLOCK),
        put_together(FILES) + b"x",
        put_together(FILES) + put_together(FILES),
        put_together(FILES, in_zstd=True) + b"x",
        put_together(FILES, in_zstd=True) + put_together(FILES, in_zstd=True),
    ],
    ids=[
        "symlink", "hard-link", "directory", "device", "fifo", "long-name", "date", "owner", "negative", "pax",
        "empty", "gzip", "one-block", "three-blocks", "behind", "twice", "behind-zstd", "twice-zstd",
    ],
)  # fmt: skip
def test_what_is_spelled_otherwise_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="bundle is"):
        read_all(data)


@pytest.mark.parametrize("in_zstd", [False, True])
def test_truncated_file_is_refused_wherever_it_ends(in_zstd: bool) -> None:  # noqa: FBT001
    data = put_together(FILES, in_zstd=in_zstd)
    for end in range(0, len(data) - 1, 1 if in_zstd else 37):
        with pytest.raises(InputError, match="bundle is"):
            read_all(data[:end])


@given(at=st.integers(0, 10**6), byte=st.integers(1, 255))
def test_changed_byte_is_refused_or_is_content(at: int, byte: int) -> None:
    data = bytearray(put_together(FILES))
    data[at % len(data)] ^= byte
    try:
        found = read_all(bytes(data))
    except InputError:
        return
    assert put_together([(entry.name, content) for entry, content in found]) == bytes(data)


def test_frame_that_wants_gigabytes_of_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    large = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(InputError, match="bundle is"):
        read_all(large.compress(put_together(FILES)) + large.flush())


def test_blob_of_another_algorithm_is_not_written() -> None:
    with pytest.raises(InputError, match="sha256 content alone"):
        blob_name(parse_digest(f"sha512:{'0' * 128}"))


def test_content_that_changes_its_size_while_it_is_written_is_refused() -> None:
    for content in (b"short", b"much too long"):
        with pytest.raises(InputError, match="changed while it was read"):
            _write_sized(content)


def _write_sized(content: bytes) -> None:
    with BundleWriter(io.BytesIO().write, in_zstd=False) as writer:
        writer.add("file", 8, [content])
