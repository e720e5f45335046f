"""Owns the view of a store that is read file by file over a network: what its timestamp was, and what it lacks.

Nothing is read before it is asked for. The timestamp is read once, so that all that a view shows belongs to one
moment, and its ETag with it: publishing swaps exactly that one, and an unchanged consumer asks with it.

The token of a view is ``<N>.root.json <ETag>``: the root that was not there and the timestamp that was. The store
says "nothing changed" only if both still hold, since a newer root is what ends a revoked online key.
"""

from __future__ import annotations

import re
from typing import Protocol

from trust.deadline import Deadline
from trust.errors import LimitError
from trust.stores.interface import TIMESTAMP, View, checked_name, is_root
from trust.value import dataclass

TIMESTAMP_MAX_BYTES = 65_536
_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,200}"|[!#-~]{1,200}', re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a server calls one content of one object; Google's swaps want the version, all others the ETag."""

    etag: str | None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An object as it came."""

    untrusted_bytes: bytes
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """The object still has the ETag that was asked about."""


class Door(Protocol):
    """How the files of one store are asked for."""

    def get(
        self, name: str, max_bytes: int, *, unless: str | None = None, deadline: Deadline
    ) -> Fetched | Unchanged | None:
        """Return the object ``name``; ``Unchanged`` where its ETag is ``unless``; None only where it is absent.

        Raises:
            UnreachableError: no answer, or one that leaves it open. LimitError: larger than ``max_bytes``.
        """

    def has(self, name: str, *, deadline: Deadline) -> bool:
        """Tell whether there is an object ``name``; its content is not sent.

        Raises:
            UnreachableError: as ``get``.
        """


class RemoteView:
    """The files behind a door; ``timestamp`` is what was read of it so far."""

    def __init__(self, door: Door, deadline: Deadline) -> None:
        self._door = door
        self._deadline = deadline
        self._missing_root: str | None = None
        self.timestamp: Fetched | None = None

    @property
    def token(self) -> str | None:
        """The root that is missing and the ETag of the timestamp, once both are known."""
        etag = self.timestamp.mark.etag if self.timestamp else None
        if self._missing_root is None or etag is None or not _ETAG.fullmatch(etag):
            return None
        return f"{self._missing_root} {etag}"

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the bytes of ``name`` or None; see ``View.read``."""
        if name == TIMESTAMP and self.timestamp is not None:
            if len(self.timestamp.untrusted_bytes) > max_bytes:
                raise LimitError(f"metadata is too large: {name}: expected at most {max_bytes} bytes")
            return self.timestamp.untrusted_bytes
        found = fetched(self._door, checked_name(name), max_bytes, self._deadline)
        if name == TIMESTAMP:
            self.timestamp = found
        if found is None and is_root(name):
            self._missing_root = name
        return found.untrusted_bytes if found else None

    def taken(self, name: str) -> bool:
        """Tell whether the file exists, published or orphaned."""
        return self._door.has(checked_name(name), deadline=self._deadline)

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return nothing: a swap that was not refused passed nobody over."""
        return ()


def remote_view(door: Door, *, known: str | None, deadline: Deadline) -> RemoteView | None:
    """Return a view of now; None where the token ``known`` still holds: two requests without content."""
    view = RemoteView(door, deadline)
    root, _, etag = (known or "").partition(" ")
    if not is_root(root) or not _ETAG.fullmatch(etag):
        return view
    found = door.get(TIMESTAMP, TIMESTAMP_MAX_BYTES, unless=etag, deadline=deadline)
    if isinstance(found, Unchanged):
        return view if door.has(root, deadline=deadline) else None
    view.timestamp = found
    return view


def fetched(door: Door, name: str, max_bytes: int, deadline: Deadline) -> Fetched | None:
    """Return the object ``name`` or None, asked for without a condition."""
    found = door.get(name, max_bytes, deadline=deadline)
    if isinstance(found, Unchanged):
        raise TypeError("a door said 'unchanged' without being asked")
    return found
