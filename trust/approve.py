"""Owns what is done with a change that waits: shown, approved, published once complete, or rejected.

1. the current metadata is loaded and verified here; the change is compared with it (``trust.proposal``)
2. every signed field that differs is shown, and the person agrees
3. exactly the bytes that were shown are signed
4. it is written back over itself alone: who signed meanwhile keeps his signature, other content is a conflict
5. the signature that completes it publishes it, where an online key is at hand
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuf.api.metadata import Metadata

from trust.difference import Difference
from trust.digest import Digest
from trust.draft import Draft
from trust.errors import ConflictError, RefusedError, StaleError, UnavailableError
from trust.loaded import Loaded
from trust.pending import Pending, parse_pending, pending_bytes
from trust.proposal import (
    Waiting,
    differences,
    is_published,
    pending_of,
    proposed,
    require_current,
    waiting_of,
)
from trust.publish import ATTEMPTS, PAUSE_SECONDS, Publisher
from trust.published import Published
from trust.value import dataclass, replace
from trust.waiting_room import Entry, entries, find

Consent = Callable[["Listed"], None]
"""Takes a change as it is shown, returns if it is agreed to; raises if it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A change that waits, as compared with what is current; ``problem`` says why it can never be published."""

    id: Digest
    place: str
    waiting: Waiting | None = None
    differences: tuple[Difference, ...] = ()
    problem: str | None = None


def listed(publisher: Publisher) -> tuple[Listed, ...]:
    """Return every change that waits in the store."""
    loaded = publisher.load()
    return tuple(_listed(publisher, loaded, entry) for entry in entries(publisher.store, publisher.deadline))


def approve(publisher: Publisher, change: str, *, consent: Consent, brought: Pending | None = None) -> Published:
    """Return what became of ``change`` (an id, or its beginning) with the signatures of the keys at hand.

    ``brought`` is the same change with signatures from elsewhere: they are added. Then keys of here sign only if
    they were chosen. One that began elsewhere, on a copy of the metadata, waits here from now on.

    Raises:
        InputError: no such change waits, or a chosen key does not sign it.
        StaleError: it does not stand on what is current. RefusedError: it is not what it says.
        ConflictError: another content waits there by now.
        UnavailableError: no key of it is at hand.
    """
    if brought is not None and not publisher.dry_run:
        done = _laid_down(publisher, brought, consent)
        if done is not None:
            return done
    entry = find(entries(publisher.store, publisher.deadline), change)
    wanted = parse_pending(entry.data)
    agreed: tuple[Difference, ...] | None = None
    for attempt in range(ATTEMPTS):
        loaded = publisher.load()
        if is_published(loaded, wanted):
            publisher.forget([entry])
            return Published(changed=False, versions=loaded.versions(), rebased=attempt)
        entry = _again(publisher, wanted) if attempt else entry
        shown, made = _current(publisher, loaded, entry)
        if (brought is None or publisher.chosen) and shown.differences != agreed:
            consent(shown)
            agreed = shown.differences
        try:
            return replace(_approved(publisher, loaded, entry, made, brought), rebased=attempt)
        except StaleError:
            raise
        except ConflictError:
            if attempt + 1 == ATTEMPTS:
                raise
            publisher.pause(PAUSE_SECONDS * 2**attempt)
    raise ConflictError(f"another signer was first {ATTEMPTS} times: {publisher.store.url}")


def _laid_down(publisher: Publisher, brought: Pending, consent: Consent) -> Published | None:
    """Have a change wait that nobody here has begun, if it is agreed to; return what is so already."""
    if any(entry.place == brought.place for entry in entries(publisher.store, publisher.deadline)):
        return None
    loaded = publisher.load()
    if is_published(loaded, brought):
        return Published(changed=False, versions=loaded.versions())
    data = pending_bytes(brought)
    shown, _ = _current(publisher, loaded, Entry(place=brought.place, data=data, untrusted=brought))
    consent(shown)  # it may have been rejected here, and need no signature more
    publisher.store.set_pending(brought.place, data, replaces=None, deadline=publisher.deadline)
    return None


def reject(publisher: Publisher, change: str) -> Listed:
    """Return the change that waits no longer, whatever it was.

    Raises:
        InputError: no such change waits.
        ConflictError: it was changed meanwhile; it still waits.
    """
    entry = find(entries(publisher.store, publisher.deadline), change)
    publisher.store.set_pending(entry.place, None, replaces=entry.data, deadline=publisher.deadline)
    waiting = Waiting(change=entry.untrusted, roles=()) if entry.untrusted is not None else None
    return Listed(id=entry.id, place=entry.place, waiting=waiting, problem=entry.problem)


def publish_pending(publisher: Publisher) -> tuple[Published, ...]:
    """Return what was published of the changes that waited; see ``settle``."""
    return settle(publisher).published


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of the changes that waited: those published, and those that still wait, or never will be."""

    published: tuple[Published, ...]
    ids: tuple[Digest, ...]
    left: tuple[Listed, ...]


def settle(publisher: Publisher) -> Settled:
    """Return what became of the changes that waited: each is verified as ``approve`` does, published if complete.

    Whoever can write to the store can put anything there: what does not stand the comparison is told of.
    """
    done: list[Published] = []
    ids: list[Digest] = []
    left: list[Listed] = []
    for entry in entries(publisher.store, publisher.deadline):
        found = _settled(publisher, entry)
        if isinstance(found, Published):
            done.append(found)
            ids.append(entry.id)
        else:
            left.append(found)
    return Settled(published=tuple(done), ids=tuple(ids), left=tuple(left))


def _settled(publisher: Publisher, entry: Entry) -> Published | Listed:
    for attempt in range(ATTEMPTS):
        loaded = publisher.load()
        shown = _listed(publisher, loaded, entry)
        if entry.untrusted is not None and is_published(loaded, entry.untrusted):
            publisher.forget([entry])
            return Published(changed=False, versions=loaded.versions())
        if shown.problem is not None or entry.untrusted is None:
            return shown
        try:
            made = proposed(loaded, entry.untrusted, now=publisher.now)
            edition = publisher.seal(loaded, made)
            if edition is None:
                return shown
            if not publisher.dry_run:
                publisher.write(edition, replaces=[entry])
            return Published(changed=True, versions=edition.versions, rebased=attempt)
        except ConflictError:
            publisher.pause(PAUSE_SECONDS * 2**attempt)
    return shown


def _listed(publisher: Publisher, loaded: Loaded, entry: Entry) -> Listed:
    if entry.untrusted is None:
        return Listed(id=entry.id, place=entry.place, problem=f"it is not understood: {entry.problem}")
    if is_published(loaded, entry.untrusted):
        return Listed(id=entry.id, place=entry.place, problem="it is published")
    try:
        shown, _ = _current(publisher, loaded, entry)
    except (RefusedError, StaleError) as err:
        return Listed(id=entry.id, place=entry.place, problem=str(err))
    return shown


def _current(publisher: Publisher, loaded: Loaded, entry: Entry) -> tuple[Listed, Draft]:
    """Return the change as it is shown and as it is signed: one parse of it, and never another."""
    pending = parse_pending(entry.data)
    made = proposed(loaded, pending, now=publisher.now)
    require_current(loaded, pending, made, now=publisher.now)
    shown = Listed(
        id=pending.id,
        place=entry.place,
        waiting=waiting_of(pending, made),
        differences=differences(loaded, made, publisher.who),
    )
    return shown, made


def _approved(
    publisher: Publisher, loaded: Loaded, entry: Entry, made: Draft, brought: Pending | None
) -> Published:
    before = _signed_by(made)
    made = with_signatures(made, brought) if brought is not None else made
    if brought is None or publisher.chosen:
        publisher.sign(loaded, made)
    after = _signed_by(made)
    waiting = waiting_of(pending_of(loaded, made), made)
    if after == before and not waiting.is_complete:
        _require_ours(publisher, loaded, waiting, brought)
    edition = publisher.seal(loaded, made)
    if edition is not None:
        if not publisher.dry_run:
            publisher.write(edition, replaces=[_again(publisher, waiting.change)])
        return Published(changed=True, versions=edition.versions)
    if after != before and not publisher.dry_run:
        publisher.store.set_pending(
            entry.place, pending_bytes(waiting.change), replaces=entry.data, deadline=publisher.deadline
        )
    return Published(changed=after != before, versions=loaded.versions(), waits=waiting)


def _again(publisher: Publisher, wanted: Pending) -> Entry:
    """Return the change where it waits now.

    Raises:
        ConflictError: it waits no longer: it was amended or rejected, and nothing of ours was signed into that.
    """
    for entry in entries(publisher.store, publisher.deadline):
        if entry.id == wanted.id:
            return entry
    raise ConflictError(
        f"change {wanted.id} of {wanted.place} waits no longer: it was amended or rejected meanwhile",
        hint="your signature went into nothing; trust pending shows what waits now",
    )


def with_signatures(made: Draft, brought: Pending) -> Draft:
    """Return ``made`` with those signatures of ``brought`` that are valid for it."""
    found = {role.name: role.metadata.signatures for role in brought.roles}
    roles = []
    for role in made.roles:
        metadata: Metadata[Any] = Metadata(
            role.metadata.signed, {**found.get(role.name, {}), **role.metadata.signatures}
        )
        roles.append(replace(role, metadata=metadata))
    return Draft(roles=tuple(role.with_valid_signatures() for role in roles))


def _signed_by(made: Draft) -> dict[str, frozenset[str]]:
    return {role.name: frozenset(role.metadata.signatures) for role in made.roles}


def _require_ours(publisher: Publisher, loaded: Loaded, waiting: Waiting, brought: Pending | None) -> None:
    """Refuse an approval that adds nothing because no key of it is at hand; one that was given before is fine."""
    signed = {keyid for role in waiting.roles for keyid in role.signed}
    open_ = {keyid for role in waiting.roles for keyid in role.open}
    if brought is not None or publisher.signers(loaded, signed):
        return
    raise UnavailableError(
        f"change {waiting.change.id} needs a signature, and no key that can give one is at hand",
        hint=f"bring a key of: {', '.join(keyid[:12] for keyid in sorted(open_))}",
    )
