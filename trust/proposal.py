"""Owns the comparison of a change that waits with the current metadata, as it was verified here.

  1. it is of this collection
  2. every signed field, written anew from what was understood of it, is what is signed: nothing is unknown
  3. nobody but whoever is named now may sign it; signatures of others, and of other bytes, are dropped
  4. it names no digest under another, signs nothing that it has delegated, wants no more keys than there are, and
     leaves others their room in the snapshot
  5. it stands on what is current, else it is stale, and takes back no revocation

What comes out is the very draft that a publisher here would have made, with the signatures that it has.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tuf.api.metadata import Metadata, Targets

from trust.canonical import canonical_bytes, metadata_bytes
from trust.difference import Difference, Who, field_words, root_words, targets_words
from trust.digest import sha256
from trust.draft import Changes, Draft, DraftRole, draft
from trust.errors import RefusedError, StaleError, TrustError
from trust.instant import format_utc
from trust.loaded import Loaded
from trust.metadata import TARGETS_MAX_BYTES, delegations_of, parse_metadata, table_of
from trust.pending import Base, Pending, PendingRole
from trust.role_keys import require_distinct_keys, signers_of
from trust.roles import BASE_FIELD, VERSION_JUMP_MAX
from trust.share import require_share
from trust.soundness import refused, require_known_fields, require_revocations, require_sound, understood
from trust.targets import Content
from trust.value import dataclass, replace

CLOCK_SKEW = timedelta(hours=1)  # between the clock of who made a change and of who approves it


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """How many signatures a role lacks, who gave one, and who still can."""

    role: str
    count: int
    signed: tuple[str, ...]
    open: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A change that waits, and for whose signatures; where none lacks, for a publisher with an online key."""

    change: Pending
    roles: tuple[Lacking, ...]

    @property
    def is_complete(self) -> bool:
        """Tell whether every role has reached its threshold."""
        return all(role.count == 0 for role in self.roles)


def pending_of(loaded: Loaded, made: Draft) -> Pending:
    """Return the change that ``made``, a draft on ``loaded``, is."""
    roles = tuple(
        PendingRole(
            name=role.name,
            delegator=role.delegator,
            base=base_of(loaded, role.name, role.delegator),
            metadata=role.metadata,
        )
        for role in made.roles
    )
    return Pending(identity=loaded.identity, roles=roles)


def base_of(loaded: Loaded, name: str, delegator: str) -> Base | None:
    """Return what the next version of a role stands on; None where it is new."""
    body = loaded.base(name, delegator)
    if body is None:
        return None
    root, meta = loaded.top.root.signed, loaded.top.snapshot.signed.meta
    version = root.version if name == "root" else meta[f"{name}.json"].version
    return Base(version=version, digest=sha256(body))


def waiting_of(change: Pending, made: Draft) -> Waiting:
    """Return what ``change`` waits for, of which ``made`` is the draft."""
    return Waiting(change=change, roles=tuple(map(_lacking, made.roles)))


def proposed(loaded: Loaded, pending: Pending, *, now: datetime) -> Draft:
    """Return the draft that ``pending`` is, by steps 1 to 4; it may be stale.

    Raises:
        RefusedError: it is not what a publisher here would have made.
    """
    if pending.identity != loaded.identity:
        raise refused(f"it is of another collection: expected {loaded.identity}, got {pending.identity}")
    with understood():
        return _proposed(loaded, pending, now=now)


def _proposed(loaded: Loaded, pending: Pending, *, now: datetime) -> Draft:
    for role in pending.roles:
        require_known_fields(loaded, role)
    try:
        contents = pending.contents()
        made = draft(loaded, Changes(contents=contents, root=pending.root, vouches=False), now=now)
    except TrustError as err:
        raise refused(f"it cannot be made here: {err}") from err
    if [(role.name, role.delegator) for role in made.roles] != [
        (role.name, role.delegator) for role in pending.roles
    ]:
        raise refused("it has other roles, or in another order, than what it says")
    for role in pending.roles:
        if role.name != "root":
            require_sound(loaded, role, contents[role.name])
    require_share(loaded, pending)
    return Draft(roles=tuple(map(_compared, made.roles, pending.roles)))


def require_current(loaded: Loaded, pending: Pending, made: Draft, *, now: datetime) -> None:
    """Return if ``pending``, of which ``made`` is the draft, stands on what is current (step 5).

    Raises:
        StaleError: it does not: it was overtaken, published, or waited too long.
    """
    for role, own in zip(pending.roles, made.roles, strict=True):
        signed, current = role.metadata.signed, base_of(loaded, role.name, role.delegator)
        if _is_current(loaded, role):
            continue
        if role.base != current:
            raise _stale(
                pending, f"{role.name} is at {_spelled(current)}, the change was made on {_spelled(role.base)}"
            )
        if loaded.view.taken(role.file_name) and _orphan(loaded, own) is None:
            raise _stale(pending, f"the number {signed.version} of {role.name} is taken")
        if signed.expires <= now:
            raise _stale(pending, f"{role.name} in it expired on {format_utc(signed.expires)}")
        require_revocations(loaded, role)


def adopted(loaded: Loaded, made: Draft) -> Draft:
    """Return ``made`` with those files that a publisher of this very change left when he died.

    A version never has two contents, and one more signature would make another one of it.
    """
    return Draft(roles=tuple(_orphan(loaded, role) or role for role in made.roles))


def _orphan(loaded: Loaded, role: DraftRole) -> DraftRole | None:
    """Return ``role`` as its file has it already: complete, and byte for byte what would be written."""
    data = loaded.view.read(role.file_name, TARGETS_MAX_BYTES) if loaded.view.taken(role.file_name) else None
    if data is None:
        return None
    try:
        metadata = parse_metadata(data, role.name)
        for delegator in role.delegators:
            require_distinct_keys(delegator, metadata, role.name)
    except RefusedError:
        return None
    is_same = metadata.signed.to_dict() == role.metadata.signed.to_dict() and metadata_bytes(metadata) == data
    return replace(role, metadata=metadata) if is_same else None


def is_published(loaded: Loaded, pending: Pending) -> bool:
    """Tell whether ``pending`` is what is current: whoever published it died before he removed it."""
    return all(_is_current(loaded, role) for role in pending.roles)


def _is_current(loaded: Loaded, role: PendingRole) -> bool:
    """Tell whether ``role`` is published: alone, where whoever published a root after it died in between."""
    if role.name == "root":
        current: Metadata[Any] | None = loaded.top.root
    else:
        found = loaded.current(role.name, role.delegator)
        current = found.metadata if found is not None else None
    return current is not None and current.signed.to_dict() == role.metadata.signed.to_dict()


def is_authorised(made: Draft) -> bool:
    """Tell whether every role of ``made`` is signed by enough different keys."""
    try:
        for role in made.roles:
            for delegator in role.delegators:
                require_distinct_keys(delegator, role.metadata, role.name)
    except RefusedError:
        return False
    return True


def differences(loaded: Loaded, made: Draft, who: Who) -> tuple[Difference, ...]:
    """Return in words what ``made`` changes of what is current, role by role."""
    return tuple(Difference(role=role.name, words=_words(loaded, role, who)) for role in made.roles)


def _words(loaded: Loaded, role: DraftRole, who: Who) -> tuple[str, ...]:
    after = role.metadata.signed
    if role.name == "root":
        return root_words(loaded.top.root.signed.to_dict(), after.to_dict(), who)
    content = Content(table=table_of(after), delegations=delegations_of(after))
    before = loaded.current(role.name, role.delegator)
    if before is None:
        expires = f"version {after.version}, expires on {format_utc(after.expires)}"
        return ("the role is new", expires, *targets_words(None, content, who))
    fields = field_words(before.metadata.signed.to_dict(), after.to_dict())
    was = Content(table=table_of(before.metadata.signed), delegations=delegations_of(before.metadata.signed))
    return (*targets_words(was, content, who), *fields)


def _lacking(role: DraftRole) -> Lacking:
    signed = {keyid for each in role.delegators for keyid in signers_of(each, role.metadata, role.name)}
    keyids = role.keyids()
    return Lacking(
        role=role.name,
        count=role.lacks(),
        signed=tuple(keyid for keyid in keyids if keyid in signed),
        open=tuple(keyid for keyid in keyids if keyid not in signed),
    )


def _compared(own: DraftRole, theirs: PendingRole) -> DraftRole:
    """Return ``own`` with the bytes and the valid signatures of ``theirs`` (steps 2 and 3)."""
    mine, signed = own.metadata.signed, theirs.metadata.signed
    base = theirs.base.version if theirs.base is not None else 0
    if not base < signed.version <= base + (1 if theirs.name == "root" else VERSION_JUMP_MAX):
        raise refused(f"{theirs.name} jumps from version {base} to {signed.version}")
    if signed.expires > mine.expires + CLOCK_SKEW:
        raise refused(
            f"{theirs.name} expires too late: expected at most {format_utc(mine.expires)}, "
            f"got {format_utc(signed.expires)}"
        )
    mine.version, mine.expires, mine.spec_version = signed.version, signed.expires, signed.spec_version
    if isinstance(mine, Targets):
        mine.unrecognized_fields[BASE_FIELD] = base
    if canonical_bytes(mine.to_dict()) != canonical_bytes(signed.to_dict()):
        raise refused(f"{theirs.name} has a signed field that is not known here")
    return replace(own, metadata=theirs.metadata, base_version=base).with_valid_signatures()


def _spelled(base: Base | None) -> str:
    return "no version" if base is None else f"version {base.version} ({str(base.digest)[:19]}…)"


def _stale(pending: Pending, cause: str) -> StaleError:
    return StaleError(
        f"change {pending.id} of {pending.place} is stale: {cause}",
        hint=f"make the change anew, or drop it: trust reject COLLECTION {pending.id}",
    )
