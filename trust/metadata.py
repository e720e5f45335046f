"""Owns verified TUF metadata as values of ours: what binds a role, what it says of images, what it delegates.

Both sides read metadata through it: the consumer after python-tuf's client, the publisher before an edit.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from securesystemslib.signer import SSlibKey
from tuf.api.metadata import DelegatedRole, Metadata, Root, Signed, SuccinctRoles, Targets

from trust.chain import RoleFacts, TrustedRole
from trust.delegations import (
    BINS_MAX,
    NO_DELEGATIONS,
    TARGETS,
    Bins,
    Delegation,
    Delegations,
    checked_pattern,
    checked_role,
)
from trust.errors import InputError, RefusedError
from trust.instant import DURATION_MAX
from trust.role_keys import Delegator, keys_of, role_keys, signers_of
from trust.roles import (
    COLLECTION_FIELD,
    DEFAULT_EXPIRY,
    EXPIRY_FIELD,
    PERIOD_FIELD,
    REVOKED_FIELD,
    ROLE_FIELD,
    SIGNERS_FIELD,
)
from trust.stores.interface import checked_name
from trust.strict_json import strict_json
from trust.targets import Table, parse_target, parse_tombstones
from trust.verdict import Reason

ROOT_MAX_BYTES = 512_000
TIMESTAMP_MAX_BYTES = 16_384
SNAPSHOT_MAX_BYTES = 2_000_000
TARGETS_MAX_BYTES = 32_000_000  # a flat role of 50,000 tags; bins come long before
PERIOD_MAX_SECONDS = int(DURATION_MAX.total_seconds())


def parse_metadata(body: bytes, name: str) -> Metadata[Any]:
    """Return the metadata of ``body``, parsed and not verified.

    Raises:
        RefusedError: it is not TUF metadata, or a root of which ``require_one_reading`` does not hold.
    """
    try:
        untrusted = strict_json(body, max_bytes=TARGETS_MAX_BYTES, what=f"role {name}")
        metadata: Metadata[Any] = Metadata.from_dict(untrusted)
        if isinstance(metadata.signed, Root):
            require_one_reading(metadata.signed)
    except InputError as err:
        raise RefusedError(f"role {name} is not TUF metadata: {err}", reason=Reason.TAMPERED.value) from err
    except Exception as err:  # python-tuf checks shapes by stumbling over them: any error means "not metadata"
        cause = f"{type(err).__name__}: {str(err)[:120]!r}"
        raise RefusedError(f"role {name} is not TUF metadata: {cause}", reason=Reason.TAMPERED.value) from err
    return metadata


def require_one_reading(signed: Signed) -> None:
    """Require of a root or targets role that its keys can be tried, and that its numbers are numbers.

    Others of the library's keys fail in ways of their own; to Python ``true`` is 1, to other readers it is not.

    Raises:
        InputError: a key is of no kind that is supported, or a field of another type than TUF has.
    """
    delegations = signed.delegations if isinstance(signed, Targets) else None
    below = [*(delegations.roles or {}).values()] if delegations is not None else []
    bins = [delegations.succinct_roles] if delegations is not None and delegations.succinct_roles else []
    roles = [*signed.roles.values()] if isinstance(signed, Root) else [*below, *bins]
    if any(type(number) is not int for number in (signed.version, *(role.threshold for role in roles))):
        raise InputError("a version or a threshold is no number")
    if any(type(role.terminating) is not bool for role in below):
        raise InputError("terminating is neither true nor false")
    for keyid, key in keys_of(signed).items():
        if type(key) is not SSlibKey:
            kind = f"{key.keytype}, {key.scheme}"[:100]
            raise InputError(f"key {keyid[:12]} is of no kind that is supported: {kind}")


def identity_of(root: Signed) -> str:
    """Return the id of the collection that the first root binds."""
    value = root.unrecognized_fields.get(COLLECTION_FIELD)
    if not isinstance(value, str):
        raise RefusedError(f"the pinned root has no {COLLECTION_FIELD}", reason=Reason.TAMPERED.value)
    return value


def require_binding(signed: Signed, name: str, identity: str) -> None:
    """Refuse a role of another collection, or one that stands in for another role."""
    for key, wanted in ((COLLECTION_FIELD, identity), (ROLE_FIELD, name)):
        got = signed.unrecognized_fields.get(key)
        if got != wanted:
            raise RefusedError(
                f"role {name} belongs elsewhere: expected {key} {wanted}, got {got}", reason=Reason.TAMPERED.value
            )


def table_of(targets: Targets) -> Table:
    """Return what a verified targets role says of images.

    Raises:
        RefusedError: a signed field is malformed.
    """
    signers = targets.unrecognized_fields.get(SIGNERS_FIELD, [])
    if not isinstance(signers, list):
        raise RefusedError(f"{SIGNERS_FIELD} is no list: got {signers!r}"[:200], reason=Reason.TAMPERED.value)
    try:
        found = {
            path: parse_target(
                hashes=file.hashes,
                size_bytes=file.length,
                custom=file.unrecognized_fields.get("custom", {}),
                signers=signers,
            )
            for path, file in targets.targets.items()
        }
        revoked = parse_tombstones(targets.unrecognized_fields.get(REVOKED_FIELD, {}))
        return Table(targets=found, revoked=revoked)
    except InputError as err:
        raise RefusedError(str(err), reason=Reason.TAMPERED.value) from err


def delegations_of(targets: Targets) -> Delegations:
    """Return what a verified targets role delegates.

    Raises:
        RefusedError: in a way that two readers could take for two things, or that is not understood here.
    """
    delegations = targets.delegations
    try:
        require_one_reading(targets)
        if delegations is None:
            return NO_DELEGATIONS
        keys = {keyid: {"keyid": keyid, **key.to_dict()} for keyid, key in delegations.keys.items()}
        if delegations.succinct_roles is not None:
            owner = targets.unrecognized_fields.get(ROLE_FIELD)
            return Delegations(bins=_bins(delegations.succinct_roles, owner), keys=keys)
        roles = tuple(_delegation(role) for role in (delegations.roles or {}).values())
        return Delegations(roles=roles, keys=keys)
    except InputError as err:
        raise RefusedError(str(err), reason=Reason.TAMPERED.value) from err


def _bins(role: SuccinctRoles, owner: object) -> Bins:
    # Names are global in a snapshot: bins under the names of another's would be read in the place of those.
    if not re.fullmatch(rf"{re.escape(str(owner))}\.g[0-9]{{1,9}}", role.name_prefix, re.ASCII):
        raise InputError(
            f"bins have the names of another role's: expected {str(owner)[:80]!r}, got {role.name_prefix[:80]!r}"
        )
    if role.number_of_bins > BINS_MAX:
        raise InputError(f"too many bins: expected at most {BINS_MAX}, got {role.number_of_bins}")
    return Bins(
        prefix=checked_name(f"{role.name_prefix}.json").removesuffix(".json"),
        count=role.number_of_bins,
        keyids=_texts(role.keyids, "key ids"),
        threshold=role.threshold,
        period=_seconds(role.unrecognized_fields.get(EXPIRY_FIELD)),
    )


def _delegation(role: DelegatedRole) -> Delegation:
    (name,) = map(checked_role, _texts([role.name], "the name of a role"))
    if role.paths is None:
        raise InputError(f"role {name} is delegated by hash prefixes, which are not understood here")
    return Delegation(
        name=name,
        patterns=tuple(map(checked_pattern, _texts(role.paths, "paths"))),
        keyids=_texts(role.keyids, "key ids"),
        threshold=role.threshold,
        terminating=role.terminating,
        period=_seconds(role.unrecognized_fields.get(EXPIRY_FIELD)),
    )


def _texts(values: object, what: str) -> tuple[str, ...]:
    """Return a list of texts; python-tuf takes whatever stands there."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InputError(f"{what} is malformed: expected text, got {values!r}"[:200])
    return tuple(values)


def trusted_role(  # noqa: PLR0917 - a role, and what it was verified under
    delegator: Delegator, delegator_name: str, root: Root, name: str, metadata: Metadata[Any], body: bytes | None
) -> TrustedRole:
    """Return the facts of a verified role."""
    facts = RoleFacts(
        name=name,
        version=metadata.signed.version,
        expires=metadata.signed.expires,
        signers=signers_of(delegator, metadata, name),
        threshold=role_keys(delegator, name).threshold,
        period=signed_period(delegator, name, metadata.signed),
    )
    return TrustedRole(
        facts=facts,
        root_version=root.version,
        delegator=delegator_name,
        delegator_version=delegator.version,
        body=body,
    )


def period_of(delegator: Delegator, name: str) -> timedelta:
    """Return what ``name`` is renewed for, as the role that delegates to it says, else the default."""
    if isinstance(delegator, Root):
        periods = delegator.unrecognized_fields.get(EXPIRY_FIELD, {})
        seconds = periods.get(name) if isinstance(periods, dict) else None
    else:
        seconds = role_keys(delegator, name).unrecognized_fields.get(EXPIRY_FIELD)
    return _seconds(seconds) or DEFAULT_EXPIRY.get(name, DEFAULT_EXPIRY[TARGETS])


def signed_period(delegator: Delegator, name: str, signed: Signed) -> timedelta:
    """Return what ``signed`` was signed for: as it says itself, else as ``period_of`` its name.

    It decides how early somebody is warned, and nothing else: expiry is the role's own.
    """
    return _seconds(signed.unrecognized_fields.get(PERIOD_FIELD)) or period_of(delegator, name)


def _seconds(value: object) -> timedelta | None:
    return timedelta(seconds=value) if isinstance(value, int) and 0 < value <= PERIOD_MAX_SECONDS else None
