"""Owns how trusted values are spelled in the rows of the database, and read back. Pure.

What is read back was verified when it was written; a row that does not parse raises what the parser raises, which
``Database.reading`` turns into "damaged".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from trust.chain import RoleFacts, TrustedRole
from trust.delegations import NO_DELEGATIONS, Bins, Delegation, Delegations
from trust.targets import Target, Tombstone, parse_target, parse_tombstones

ROLE_COLUMNS = "name, version, expires, signers, threshold, period, root_version, delegator, delegator_version"

RoleRow = tuple[str, int, int, str, int, "int | None", int, str, int]


def role_row(role: TrustedRole) -> RoleRow:
    """Return the values of ``ROLE_COLUMNS``."""
    facts = role.facts
    return (
        facts.name, facts.version, seconds(facts.expires), json.dumps(facts.signers), facts.threshold,
        _period(facts.period), role.root_version, role.delegator, role.delegator_version,
    )  # fmt: skip


def parse_role(row: RoleRow) -> TrustedRole:
    """Return the role of ``ROLE_COLUMNS``, its body left where it is."""
    name, version, expires, signers, threshold, period, root_version, delegator, delegator_version = row
    facts = RoleFacts(
        name=name,
        version=int(version),
        expires=moment(expires),
        signers=tuple(json.loads(signers)),
        threshold=int(threshold),
        period=timedelta(seconds=period) if period else None,
    )
    return TrustedRole(
        facts=facts,
        root_version=int(root_version),
        delegator=str(delegator),
        delegator_version=int(delegator_version),
    )


def parse_target_row(row: tuple[object, ...]) -> tuple[str, Target]:
    """Return path and target of a row ``path, sha256, size, custom``."""
    path, sha256, size, custom = row
    target = parse_target(
        hashes={"sha256": str(sha256)}, size_bytes=int(str(size)), custom=json.loads(str(custom))
    )
    return str(path), target


def parse_tombstone_rows(rows: Iterable[tuple[object, ...]]) -> dict[str, Tombstone]:
    """Return the tombstones of rows ``digest, value``."""
    return parse_tombstones({str(digest): json.loads(str(value)) for digest, value in rows})


def delegations_text(delegations: Delegations) -> str | None:
    """Return what the walk needs of ``delegations``; None where nothing is delegated."""
    if delegations.bins is not None:
        bins = delegations.bins
        return json.dumps({"bins": [bins.prefix, bins.count, bins.keyids, bins.threshold, _period(bins.period)]})
    if not delegations.roles:
        return None
    rows = [
        (role.name, role.patterns, role.keyids, role.threshold, role.terminating, _period(role.period))
        for role in delegations.roles
    ]
    return json.dumps({"roles": rows})


def parse_delegations(text: str | None) -> Delegations:
    """Return what ``delegations_text`` spelled; without the keys."""
    if text is None:
        return NO_DELEGATIONS
    document = json.loads(text)
    if not isinstance(document, dict) or len(document.keys() & {"bins", "roles"}) != 1:
        raise ValueError("delegations are neither roles nor bins")
    if "bins" in document:
        prefix, count, keyids, threshold, period = document["bins"]
        return Delegations(
            bins=Bins(prefix=prefix, count=count, keyids=tuple(keyids), threshold=threshold, period=_span(period))
        )
    return Delegations(
        roles=tuple(
            Delegation(
                name=name,
                patterns=tuple(patterns),
                keyids=tuple(keyids),
                threshold=threshold,
                terminating=terminating,
                period=_span(period),
            )
            for name, patterns, keyids, threshold, terminating, period in document["roles"]
        )
    )


def blob(value: object) -> bytes:
    """Return ``value`` if it is the bytes that it has to be."""
    if not isinstance(value, bytes):
        raise TypeError("a body is no blob")
    return value


def seconds(of: datetime) -> int:
    """Return a moment as it stands in a row."""
    return int(of.timestamp())


def moment(value: int) -> datetime:
    """Return the moment of a row, in UTC."""
    return datetime.fromtimestamp(value, tz=timezone.utc)


def _period(span: timedelta | None) -> int | None:
    return int(span.total_seconds()) if span else None


def _span(value: int | None) -> timedelta | None:
    return timedelta(seconds=value) if value else None
