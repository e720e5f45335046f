"""Owns the unpacked images below ``TRUST_HOME/rootfs``: whole or not there, keyed by the manifest's digest.

  1. is it there? then it was finished, and nobody but containers' own copies was written to since
  2. a place of its own beside it, that the next run sweeps away if this one dies
  3. each layer, lowest first: decompressed, held to its diffID, written entry by entry
  4. the working directory, the inventory, the record; then it is renamed into place
  5. the next run has it on the disk, and says so in the record; what was not said so before the machine went down
     is unpacked anew, so that nobody waits for a disk that the kernel writes to anyway. A process that is killed
     loses nothing that was written: within one start of the machine, the rename is the proof

``rootfs/sha256/<hex>/rootfs`` is the tree; ``unpacked.json`` beside it says by whom and from what, ``inventory``
what is in the tree, its digest being in the record. ``check_unpacked`` compares. ``hidden`` is what higher layers
hid, ``layers`` the record of each layer: with these, the next image with such a layer shares its files.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trust.digest import Digest, parse_digest, sha256
from trust.errors import StateError
from trust.oci.layout import Layout
from trust.runtime.content import Image
from trust.runtime.disk import (
    DIRECTORY_FLAGS,
    make_private_directory,
    read_document,
    remove_tree,
    sync_file_system,
    write_document,
)
from trust.runtime.inventory import check_inventory, take_inventory
from trust.runtime.progress import UNTOLD, Progress

if TYPE_CHECKING:
    from trust.runtime.layer import Budget
    from trust.runtime.shelf import Unpacked

DIRECTORY = "rootfs"
INVENTORY = "inventory"
HIDDEN = "hidden"
_HIDDEN_INVENTORY = "hidden.inventory"
_PARTIAL = ".partial"
_RECORD = "unpacked.json"
_WHOLE = "image"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SCHEMA = 2  # the first had no inventory: what it recorded is unpacked anew


def unpack(
    image: Image, *, store: Layout, home: Path, budget: Budget | None = None, progress: Progress = UNTOLD
) -> Path:
    """Have the tree of ``image`` below ``home``; return its root, which nothing may write to.

    Raises:
        InputError: a layer is malformed or leads out of the root.
        LimitError: a cap on bytes, entries or ratio was reached.
        RefusedError: ``tampered``; a layer is not what the configuration says.
        StateError: this disk cannot take it, or what is in the content store is damaged.
    """
    final = home / DIRECTORY / image.digest.algorithm / image.digest.hex
    try:
        if _is_whole(final):
            return final / DIRECTORY
        make_private_directory(home / DIRECTORY)
        with _staging(home / DIRECTORY) as staging:
            _write(image, store=store, staging=staging, budget=budget, progress=progress)
            with _alone(home / DIRECTORY):
                _put_in_place(staging, final)
    except OSError as err:
        raise StateError(f"image cannot be unpacked: {err.strerror or err}: {err.filename or home}") from err
    return final / DIRECTORY


def check_unpacked(tree: Path, manifest: Digest) -> None:
    """Return if the unpacked ``tree`` of the image ``manifest`` is to the byte what its layers made it.

    Raises:
        RefusedError: ``tampered``; it is not.
        StateError: it cannot be read.
    """
    try:
        compare_unpacked(tree, take_inventory(tree, manifest))
    except OSError as err:
        raise StateError(f"unpacked image cannot be read: {err.strerror or err}: {err.filename or tree}") from err


def compare_unpacked(tree: Path, found: bytes) -> None:
    """Return if ``found`` is the inventory that ``tree`` had when it was unpacked.

    Raises:
        RefusedError: ``tampered``; it is not.
        OSError: the inventory cannot be read.
    """
    record = read_document(tree.parent / _RECORD) or {}
    expected = parse_digest(str(record.get(INVENTORY)))
    check_inventory(found, expected, (tree.parent / INVENTORY).read_bytes, where=tree)


def _is_whole(final: Path) -> bool:
    record = read_document(final / _RECORD)
    if record is None:
        return False
    if record.get("uid") != os.geteuid():
        raise StateError(
            f"image was unpacked by uid {record.get('uid')}, expected {os.geteuid()}: {final}",
            hint="each user needs a TRUST_HOME of their own",
        )
    if not _is_believed(record):
        return False
    if record.get("is_durable"):
        return True
    with suppress(OSError):  # somebody else is at it, or the disk is read-only: it is whole all the same
        _make_durable(final, record)
    return True


def _is_believed(record: Mapping[str, object]) -> bool:
    """Tell whether what has this record is whole: it is on the disk, or the machine has been up since."""
    is_current = record.get("schema") == _SCHEMA
    return is_current and (bool(record.get("is_durable")) or record.get("boot") == _boot())


def _make_durable(final: Path, record: Mapping[str, object]) -> None:
    lock = os.open(final, DIRECTORY_FLAGS)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sync_file_system(final)
        write_document(final / _RECORD, {**record, "is_durable": True})
    finally:
        os.close(lock)


def _boot() -> str:
    """Return what the kernel calls this start of the machine."""
    return _BOOT.read_text(encoding="ascii").strip()


def _write(image: Image, *, store: Layout, staging: Path, budget: Budget | None, progress: Progress) -> None:
    from trust.runtime.assembly import assemble  # noqa: PLC0415 - most runs find the tree
    from trust.runtime.layer_record import LAYERS, write_records  # noqa: PLC0415
    from trust.runtime.shelf import NotSharedError, Shelf  # noqa: PLC0415

    whole = staging / _WHOLE
    root, hidden = whole / DIRECTORY, whole / HIDDEN
    for others in (_others(staging.parents[1]), []):
        root.mkdir(parents=True)
        hidden.mkdir()
        progress.begin("unpacking", sum(layer.size_bytes for layer in image.manifest.layers))
        root.chmod(0o755)
        shelf = Shelf(others, privileged=os.geteuid() == 0)
        with suppress(NotSharedError):
            made = assemble(
                image,
                store=store,
                root_path=root,
                removed_path=hidden,
                shelf=shelf,
                budget=budget,
                tell=progress.advance,
            )
            break
        remove_tree(whole)
    (whole / INVENTORY).write_bytes(made.inventory)
    (whole / _HIDDEN_INVENTORY).write_bytes(made.hidden)
    record = {
        "schema": _SCHEMA,
        "manifest": str(image.digest),
        "uid": os.geteuid(),
        INVENTORY: str(sha256(made.inventory)),
        LAYERS: write_records(whole / LAYERS, made.records),
        "boot": _boot(),
        "is_durable": False,
    }
    write_document(whole / _RECORD, record)


def _others(rootfs: Path) -> list[Unpacked]:
    """Return the images that are whole and this user's."""
    from trust.runtime.shelf import Unpacked  # noqa: PLC0415 - most runs find the tree

    found = []
    for path in sorted(rootfs.glob(f"*/*/{_RECORD}")):
        with suppress(StateError):  # whoever runs that image is told
            record = read_document(path)
            if record is not None and record.get("uid") == os.geteuid() and _is_believed(record):
                inventories = {DIRECTORY: path.parent / INVENTORY, HIDDEN: path.parent / _HIDDEN_INVENTORY}
                found.append(Unpacked(directory=path.parent, record=record, inventories=inventories))
    return found


@contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    """Give a new directory that is gone afterwards, and sweep away those whose makers have died."""
    partial = make_private_directory(parent / _PARTIAL)
    lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    mine = -1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in partial.iterdir():
            _sweep(abandoned)
        staging = partial / os.urandom(8).hex()
        staging.mkdir(mode=0o700)
        mine = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(mine, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_UN)
        try:
            yield staging
        finally:
            remove_tree(staging)
    finally:
        os.close(lock)
        if mine >= 0:
            os.close(mine)


def _sweep(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(directory)
    finally:
        os.close(fd)


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Hold off the others: what one puts in place, another must not take for what was there before."""
    lock = os.open(parent / _PARTIAL, DIRECTORY_FLAGS)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _put_in_place(staging: Path, final: Path) -> None:
    """Have the whole image at ``final``; what is there without a record is nobody's."""
    final.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        (staging / _WHOLE).rename(final)
    except OSError:
        if _is_whole(final):
            return  # another process was first, with the same content
        final.rename(staging / "unbelieved")
        (staging / _WHOLE).rename(final)
