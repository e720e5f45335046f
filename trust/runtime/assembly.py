"""Owns the making of one tree of an image's layers: each read once, held to its diffID, written entry by entry."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from trust.digest import Digest
from trust.errors import InputError, RefusedError
from trust.manifest import Descriptor
from trust.oci.layout import Layout
from trust.runtime.content import Image, damaged
from trust.runtime.files import FileWriter
from trust.runtime.inventory import take_inventory
from trust.runtime.layer import Budget, LayerReader, ReadAhead
from trust.runtime.layer_record import Recorder, record_name
from trust.runtime.progress import UNTOLD
from trust.runtime.shelf import Shelf
from trust.runtime.tar import TarReader, split_path
from trust.runtime.tree import Tree
from trust.runtime.walk import Root
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A tree's ``inventory``, that of what its layers hid (``hidden``), and the records of its layers by name."""

    inventory: bytes
    hidden: bytes
    records: dict[str, bytes]


def assemble(
    image: Image,
    *,
    store: Layout,
    root_path: Path,
    removed_path: Path,
    shelf: Shelf,
    budget: Budget | None = None,
    tell: Callable[[int], None] = UNTOLD.advance,
) -> Assembled:
    """Have the image's tree in the empty directory ``root_path``; what layers hide goes to ``removed_path``.

    Layers that ``shelf`` has are taken from there. The inventory is of the content as it came and not as it is
    read again. The image's working directory is made as well, as the tools that build images do. ``tell`` is
    called with the bytes of the blobs that are done.

    Raises:
        NotSharedError: begin anew, with an empty shelf.
        InputError, LimitError, RefusedError, StateError, OSError: as ``unpack`` says.
    """
    budget = budget or Budget()
    privileged = os.geteuid() == 0
    with Root(root_path) as root, Root(removed_path) as removed:
        with FileWriter(privileged=privileged) as writer:
            tree = Tree(root, removed=removed, privileged=privileged, writer=writer)
            applying = _Applying(store, tree, writer, shelf, budget, tell)
            for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
                applying.apply(layer, diff_id)
            tree.make_directories(split_path(image.config.working_directory.encode()))
            tree.finish()
        return Assembled(
            inventory=take_inventory(root_path, image.digest, known=writer.known),
            hidden=take_inventory(removed_path, image.digest, known=writer.known),
            records=applying.records(),
        )


class _Applying:
    """The layers of one image on their way into its tree, the lowest first."""

    def __init__(  # noqa: PLR0917 - all of one assembly
        self,
        store: Layout,
        tree: Tree,
        writer: FileWriter,
        shelf: Shelf,
        budget: Budget,
        tell: Callable[[int], None],
    ) -> None:
        self._store = store
        self._tree = tree
        self._writer = writer
        self._shelf = shelf
        self._budget = budget
        self._tell = tell
        self._shared: dict[str, bytes] = {}
        self._recorders: list[Recorder] = []

    def apply(self, layer: Descriptor, diff_id: Digest) -> None:
        """Have the next higher layer in the tree."""
        self._tree.begin_layer()
        name = record_name(layer.digest, diff_id)
        found = self._shelf.record(name)
        if found is not None:
            image, self._shared[name] = found
            self._shelf.replay(
                image, self._shared[name], tree=self._tree, writer=self._writer, budget=self._budget
            )
            self._tell(layer.size_bytes)
            return
        try:
            self._read(layer, diff_id, name)
        except (InputError, RefusedError) as err:
            _blame_the_disk(layer, self._store, err)
            raise

    def records(self) -> dict[str, bytes]:
        """Return the records of the layers that have one, by their names; the writer has ended."""
        made = {one.name: one.record(self._writer.contents) for one in self._recorders}
        return self._shared | {name: data for name, data in made.items() if data is not None}

    def _read(self, layer: Descriptor, diff_id: Digest, name: str) -> None:
        recorder = Recorder(name, first=self._writer.count)
        with self._store.open_blob(layer.digest) as blob:
            reader = LayerReader(blob, layer.digest, diff_id, layer.size_bytes, self._budget, self._tell)
            with ReadAhead(reader.chunks) as chunks:
                tar = TarReader(chunks)
                for entry in tar.entries():
                    self._budget.spend_entry()
                    reader.spend_hole(entry.hole_bytes)
                    recorder.note(entry)
                    self._tree.add(entry, tar.body())
            reader.check()
        recorder.content_bytes = reader.content_bytes
        self._recorders.append(recorder)


def _blame_the_disk(layer: Descriptor, store: Layout, err: Exception) -> None:
    """Say so if the stored blob is no longer what was stored: that is no fault of the image."""
    try:
        for _ in store.blob(layer.digest, layer.size_bytes):
            pass
    except RefusedError:
        raise damaged(layer.digest) from err
