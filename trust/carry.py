"""Owns the file that carries a change to a signer without a network, and back.

It holds the change and every metadata file that comparing it takes: what was read here when it was compared. The
signer verifies all of that from his own pin, so that the file can lie about nothing but what has happened since;
and then the change is stale where it is brought back.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from typing import Any

from trust.deadline import Deadline
from trust.errors import ConflictError, InputError, UnreachableError
from trust.pending import Pending, parse_pending, parse_pending_document, pending_bytes, pending_document
from trust.proposal import differences, is_published, proposed, require_current
from trust.publish import Publisher
from trust.repository import load
from trust.stores.interface import PENDING_MAX_BYTES, Publication, View, checked_name, is_versioned
from trust.strict_json import strict_json
from trust.waiting_room import entries, find

SCHEMA = 1
FILE_MAX_BYTES = 2 * PENDING_MAX_BYTES  # a change and the metadata that it was made on
_KIND = "pending change"


class CarriedStore:
    """The store that such a file is: what was carried in it can be read and approved, and never published."""

    def __init__(self, url: str, files: Mapping[str, bytes], pending: Pending) -> None:
        self.url = url
        self._files = files
        self._place = pending.place
        self._waiting: dict[str, bytes] = {pending.place: pending_bytes(pending)}

    @property
    def change(self) -> Pending:
        """The change with the signatures that it has now."""
        return parse_pending_document(json.loads(self._waiting[self._place]))

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        """Return the files that were carried."""
        del known, deadline
        return _CarriedView(self._files)

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        """Return the change that was carried."""
        del deadline
        return dict(self._waiting)

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        """Replace the change; it goes nowhere before ``text`` is written."""
        del deadline
        if data is None or self._waiting.get(name) != replaces:
            raise ConflictError(f"another change than that of {name} is carried in {self.url}")
        self._waiting[name] = data

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Refuse: a file has no consumers."""
        del publication, deadline
        raise UnreachableError(f"nothing is published in {self.url}")

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        """Return the versioned files that were carried."""
        del deadline
        return frozenset(filter(is_versioned, self._files))

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        """Refuse: what was carried is read alone."""
        del names, deadline
        raise UnreachableError(f"nothing is removed from {self.url}")

    def probe(self, *, deadline: Deadline) -> None:
        """Refuse: no collection is made in it."""
        del deadline
        raise UnreachableError(f"nothing is published in {self.url}")

    def text(self) -> bytes:
        """Return the file as it is carried on."""
        return _text(self._files, self.change)


class _CarriedView:
    token = None

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, name: str, max_bytes: int) -> bytes | None:
        data = self._files.get(checked_name(name))
        if data is not None and len(data) > max_bytes:
            raise InputError(f"metadata is too large: {name}: expected at most {max_bytes}, got {len(data)}")
        return data

    def taken(self, name: str) -> bool:
        return name in self._files

    def strays(self) -> tuple[tuple[View, View], ...]:
        return ()


class _Recorder:
    """A view that remembers what was read from it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.token = view.token
        self.files: dict[str, bytes] = {}

    def read(self, name: str, max_bytes: int) -> bytes | None:
        data = self._view.read(name, max_bytes)
        if data is not None:
            self.files[name] = data
        return data

    def taken(self, name: str) -> bool:
        return self._view.taken(name)

    def strays(self) -> tuple[tuple[View, View], ...]:
        return self._view.strays()


def exported(publisher: Publisher, change: str) -> bytes:
    """Return the file that carries ``change``, an id or its beginning.

    Raises:
        InputError: no such change waits, or it is not understood.
        StaleError, RefusedError: it could not be approved.
    """
    entry = find(entries(publisher.store, publisher.deadline), change)
    view = publisher.store.view(known=None, deadline=publisher.deadline)
    if view is None:
        raise UnreachableError(f"the store answered 'not modified' to nobody's question: {publisher.store.url}")
    if entry.untrusted is None:
        raise InputError(f"what waits for {entry.place} is not understood: {entry.problem}")
    recorder = _Recorder(view)
    loaded = load(publisher.stanza, recorder, floors=publisher.memory.floors())
    is_published(loaded, entry.untrusted)  # reads what the signer will read
    made = proposed(loaded, entry.untrusted, now=publisher.now)
    require_current(loaded, entry.untrusted, made, now=publisher.now)
    differences(loaded, made, publisher.who)
    return _text(recorder.files, entry.untrusted)


def exported_birth(publisher: Publisher, change: str) -> bytes:
    """Return the file that carries the first metadata of a collection: nothing was there that it is made on.

    Raises:
        InputError: no such change waits, or it is not understood.
    """
    entry = find(entries(publisher.store, publisher.deadline), change)
    return _text({}, parse_pending(entry.data))


def carried(untrusted_bytes: bytes, *, url: str) -> CarriedStore:
    """Return the store of a file that was carried here; ``url`` is how messages call it.

    Raises:
        InputError: it is no such file.
    """
    document = strict_json(untrusted_bytes, max_bytes=FILE_MAX_BYTES, what=url)
    if not isinstance(document, dict) or document.keys() != {"schema", "kind", "change", "metadata"}:
        raise InputError(
            f"{url} carries no pending change", hint="trust pending COLLECTION --export FILE writes one"
        )
    if document["schema"] != SCHEMA or document["kind"] != _KIND:
        raise InputError(f"{url} is of another schema: expected {SCHEMA}, got {str(document['schema'])[:20]}")
    metadata = document["metadata"]
    try:
        files = {checked_name(name): b64decode(text, validate=True) for name, text in metadata.items()}
    except (AttributeError, TypeError, ValueError) as err:
        raise InputError(f"{url} carries metadata that is not base64: {err}") from err
    return CarriedStore(url, files, parse_pending_document(document["change"]))


def _text(files: Mapping[str, bytes], pending: Pending) -> bytes:
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": _KIND,
        "change": pending_document(pending),
        "metadata": {name: b64encode(data).decode() for name, data in sorted(files.items())},
    }
    return json.dumps(document, ensure_ascii=False).encode()
