"""Owns the birth of a collection whose keys are in several hands: its first root and targets wait like a change.

  1. whoever begins it names all keys, and signs with those at hand; the first metadata waits in the store
  2. whoever holds another key sees all of it, since nothing was there before, and signs
  3. the last signature publishes it, where an online key is at hand; else whoever began it repeats `init`

The pin is the sha256 of the root's file, its signatures with it: consumers can pin it after the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tuf.api.metadata import Metadata, Root

from trust.approve import Consent, Listed, with_signatures
from trust.canonical import canonical_bytes, metadata_bytes
from trust.ceremony import IDENTITY_BYTES, Born, init, require_unused_keys, root_there
from trust.chain import ONLINE_ROLES
from trust.client import refresh
from trust.difference import Difference, Who, field_words, root_words
from trust.digest import sha256
from trust.draft import Draft, DraftRole
from trust.errors import ConflictError, InputError, StaleError, UnavailableError, UnreachableError
from trust.first_edition import Role, first_sealed, first_targets, root_of
from trust.metadata import ROOT_MAX_BYTES, period_of
from trust.pending import Pending, PendingRole, parse_pending, pending_bytes
from trust.proposal import CLOCK_SKEW, Waiting, is_authorised, waiting_of
from trust.publish import ATTEMPTS, PAUSE_SECONDS, Publisher
from trust.roles import COLLECTION_FIELD
from trust.seal import can_seal
from trust.signatures import Signers
from trust.soundness import refused, require_known_root, understood
from trust.stores.interface import TIMESTAMP, View
from trust.value import replace
from trust.waiting_room import Entry, entries, find

PLACE = "root"
_NO_ROOT: Mapping[str, Mapping[str, object]] = {"roles": {}, "keys": {}}


def found(
    publisher: Publisher, roles: Mapping[str, Role], *, randomness: Callable[[int], bytes]
) -> Born | Waiting:
    """Return the collection that now exists, or its first metadata, which waits for the signatures of others.

    Raises:
        InputError: a key belongs to another collection, or the store cannot hold one.
        ConflictError: a collection, or the beginning of another one, is there already.
        UnavailableError: no key of it is at hand.
    """
    publisher.store.probe(deadline=publisher.deadline)
    view = _view(publisher)
    signers = publisher.keyring({key.keyid for role in roles.values() for key in role.keys})
    entry = _waiting(publisher)
    if root_there(view, roles, publisher.store.url) is not None or (entry is None and _suffices(roles, signers)):
        born = _init(publisher, roles, randomness)
        publisher.forget([entry] if entry is not None else [])
        return born
    if entry is None:
        require_unused_keys(publisher.state, roles, str(publisher.stanza.collection))
        identity = randomness(IDENTITY_BYTES).hex()
        root = root_of(identity=identity, roles=roles, now=publisher.now)
        made = Draft(roles=(_first_root(Metadata(root)), first_targets(root, view=view, now=publisher.now)))
    else:
        made = _proposed(publisher, entry, view)
        _require_asked(made, roles, publisher)
    made.sign(signers)
    if not any(role.metadata.signatures for role in made.roles):
        made.require_complete()
    return _settled(publisher, made, entry, signers, view)


def waits_to_be_born(publisher: Publisher, who: Who) -> tuple[Listed, ...]:
    """Return the first metadata that waits; nothing where none does."""
    entry = _waiting(publisher)
    if entry is None:
        return ()
    made = _proposed(publisher, entry, _view(publisher))
    return (_listed(entry, made, who),)


def approve_birth(
    publisher: Publisher, change: str, *, consent: Consent, brought: Pending | None = None
) -> Born | Waiting:
    """Return what became of the first metadata ``change`` with the signatures of the keys at hand.

    Raises:
        InputError: no such change waits, or a chosen key does not sign it.
        StaleError: a collection is there already. RefusedError: it is not what a publisher here would have made.
        UnavailableError: no key of it is at hand.
    """
    entry = find(entries(publisher.store, publisher.deadline), change)
    wanted, agreed = entry.id, False
    for attempt in range(ATTEMPTS):
        view = _view(publisher)
        made = _proposed(publisher, entry, view)
        require_unused_keys(publisher.state, _roles_of(made), str(publisher.stanza.collection))
        if not agreed and (brought is None or publisher.chosen):
            consent(_listed(entry, made, publisher.who))
            agreed = True
        made, signers = _sign(publisher, made, brought)
        try:
            return _settled(publisher, made, entry, signers, view)
        except StaleError:
            raise
        except ConflictError:
            if attempt + 1 == ATTEMPTS:
                raise
            publisher.pause(PAUSE_SECONDS * 2**attempt)
        entry = find(entries(publisher.store, publisher.deadline), str(wanted))
    raise ConflictError(f"another signer was first {ATTEMPTS} times: {publisher.store.url}")


def _settled(
    publisher: Publisher, made: Draft, entry: Entry | None, signers: Signers, view: View
) -> Born | Waiting:
    """Publish ``made`` if nothing lacks, else leave it waiting with the signatures that it has."""
    root: Root = made.roles[0].metadata.signed
    pending = Pending(
        identity=str(root.unrecognized_fields[COLLECTION_FIELD]),
        roles=tuple(
            PendingRole(name=role.name, delegator=role.delegator, base=None, metadata=role.metadata)
            for role in made.roles
        ),
    )
    if not (publisher.stage or publisher.dry_run) and is_authorised(made) and can_seal(root, signers):
        return _born(publisher, made, entry, signers, view)
    data = pending_bytes(pending)
    before = entry.data if entry is not None else None
    if data != before and not publisher.dry_run:
        publisher.store.set_pending(PLACE, data, replaces=before, deadline=publisher.deadline)
    return waiting_of(pending, made)


def _born(publisher: Publisher, made: Draft, entry: Entry | None, signers: Signers, view: View) -> Born:
    root_bytes = metadata_bytes(made.roles[0].metadata)
    edition = first_sealed(root_bytes, made.roles[1], signers=signers, view=view, now=publisher.now)
    publisher.store.publish(edition.publication, deadline=publisher.deadline)
    pin = sha256(root_bytes)
    publisher.state.set_published(pin, edition.versions)
    publisher.forget([entry] if entry is not None else [])
    stanza = replace(publisher.stanza, root=pin, fresh="allow")
    current = refresh(stanza, publisher.state, publisher.store, now=publisher.now, deadline=publisher.deadline)
    return Born(root=pin, changed=True, valid_until=min(each.expires for each in current.chain.facts()))


def _proposed(publisher: Publisher, entry: Entry, view: View) -> Draft:
    with understood():
        return _compared(publisher, entry, view)


def _compared(publisher: Publisher, entry: Entry, view: View) -> Draft:
    """Return the draft of the first metadata that waits, each field of it as it would have been made here."""
    pending = parse_pending(entry.data)
    if [(role.name, role.base) for role in pending.roles] != [(PLACE, None), ("targets", None)]:
        raise refused("it is not the beginning of a collection")
    if view.read(TIMESTAMP, ROOT_MAX_BYTES) is not None or view.taken("1.root.json"):
        raise StaleError(
            "a collection is there already", hint="trust reject drops what waited; trust init finds it"
        )
    root, targets = (role.metadata.signed for role in pending.roles)
    require_known_root(root.to_dict(), identity=pending.identity, known={})
    own = first_targets(root, view=view, now=publisher.now)
    latest = publisher.now + period_of(root, PLACE) + CLOCK_SKEW
    if root.version != 1 or not publisher.now < root.expires <= latest:
        raise refused(f"root version {root.version} expires on {root.expires}: expected at most {latest}")
    if not publisher.now < targets.expires <= own.metadata.signed.expires + CLOCK_SKEW:
        raise refused(f"targets expires on {targets.expires}")
    own.metadata.signed.expires, own.metadata.signed.spec_version = targets.expires, targets.spec_version
    if canonical_bytes(own.metadata.signed.to_dict()) != canonical_bytes(targets.to_dict()):
        raise refused("targets is not empty, or has a field that is not known here")
    return Draft(
        roles=(
            _first_root(pending.roles[0].metadata).with_valid_signatures(),
            replace(own, metadata=pending.roles[1].metadata).with_valid_signatures(),
        )
    )


def _roles_of(made: Draft) -> dict[str, Role]:
    root: Root = made.roles[0].metadata.signed
    return {
        name: Role(
            keys=tuple(root.keys[keyid] for keyid in role.keyids),
            threshold=role.threshold,
            period=period_of(root, name),
        )
        for name, role in root.roles.items()
    }


def _require_asked(made: Draft, roles: Mapping[str, Role], publisher: Publisher) -> None:
    """Return if what waits is what ``roles`` ask for: then to repeat the command is to agree."""
    root: Root = made.roles[0].metadata.signed
    asked = root_of(identity=str(root.unrecognized_fields[COLLECTION_FIELD]), roles=roles, now=publisher.now)
    asked.expires, asked.spec_version = root.expires, root.spec_version
    if canonical_bytes(asked.to_dict()) != canonical_bytes(root.to_dict()):
        raise ConflictError(
            f"the beginning of another collection waits there: {publisher.store.url}",
            hint="trust pending --metadata URL shows it; trust reject drops it",
        )


def _sign(publisher: Publisher, made: Draft, brought: Pending | None) -> tuple[Draft, Signers]:
    """Return ``made`` with what was brought and the signatures of the keys at hand, and these keys."""
    keyids = {keyid for role in made.roles for keyid in role.keyids()}
    foreign = publisher.chosen - keyids
    if foreign:
        raise InputError(f"key {min(foreign)[:12]} signs nothing of {publisher.stanza.collection}")
    root: Root = made.roles[0].metadata.signed
    online = set() if publisher.stage else {keyid for name in ONLINE_ROLES for keyid in root.roles[name].keyids}
    wanted = keyids & publisher.chosen if publisher.chosen else keyids
    signers = publisher.keyring(wanted | online)
    if brought is not None:
        made = with_signatures(made, brought)
    if brought is None or publisher.chosen:
        ours = {keyid: signer for keyid, signer in signers.items() if keyid in wanted}
        if not ours and not is_authorised(made):
            raise UnavailableError(
                f"no key of {publisher.stanza.collection} is at hand",
                hint=f"bring a key of: {', '.join(keyid[:12] for keyid in sorted(keyids))}",
            )
        made.sign(ours)
    return made, signers


def _listed(entry: Entry, made: Draft, who: Who) -> Listed:
    root, targets = (role.metadata.signed.to_dict() for role in made.roles)
    said = (
        Difference(role="root", words=("the collection is new", *root_words(_NO_ROOT, root, who))),
        Difference(role="targets", words=("it is empty", *field_words({}, targets))),
    )
    pending = parse_pending(entry.data)
    return Listed(id=entry.id, place=entry.place, waiting=waiting_of(pending, made), differences=said)


def _first_root(metadata: Metadata[Root]) -> DraftRole:
    return DraftRole(name=PLACE, delegator=PLACE, metadata=metadata, delegators=(metadata.signed,), base_version=0)


def _suffices(roles: Mapping[str, Role], signers: Signers) -> bool:
    return all(len({key.keyid for key in role.keys} & signers.keys()) >= role.threshold for role in roles.values())


def _init(publisher: Publisher, roles: Mapping[str, Role], randomness: Callable[[int], bytes]) -> Born:
    return init(
        publisher.stanza,
        state=publisher.state,
        store=publisher.store,
        roles=roles,
        keyring=publisher.keyring,
        now=publisher.now,
        deadline=publisher.deadline,
        randomness=randomness,
    )


def _waiting(publisher: Publisher) -> Entry | None:
    waiting = entries(publisher.store, publisher.deadline)
    return next((entry for entry in waiting if entry.place == PLACE), None)


def _view(publisher: Publisher) -> View:
    view = publisher.store.view(known=None, deadline=publisher.deadline)
    if view is None:
        raise UnreachableError(f"the store answered 'not modified' to nobody's question: {publisher.store.url}")
    return view
