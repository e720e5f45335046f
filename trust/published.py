"""Owns what a publishing command did: what consumers see now, what waits, what was dropped or passed over."""

from __future__ import annotations

from collections.abc import Mapping

from trust.digest import Digest
from trust.proposal import Waiting
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A change of ``role`` that is in nothing now: it waited, or (no ``id``) a registry had passed over it.

    Nobody but a stolen key had signed it.
    """

    role: str
    id: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publishing command did; without change, nothing was written and ``versions`` are the current ones."""

    changed: bool
    versions: Mapping[str, int]
    rebased: int = 0
    waits: Waiting | None = None  # accepted, and not published: it waits for signatures
    discarded: tuple[str, ...] = ()  # key ids whose signatures were of what was amended
    untrusted: tuple[str, ...] = ()  # delegated roles that were passed over, as consumers pass over them
    dropped: tuple[Dropped, ...] = ()
