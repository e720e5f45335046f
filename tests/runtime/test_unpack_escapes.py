"""Nothing in a layer reaches what is outside the root: every way that was ever found, and every name."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.conftest import Workshop
from tests.runtime.images import (
    END,
    Piece,
    directory,
    file,
    hard_link,
    layer,
    layer_of,
    pax_records,
    raw_entry,
    symlink,
    tar,
)
from trust.errors import InputError, TrustError
from trust.runtime.disk import remove_tree
from trust.runtime.files import FileWriter
from trust.runtime.tar import TarReader
from trust.runtime.tree import Tree
from trust.runtime.walk import Root


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "..", "a/..", "/../secret", ".//..//secret"])
def test_name_with_dots_is_refused(workshop: Workshop, name: str) -> None:
    with pytest.raises(InputError, match=r"'\.\.'"):
        workshop.unpack(layer(file(name, b"evil")))
    assert workshop.is_untouched()
    assert not workshop.trees()


def test_absolute_name_is_contained(workshop: Workshop) -> None:
    root = workshop.unpack(layer(file(f"{workshop.outside}/secret", b"evil"), file("//etc//motd", b"hello")))
    assert workshop.is_untouched()
    assert root.joinpath(*workshop.outside.parts[1:], "secret").read_bytes() == b"evil"
    assert (root / "etc/motd").read_bytes() == b"hello"


def test_absolute_symlink_is_kept_as_written_and_leads_inside(workshop: Workshop) -> None:
    root = workshop.unpack(layer(symlink("way", str(workshop.outside)), file("way/secret", b"evil")))
    assert (root / "way").readlink() == workshop.outside
    assert root.joinpath(*workshop.outside.parts[1:], "secret").read_bytes() == b"evil"
    assert workshop.is_untouched()


def test_write_through_a_relative_symlink_stays_inside(workshop: Workshop) -> None:
    root = workshop.unpack(layer(symlink("way", "../../../../../../../../.."), file("way/evil", b"evil")))
    assert (root / "evil").read_bytes() == b"evil"


def test_write_through_a_symlink_of_a_lower_layer_stays_inside(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(symlink("way", str(workshop.outside))), layer(file("way/secret", b"evil"), directory("way/deep"))
    )
    assert workshop.is_untouched()
    assert root.joinpath(*workshop.outside.parts[1:], "deep").is_dir()


def test_file_in_the_place_of_a_symlink_is_not_written_through(workshop: Workshop) -> None:
    root = workshop.unpack(layer(symlink("way", str(workshop.outside / "secret")), file("way", b"evil")))
    assert workshop.is_untouched()
    assert stat.S_ISREG((root / "way").lstat().st_mode)


def test_file_in_the_place_of_a_hard_link_leaves_the_other_name_alone(workshop: Workshop) -> None:
    root = workshop.unpack(layer(file("one", b"first"), hard_link("two", "one"), file("two", b"second")))
    assert (root / "one").read_bytes() == b"first"
    assert (root / "two").read_bytes() == b"second"


@pytest.mark.parametrize("link", ["../../../../outside/secret", "a/../../../outside/secret"])
def test_hard_link_that_climbs_out_is_refused(workshop: Workshop, link: str) -> None:
    with pytest.raises(InputError, match=r"'\.\.'"):
        workshop.unpack(layer(directory("a"), hard_link("way", link)))
    assert workshop.is_untouched()


def test_absolute_hard_link_out_of_the_root_is_refused(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="not there"):
        workshop.unpack(layer(hard_link("way", str(workshop.outside / "secret"))))
    assert workshop.is_untouched()


def test_hard_link_through_a_symlink_out_of_the_root_is_refused(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="not there"):
        workshop.unpack(layer(symlink("way", str(workshop.outside)), hard_link("mine", "way/secret")))
    assert workshop.is_untouched()


def test_hard_link_to_a_symlink_is_one_more_name_of_the_link(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(symlink("way", str(workshop.outside / "secret")), hard_link("mine", "way"), file("mine", b"evil"))
    )
    assert (root / "way").is_symlink()
    assert workshop.is_untouched()


def test_hard_link_to_a_symlink_and_then_a_write_below_it_stays_inside(workshop: Workshop) -> None:
    workshop.unpack(
        layer(symlink("way", str(workshop.outside)), hard_link("mine", "way"), file("mine/secret", b"evil"))
    )
    assert workshop.is_untouched()


@pytest.mark.parametrize("link", ["/.", "/", "/./", "//", ".", "/../.", "/.."])
def test_symlink_to_the_root_by_any_spelling_is_the_containers_root(workshop: Workshop, link: str) -> None:
    root = workshop.unpack(layer(symlink("way", link), file("way/evil", b"evil")))
    assert (root / "evil").read_bytes() == b"evil"


def test_symlinks_that_go_in_a_circle_are_refused(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="links"):
        workshop.unpack(layer(symlink("a", "b"), symlink("b", "a"), file("a/x", b"evil")))


@pytest.mark.parametrize("link", ["x" * 256, "x" * 3000])
def test_symlink_to_a_name_that_no_file_can_have_is_no_fault_of_this_disk(workshop: Workshop, link: str) -> None:
    with pytest.raises(InputError, match="no file can have"):
        workshop.unpack(layer(symlink("way", link), file("way/evil", b"evil")))


def test_symlink_that_appears_between_two_entries_of_one_directory_is_followed_inside(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(
            file("a/b/one", b"1"),
            symlink("a", str(workshop.outside)),  # takes the place of the directory that was just written to
            file("a/b/two", b"2"),
            file("a/secret", b"evil"),
        )
    )
    assert workshop.is_untouched()
    assert root.joinpath(*workshop.outside.parts[1:], "b/two").read_bytes() == b"2"


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh.", "a/.wh..."])
def test_whiteout_of_no_name_is_refused(workshop: Workshop, name: str) -> None:
    with pytest.raises(InputError, match="whiteout"):
        workshop.unpack(layer(directory("a"), file(name)))


def test_whiteout_through_a_symlink_hides_inside_the_root(workshop: Workshop) -> None:
    workshop.unpack(
        layer(symlink("way", str(workshop.outside))), layer(file("way/.wh.secret"), file("way/.wh..wh..opq"))
    )
    assert workshop.is_untouched()


def test_opaque_whiteout_through_a_symlink_hides_inside_the_root(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(file("srv/old", b"1"), symlink("way", "/srv")),
        layer(file("way/.wh..wh..opq"), file("way/new", b"2")),
    )
    assert sorted(path.name for path in (root / "srv").iterdir()) == ["new"]


def test_whiteout_of_a_symlink_hides_the_link_and_not_what_it_names(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(file("srv/kept", b"1"), symlink("way", "/srv"), symlink("out", str(workshop.outside))),
        layer(file(".wh.way"), file(".wh.out")),
    )
    assert (root / "srv/kept").exists()
    assert not os.path.lexists(root / "way")
    assert workshop.is_untouched()


def test_pax_path_overrides_the_name_and_is_held_to_the_same_rules(workshop: Workshop) -> None:
    content = pax_records({"path": b"../../secret"}) + raw_entry(b"harmless", content=b"evil") + END
    with pytest.raises(InputError, match=r"'\.\.'"):
        workshop.unpack(layer_of(content))
    assert workshop.is_untouched()


def test_pax_linkpath_overrides_the_target_and_is_held_to_the_same_rules(workshop: Workshop) -> None:
    link = (
        pax_records({"linkpath": b"../../../../outside/secret"}) + raw_entry(b"way", kind=b"1", link=b"fine") + END
    )
    with pytest.raises(InputError, match=r"'\.\.'"):
        workshop.unpack(layer_of(link))
    assert workshop.is_untouched()


@pytest.mark.parametrize("depth", [4096, 300])
def test_path_4096_deep_is_refused_before_anything_is_written(workshop: Workshop, depth: int) -> None:
    with pytest.raises(InputError, match="expected at most"):
        workshop.unpack(layer_of(pax_records({"path": b"a/" * depth + b"x"}) + raw_entry(b"short") + END))
    assert not workshop.trees()
    assert not workshop.leftovers()


def test_path_made_deeper_by_symlinks_is_refused(workshop: Workshop) -> None:
    deep = "/".join(["d"] * 200)
    with pytest.raises(InputError, match="too deep"):
        workshop.unpack(layer(directory(deep), symlink("way", "/" + deep), directory("way/" + deep)))


def test_device_nodes_are_left_out(workshop: Workshop) -> None:
    root = workshop.unpack(
        layer(
            Piece(name="dev/sda", kind=tarfile.BLKTYPE, device=(8, 0)),
            Piece(name="dev/mem", kind=tarfile.CHRTYPE, device=(1, 1)),
            Piece(name="hidden", kind=tarfile.CHRTYPE, device=(0, 0)),  # an overlay's own whiteout
            file("here", b"1"),
        )
    )
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["dev", "here"]


def test_fifo_is_made_and_never_opened(workshop: Workshop) -> None:
    root = workshop.unpack(layer(Piece(name="pipe", kind=tarfile.FIFOTYPE, mode=0o620)))
    assert stat.S_ISFIFO((root / "pipe").lstat().st_mode)


def test_setuid_owners_and_capabilities_are_nothing_an_ordinary_user_gives(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "removed").mkdir()
    pieces = (
        file("su", b"x", mode=0o6755, uid=7, gid=8, pax={"SCHILY.xattr.security.capability": "x"}),
        directory("shut", 0o3000, uid=7),
        Piece(name="sda", kind=tarfile.BLKTYPE, device=(8, 0)),
    )
    with (
        Root(tmp_path / "root") as root,
        Root(tmp_path / "removed") as removed,
        FileWriter(privileged=False) as writer,
    ):
        tree = Tree(root, removed=removed, privileged=False, writer=writer)
        archive = TarReader(iter([tar(*pieces)]))
        for entry in archive.entries():
            tree.add(entry, archive.body())
    found = {path.name: path.lstat() for path in (tmp_path / "root").iterdir()}
    assert {name: stat.S_IMODE(one.st_mode) for name, one in found.items()} == {"su": 0o755, "shut": 0o700}
    assert {one.st_uid for one in found.values()} == {os.geteuid()}
    assert os.listxattr(tmp_path / "root/su") == []


def test_attributes_that_steer_an_overlay_are_not_applied(workshop: Workshop) -> None:
    steering = {
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.system.posix_acl_access": "x",
        "SCHILY.xattr.user.note": "kept",
    }
    root = workshop.unpack(layer(directory("a", pax=steering), file("b", pax=steering)))
    for name in ("a", "b"):
        assert set(os.listxattr(root / name)) <= {"user.note"}


def test_cve_2021_41091_other_users_cannot_reach_the_trees(workshop: Workshop) -> None:
    root = workshop.unpack(layer(file("bin/su", b"x", mode=0o4755)))
    shut = [path for path in root.parents if path.is_relative_to(workshop.home / "rootfs")]
    assert any(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in shut)


_ODD_PARTS = st.one_of(
    st.sampled_from(
        ["..", ".", "", "/", "a", "b", "way", "out", ".wh.a", ".wh..", ".wh...", ".wh..wh..opq", "\\..", "..."]
    ),
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
)
_NAMES = st.lists(_ODD_PARTS, min_size=1, max_size=6).map("/".join)


@st.composite
def _pieces(draw: st.DrawFn) -> Piece:
    kind = draw(st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]))
    is_link = kind in (tarfile.SYMTYPE, tarfile.LNKTYPE)
    return Piece(
        name=draw(_NAMES),
        kind=kind,
        link=draw(st.one_of(st.just("OUTSIDE"), _NAMES)) if is_link else "",
        content=b"evil" if kind == tarfile.REGTYPE else b"",
    )


@settings(max_examples=150)
@given(pieces=st.lists(_pieces(), min_size=1, max_size=8))
def test_no_sequence_of_entries_changes_anything_outside_the_root(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[Piece]
) -> None:
    base = tmp_path_factory.mktemp("world")
    for name in ("outside", "root", "removed"):
        (base / name).mkdir()
    (base / "outside/secret").write_bytes(b"of the host\n")
    aimed = [
        Piece(
            name=one.name,
            kind=one.kind,
            link=one.link.replace("OUTSIDE", str(base / "outside")),
            content=one.content,
        )
        for one in pieces
    ]
    before = _state(base)
    with Root(base / "root") as root, Root(base / "removed") as removed:
        reader = TarReader(iter([tar(*aimed)]))
        try:
            with FileWriter(privileged=False) as writer:
                tree = Tree(root, removed=removed, privileged=False, writer=writer)
                for entry in reader.entries():
                    tree.add(entry, reader.body())
                tree.finish()
        except (TrustError, OSError):
            pass  # refused is as good
    assert _state(base) == before
    remove_tree(base)


def _state(base: Path) -> list[tuple[str, bytes, int]]:
    return [
        (path.name, path.read_bytes() if path.is_file() else b"", path.stat().st_nlink)
        for path in sorted([*base.glob("*"), *base.glob("outside/*")])
        if path.name not in ("root", "removed")
    ]
