"""Owns what a change that waits may say: no field that is unknown here, and nothing that no edit here makes.

Its roles are made anew from what they say (``trust.proposal``); what would be carried along unread in that, and
what is understood but never right, is refused here.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from securesystemslib.signer import Key

from trust.canonical import canonical_bytes
from trust.chain import TOP_LEVEL_ROLES
from trust.delegations import Delegations, is_of_tags
from trust.digest import sha256
from trust.errors import RefusedError
from trust.loaded import Loaded
from trust.metadata import delegations_of, table_of
from trust.pending import PendingRole
from trust.role_keys import require_different, require_single_ids
from trust.roles import COLLECTION_FIELD, EXPIRY_FIELD, ROLE_FIELD
from trust.targets import Content, Table, Target, Tombstone, taken_back
from trust.verdict import Reason

_ROOT_FIELDS = frozenset({
    "_type", "spec_version", "version", "expires", "consistent_snapshot", "keys", "roles",
    COLLECTION_FIELD, ROLE_FIELD, EXPIRY_FIELD,
})  # fmt: skip


def require_known_fields(loaded: Loaded, role: PendingRole) -> None:
    """Refuse fields that a copy would carry along unread: of a root, and of keys."""
    spelled = role.metadata.signed.to_dict()
    if role.name != "root":
        known = _known_keys(loaded, role)
        _require_keys((spelled.get("delegations") or {}).get("keys", {}), known)
        return
    require_known_root(spelled, identity=loaded.identity, known=loaded.top.root.signed.to_dict()["keys"])


def require_known_root(spelled: Mapping[str, Any], *, identity: str, known: Mapping[str, Any]) -> None:
    """Refuse a root with a field that is not known here, of another collection, or that could never be signed.

    ``known`` are the keys that were there before, as they were spelled.
    """
    extra = spelled.keys() - _ROOT_FIELDS
    if extra or spelled.get("consistent_snapshot") is not True or spelled["roles"].keys() != set(TOP_LEVEL_ROLES):
        raise refused(f"root has a signed field that is not known here: {', '.join(sorted(extra)) or 'roles'}")
    binding = {COLLECTION_FIELD: identity, ROLE_FIELD: "root"}
    if any(spelled.get(key) != value for key, value in binding.items()):
        raise refused("root belongs elsewhere")
    periods = spelled.get(EXPIRY_FIELD, {})
    if not isinstance(periods, dict) or not all(
        name in TOP_LEVEL_ROLES and type(seconds) is int and seconds > 0 for name, seconds in periods.items()
    ):
        raise refused("root has periods that are not understood here")
    if any(set(each) != {"keyids", "threshold"} for each in spelled["roles"].values()):
        raise refused("root has a role with a field that is not known here")
    _require_keys(spelled["keys"], known)
    for name, each in spelled["roles"].items():
        _require_reachable(name, each["keyids"], each["threshold"])
        _require_written(name, each["keyids"], spelled["keys"])
        require_different(name, (Key.from_dict(keyid, {**spelled["keys"][keyid]}) for keyid in each["keyids"]))


def require_sound(loaded: Loaded, role: PendingRole, content: Content) -> None:
    """Refuse what no edit here makes of a targets role, though each field of it is understood (step 4)."""
    for path, target in content.table.targets.items():
        if "@" in path and path.rpartition("@")[2] != str(target.digest):
            raise refused(f"{path} in {role.name} is another digest: {target.digest}")
    before = loaded.current(role.name, role.delegator)
    is_same = before is not None and delegations_of(before.metadata.signed) == content.delegations
    _require_new_names(loaded, role, content.delegations)
    signed = table_of(before.metadata.signed).targets if before is not None else {}
    above = loaded.revoked_above(before) if before is not None else {}
    _require_unrevoked(role.name, content.table, signed, above)
    known = signed if is_same else {}
    for path in content.table.targets.keys() - known.keys():
        below = _delegate_of(content.delegations, path)
        if below is not None:
            raise refused(f"{role.name} signs {path}, which it has delegated to {below}, and would hide it there")
    bins = content.delegations.bins
    for each in content.delegations.roles:
        _require_reachable(each.name, each.keyids, each.threshold)
        if not is_same:
            _require_written(each.name, each.keyids, content.delegations.keys)
            require_single_ids(role.metadata.signed, each.name)
    if bins is not None:
        _require_reachable(bins.prefix, bins.keyids, bins.threshold)
        if not is_same:
            _require_written(bins.prefix, bins.keyids, content.delegations.keys)


def require_revocations(loaded: Loaded, role: PendingRole) -> None:
    """Refuse targets in which a revocation has gone: consumers would refuse them too."""
    before = loaded.current(role.name, role.delegator) if role.name != "root" else None
    if before is None:
        return
    gone = taken_back(table_of(before.metadata.signed).revoked, table_of(role.metadata.signed).revoked)
    if gone is not None:
        raise refused(f"it takes back the revocation of {gone} in {role.name}")


def refused(cause: str) -> RefusedError:
    """Return the refusal of a change that is not what a publisher here would have made."""
    return RefusedError(
        f"a pending change is not what it says: {cause}",
        reason=Reason.TAMPERED.value,
        hint="nothing was signed; find out who wrote it, then: trust reject",
    )


@contextmanager
def understood() -> Iterator[None]:
    """Refuse what the comparison stumbles over: whoever can write to the store may lay anything there."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as err:
        raise refused(f"it is not understood here: {type(err).__name__}: {str(err)[:120]}") from err


def _require_unrevoked(
    name: str, table: Table, signed: Mapping[str, Target], revoked_above: Mapping[str, Tombstone]
) -> None:
    """Refuse to sign anew what was revoked: no edit does, and the differences show a digest like others."""
    for path, target in table.targets.items():
        text = str(target.digest)
        if (text in table.revoked or text in revoked_above) and signed.get(path) != target:
            raise refused(f"{name} signs {path}, whose digest was revoked: {text}")


def _known_keys(loaded: Loaded, role: PendingRole) -> Mapping[str, Any]:
    before = loaded.current(role.name, role.delegator)
    delegations = before.metadata.signed.delegations if before is not None else None
    return delegations.to_dict()["keys"] if delegations is not None else {}


def _require_keys(keys: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse a new key whose id is not that of its value: a person compares ids."""
    for keyid, key in keys.items():
        if known.get(keyid) == key:
            continue
        is_plain = set(key) == {"keytype", "keyval", "scheme"} and set(key["keyval"]) == {"public"}
        if not is_plain or sha256(canonical_bytes(key)).hex != keyid:
            raise refused(f"key {keyid[:80]} is not the key of this id")


def _require_new_names(loaded: Loaded, role: PendingRole, delegations: Delegations) -> None:
    """Refuse to delegate a name that another role has or had: they are global, and whose it is would be open."""
    before = loaded.current(role.name, role.delegator)
    known = set(delegations_of(before.metadata.signed).names()) if before is not None else set()
    for name in delegations.names():
        if name not in known and f"{name}.json" in loaded.top.snapshot.signed.meta:
            raise refused(f"{role.name} delegates to {name}, a name that was used in this collection before")


def _delegate_of(delegations: Delegations, path: str) -> str | None:
    """Return the role below that alone signs ``path``; the digests of some tags are their delegator's too."""
    if delegations.bins is not None:
        return delegations.bins.prefix
    return next(
        (
            each.name
            for each in delegations.roles
            if each.covers(path) and not ("@" in path and is_of_tags(each.patterns))
        ),
        None,
    )


def _require_written(name: str, keyids: Iterable[str], keys: Container[str]) -> None:
    """Refuse a role of which a key is named and not there: nobody could sign with it, and no difference tells."""
    lacking = next((keyid for keyid in keyids if keyid not in keys), None)
    if lacking is not None:
        raise refused(f"role {name} names key {lacking[:80]}, which is not written down")


def _require_reachable(name: str, keyids: Collection[str], threshold: int) -> None:
    if threshold > len(set(keyids)):
        raise refused(f"threshold of {name} cannot be met: {threshold} of {len(set(keyids))} keys")
