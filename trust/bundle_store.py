"""Owns the metadata files of a bundle as a store: what a refresh reads, and nobody can write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NoReturn

from trust.deadline import Deadline
from trust.errors import InputError, LimitError
from trust.stores.interface import Publication, View, checked_name


class BundleView:
    """The untrusted metadata files of one collection, in memory."""

    token = None

    def __init__(self, untrusted_files: Mapping[str, bytes]) -> None:
        self._files = untrusted_files

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the bytes of ``name`` or None; see ``View.read``."""
        data = self._files.get(checked_name(name))
        if data is not None and len(data) > max_bytes:
            raise LimitError(f"metadata is too large: {name}: expected at most {max_bytes}, got {len(data)}")
        return data

    def taken(self, name: str) -> bool:
        """Tell whether the file is there."""
        return name in self._files

    def names(self) -> frozenset[str]:
        """Return the names of all files."""
        return frozenset(self._files)

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return nothing: a bundle has one state."""
        return ()


class BundleStore:
    """One collection's folder of a bundle."""

    def __init__(self, url: str, untrusted_files: Mapping[str, bytes]) -> None:
        self.url = url
        self._view = BundleView(untrusted_files)

    def view(self, *, known: str | None, deadline: Deadline) -> View:
        """Return the files; they have no token."""
        del known, deadline
        return self._view

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Refuse: a bundle is read."""
        self._refuse(publication, deadline)

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        """Return nothing: what waits for signatures is not carried."""
        del deadline
        return {}

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        """Refuse: a bundle is read."""
        self._refuse(name, data, replaces, deadline)

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        """Return the files that are there."""
        del deadline
        return frozenset(self._view.names())

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        """Refuse: a bundle is read."""
        self._refuse(names, deadline)

    def probe(self, *, deadline: Deadline) -> None:
        """Refuse: a bundle is read."""
        self._refuse(deadline)

    def _refuse(self, *_unused: object) -> NoReturn:
        raise InputError(f"a bundle is read and never written to: {self.url}")
