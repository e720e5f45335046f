"""Owns what a metadata store promises: consistent views, create-only versions, and one commit point.

A store knows file names and bytes and nothing of TUF. Versioned files (``3.targets.json``) are written once and
never again; ``timestamp.json`` is the commit point and the only file that changes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Protocol

from trust.deadline import Deadline
from trust.errors import InputError, LimitError, UnreachableError
from trust.value import dataclass

TIMESTAMP = "timestamp.json"
PENDING_MAX = 256  # changes that wait in one collection: one for each role that somebody edits
PENDING_MAX_BYTES = 64_000_000  # all of them together: a flat role at its own limit is half of that
_NAME = re.compile(r"(?:[1-9][0-9]{0,9}\.)?[a-z0-9._-]{1,100}\.json", re.ASCII)
_VERSIONED = re.compile(r"[1-9][0-9]{0,9}\.[a-z0-9._-]{1,100}\.json", re.ASCII)
_ROOT = re.compile(r"[1-9][0-9]{0,9}\.root\.json", re.ASCII)
_PENDING = re.compile(r"[a-z0-9_][a-z0-9._]{0,99}", re.ASCII)


class View(Protocol):
    """A store at one moment; what it reads is untrusted until a verifier has seen it."""

    @property
    def token(self) -> str | None:
        """What names this moment for ``Store.view(known=…)``, or None where the store has no such thing."""

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the untrusted bytes of ``name``, None only where it is certain that there is no such file.

        Raises:
            UnreachableError: no answer; an answer other than "absent" is never taken for absence.
            LimitError: more than ``max_bytes`` or past the deadline.
        """

    def taken(self, name: str) -> bool:
        """Tell whether a writer, dead or alive, has used ``name``: the number is burnt."""

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return changes that were passed over, each as (its view, the view it was built on).

        Empty where the store excludes that: only a registry cannot.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A change: new versioned files, the kept names of the base that stay current, then the timestamp."""

    base: View
    base_timestamp: bytes | None
    files: Mapping[str, bytes]
    kept: tuple[str, ...]
    timestamp: bytes
    settles: bool = True  # False: changes that were passed over are not in it, and stay strays


class MissingPlaceError(UnreachableError):
    """The place of a store is not there: not mounted or, before ``init``, not made yet."""


class Store(Protocol):
    """A place where the metadata of one collection lives."""

    @property
    def url(self) -> str:
        """The address as the policy spells it, for messages."""

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        """Return a view of now; None where the store says that nothing changed since the token ``known``."""

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Make ``publication`` what consumers see: its files first, its timestamp last, nothing rewritten.

        Raises:
            ConflictError: the store moved on since the base, or a number is taken; consumers see no change.
            StateError, UnreachableError: it could not be written; consumers see the old or the new state.
        """

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        """Return the untrusted bytes of the changes that wait for signatures, by role; consumers see none of it.

        Raises:
            LimitError: more than ``PENDING_MAX`` changes, or than ``PENDING_MAX_BYTES`` in all.
        """

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        """Make ``data`` (None: nothing) what waits under ``name``, as durably as a publish.

        Raises:
            ConflictError: what waits there now is not exactly ``replaces`` (None: nothing); it still does.
            InputError: ``name`` is no role name. LimitError: ``data`` is larger than what may be read back.
            StateError, UnreachableError: it could not be written; what waits is the old change or the new one.
        """

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        """Return the names of the versioned files that the store holds, orphans among them, roots too."""

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        """Have none of the versioned files ``names``; one that is gone already is none.

        Only what no valid timestamp leads to may go, and only below the current version: the number of an orphan
        above it would be free again.

        Raises:
            ValueError: a root, ``timestamp.json`` or another name without a version: nothing was removed.
        """

    def probe(self, *, deadline: Deadline) -> None:
        """Return if the store can hold a collection: writable, and its commit point can be moved.

        Raises:
            InputError, UnreachableError, StateError: it cannot; the message says why.
        """


def checked_name(name: str) -> str:
    """Return ``name`` if it is a metadata file name that no store can mistake for a path.

    Raises:
        InputError: it is not.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise InputError(f"metadata file name is malformed: got {name[:120]!r}")
    return name


def is_versioned(name: str) -> bool:
    """Tell whether ``name`` is that of a versioned metadata file, as ``3.targets.json``."""
    return _VERSIONED.fullmatch(name) is not None and ".." not in name


def is_root(name: str) -> bool:
    """Tell whether ``name`` is that of a root, as ``3.root.json``."""
    return _ROOT.fullmatch(name) is not None


def require_removable(names: Collection[str]) -> None:
    """Return if each of ``names`` may ever be removed from a store.

    Raises:
        ValueError: one is a root, whose chain consumers walk for years, or has no version.
    """
    for name in names:
        if not is_versioned(name) or is_root(name):
            raise ValueError(f"file is never removed from a store: got {name!r}")


def checked_pending(name: str, data: bytes | None = None) -> str:
    """Return ``name`` if a change ``data`` may wait under it.

    Raises:
        InputError: it is no role name. LimitError: the change is larger than ``PENDING_MAX_BYTES``.
    """
    if not is_pending_name(name):
        raise InputError(f"role name is malformed: got {name[:120]!r}")
    if data is not None and len(data) > PENDING_MAX_BYTES:
        raise LimitError(f"change of {name} is too large: expected at most {PENDING_MAX_BYTES}, got {len(data)}")
    return name


def is_pending_name(name: str) -> bool:
    """Tell whether a change may wait under ``name``."""
    return _PENDING.fullmatch(name) is not None and ".." not in name


def require_pending_size(count: int, size_bytes: int, url: str) -> None:
    """Return if ``count`` changes of ``size_bytes`` in all are few enough to be read.

    Raises:
        LimitError: they are not; whoever can write to a store could fill the memory of whoever reads it.
    """
    if count > PENDING_MAX:
        raise LimitError(f"too many changes wait in {url}: expected at most {PENDING_MAX}, got {count}")
    if size_bytes > PENDING_MAX_BYTES:
        raise LimitError(f"changes that wait are too large in {url}: expected at most {PENDING_MAX_BYTES} bytes")
