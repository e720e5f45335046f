"""Sparse files, in each of GNU tar's spellings: whole again, with their holes, and never a way to fill a disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.runtime.conftest import Workshop
from tests.runtime.images import END, layer_of, pax_records, raw_entry, sha256_of
from trust.errors import InputError, LimitError
from trust.runtime.layer import Budget

MIB = 1 << 20
PEBIBYTE = b"1125899906842624"


def holey(path: Path, parts: int) -> Path:
    """Have at ``path`` a file of ``parts`` parts, holes before, between and behind them."""
    with path.open("wb") as file:
        for number in range(parts):
            file.seek((2 * number + 1) * 64 * 1024)
            file.write(bytes([number % 250 + 1]) * 4096)
        file.truncate((2 * parts + 1) * 64 * 1024)
    return path


@pytest.mark.parametrize("parts", [0, 1, 3, 60])
@pytest.mark.parametrize(
    "spelling",
    [["--format=gnu"], *(["--format=posix", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0"))],
    ids=["gnu", "0.0", "0.1", "1.0"],
)
def test_what_gnu_tar_writes_is_the_same_file_with_its_holes(
    workshop: Workshop, tmp_path: Path, spelling: list[str], parts: int
) -> None:
    tar = shutil.which("tar")
    assert tar is not None, "GNU tar is not on PATH"
    original = holey(tmp_path / "holey", parts)
    (tmp_path / "after").write_bytes(b"after\n")
    made = subprocess.run(
        [tar, "--sparse", *spelling, "-C", str(tmp_path), "-cf", "-", "holey", "after"],
        capture_output=True,
        check=True,
    )
    tree = workshop.unpack(layer_of(made.stdout))
    assert sha256_of(tree / "holey") == sha256_of(original)
    assert (tree / "holey").stat().st_size == original.stat().st_size
    assert (tree / "holey").stat().st_blocks * 512 <= parts * 4096 + 64 * 1024
    assert (tree / "after").read_bytes() == b"after\n"
    assert not list(tree.glob("*GNUSparse*"))


@pytest.mark.parametrize(
    "records",
    [
        {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": PEBIBYTE},
        {"GNU.sparse.size": PEBIBYTE, "GNU.sparse.map": b"0,0"},
    ],
)
def test_sparse_pebibyte_is_refused_before_it_is_written(workshop: Workshop, records: dict[str, bytes]) -> None:
    body = b"0\n".ljust(512, b"\0") if "GNU.sparse.major" in records else b""
    with pytest.raises(LimitError):
        workshop.unpack(layer_of(pax_records(records) + raw_entry(b"f", content=body) + END))
    assert not workshop.leftovers()


def test_holes_count_for_the_ratio_as_content_does(workshop: Workshop) -> None:
    records = {"GNU.sparse.size": b"%d" % (64 * MIB), "GNU.sparse.map": b"0,0"}
    bomb = layer_of(pax_records(records) + raw_entry(b"f") + END)
    with pytest.raises(LimitError, match="bomb"):
        workshop.unpack(bomb, budget=Budget(ratio_free_bytes=MIB))
    assert not workshop.trees()


@pytest.mark.parametrize(
    ("size", "map_text", "stored"),
    [
        (8, b"0,4,2,4", 8),  # they overlap
        (8, b"4,4,0,4", 8),  # backwards
        (8, b"4,8", 8),  # beyond the end
        (8, b"0,4", 8),  # more is stored than the map has
        (8, b"0,8", 4),  # less
        (8, b"0,4,4", 4),  # an offset without its length
        (8, b"0,-4", 4),
        (8, b"0,x", 4),
    ],
)
def test_map_that_two_readers_would_read_differently_is_refused(
    workshop: Workshop, size: int, map_text: bytes, stored: int
) -> None:
    records = {"GNU.sparse.size": b"%d" % size, "GNU.sparse.map": map_text}
    with pytest.raises(InputError):
        workshop.unpack(layer_of(pax_records(records) + raw_entry(b"f", content=b"x" * stored) + END))
    assert not workshop.trees()


def test_map_of_more_parts_than_any_file_has_is_refused(workshop: Workshop) -> None:
    records = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"8"}
    body = b"1000000000\n".ljust(512, b"\0")
    with pytest.raises(InputError, match="parts"):
        workshop.unpack(layer_of(pax_records(records) + raw_entry(b"f", content=body) + END))


def test_map_whose_lines_have_no_end_is_refused(workshop: Workshop) -> None:
    records = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"8"}
    with pytest.raises(InputError, match="without an end"):
        workshop.unpack(layer_of(pax_records(records) + raw_entry(b"f", content=b"1" * 4096) + END))


def test_sparse_version_that_nobody_knows_is_refused(workshop: Workshop) -> None:
    records = {"GNU.sparse.major": b"2", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"8"}
    with pytest.raises(InputError, match="version"):
        workshop.unpack(layer_of(pax_records(records) + raw_entry(b"f") + END))


@pytest.mark.parametrize(
    "records",
    [
        {"GNU.sparse.size": b"8"},
        {"GNU.sparse.size": b"8", "GNU.sparse.map": b""},
        {"GNU.sparse.name": b"g"},
        {
            "GNU.sparse.size": b"8",
            "GNU.sparse.map": b"8,0",
            "GNU.sparse.offset": b"7",
            "GNU.sparse.numbytes": b"0",
        },
        {"GNU.sparse.size": b"8", "GNU.sparse.map": b"8,0", "GNU.sparse.major": b"0"},
        {"GNU.sparse.size": b"8", "GNU.sparse.map": b"8,0", "GNU.sparse.major": b"0", "GNU.sparse.minor": b"2"},
    ],
)
def test_sparse_file_that_is_a_plain_one_to_go_is_refused(workshop: Workshop, records: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match="sparse"):
        workshop.unpack(layer_of(pax_records(records) + raw_entry(b"f") + END))
    assert not workshop.trees()


def test_sparse_file_with_an_empty_name_has_that_of_its_header(workshop: Workshop) -> None:
    records = {"GNU.sparse.size": b"8", "GNU.sparse.map": b"8,0", "GNU.sparse.name": b""}
    assert (workshop.unpack(layer_of(pax_records(records) + raw_entry(b"f") + END)) / "f").read_bytes() == bytes(8)


@pytest.mark.parametrize("name", [b"../secret", b"a/../../secret"])
def test_name_of_a_sparse_file_is_held_to_the_same_rules(workshop: Workshop, name: bytes) -> None:
    records = {"GNU.sparse.size": b"0", "GNU.sparse.map": b"0,0", "GNU.sparse.name": name}
    with pytest.raises(InputError, match=r"\.\."):
        workshop.unpack(layer_of(pax_records(records) + raw_entry(b"f") + END))
    assert workshop.is_untouched()


def test_sparse_file_is_not_written_through_a_link_in_its_place(workshop: Workshop) -> None:
    records = {"GNU.sparse.size": b"8", "GNU.sparse.map": b"4,4"}
    link = raw_entry(b"f", kind=b"2", link=os.fsencode(workshop.outside / "secret"))
    tree = workshop.unpack(layer_of(link + pax_records(records) + raw_entry(b"f", content=b"data") + END))
    assert (tree / "f").read_bytes() == b"\0\0\0\0data"
    assert workshop.is_untouched()
