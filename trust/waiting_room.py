"""Owns the changes that wait in a store: read as untrusted, and found by their ids."""

from __future__ import annotations

from collections.abc import Iterable

from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.errors import InputError
from trust.pending import Pending, id_prefix, parse_pending
from trust.stores.interface import Store
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What waits under the name ``place``; ``untrusted`` is None where ``problem`` says why it is no change."""

    place: str
    data: bytes
    untrusted: Pending | None
    problem: str | None = None

    @property
    def id(self) -> Digest:
        """The id of the change; of what is none, one of its own, so that it can be rejected.

        An id is a digest of bytes that everybody knows: were the bytes alone the id of what is none, they would be
        laid beside the change, and neither could be named.
        """
        if self.untrusted is not None:
            return self.untrusted.id
        return sha256(b"none\0" + self.place.encode() + b"\0" + self.data)

    @property
    def owners(self) -> frozenset[str]:
        """The roles that it says to change, and the one that it waits under."""
        return frozenset({self.place}) | (self.untrusted.owners if self.untrusted is not None else frozenset())


def entries(store: Store, deadline: Deadline) -> tuple[Entry, ...]:
    """Return what waits in ``store``, in the order of the names."""
    return tuple(_entry(place, data) for place, data in sorted(store.pending(deadline=deadline).items()))


def find(waiting: Iterable[Entry], text: str) -> Entry:
    """Return the one entry whose id begins as ``text`` says.

    Raises:
        InputError: none does, or more than one.
    """
    prefix = id_prefix(text)
    found = [entry for entry in waiting if entry.id.hex.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"change is ambiguous: {', '.join(str(entry.id) for entry in found)}")
    raise InputError(
        f"no change with this id waits: {text[:80]}", hint="trust pending COLLECTION lists those that do"
    )


def _entry(place: str, data: bytes) -> Entry:
    try:
        pending = parse_pending(data)
    except InputError as err:
        return Entry(place=place, data=data, untrusted=None, problem=str(err))
    if pending.place != place:
        problem = f"a change of {pending.place} waits under another name: {place}"
        return Entry(place=place, data=data, untrusted=None, problem=problem)
    return Entry(place=place, data=data, untrusted=pending)
