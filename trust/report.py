"""Owns what can be told of a collection: its images, its roles, how long it is valid, what happened to it.

Read from trusted state after a refresh; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from trust.chain import RoleFacts, TrustedChain
from trust.digest import Digest
from trust.metadata import parse_metadata
from trust.state import TrustedState
from trust.targets import Table, Target
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


def role_reports(chain: TrustedChain, state: TrustedState, pin: Digest) -> list[RoleReport]:
    """Return the top-level roles with their keys, root first."""
    root = parse_metadata(state.roots(pin)[chain.root_version], "root").signed
    return [
        RoleReport(facts=facts, keyids=tuple(root.roles[facts.name].keyids)) for facts in chain.facts("targets")
    ]


def expiring(chain: TrustedChain, *, now: datetime, within: timedelta) -> list[RoleFacts]:
    """Return the roles that expire ``within`` that time from ``now``, or have expired."""
    return [facts for facts in chain.facts("targets") if facts.expires - now < within]


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
