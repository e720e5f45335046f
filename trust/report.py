"""Owns what can be told of a collection: its images, its roles, how long it is valid, what happened to it.

Read from trusted state after a refresh or, where the store has expired metadata alone, from that, verified in all
else: who mends a collection must see it. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from trust.attestations import attestations_of
from trust.chain import RoleFacts, TrustedChain
from trust.digest import Digest
from trust.metadata import parse_metadata, trusted_role
from trust.policy import Stanza
from trust.reference import Reference
from trust.repository import load
from trust.state import TrustedState
from trust.stores.interface import View
from trust.targets import Attestations, Table, Target, lookup_path
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTag:
    """A tag and the manifest that the publisher wants it to be."""

    path: str
    tag: str
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleReport:
    """A role with the keys that may sign it."""

    facts: RoleFacts
    keyids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a collection says of itself, verified but for expiry: its roles, root first, and its targets."""

    roles: tuple[RoleReport, ...]
    table: Table

    @property
    def facts(self) -> tuple[RoleFacts, ...]:
        """The roles without their keys."""
        return tuple(role.facts for role in self.roles)

    def expired(self, now: datetime) -> tuple[RoleFacts, ...]:
        """Return the roles that have expired: until they are renewed, no image is allowed."""
        return tuple(facts for facts in self.facts if now >= facts.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a collection: ``signed`` or ``revoked``, when, by which keys, to what."""

    at: datetime
    kind: str
    subject: str
    digest: str
    by: tuple[str, ...]


def signed_tags(table: Table, *, path: str | None) -> list[SignedTag]:
    """Return the signed tags, of one repository path or of all, in order."""
    found = []
    for name, target in table.targets.items():
        if "@" in name:
            continue
        repository, _, tag = name.rpartition(":")
        if path is None or repository == path:
            found.append(SignedTag(path=repository, tag=tag, target=target))
    return sorted(found, key=lambda entry: (entry.path, entry.tag))


def image_attestations(table: Table, path: str, reference: Reference) -> Attestations:
    """Return what is signed about an image, by type; nothing where it is not signed itself."""
    target = table.targets.get(lookup_path(path, reference))
    return attestations_of(table.targets.get, path, target.digest) if target else {}


def shown_as_trusted(chain: TrustedChain, state: TrustedState, pin: Digest) -> Shown:
    """Return what the trusted state says."""
    root = parse_metadata(state.roots(pin)[chain.root_version], "root").signed
    reports = tuple(
        RoleReport(facts=facts, keyids=tuple(root.roles[facts.name].keyids)) for facts in chain.facts("targets")
    )
    return Shown(roles=reports, table=state.table(pin, "targets"))


def shown_as_published(stanza: Stanza, view: View, chain: TrustedChain | None) -> Shown:
    """Return what ``view`` says, verified in all but expiry, and not older than ``chain``.

    Raises:
        RefusedError: it is not trusted, or older. UnreachableError: it is not there or incomplete.
    """
    known = {} if chain is None else {name: chain.roles[name].facts.version for name in ("root", "targets")}
    floors = {name: max(stanza.floors.get(name, 0), known.get(name, 0)) for name in {*stanza.floors, *known}}
    loaded = load(stanza, view, floors=floors)
    root = loaded.root.signed
    roles = (loaded.root, loaded.timestamp, loaded.snapshot, loaded.targets)
    facts = (trusted_role(root, role.signed.type, role, b"").facts for role in roles)
    return Shown(
        roles=tuple(RoleReport(facts=each, keyids=tuple(root.roles[each.name].keyids)) for each in facts),
        table=loaded.table,
    )


def expiring(roles: Iterable[RoleFacts], *, now: datetime, within: timedelta) -> list[RoleFacts]:
    """Return the roles that expire ``within`` that time from ``now``, or have expired."""
    return [facts for facts in roles if facts.expires - now < within]


def events(table: Table) -> list[Event]:
    """Return what the current metadata says of its past, oldest first."""
    return sorted(_events(table), key=lambda event: (event.at, event.subject))


def _events(table: Table) -> Iterator[Event]:
    for name, target in table.targets.items():
        if "@" in name and (target.tags or target.inside):
            continue  # told by its tag, or by the index it was signed with
        yield Event(
            at=target.signed_at, kind="signed", subject=name, digest=str(target.digest), by=target.signed_by
        )
    for digest, tombstone in table.revoked.items():
        for path in tombstone.paths:
            yield Event(
                at=tombstone.revoked_at, kind="revoked", subject=path, digest=digest, by=tombstone.revoked_by
            )
