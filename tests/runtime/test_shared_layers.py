"""Images with a layer in common have its files once on this disk, and each is to the byte what its layers say."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.runtime.conftest import Workshop
from tests.runtime.images import (
    Layer,
    directory,
    file,
    hard_link,
    image_bytes,
    layer,
    layer_of,
    pulled,
    symlink,
    tar,
)
from tests.runtime.test_unpack_crash import killed_at
from trust.digest import parse_digest
from trust.errors import LimitError, RefusedError
from trust.runtime.disk import remove_tree
from trust.runtime.layer import Budget
from trust.runtime.shelf import LINKED_MIN_BYTES
from trust.runtime.unpack import check_unpacked, unpack

CHECKOUT = Path(__file__).parents[2]
NOBODY = 65534
LARGE = os.urandom(3 * LINKED_MIN_BYTES)
OTHER = os.urandom(2 * LINKED_MIN_BYTES)
BASE_PIECES = (
    directory("usr", 0o750),
    file("usr/program", LARGE, mode=0o4755, uid=7, gid=8),
    file("usr/library", OTHER, pax={"SCHILY.xattr.user.origin": "base"}),
    hard_link("usr/alias", "usr/library"),
    file("etc/crontab", b"small\n"),
    file("etc/empty"),
    symlink("lib", "usr"),
    file("var/opaque/old", OTHER[::-1]),
)
BASE = layer(*BASE_PIECES)
HIDES = layer(file("usr/.wh.program"), file("var/opaque/.wh..wh..opq"), file("var/opaque/new", b"n" * 9000))
REPLACES = layer(file("usr/program", OTHER), file("lib/through", LARGE), hard_link("usr/second", "usr/library"))
AFRESH = layer(directory("usr"), file("usr/program", LARGE + b"2"), file("etc/.wh.crontab"))


def inventory(root: Path) -> bytes:
    return (root.parent / "inventory").read_bytes()


def is_right(workshop: Workshop, root: Path, *layers: Layer) -> bool:
    """Tell whether ``root`` is what a home has that never saw another image."""
    alone = workshop.at(workshop.home.parent / "alone")
    try:
        return inventory(alone.unpack(*layers)) == inventory(root)
    finally:
        remove_tree(alone.home)


def test_second_image_of_a_base_has_the_files_of_the_first(workshop: Workshop) -> None:
    first, second = workshop.unpack(BASE, AFRESH), workshop.unpack(BASE, HIDES)
    assert (first / "usr/library").samefile(second / "usr/library")
    assert (second / "usr/alias").samefile(second / "usr/library")
    assert is_right(workshop, second, BASE, HIDES)


def test_file_that_the_first_image_hides_is_shared_all_the_same(workshop: Workshop) -> None:
    first, second = workshop.unpack(BASE, HIDES), workshop.unpack(BASE)
    assert (second / "usr/program").read_bytes() == LARGE
    assert any(path.samefile(second / "usr/program") for path in (first.parent / "hidden").iterdir())


AS_A_USER = """
import os, sys
from pathlib import Path
from tests.runtime.conftest import Workshop
from tests.runtime.test_shared_layers import BASE, HIDES
from trust.digest import parse_digest
from trust.runtime.unpack import check_unpacked

workshop = Workshop(Path(sys.argv[1]))
first, second = workshop.unpack(BASE), workshop.unpack(BASE, HIDES)
assert (first / "usr/library").samefile(second / "usr/library")
for root in (first, second):
    check_unpacked(root, parse_digest("sha256:" + root.parent.name))
    assert all(path.lstat().st_uid == os.geteuid() for path in root.rglob("*"))
"""


@pytest.mark.root
def test_ordinary_user_shares_as_root_does() -> None:
    with TemporaryDirectory() as directory:
        os.chown(directory, NOBODY, NOBODY)
        done = subprocess.run(
            [sys.executable, "-c", AS_A_USER, directory], user=NOBODY, group=NOBODY, extra_groups=[],
            cwd=directory, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_small_file_has_one_name_since_programs_count_them(workshop: Workshop) -> None:
    first, second = workshop.unpack(BASE, HIDES), workshop.unpack(BASE)
    assert (first / "etc/crontab").stat().st_nlink == (second / "etc/crontab").stat().st_nlink == 1


@pytest.mark.parametrize(
    "layers",
    [
        (BASE, REPLACES),
        (BASE, HIDES, REPLACES),
        (BASE, HIDES, AFRESH),
        (AFRESH, BASE),
        (BASE, BASE),
    ],
    ids=["replaces", "hides, replaces", "hides, afresh", "other order", "twice"],
)
def test_image_of_shared_layers_is_to_the_byte_what_its_layers_say(
    workshop: Workshop, layers: tuple[Layer, ...]
) -> None:
    workshop.unpack(BASE, HIDES)
    workshop.unpack(AFRESH)
    root = workshop.unpack(*layers)
    assert is_right(workshop, root, *layers)
    check_unpacked(root, parse_digest("sha256:" + root.parent.name))


def test_shared_layer_over_a_base_that_leads_out_stays_inside(workshop: Workshop) -> None:
    inner = layer(file("way/secret", LARGE), hard_link("way/second", "way/secret"), file("way/.wh.gone"))
    first = workshop.unpack(inner)
    base = layer(symlink("way", str(workshop.outside)))
    second = workshop.unpack(base, inner)
    inside = second.joinpath(*workshop.outside.parts[1:], "secret")
    assert inside.samefile(first / "way/secret")
    assert workshop.is_untouched()
    assert is_right(workshop, second, base, inner)


def test_equal_files_stay_two_files(workshop: Workshop) -> None:
    twins = layer(file("a", LARGE), file("b", LARGE))
    workshop.unpack(twins)
    second = workshop.unpack(twins, HIDES)
    assert not (second / "a").samefile(second / "b")


def test_changed_file_of_another_image_is_not_taken_over(workshop: Workshop) -> None:
    first = workshop.unpack(BASE)
    changed = bytearray(LARGE)
    changed[5] ^= 1
    state = (first / "usr/program").stat()
    (first / "usr/program").write_bytes(changed)
    os.utime(first / "usr/program", ns=(state.st_mtime_ns, state.st_mtime_ns))
    second = workshop.unpack(BASE, HIDES, REPLACES)
    assert is_right(workshop, second, BASE, HIDES, REPLACES)
    assert not (first / "usr/library").samefile(second / "usr/library")
    assert not workshop.leftovers()


def test_changed_file_that_is_copied_is_not_taken_over(workshop: Workshop) -> None:
    first = workshop.unpack(BASE)
    (first / "etc/crontab").write_bytes(b"evil!\n")
    second = workshop.unpack(BASE, HIDES)
    assert (second / "etc/crontab").read_bytes() == b"small\n"


def test_changed_record_of_a_layer_is_not_believed(workshop: Workshop) -> None:
    first = workshop.unpack(BASE)
    [record] = (first.parent / "layers").iterdir()
    record.write_bytes(record.read_bytes().replace(b"usr/program", b"../program"))
    second = workshop.unpack(BASE, HIDES)
    assert is_right(workshop, second, BASE, HIDES)
    assert not (first / "usr/library").samefile(second / "usr/library")


def test_change_of_a_shared_file_is_seen_under_every_image_that_has_it(workshop: Workshop) -> None:
    roots = [workshop.unpack(BASE), workshop.unpack(BASE, HIDES)]
    (roots[0] / "usr/library").write_bytes(OTHER[:-1] + b"\0")
    for root in roots:
        with pytest.raises(RefusedError, match="/usr/alias has another content"):
            check_unpacked(root, parse_digest("sha256:" + root.parent.name))


def test_other_blob_of_the_same_content_is_read_itself(workshop: Workshop) -> None:
    first = workshop.unpack(BASE)
    content = tar(*BASE_PIECES)
    second = workshop.unpack(layer_of(content, blob=gzip.compress(content, 9, mtime=0)), HIDES)
    assert not (first / "usr/library").samefile(second / "usr/library")


def test_image_stays_whole_when_the_one_it_shares_with_goes(workshop: Workshop) -> None:
    first, second = workshop.unpack(BASE), workshop.unpack(BASE, HIDES)
    remove_tree(first.parent)
    check_unpacked(second, parse_digest("sha256:" + second.parent.name))
    third = workshop.unpack(BASE, REPLACES)
    assert (third / "usr/library").samefile(second / "usr/library")


def test_files_of_an_image_that_a_power_cut_may_have_emptied_are_not_shared(workshop: Workshop) -> None:
    first = workshop.unpack(BASE)
    record = first.parent / "unpacked.json"
    record.write_text(json.dumps({**json.loads(record.read_bytes()), "boot": "another"}))
    second = workshop.unpack(BASE, HIDES)
    assert not (first / "usr/library").samefile(second / "usr/library")


def test_caps_hold_for_shared_layers_too(workshop: Workshop) -> None:
    workshop.unpack(BASE)
    with pytest.raises(LimitError, match="too many files"):
        workshop.unpack(BASE, HIDES, budget=Budget(entries_max=5))
    with pytest.raises(LimitError, match="too large unpacked"):
        workshop.unpack(BASE, HIDES, budget=Budget(bytes_max=1000))
    assert len(workshop.trees()) == 1
    assert not workshop.leftovers()


def test_killed_while_it_links_leaves_nothing_that_is_believed(workshop: Workshop) -> None:
    from tests.runtime.test_unpack_crash import LAYERS  # noqa: PLC0415 - what the killed process unpacks

    assert len(LAYERS) == 2
    workshop.unpack(LAYERS[0])
    image = pulled(workshop.source, workshop.store, image_bytes(workshop.source, *LAYERS))
    assert killed_at(workshop, "linkat", 20) in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert len(workshop.trees()) == 1
    root = unpack(image, store=workshop.store, home=workshop.home)
    assert len(list((root / "d").iterdir())) == 39
    assert not workshop.leftovers()
