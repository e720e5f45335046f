"""What is unpacked is what the layers say: kinds, owners, modes, times, attributes, and one layer over another."""

from __future__ import annotations

import os
import stat
import struct
import tarfile
from pathlib import Path

import pytest

from tests.runtime.conftest import Workshop
from tests.runtime.images import (
    END,
    MTIME,
    Piece,
    directory,
    file,
    hard_link,
    image_bytes,
    layer,
    layer_of,
    pax_records,
    pulled,
    raw_entry,
    symlink,
    tar,
)
from trust.errors import InputError
from trust.runtime.unpack import unpack


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_upper_layer_wins_and_lower_layers_show_through(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(file("etc/a", b"1"), file("etc/b", b"1")), layer(file("etc/b", b"2")), layer(file("etc/c", b"3"))
    )
    assert [(root / "etc" / name).read_bytes() for name in "abc"] == [b"1", b"2", b"3"]


def test_times_are_kept_of_files_links_and_directories_that_were_written_to_later(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(directory("d", mtime=MTIME - 5), file("d/f", b"x"), symlink("l", "d/f", mtime=MTIME - 7)),
        layer(file("d/later", b"x", mtime=MTIME + 9)),
    )
    seen = [(root / name).lstat().st_mtime for name in ("d", "d/f", "l", "d/later")]
    assert seen == [MTIME - 5, MTIME, MTIME - 7, MTIME + 9]


def test_parts_of_a_second_are_kept(workshop: Workshop) -> None:
    content = pax_records({"mtime": b"1600000000.123456789"}) + raw_entry(b"f") + END
    assert (workshop.unpack(layer_of(content)) / "f").stat().st_mtime_ns == 1600000000123456789


@pytest.mark.parametrize("mtime", [b"-99999999999", b"99999999999999999999", b"-1.5"])
def test_time_that_no_file_system_has_is_moved_to_the_edge(workshop: Workshop, mtime: bytes) -> None:
    root = workshop.unpack(layer_of(pax_records({"mtime": mtime}) + raw_entry(b"f") + END))
    assert (root / "f").exists()


def test_missing_parents_are_made_readable_to_all(workshop: Workshop) -> None:
    before = os.umask(0o077)
    try:
        root = workshop.unpack(layer(file("a/b/c", b"x")))
    finally:
        os.umask(before)
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("a", "a/b")] == [0o755, 0o755]


def test_modes_are_those_of_the_layer_whatever_the_umask(workshop: Workshop) -> None:
    before = os.umask(0o077)
    try:
        root = workshop.unpack(layer(directory("d", 0o777), file("f", b"x", mode=0o666), file("g", mode=0o755)))
    finally:
        os.umask(before)
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in "dfg"] == [0o777, 0o666, 0o755]


def test_entry_of_the_root_dresses_the_root(workshop: Workshop) -> None:
    root = workshop.unpack(layer(directory("./", 0o711, mtime=MTIME - 3), file("f")))
    assert (stat.S_IMODE(root.stat().st_mode), root.stat().st_mtime) == (0o711, MTIME - 3)


def test_root_that_is_no_directory_is_refused(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="root"):
        workshop.unpack(layer(symlink("./", "/tmp")))


@pytest.mark.root
def test_owners_setuid_and_capabilities_are_applied_for_root(workshop: Workshop) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service, effective
    header = {"SCHILY.xattr.security.capability": capability.decode("latin-1")}
    root = workshop.unpack(
        layer(
            directory("d", 0o2750, uid=7, gid=8),
            file("su", b"x", mode=0o4755, uid=0, gid=5),
            symlink("l", "su", uid=9, gid=9),
            file("bind", b"x", uid=11, pax=header),
        )
    )
    found = {name: (root / name).lstat() for name in ("d", "su", "l")}
    owners = {name: (one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for name, one in found.items()}
    assert owners == {"d": (7, 8, 0o2750), "su": (0, 5, 0o4755), "l": (9, 9, 0o777)}
    assert os.getxattr(root / "bind", "security.capability") == capability


def test_ids_above_the_ustar_field_are_read_from_the_extended_header(workshop: Workshop) -> None:
    content = pax_records({"uid": b"4294967295"}) + raw_entry(b"f") + END
    with pytest.raises(InputError, match="owner"):
        workshop.unpack(layer_of(content))


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (file("x", b"1"), directory("x"), stat.S_IFDIR),
        (file("x", b"1"), symlink("x", "y"), stat.S_IFLNK),
        (directory("x"), file("x", b"2"), stat.S_IFREG),
        (directory("x"), symlink("x", "/etc"), stat.S_IFLNK),
        (symlink("x", "/etc"), directory("x"), stat.S_IFDIR),
        (symlink("x", "/etc"), file("x", b"2"), stat.S_IFREG),
        (file("x", b"1"), file("x", b"2"), stat.S_IFREG),
        (Piece(name="x", kind=tarfile.FIFOTYPE), file("x", b"2"), stat.S_IFREG),
    ],
)
@pytest.mark.parametrize("layers", [1, 2])
def test_later_entry_takes_the_place_of_an_earlier_of_another_kind(
    workshop: Workshop, first: Piece, second: Piece, kind: int, layers: int
) -> None:
    inside = [file("x/inner", b"1")] if first.kind == tarfile.DIRTYPE else []
    made = [layer(first, *inside, second)] if layers == 1 else [layer(first, *inside), layer(second)]
    root = workshop.unpack(*made)
    assert stat.S_IFMT((root / "x").lstat().st_mode) == kind
    assert names(root) == ["x"]


def test_directory_over_a_directory_keeps_what_is_in_it(workshop: Workshop) -> None:
    root = workshop.unpack(layer(directory("d", 0o700), file("d/f", b"1")), layer(directory("d", 0o755)))
    assert (root / "d/f").read_bytes() == b"1"
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o755


def test_entry_below_a_file_is_refused(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="no directory"):
        workshop.unpack(layer(file("f", b"1"), file("f/g", b"2")))


def test_hard_links_share_one_file_across_layers(workshop: Workshop) -> None:
    root = workshop.unpack(layer(file("a", b"1")), layer(hard_link("b/c", "/a"), hard_link("a", "a")))
    assert (root / "a").stat().st_ino == (root / "b/c").stat().st_ino


def test_hard_link_to_a_directory_is_refused(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="directory"):
        workshop.unpack(layer(directory("d"), hard_link("e", "d")))


def test_whiteout_hides_what_lower_layers_brought(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(file("a", b"1"), file("d/e/f", b"1"), file("kept", b"1")), layer(file(".wh.a"), file(".wh.d"))
    )
    assert names(root) == ["kept"]


def test_whiteout_of_what_is_not_there_changes_nothing(workshop: Workshop) -> None:
    assert names(workshop.unpack(layer(file("a")), layer(file(".wh.b"), file("c/.wh.d")))) == ["a", "c"]


@pytest.mark.parametrize("is_first", [True, False])
def test_opaque_directory_hides_lower_layers_and_never_its_own(workshop: Workshop, *, is_first: bool) -> None:
    opaque, new = file("d/.wh..wh..opq"), [file("d/new", b"2"), file("d/sub/new", b"2")]
    upper = [opaque, *new] if is_first else [*new, opaque]
    root = workshop.unpack(
        layer(file("d/old", b"1"), file("d/sub/old", b"1"), file("d/gone/x", b"1")), layer(*upper)
    )
    assert names(root) == ["d", "d/new", "d/sub", "d/sub/new"]


@pytest.mark.parametrize("is_first", [True, False])
def test_whiteout_beside_a_new_entry_of_that_name_hides_only_the_old(
    workshop: Workshop, *, is_first: bool
) -> None:
    hide, new = file(".wh.d"), file("d/new", b"2")
    root = workshop.unpack(layer(file("d/old", b"1")), layer(*([hide, new] if is_first else [new, hide])))
    assert names(root) == ["d", "d/new"]


def test_aufs_leftovers_are_no_files(workshop: Workshop) -> None:
    assert names(workshop.unpack(layer(file(".wh..wh.plnk"), file(".wh..wh.aufs"), file("a")))) == ["a"]


def test_names_are_bytes_and_need_not_be_text(workshop: Workshop) -> None:
    root = workshop.unpack(layer_of(raw_entry(b"caf\xe9\n\\x", content=b"1") + END))
    assert [os.fsencode(path.name) for path in root.iterdir()] == [b"caf\xe9\n\\x"]


@pytest.mark.parametrize("encoding", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_links_of_both_kinds_are_read(workshop: Workshop, encoding: int) -> None:
    name, link = "/".join(["n" * 60] * 5), "l" * 180
    content = tar(file(name, b"1"), symlink("way", link), encoding=encoding)
    root = workshop.unpack(layer_of(content))
    assert (root / name).read_bytes() == b"1"
    assert str((root / "way").readlink()) == link


def test_ustar_prefix_is_part_of_the_name(workshop: Workshop) -> None:
    name = "p" * 90 + "/" + "n" * 90
    assert (workshop.unpack(layer_of(tar(file(name, b"1"), encoding=tarfile.USTAR_FORMAT))) / name).exists()


def test_pax_size_overrides_the_header(workshop: Workshop) -> None:
    content = pax_records({"size": b"4"}) + raw_entry(b"f", content=b"data", size=0) + raw_entry(b"g") + END
    root = workshop.unpack(layer_of(content))
    assert (root / "f").read_bytes() == b"data"
    assert (root / "g").exists()


def test_tree_is_unpacked_once_and_found_again(workshop: Workshop) -> None:
    one = layer(file("a", b"1"))
    first = workshop.unpack(one)
    (first / "mark").write_bytes(b"x")
    assert workshop.unpack(one) == first
    assert (first / "mark").exists()


def test_working_directory_is_there_and_belongs_to_the_image(workshop: Workshop) -> None:
    manifest = image_bytes(workshop.source, layer(symlink("var", "/srv")), config={"WorkingDir": "/var/app/./x/"})
    image = pulled(workshop.source, workshop.store, manifest)
    root = unpack(image, store=workshop.store, home=workshop.home)
    assert (root / "srv/app/x").is_dir()
