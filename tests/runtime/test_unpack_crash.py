"""A run that dies in the middle leaves nothing that the next one believes, and nothing for ever."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.places import Record, record
from tests.runtime.conftest import Workshop
from tests.runtime.images import directory, file, image_bytes, layer, pulled
from trust.errors import StateError
from trust.runtime.unpack import unpack

ROOT = Path(__file__).parents[2]
LAYERS = (
    layer(*(file(f"d/{number}", b"x" * 9000) for number in range(40))),
    layer(directory("e"), file("d/.wh.1")),
)

UNPACK = """
import sys
from pathlib import Path
from tests.runtime.images import image_bytes, pulled
from tests.runtime.test_unpack_crash import LAYERS
from trust.oci.layout import Layout
from trust.runtime.unpack import unpack

source, home = Layout.open(Path(sys.argv[1])), Path(sys.argv[2])
store = Layout.open(home / "content")
unpack(pulled(source, store, image_bytes(source, *LAYERS)), store=store, home=home)
"""


def killed_at(workshop: Workshop, call: str, count: int) -> int:
    """Unpack in a process that is killed at its ``count``-th system call of this name; return how it ended."""
    inject = [
        "strace",
        "-f",
        "-o",
        os.devnull,
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when={count}",
    ]
    paths = [str(workshop.source.directory), str(workshop.home)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*inject, sys.executable, "-c", UNPACK, *paths], env=environment, check=False)
    return done.returncode


@pytest.mark.parametrize(("call", "count"), [("fchmod", 1), ("fchmod", 30), ("rename", 1), ("rename", 2)])
def test_killed_in_the_middle_leaves_nothing_that_is_believed(
    workshop: Workshop, call: str, count: int, record_property: Record
) -> None:
    manifest = image_bytes(workshop.source, *LAYERS)
    image = pulled(workshop.source, workshop.store, manifest)
    status = killed_at(workshop, call, count)
    assert status in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert not workshop.trees()
    assert len(workshop.leftovers()) == 1
    root = unpack(image, store=workshop.store, home=workshop.home)
    assert len(list((root / "d").iterdir())) == 39
    assert not workshop.leftovers()
    record(record_property, 1, ())


def test_several_at_once_make_one_tree(workshop: Workshop) -> None:
    image = pulled(workshop.source, workshop.store, image_bytes(workshop.source, *LAYERS))
    with ThreadPoolExecutor(4) as pool:
        roots = list(pool.map(lambda _: unpack(image, store=workshop.store, home=workshop.home), range(8)))
    assert len(set(roots)) == len(workshop.trees()) == 1
    assert not workshop.leftovers()


def test_tree_without_its_record_is_made_anew(workshop: Workshop) -> None:
    root = workshop.unpack(*LAYERS)
    (root / "d/2").unlink()
    (root.parent / "unpacked.json").unlink()
    assert workshop.unpack(*LAYERS) == root
    assert (root / "d/2").exists()


def record_of(root: Path) -> dict[str, object]:
    found = json.loads((root.parent / "unpacked.json").read_bytes())
    assert isinstance(found, dict)
    return found


def test_tree_is_on_the_disk_before_another_start_of_the_machine_believes_it(workshop: Workshop) -> None:
    root = workshop.unpack(*LAYERS)
    assert not record_of(root)["is_durable"]
    (root.parent / "unpacked.json").write_text(json.dumps({**record_of(root), "boot": "another"}))
    (root / "d/2").write_bytes(b"")  # as a power cut leaves what was not on the disk
    assert workshop.unpack(*LAYERS) == root
    assert (root / "d/2").read_bytes()
    assert workshop.unpack(*LAYERS) == root
    assert record_of(root)["is_durable"]
    (root.parent / "unpacked.json").write_text(json.dumps({**record_of(root), "boot": "another"}))
    inode = root.stat().st_ino
    assert workshop.unpack(*LAYERS).stat().st_ino == inode


@pytest.mark.parametrize("call", ["syncfs", "rename"])
def test_killed_while_it_makes_a_tree_durable_promises_nothing(
    workshop: Workshop, call: str, record_property: Record
) -> None:
    root = workshop.unpack(*LAYERS)
    assert killed_at(workshop, call, 1) in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert not record_of(root)["is_durable"]
    inode = root.stat().st_ino
    assert workshop.unpack(*LAYERS).stat().st_ino == inode
    assert record_of(root)["is_durable"]
    record(record_property, 1, ())


def test_record_that_is_damaged_is_an_error_and_not_a_fresh_start(workshop: Workshop) -> None:
    root = workshop.unpack(*LAYERS)
    (root.parent / "unpacked.json").write_bytes(b"{")
    with pytest.raises(StateError, match="record"):
        workshop.unpack(*LAYERS)


def test_tree_of_another_user_is_not_run(workshop: Workshop) -> None:
    root = workshop.unpack(*LAYERS)
    (root.parent / "unpacked.json").write_text(f'{{"uid": {os.geteuid() + 1}}}')
    with pytest.raises(StateError, match="unpacked by uid"):
        workshop.unpack(*LAYERS)


@pytest.mark.parametrize("size", [300_000, 150_000])  # in the thread that reads, in the one that fills
def test_disk_that_is_full_leaves_nothing(workshop: Workshop, size: int) -> None:
    pieces = [file("a", bytes(size)), *(file(f"{number}") for number in range(200))]
    image = pulled(workshop.source, workshop.store, image_bytes(workshop.source, layer(*pieces)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StateError, match="cannot be unpacked"):
            unpack(image, store=workshop.store, home=workshop.home)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not workshop.trees()
    assert not workshop.leftovers()
