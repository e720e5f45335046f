"""Owns what a metadata store promises: consistent views, create-only versions, and one commit point.

A store knows file names and bytes and nothing of TUF. Versioned files (``3.targets.json``) are written once and
never again; ``timestamp.json`` is the commit point and the only file that changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from trust.deadline import Deadline
from trust.errors import InputError, UnreachableError
from trust.value import dataclass

TIMESTAMP = "timestamp.json"
_NAME = re.compile(r"(?:[1-9][0-9]{0,9}\.)?[a-z0-9._-]{1,100}\.json", re.ASCII)


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
