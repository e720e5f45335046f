"""Owns the sharing of layers between unpacked images: the files of one are linked into the other.

Two images of one base have its files once on the disk, and once in the page cache. Nothing is believed for lying
there:

  1. a layer is looked for by its blob's digest and its diffID, among images that are whole and this user's
  2. its record is the one that was made when it was unpacked, by its digest
  3. each file is held to owner, mode, size, time, attributes and sha256 as the layer has them, then linked
  4. whatever is not as it should be ends the sharing: the image is begun anew, from its blobs alone

An inode is used once for each tree: two files that happen to be equal stay two. Small files are copied: that costs
a block, and it is they that programs look at the link count of (cron runs no table that has two names). Containers
write to their own overlay or copy, never to these.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from trust.runtime.files import FileWriter, attributes_for, mode_of
from trust.runtime.inventory import Known, attributes_of, contents_of
from trust.runtime.layer import Budget
from trust.runtime.layer_record import LAYERS, parse_record, read_record
from trust.runtime.tar import Entry
from trust.runtime.tree import Tree, holds_content
from trust.runtime.walk import Directory, Root
from trust.value import dataclass

LINKED_MIN_BYTES = 4096
_LINKS_MAX = 30_000  # ext4 takes 65,000 names of one file
_TRIED = 8  # of the files that are equal: an image may have a hundred thousand
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_READ_BYTES = 1 << 20

Place = tuple[bytes, ...]


class NotSharedError(Exception):
    """What lies in another image is not what the layer has, or not to be had: it must be read from its blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """An unpacked image that is whole: its directory, its record, and its trees, each with its inventory."""

    directory: Path
    record: Mapping[str, object]
    inventories: Mapping[str, Path]


class Shelf:
    """The layers of unpacked images, for one image that is being written."""

    def __init__(self, images: Sequence[Unpacked], *, privileged: bool) -> None:
        self._images = images
        self._privileged = privileged
        self._used: set[int] = set()

    def record(self, name: str) -> tuple[Unpacked, bytes] | None:
        """Return the image that has the layer of this ``record_name``, and its record; None without one."""
        for image in self._images:
            layers = image.record.get(LAYERS)
            if isinstance(layers, dict) and name in layers:
                with suppress(OSError, ValueError):  # the blob has it too
                    return image, read_record(image.directory / LAYERS / name, layers[name])
        return None

    def replay(self, image: Unpacked, data: bytes, *, tree: Tree, writer: FileWriter, budget: Budget) -> None:
        """Have the layer with the record ``data`` in ``tree``, its bytes and entries counted as if they were read.

        Raises:
            NotSharedError: ``image`` is not, or no longer, to the byte what the layer holds.
            InputError, LimitError: as ``unpack`` says.
        """
        try:
            record = parse_record(data)
            budget.spend_bytes(record.content_bytes)
            places = _places(image)
            contents = iter(record.contents)
            with Root(image.directory) as root:
                replay = _Replay(root, places, self._used, tree=tree, writer=writer, privileged=self._privileged)
                with replay:
                    for entry in record.entries:
                        budget.spend_entry()
                        if holds_content(entry):
                            replay.file(entry, next(contents))
                        else:
                            tree.add(entry, iter(()))
        except (OSError, LookupError, TypeError, ValueError) as err:
            raise NotSharedError(str(err)) from err


def _places(image: Unpacked) -> dict[bytes, list[Place]]:
    """Return where in the image each content lies, by its sha256."""
    places: dict[bytes, list[Place]] = {}
    for tree, inventory in image.inventories.items():
        for path, content in contents_of(inventory.read_bytes()):
            places.setdefault(content, []).append((os.fsencode(tree), *path.split(b"/")))
    return places


class _Replay(Directory):
    """The files of an image on their way into a tree; as a directory it is wherever the last one lay."""

    def __init__(
        self,
        root: Root,
        places: Mapping[bytes, list[Place]],
        used: set[int],
        *,
        tree: Tree,
        writer: FileWriter,
        privileged: bool,
    ) -> None:
        super().__init__(root.fd)
        self._places = places
        self._used = used
        self._tree = tree
        self._writer = writer
        self._privileged = privileged

    def file(self, entry: Entry, content: bytes) -> None:
        """Have the file ``entry`` in the tree."""
        if not entry.size_bytes:
            self._tree.add(entry, iter(()))
            return
        places = self._places[content]
        if entry.size_bytes >= LINKED_MIN_BYTES:
            for number in reversed(range(max(0, len(places) - _TRIED), len(places))):
                if self._linked(entry, content, places[number]):
                    if number:
                        places.pop(number)
                    return
        fd = self._open(places[0])
        try:
            self._tree.add(entry, _checked(fd, content))
        finally:
            os.close(fd)

    def _linked(self, entry: Entry, content: bytes, place: Place) -> bool:
        """Make another name of the file at ``place``, if it is the entry's in everything; tell whether it was."""
        fd = self._open(place)
        try:
            state = os.fstat(fd)
            if not self._fits(fd, state, entry):
                return False
            for _ in _checked(fd, content):
                pass
            self._tree.link(entry, self.fd, place[-1], inode=state.st_ino)
            self._used.add(state.st_ino)
            attributes = attributes_for(entry, privileged=self._privileged)
            self._writer.known[state.st_ino] = Known(content=content, attributes=attributes)
        finally:
            os.close(fd)
        return True

    def _fits(self, fd: int, state: os.stat_result, entry: Entry) -> bool:
        owner = (entry.uid, entry.gid) if self._privileged else (os.geteuid(), state.st_gid)
        return (
            stat.S_ISREG(state.st_mode)
            and stat.S_IMODE(state.st_mode) == mode_of(entry, privileged=self._privileged)
            and (state.st_uid, state.st_gid) == owner
            and (state.st_size, state.st_mtime_ns) == (entry.size_bytes, entry.mtime_ns)
            and state.st_ino not in self._used
            and state.st_nlink < _LINKS_MAX
            and attributes_of(fd) == attributes_for(entry, privileged=self._privileged)
        )

    def _open(self, place: Place) -> int:
        for name in place[self.trim(place[:-1]) : -1]:
            self.enter(name)
        return os.open(place[-1], _FILE, dir_fd=self.fd)


def _checked(fd: int, content: bytes) -> Iterator[memoryview]:
    """Yield what the open file holds; the reading ends only if it was what has the sha256 ``content``."""
    digest = hashlib.sha256()
    while data := os.read(fd, _READ_BYTES):
        digest.update(data)
        yield memoryview(data)
    if digest.digest() != content:
        raise NotSharedError("a file of an unpacked image was changed on this disk")
