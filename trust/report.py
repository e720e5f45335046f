"""Owns what can be told of a collection: its images, its roles, how long it is valid, what happened to it.

Read from trusted state after a refresh or, where the store has expired metadata alone, from that, verified in all
else: who mends a collection must see it. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from trust.attestations import attestations_of
from trust.chain import RoleFacts, RoleRefusal, TrustedChain
from trust.delegations import TARGETS, Delegation
from trust.digest import Digest
from trust.metadata import parse_metadata, trusted_role
from trust.policy import Stanza
from trust.reference import Reference
from trust.repository import load
from trust.role_table import role_tables
from trust.state import TrustedState
from trust.stores.interface import View
from trust.targets import Attestations, Table, Target, lookup_path
from trust.value import dataclass, replace
from trust.verdict import reason_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTag:
    """A tag, the manifest that the publisher wants it to be, and the role that says so."""

    path: str
    tag: str
    role: str
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleReport:
    """A role with the keys that may sign it; of one in bins, ``facts`` of a bin are the earliest to expire."""

    facts: RoleFacts
    keyids: tuple[str, ...]
    delegator: str = "root"
    patterns: tuple[str, ...] = ()
    bins: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a collection says of itself, verified but for expiry: its roles, root first, and what each signs."""

    roles: tuple[RoleReport, ...]
    tables: Mapping[str, Table]
    refused: Mapping[str, RoleRefusal]

    @property
    def facts(self) -> tuple[RoleFacts, ...]:
        """The roles without their keys."""
        return tuple(role.facts for role in self.roles)

    def expired(self, now: datetime) -> tuple[RoleFacts, ...]:
        """Return the roles that have expired: until they are renewed, no image of theirs is allowed."""
        return tuple(facts for facts in self.facts if now >= facts.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a collection: ``signed`` or ``revoked``, when, in which role, by which keys."""

    at: datetime
    kind: str
    subject: str
    digest: str
    role: str
    by: tuple[str, ...]


def signed_tags(tables: Mapping[str, Table], *, path: str | None) -> list[SignedTag]:
    """Return the signed tags, of one repository path or of all, in order."""
    found = []
    for role, table in tables.items():
        for name, target in table.targets.items():
            repository, _, tag = name.rpartition(":")
            if "@" not in name and path in (None, repository):
                found.append(SignedTag(path=repository, tag=tag, role=role, target=target))
    return sorted(found, key=lambda entry: (entry.path, entry.tag))


def image_attestations(tables: Mapping[str, Table], path: str, reference: Reference) -> Attestations:
    """Return what is signed about an image, by type; nothing where it is not signed itself."""

    def find(name: str) -> Target | None:
        return next((table.targets[name] for table in tables.values() if name in table.targets), None)

    target = find(lookup_path(path, reference))
    return attestations_of(find, path, target.digest) if target else {}


def shown_as_trusted(chain: TrustedChain, state: TrustedState, pin: Digest) -> Shown:
    """Return what the trusted state says of the roles that were verified."""
    root = parse_metadata(state.roots(pin)[chain.root_version], "root").signed
    top = [RoleReport(facts=facts, keyids=tuple(root.roles[facts.name].keyids)) for facts in chain.facts()]
    reports, tables = {report.facts.name: report for report in top}, {TARGETS: state.table(pin, TARGETS)}
    pending = [(TARGETS, TARGETS)]
    while pending:
        role, owner = pending.pop(0)
        delegations = state.delegations(pin, role)
        for each in delegations.roles:
            found = chain.under(each.name, role)
            if found is not None and chain.is_current(each.name, role) and each.name not in reports:
                reports[each.name] = _report(found.facts, each, role)
                tables[each.name] = state.table(pin, each.name)
                pending.append((each.name, each.name))
        if delegations.bins is not None:
            bins = [name for name in delegations.bins.names() if chain.is_current(name, role)]
            tables[owner] = _gathered(tables[owner], (state.table(pin, name) for name in bins))
            reports[owner] = replace(reports[owner], bins=delegations.bins.count)
            first = min((chain.roles[name].facts for name in bins), key=_expires, default=None)
            if first is not None:
                reports[first.name] = RoleReport(facts=first, keyids=delegations.bins.keyids, delegator=role)
    return Shown(roles=tuple(reports.values()), tables=tables, refused=state.refusals(pin))


def shown_as_published(stanza: Stanza, view: View, chain: TrustedChain | None) -> Shown:
    """Return what ``view`` says, verified in all but expiry, and not older than ``chain``.

    Raises:
        RefusedError: it is not trusted, or older. UnreachableError: it is not there or incomplete.
    """
    known = {} if chain is None else {name: chain.roles[name].facts.version for name in ("root", "targets")}
    floors = {name: max(stanza.floors.get(name, 0), known.get(name, 0)) for name in {*stanza.floors, *known}}
    loaded = load(stanza, view, floors=floors)
    root = loaded.root
    tops = (loaded.top.root, loaded.top.timestamp, loaded.top.snapshot)
    facts = [trusted_role(root, "root", root, role.signed.type, role, None).facts for role in tops]
    reports = [RoleReport(facts=each, keyids=tuple(root.roles[each.name].keyids)) for each in facts]
    tables = {}
    for role, table in role_tables(loaded):
        above = loaded.delegator(role)
        each = trusted_role(above, role.delegator, root, role.name, role.metadata, None).facts
        bins = role.content.delegations.bins
        patterns = loaded.patterns(role)
        reports.append(
            RoleReport(
                facts=each, keyids=loaded.keyids(role), delegator=role.delegator, patterns=patterns,
                bins=bins.count if bins is not None else 0,
            )
        )  # fmt: skip
        tables[role.name] = table
    refused = {
        name: RoleRefusal(reason=reason_of(each.cause).value, detail=str(each.cause), hint=each.cause.hint)
        for name, each in loaded.untrusted.items()
    }
    return Shown(roles=tuple(reports), tables=tables, refused=refused)


def _report(facts: RoleFacts, delegation: Delegation, delegator: str) -> RoleReport:
    return RoleReport(facts=facts, keyids=delegation.keyids, delegator=delegator, patterns=delegation.patterns)


def _gathered(table: Table, bins: Iterable[Table]) -> Table:
    targets = dict(table.targets)
    for each in bins:
        targets.update(each.targets)
    return replace(table, targets=targets)


def _expires(facts: RoleFacts) -> datetime:
    return facts.expires


def expiring(roles: Iterable[RoleFacts], *, now: datetime, within: timedelta) -> list[RoleFacts]:
    """Return the roles that expire ``within`` that time from ``now``, or have expired."""
    return [facts for facts in roles if facts.expires - now < within]


def events(tables: Mapping[str, Table]) -> list[Event]:
    """Return what the current metadata says of its past, oldest first."""
    return sorted(
        (event for role, table in tables.items() for event in _events(role, table)),
        key=lambda event: (event.at, event.subject),
    )


def _events(role: str, table: Table) -> Iterator[Event]:
    for name, target in table.targets.items():
        if "@" in name and (target.tags or target.inside):
            continue  # told by its tag, or by the index it was signed with
        yield Event(
            at=target.signed_at,
            kind="signed",
            subject=name,
            digest=str(target.digest),
            role=role,
            by=target.signed_by,
        )
    for digest, tombstone in table.revoked.items():
        for path in tombstone.paths:
            yield Event(
                at=tombstone.revoked_at,
                kind="revoked",
                subject=path,
                digest=digest,
                role=role,
                by=tombstone.revoked_by,
            )
