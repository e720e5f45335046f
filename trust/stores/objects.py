"""Owns ``s3:``, ``gs:`` and ``az:``: metadata in an object store, many publishers and no server of ours.

Publishing:
  1. the timestamp is still the one that the edit began with, else conflict
  2. every versioned file is put create-only: of two writers of one number, one
  3. the timestamp is swapped on the ETag of the one that the edit began with: the commit point

A put whose answer never came is settled by reading what stands there: ours, the old one (it is put again), or
another's (a conflict). A change that waits is an object under ``pending/`` that is swapped likewise; an empty one
says that nothing waits, since no store deletes on a condition through obstore.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from trust.deadline import Deadline
from trust.errors import ConflictError, InputError, LimitError, TrustError
from trust.stores.interface import (
    PENDING_MAX_BYTES,
    TIMESTAMP,
    Publication,
    View,
    checked_name,
    checked_pending,
    is_pending_name,
    is_versioned,
    require_pending_size,
    require_removable,
)
from trust.stores.object_door import ObjectDoor, UnsureError
from trust.stores.parallel import for_each
from trust.stores.remote import TIMESTAMP_MAX_BYTES, Fetched, Mark, RemoteView, Unchanged, fetched, remote_view

ATTEMPTS = 3  # of one put whose outcome stays open; obstore asks again by itself where it is certain
_PENDING = "pending"
_SUFFIX = ".json"


class ObjectStore:
    """The objects below one prefix of a bucket."""

    def __init__(self, url: str, door: ObjectDoor, *, randomness: Callable[[int], bytes] = os.urandom) -> None:
        self.url = url
        self._door = door
        self._randomness = randomness

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        """Return the objects as a view; None where the timestamp has its ETag still and no newer root is there."""
        return remote_view(self._door, known=known, deadline=deadline)

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Publish by the steps of this module; see ``Store.publish``."""
        base = self._base(publication, deadline)

        def create(file: tuple[str, bytes]) -> None:
            self._put(checked_name(file[0]), file[1], None, "a version never has two contents", deadline)

        for_each(publication.files.items(), create)
        self._put(TIMESTAMP, publication.timestamp, base, "another publisher was first", deadline)

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        """Return what waits below ``pending/``; see ``Store.pending``."""
        waiting: dict[str, bytes] = {}
        size_bytes = 0
        for listed in self._door.list(_PENDING, deadline=deadline):
            name = listed.name.removesuffix(_SUFFIX)
            if not listed.size_bytes or not listed.name.endswith(_SUFFIX) or not is_pending_name(name):
                continue
            require_pending_size(len(waiting) + 1, size_bytes + listed.size_bytes, self.url)
            found = fetched(self._door, _pending_key(name), PENDING_MAX_BYTES - size_bytes, deadline)
            if found is not None and found.untrusted_bytes:
                waiting[name] = found.untrusted_bytes
                size_bytes += len(found.untrusted_bytes)
        return waiting

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        """Swap ``pending/NAME.json`` on its ETag; see ``Store.set_pending``."""
        key = _pending_key(checked_pending(name, data))
        now = fetched(self._door, key, PENDING_MAX_BYTES, deadline)
        if (now.untrusted_bytes or None if now else None) != replaces:
            raise ConflictError(f"the change of {name} that waits in {self.url} is another one by now")
        if data != replaces:
            mark = now.mark if now else None
            self._put(key, data or b"", mark, "another change waits by now", deadline)

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        """Return the versioned files among the objects."""
        return frozenset(each.name for each in self._door.list(None, deadline=deadline) if is_versioned(each.name))

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        """Delete the objects ``names``; see ``Store.remove``."""
        require_removable(names)
        there = sorted(self.names(deadline=deadline) & set(names))
        if there:
            self._door.delete(there, deadline=deadline)

    def probe(self, *, deadline: Deadline) -> None:
        """Return if the store refuses what it must: a second creation, and a swap on an ETag that is gone.

        A server that ignores those conditions says yes to both writers of a race, and one is lost.
        """
        key = f"probe/{self._randomness(8).hex()}{_SUFFIX}"
        try:
            self._require_conditions(key, deadline)
        except TrustError:
            with suppress(TrustError):  # the first error is the one to mend
                self._door.delete([key], deadline=deadline)
            raise
        self._door.delete([key], deadline=deadline)

    def _require_conditions(self, key: str, deadline: Deadline) -> None:
        self._put(key, b"1", None, "the probe was written by somebody else", deadline)
        first = fetched(self._door, key, TIMESTAMP_MAX_BYTES, deadline)
        if first is None:
            raise InputError(f"{self.url}: what was written a moment ago is not there", hint=_HINT)
        self._door.require_mark(first.mark)
        if self._door.put(key, b"2", replaces=None, deadline=deadline):
            raise InputError(f"{self.url}: the server does not honour create-only writes", hint=_HINT)
        self._put(key, b"3", first.mark, "the probe was written by somebody else", deadline)
        if self._door.put(key, b"4", replaces=first.mark, deadline=deadline):
            raise InputError(f"{self.url}: the server does not honour swaps on an ETag", hint=_HINT)

    def _base(self, publication: Publication, deadline: Deadline) -> Mark | None:
        """Return what the timestamp that the edit began with is called; None where there was none (step 1)."""
        view = publication.base
        known = view.timestamp if isinstance(view, RemoteView) else None
        unless = known.mark.etag if known else None
        now = self._door.get(TIMESTAMP, TIMESTAMP_MAX_BYTES, unless=unless, deadline=deadline)
        if isinstance(now, Unchanged):
            now = known
        if now is not None:
            self._door.require_mark(now.mark)
        if (now.untrusted_bytes if now else None) != publication.base_timestamp:
            raise ConflictError(f"another publisher was first: {self.url} has moved on")
        return now.mark if now else None

    def _put(self, key: str, data: bytes, replaces: Mark | None, conflict: str, deadline: Deadline) -> None:
        """Have ``data`` under ``key`` in the place of ``replaces``, whatever became of the answers."""
        for attempt in range(ATTEMPTS):
            try:
                if self._door.put(key, data, replaces=replaces, deadline=deadline):
                    return
                is_refused = True
            except UnsureError:
                if attempt + 1 == ATTEMPTS:
                    raise
                is_refused = False
            now = self._standing(key, len(data), deadline)
            if isinstance(now, Fetched) and now.untrusted_bytes == data:
                return  # an answer was lost, or a dead writer made the same: either way it is there
            mark = now.mark if isinstance(now, Fetched) else now
            if is_refused or mark != replaces:
                raise ConflictError(f"{conflict}: {key} in {self.url} is another's")
        raise AssertionError("the last attempt returns or raises")

    def _standing(self, key: str, size_bytes: int, deadline: Deadline) -> Fetched | Mark | None:
        """Return what stands under ``key``; a mark of nothing where it is larger than ours, and so another's."""
        try:
            return fetched(self._door, key, max(size_bytes, TIMESTAMP_MAX_BYTES), deadline)
        except LimitError:
            deadline.remaining_seconds()
            return Mark(etag=None)


_HINT = "use a store with conditional writes (AWS, Google, Azure, SeaweedFS, MinIO), or file:DIR"


def _pending_key(name: str) -> str:
    return f"{_PENDING}/{name}{_SUFFIX}"
