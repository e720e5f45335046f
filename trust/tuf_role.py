"""Owns how a targets role of ours is spelled in TUF: its targets, tombstones and delegations. Pure.

``trust.metadata`` reads what stands here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, SuccinctRoles, TargetFile, Targets
from tuf.api.metadata import Delegations as TufDelegations

from trust.delegations import Delegations
from trust.roles import BASE_FIELD, COLLECTION_FIELD, EXPIRY_FIELD, REVOKED_FIELD, ROLE_FIELD, SIGNERS_FIELD
from trust.targets import Content, target_custom, tombstone_json


def targets_role(
    content: Content, *, name: str, identity: str, version: int, base_version: int, expires: datetime
) -> Targets:
    """Return the TUF role that says ``content``."""
    table = content.table
    fields: dict[str, Any] = {**binding(identity, name), BASE_FIELD: base_version}
    if table.revoked:
        fields[REVOKED_FIELD] = {digest: tombstone_json(tombstone) for digest, tombstone in table.revoked.items()}
    uses = Counter(keyid for target in table.targets.values() for keyid in target.signed_by)
    by = sorted(uses, key=lambda keyid: (-uses[keyid], keyid))
    numbers = {keyid: number for number, keyid in enumerate(by)}
    if by:
        fields[SIGNERS_FIELD] = by
    files = {
        path: TargetFile(
            target.size_bytes, {"sha256": target.digest.hex}, path, {"custom": target_custom(target, numbers)}
        )
        for path, target in table.targets.items()
    }
    return Targets(
        version=version,
        expires=expires,
        targets=files,
        delegations=_delegations(content.delegations),
        unrecognized_fields=fields,
    )


def _delegations(delegations: Delegations) -> TufDelegations | None:
    if delegations.bins is None and not delegations.roles:
        return None
    keys = {keyid: Key.from_dict(keyid, _without_id(spelled)) for keyid, spelled in delegations.keys.items()}
    if delegations.bins is not None:
        bins = delegations.bins
        succinct = SuccinctRoles(
            list(bins.keyids), bins.threshold, bins.bits, bins.prefix, _period_field(bins.period)
        )
        return TufDelegations(keys, succinct_roles=succinct)
    roles = {
        role.name: DelegatedRole(
            role.name, list(role.keyids), role.threshold, role.terminating, paths=list(role.patterns),
            unrecognized_fields=_period_field(role.period),
        )
        for role in delegations.roles
    }  # fmt: skip
    return TufDelegations(keys, roles=roles)


def _without_id(spelled: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spelled.items() if key != "keyid"}


def _period_field(period: timedelta | None) -> dict[str, Any]:
    return {EXPIRY_FIELD: int(period.total_seconds())} if period is not None else {}


def binding(identity: str, name: str) -> dict[str, str]:
    """Return the fields that bind a role to its collection and to its name."""
    return {COLLECTION_FIELD: identity, ROLE_FIELD: name}


def expiry(now: datetime, period: timedelta) -> datetime:
    """Return the moment at which a role that is signed now expires, in whole seconds."""
    return (now + period).replace(microsecond=0)
