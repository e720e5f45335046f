"""Owns the making of one tree of an image's layers: each read once, held to its diffID, written entry by entry."""

from __future__ import annotations

import os
from pathlib import Path

from trust.digest import Digest
from trust.errors import InputError, RefusedError
from trust.manifest import Descriptor
from trust.oci.layout import Layout
from trust.runtime.content import Image, damaged
from trust.runtime.files import FileWriter
from trust.runtime.inventory import take_inventory
from trust.runtime.layer import Budget, LayerReader, ReadAhead
from trust.runtime.tar import TarReader, split_path
from trust.runtime.tree import Tree
from trust.runtime.walk import Root


def assemble(
    image: Image, *, store: Layout, root_path: Path, removed_path: Path, budget: Budget | None = None
) -> bytes:
    """Have the image's tree in the empty directory ``root_path``; what layers hide goes to ``removed_path``.

    Returned is the tree's inventory, of the content as it came and not as it is read again. The image's working
    directory is made as well, as the tools that build images do.

    Raises:
        InputError, LimitError, RefusedError, StateError, OSError: as ``unpack`` says.
    """
    budget = budget or Budget()
    privileged = os.geteuid() == 0
    with Root(root_path) as root, Root(removed_path) as removed:
        with FileWriter(privileged=privileged) as writer:
            tree = Tree(root, removed=removed, privileged=privileged, writer=writer)
            for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True):
                _apply(layer, diff_id, store=store, tree=tree, budget=budget)
            tree.make_directories(split_path(image.config.working_directory.encode()))
            tree.finish()
        return take_inventory(root_path, image.digest, known=writer.known)


def _apply(layer: Descriptor, diff_id: Digest, *, store: Layout, tree: Tree, budget: Budget) -> None:
    try:
        with store.open_blob(layer.digest) as blob:
            reader = LayerReader(blob, layer.digest, diff_id, layer.size_bytes, budget)
            with ReadAhead(reader.chunks) as chunks:
                tar = TarReader(chunks)
                tree.begin_layer()
                for entry in tar.entries():
                    budget.spend_entry()
                    reader.spend_hole(entry.hole_bytes)
                    tree.add(entry, tar.body())
            reader.check()
    except (InputError, RefusedError) as err:
        _blame_the_disk(layer, store, err)
        raise


def _blame_the_disk(layer: Descriptor, store: Layout, err: Exception) -> None:
    """Say so if the stored blob is no longer what was stored: that is no fault of the image."""
    try:
        for _ in store.blob(layer.digest, layer.size_bytes):
            pass
    except RefusedError:
        raise damaged(layer.digest) from err
