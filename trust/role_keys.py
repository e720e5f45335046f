"""Owns whose keys count for a role: those that its delegator lists, and one key as one, however it is spelled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Role, Root, Signed, Targets

from trust.canonical import signed_bytes
from trust.errors import RefusedError
from trust.verdict import Reason

Delegator = Root | Targets


def role_keys(delegator: Delegator, name: str) -> Role:
    """Return the key ids and the threshold that ``delegator`` wants for ``name``.

    Raises:
        RefusedError: it does not delegate to it.
    """
    try:
        return delegator.get_delegated_role(name)
    except ValueError as err:
        raise RefusedError(f"role {name} is not delegated", reason=Reason.TAMPERED.value) from err


def keys_of(signed: Signed) -> Mapping[str, Key]:
    """Return the keys that a root or targets role knows, by their ids; none of any other."""
    if isinstance(signed, Root):
        return signed.keys
    delegations = signed.delegations if isinstance(signed, Targets) else None
    return delegations.keys if delegations is not None else {}


def signers_of(delegator: Delegator, metadata: Metadata[Any], name: str) -> tuple[str, ...]:
    """Return the ids of the keys of ``name`` that have validly signed it."""
    result = delegator.get_verification_result(name, signed_bytes(metadata), metadata.signatures)
    return tuple(sorted(result.signed))


def require_distinct_keys(delegator: Delegator, metadata: Metadata[Any], name: str) -> None:
    """Refuse a role whose threshold is not met by different key values: one key under two ids is one key."""
    result = delegator.get_verification_result(name, signed_bytes(metadata), metadata.signatures)
    distinct = {_key_value(key) for key in result.signed.values()}
    if len(distinct) < result.threshold:
        raise RefusedError(
            f"role {name} version {metadata.signed.version}: expected {result.threshold} signatures by "
            f"different keys, got {len(distinct)}",
            reason=Reason.BELOW_THRESHOLD.value,
        )


def require_single_ids(delegator: Delegator, name: str) -> None:
    """Refuse a role of which one key is listed under two ids: whoever denies one of them would leave the other."""
    keys = keys_of(delegator)
    require_different(
        name, (keys[keyid] for keyid in dict.fromkeys(role_keys(delegator, name).keyids) if keyid in keys)
    )


def require_different(name: str, keys: Iterable[Key]) -> None:
    """Refuse ``keys`` for role ``name`` where two of them are one, under two ids."""
    known: dict[bytes, str] = {}
    for key in keys:
        first = known.setdefault(_key_value(key), key.keyid)
        if first != key.keyid:
            raise RefusedError(
                f"role {name} lists one key under two ids: {first[:12]} and {key.keyid[:12]}",
                reason=Reason.BELOW_THRESHOLD.value,
                hint=f"its owner takes one away: trust rotate COLLECTION {name} --remove {key.keyid[:12]}",
            )


def without_keys(delegator: Delegator, metadata: Metadata[Any], keyids: Collection[str]) -> Metadata[Any]:
    """Return ``metadata`` without the signatures by ``keyids``, and by the same keys under other ids."""
    keys = keys_of(delegator)
    values = {_key_value(keys[keyid]) for keyid in keyids if keyid in keys}
    gone = {keyid for keyid, key in keys.items() if _key_value(key) in values}.union(keyids)
    return Metadata(
        metadata.signed, {keyid: each for keyid, each in metadata.signatures.items() if keyid not in gone}
    )


def _key_value(key: Key) -> bytes:
    """Return the public key of ``key`` in one spelling: hex in capitals, or other fields, make no second key."""
    public = str(key.keyval.get("public"))
    try:
        if key.keytype == "ed25519":
            return bytes.fromhex(public)
        return load_pem_public_key(public.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return public.encode()
