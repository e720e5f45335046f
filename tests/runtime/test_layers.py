"""Layers are read whole, held to their digests, and stopped when they are bombs."""

from __future__ import annotations

import gzip
import io
import sys
import threading
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.conftest import Workshop
from tests.runtime.images import END, Layer, file, layer, layer_of, pax_records, raw_entry, tar
from trust.digest import sha256
from trust.errors import InputError, LimitError, RefusedError, StateError
from trust.runtime.decompression import decompressed
from trust.runtime.layer import Budget, ReadAhead
from trust.runtime.tar import TarReader

CONTENT = tar(file("a", b"1" * 5000), file("b", bytes(range(256)) * 40))


def test_plain_gzip_and_zstd_layers_give_the_same_tree(workshop: Workshop) -> None:
    blobs = [CONTENT, gzip.compress(CONTENT), zstandard.ZstdCompressor().compress(CONTENT)]
    for blob in blobs:
        root = workshop.unpack(layer_of(CONTENT, blob=blob))
        assert (root / "a").read_bytes() == b"1" * 5000


def test_gzip_of_many_members_is_read_to_the_end(workshop: Workshop) -> None:
    pieces = [CONTENT[at : at + 700] for at in range(0, len(CONTENT), 700)]
    blob = b"".join(gzip.compress(piece) for piece in pieces)
    assert (workshop.unpack(layer_of(CONTENT, blob=blob)) / "b").stat().st_size == 256 * 40


@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=12), padding=st.integers(0, 700))
def test_any_division_into_members_gives_the_same_content(cuts: list[int], padding: int) -> None:
    edges = [0, *sorted(cuts), len(CONTENT)]
    blob = b"".join(gzip.compress(CONTENT[a:b]) for a, b in pairwise(edges)) + bytes(padding)
    assert b"".join(decompressed(io.BytesIO(blob))) == CONTENT


@pytest.mark.parametrize("is_here", [True, False])
def test_gzip_is_read_the_same_without_the_quicker_library(
    monkeypatch: pytest.MonkeyPatch, *, is_here: bool
) -> None:
    if not is_here:
        monkeypatch.setitem(sys.modules, "isal", None)
    blob = gzip.compress(CONTENT[:100]) + gzip.compress(CONTENT[100:])
    assert b"".join(decompressed(io.BytesIO(blob))) == CONTENT
    with pytest.raises(InputError, match="malformed"):
        list(decompressed(io.BytesIO(blob[:-8] + bytes(8))))
    with pytest.raises(InputError, match="truncated"):
        list(decompressed(io.BytesIO(blob[:-1])))


def test_zstd_of_many_frames_is_read_to_the_end() -> None:
    engine = zstandard.ZstdCompressor()
    blob = b"".join(engine.compress(CONTENT[at : at + 3000]) for at in range(0, len(CONTENT), 3000))
    assert b"".join(decompressed(io.BytesIO(blob))) == CONTENT


def test_zstd_window_above_the_cap_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    blob = engine.compress(CONTENT) + engine.flush()
    with pytest.raises(InputError, match="malformed"):
        list(decompressed(io.BytesIO(blob)))


@pytest.mark.parametrize("cut", [1, 8, 200])
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_truncated_layer_leaves_no_tree(workshop: Workshop, cut: int, pack: object) -> None:
    assert callable(pack)
    with pytest.raises((InputError, RefusedError)):
        workshop.unpack(layer_of(CONTENT, blob=pack(CONTENT)[:-cut]))
    assert not workshop.trees()
    assert not workshop.leftovers()


def test_garbage_behind_a_gzip_layer_is_refused(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="malformed"):
        workshop.unpack(layer_of(CONTENT, blob=gzip.compress(CONTENT) + b"garbage"))


def test_content_that_is_not_the_diff_id_is_refused_as_tampered(workshop: Workshop) -> None:
    lie = Layer(blob=gzip.compress(CONTENT), diff_id=sha256(b"something else"))
    with pytest.raises(RefusedError, match="does not match the image configuration") as caught:
        workshop.unpack(lie)
    assert caught.value.reason == "tampered"
    assert not workshop.trees()
    assert not workshop.leftovers()


def test_content_behind_the_end_of_the_archive_counts_for_the_diff_id(workshop: Workshop) -> None:
    lie = Layer(blob=gzip.compress(CONTENT + b"more"), diff_id=sha256(CONTENT))
    with pytest.raises(RefusedError):
        workshop.unpack(lie)


def test_blob_that_changed_on_this_disk_is_the_disks_fault(workshop: Workshop) -> None:
    one = layer_of(CONTENT)
    workshop.unpack(layer(file("other")))  # the store is there
    path = workshop.home / "content/blobs/sha256" / sha256(one.blob).hex
    damaged = bytearray(one.blob)
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StateError, match="content store is damaged"):
        workshop.unpack(one)


def test_gzip_bomb_is_stopped_by_its_ratio(workshop: Workshop) -> None:
    bomb = tar(file("zeros", bytes(8 * 1024 * 1024)))
    with pytest.raises(LimitError, match="bomb"):
        workshop.unpack(layer_of(bomb, blob=gzip.compress(bomb, 9)), budget=Budget(ratio_free_bytes=1024 * 1024))
    assert not workshop.trees()
    assert not workshop.leftovers()


def test_zstd_bomb_is_stopped_by_its_ratio(workshop: Workshop) -> None:
    bomb = tar(file("zeros", bytes(8 * 1024 * 1024)))
    with pytest.raises(LimitError, match="bomb"):
        workshop.unpack(
            layer_of(bomb, blob=zstandard.ZstdCompressor().compress(bomb)), budget=Budget(ratio_free_bytes=1024)
        )


def test_content_of_all_layers_together_is_capped(workshop: Workshop) -> None:
    layers = [layer(file(f"f{number}", b"x" * 40_000)) for number in range(3)]
    with pytest.raises(LimitError, match="too large"):
        workshop.unpack(*layers, budget=Budget(bytes_max=100_000))


def test_number_of_entries_of_all_layers_together_is_capped(workshop: Workshop) -> None:
    layers = [layer(*(file(f"{number}{letter}") for letter in "abcd")) for number in range(3)]
    with pytest.raises(LimitError, match="too many files"):
        workshop.unpack(*layers, budget=Budget(entries_max=11))
    assert not workshop.trees()


@pytest.mark.parametrize("kind", [b"M", b"V", b"D", b"Z", b"g\0"[:1] + b""])
def test_unknown_kinds_are_refused_but_comments_are_not(workshop: Workshop, kind: bytes) -> None:
    content = raw_entry(b"f", kind=kind) + raw_entry(b"after") + END
    if kind == b"g":
        assert (workshop.unpack(layer_of(content)) / "after").exists()
        return
    with pytest.raises(InputError, match="kind not supported"):
        workshop.unpack(layer_of(content))


def test_file_of_a_pebibyte_that_is_not_there_is_truncated(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="truncated"):
        workshop.unpack(layer_of(pax_records({"size": b"1125899906842624"}) + raw_entry(b"f", content=b"x")))
    assert not workshop.leftovers()


@pytest.mark.parametrize(
    "content",
    [
        pax_records({"path": b"a"})
        + raw_entry(b"././@LongLink", kind=b"L", content=b"b\0")
        + raw_entry(b"c")
        + END,
        raw_entry(b"f") + bytes(512) + raw_entry(b"g") + END,
        raw_entry(b"d", kind=b"5", content=b"hidden entry") + END,
        raw_entry(b"l", kind=b"1", link=b"f", size=512) + raw_entry(b"f") + END,
    ],
    ids=["two names", "one zero block", "directory with a body", "hard link with a body"],
)
def test_what_two_readers_would_read_differently_is_refused(workshop: Workshop, content: bytes) -> None:
    with pytest.raises(InputError, match="ambiguous"):
        workshop.unpack(layer_of(content))


@pytest.mark.parametrize(
    "content",
    [
        raw_entry(b"f")[:300],
        b"\x01" * 1024,
        raw_entry(b"f").replace(b"0000644", b"0000645") + END,
        raw_entry(b"x", kind=b"x", content=b"8 path=a\n") + raw_entry(b"f") + END,
        raw_entry(b"x", kind=b"x", content=b"0 path=a\n") + raw_entry(b"f") + END,
        raw_entry(b"x", kind=b"x", content=b"99999999999999999 path=a\n") + raw_entry(b"f") + END,
        pax_records({"size": b"-1"}) + raw_entry(b"f") + END,
        pax_records({"uid": b"1e3"}) + raw_entry(b"f") + END,
        pax_records({"path": b"a\0b"}) + raw_entry(b"f") + END,
        pax_records({"path": b"n" * 256}) + raw_entry(b"f") + END,
        raw_entry(b"l", kind=b"2") + END,
        raw_entry(b"x", kind=b"x", size=2**30) + END,
    ],
)
def test_malformed_archive_is_refused(workshop: Workshop, content: bytes) -> None:
    with pytest.raises(InputError):
        workshop.unpack(layer_of(content))
    assert not workshop.trees()


def rewritten(entry: bytes, *changes: tuple[int, bytes]) -> bytes:
    """Return ``entry`` with other bytes in its header, and the checksum of those."""
    head = bytearray(entry[:512])
    for at, changed in (*changes, (148, b" " * 8)):
        head[at : at + len(changed)] = changed
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + entry[512:]


GNU = (257, b"ustar  \0")
STAR = ((476, b"00000000000 00000000000 "), (508, b"tar\0"))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (rewritten(raw_entry(b"f", content=raw_entry(b"hidden")), (124, b"\x000000001000\0")), "behind a NUL"),
        (rewritten(raw_entry(b"f"), (100, b"\x00004755\0")), "behind a NUL"),
        (rewritten(raw_entry(b"f"), (108, b"0 \0 7 \0\0")), "behind a NUL"),
        (rewritten(raw_entry(b"f"), (136, b"\x80\0\0\0" + b"\xff" * 8)), "too large"),
        (pax_records({"path": b"etc/evil"}, {"path": b""}) + raw_entry(b"f"), "one key twice"),
        (pax_records({"size": b"0"}, {"size": b"0"}) + raw_entry(b"f"), "one key twice"),
        (pax_records({"SCHILY.xattr.user.a": b"1"}, {"SCHILY.xattr.user.a": b""}) + raw_entry(b"f"), "key twice"),
        (rewritten(raw_entry(b"f"), GNU, (345, b"some/where/long/enough")), "no octal number"),
        (rewritten(raw_entry(b"f"), GNU, (345, b"00000000000\0etc")), "no octal number"),
        (rewritten(raw_entry(b"f"), GNU, (345, b"00000000000\0\xff\xfe")), "negative or too large"),
        (rewritten(raw_entry(b"f"), GNU, (345, b"00000000000\0\x80" + b"\xff" * 11)), "too large"),
        (rewritten(raw_entry(b"f"), (345, b"p" * 131), *STAR), "prefix of a star header"),
        (raw_entry(b"thing/"), "ends with a slash"),
        (raw_entry(b"thing/", kind=b"7"), "ends with a slash"),
        (pax_records({"path": b"thing/"}) + raw_entry(b"f"), "ends with a slash"),
    ],
)
def test_field_that_go_reads_otherwise_is_refused(workshop: Workshop, entry: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=rf"layer is malformed: .*{reason}"):
        workshop.unpack(layer_of(entry + END))
    assert not workshop.trees()
    assert not workshop.leftovers()


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (pax_records({"path": b"", "size": b""}) + raw_entry(b"f"), "f"),
        (raw_entry(b"././@LongLink", kind=b"L", content=b"\0") + raw_entry(b"f"), "f"),
        (rewritten(raw_entry(b"f"), GNU, (345, b"00000000000\x0014371573621\0")), "f"),
        (rewritten(raw_entry(b"f"), GNU, (345, b"\x80" + bytes(10) + b"\1"), (357, b"\xff" * 12)), "f"),
        (rewritten(raw_entry(b"f"), (345, b"p" * 130), *STAR), "p" * 130 + "/f"),
        (rewritten(raw_entry(b"f"), (345, b"p" * 155)), "p" * 155 + "/f"),
        (rewritten(raw_entry(b"f", kind=b"\0"), (257, bytes(8)), (345, b"p")), "f"),
        (rewritten(raw_entry(b"f"), (108, b"     0 \0"), (116, b"\0" * 8)), "f"),
    ],
)
def test_field_that_is_odd_is_read_as_go_reads_it(workshop: Workshop, entry: bytes, name: str) -> None:
    tree = workshop.unpack(layer_of(entry + END))
    assert [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()] == [name]


def test_directory_of_an_archive_before_1988_is_one(workshop: Workshop) -> None:
    old = rewritten(raw_entry(b"d/", kind=b"\0"), (100, b"0000755\0"), (257, bytes(8)))
    assert (workshop.unpack(layer_of(old + END)) / "d").is_dir()


_names = st.binary(min_size=1, max_size=90).filter(
    lambda name: b"\0" not in name and b".." not in name.split(b"/") and not name.endswith(b"/")
)


@given(
    entries=st.lists(st.tuples(_names, st.binary(max_size=1500)), max_size=6),
    cuts=st.lists(st.integers(0, 12_000), max_size=6),
)
def test_what_is_read_is_what_was_written_however_the_stream_is_cut(
    entries: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    content = b"".join(pax_records({"path": name}) + raw_entry(b"f", content=body) for name, body in entries) + END
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    reader = TarReader(content[a:b] for a, b in pairwise(edges))
    found = [(entry.path, b"".join(bytes(piece) for piece in reader.body())) for entry in reader.entries()]
    assert found == [
        (tuple(part for part in name.split(b"/") if part not in (b"", b".")), body) for name, body in entries
    ]


@given(content=st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        for entry in (reader := TarReader(iter([content]))).entries():
            assert b".." not in entry.path
            for _ in reader.body():
                pass
    except InputError:
        pass


def test_reading_ahead_ends_its_thread_whatever_happens() -> None:
    before = threading.active_count()
    with ReadAhead(lambda: iter([b"x"] * 1000)) as chunks:
        assert next(chunks) == b"x"  # the others are abandoned
    with ReadAhead(lambda: iter([bytes([1 // 0])])) as chunks, pytest.raises(ZeroDivisionError):
        next(chunks)
    with ReadAhead(lambda: iter([b"a", b"b"])) as chunks:
        assert list(chunks) == [b"a", b"b"]
        assert next(chunks, None) is None
    assert threading.active_count() == before


def test_gzip_is_not_inflated_further_than_asked_for(tmp_path: Path) -> None:
    engine = zlib.compressobj(9, wbits=31)
    blob = b"".join(engine.compress(bytes(1 << 20)) for _ in range(64)) + engine.flush()
    assert max(len(chunk) for chunk in decompressed(io.BytesIO(blob))) <= 1 << 20
