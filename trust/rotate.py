"""Owns the rotation of keys: who signs a role from now on, and the role signed anew by them in the same publish.

  1. keys to remove are found among those that sign the role, by key id or its beginning
  2. root, targets and the online roles change in a new root; any other role in the role that delegates to it
  3. what the role signs is signed anew, its bins too: by the new keys, and by the old ones where they may
  4. the order in which it goes out is the edition's (``trust.edition``): no crash leaves consumers stuck

A stolen key signs nothing more, though it is at hand: the last thing it says must not be ours. What it left to
wait is not taken along either (``trust.vetting``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from copy import deepcopy

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Root

from trust.chain import ONLINE_ROLES, TOP_LEVEL_ROLES
from trust.delegations import TARGETS, Delegations
from trust.draft import Changes
from trust.errors import InputError, RefusedError, UnreachableError
from trust.key_use import require_unshared
from trust.loaded import Loaded
from trust.loaded_role import LoadedRole
from trust.publish import Publisher
from trust.published import Published
from trust.role_keys import keys_of, require_different
from trust.role_table import role_tables
from trust.roles import VERSION_JUMP_MAX
from trust.targets import Content
from trust.value import dataclass, replace

ONLINE = "online"  # snapshot and timestamp together, as `trust init` has it
KEYID_SHOWN = 12  # hex digits of a key id that are shown, and enough to name one


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What is to be another: keys by which ``role`` is signed, and how many of them.

    ``remove`` and ``stolen`` are key ids or beginnings of them; ``stolen`` ones go as well, and sign nothing more.
    """

    role: str
    add: tuple[Key, ...] = ()
    remove: tuple[str, ...] = ()
    stolen: tuple[str, ...] = ()
    threshold: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The roles that it is about."""
        return ONLINE_ROLES if self.role == ONLINE else (self.role,)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The keys of a role and how many of them must sign."""

    keyids: tuple[str, ...]
    threshold: int

    def is_same(self, other: _Keys) -> bool:
        return (set(self.keyids), self.threshold) == (set(other.keyids), other.threshold)


def rotate(publisher: Publisher, rotation: Rotation) -> Published:
    """Return what was published so that the keys of a role are as ``rotation`` says; nothing if they were.

    Raises:
        InputError: the threshold could not be met, a key belongs to another collection, or there is no such role.
        UnavailableError: a key that must sign is not at hand.
    """
    wanted = {key.keyid: rotation.role for key in rotation.add}
    stanza = publisher.stanza
    require_unshared(publisher.state, wanted, str(stanza.collection), own=stanza.root)
    _require_one_will(rotation)
    is_of_root = set(rotation.names) <= set(TOP_LEVEL_ROLES)

    def keyring(keyids: Collection[str]) -> dict[str, Signer]:
        safe = [keyid for keyid in keyids if not keyid.startswith(rotation.stolen)]
        return dict(publisher.keyring(safe)) if safe else {}

    def change(loaded: Loaded) -> Changes | None:
        return _in_root(loaded, rotation) if is_of_root else _in_delegator(loaded, rotation)

    salvages = bool(rotation.stolen) and set(rotation.names) <= {*ONLINE_ROLES} and _is_spoilt(publisher)
    return replace(publisher, keyring=keyring, salvages=salvages, distrusted=rotation.stolen).publish(change)


def _is_spoilt(publisher: Publisher) -> bool:
    """Tell whether who stole the online key left nothing that can be read, or counted up to where it would end."""
    known = publisher.memory.versions()
    try:
        loaded = publisher.load()
        list(role_tables(loaded))
    except (RefusedError, UnreachableError):
        return True
    if not all(each.is_of_delegates for each in loaded.untrusted.values()):
        return True
    online = loaded.versions()
    return any(online[name] > known.get(name, online[name]) + VERSION_JUMP_MAX for name in ONLINE_ROLES)


def _require_one_will(rotation: Rotation) -> None:
    gone = (*rotation.remove, *rotation.stolen)
    both = next((key.keyid for key in rotation.add if gone and key.keyid.startswith(gone)), None)
    if both is not None:
        raise InputError(f"key {both[:KEYID_SHOWN]} is both added and removed")
    short = next((text for text in gone if len(text) < KEYID_SHOWN), None)
    if short is not None:
        raise InputError(
            f"key id is too short: expected at least {KEYID_SHOWN} hex digits, got {short!r}",
            hint="trust inspect --json COLLECTION shows them whole",
        )


def _in_root(loaded: Loaded, rotation: Rotation) -> Changes | None:
    """Return the change of a role whose keys stand in the root (step 2)."""
    root, is_other = deepcopy(loaded.root), False
    for name in rotation.names:
        before = _Keys(keyids=tuple(root.roles[name].keyids), threshold=root.roles[name].threshold)
        after = _rotated(before, rotation, name)
        is_other = is_other or not after.is_same(before)
        for keyid in set(before.keyids).difference(after.keyids):
            root.revoke_key(keyid, name)
        for key in rotation.add:
            if key.keyid not in before.keyids:
                root.add_key(key, name)
        root.roles[name].threshold = after.threshold
        require_different(name, (root.keys[keyid] for keyid in after.keyids))
    _require_no_thief(root, rotation)
    if TARGETS not in rotation.names:
        return Changes(root=root) if is_other else None
    now = _Keys(keyids=tuple(root.roles[TARGETS].keyids), threshold=root.roles[TARGETS].threshold)
    changes = _signed_anew(loaded.targets, now, rotation.add)
    if is_other:
        return replace(changes, root=root, renewed=changes.renewed | {TARGETS})
    return changes if changes.contents else None


def _require_no_thief(root: Root, rotation: Rotation) -> None:
    """Refuse a stolen key that would have to sign snapshot or timestamp, as every publish does."""
    for name in ONLINE_ROLES:
        stolen = next((each for each in root.roles[name].keyids if each.startswith(rotation.stolen)), None)
        if stolen is not None:
            raise InputError(
                f"stolen key {stolen[:KEYID_SHOWN]} signs {name} too",
                hint=f"rotate {ONLINE} in its place, or before",
            )


def _in_delegator(loaded: Loaded, rotation: Rotation) -> Changes | None:
    """Return the change of a delegated role: its delegator says who signs it (step 2)."""
    role = loaded.find(rotation.role)
    above = loaded.find(role.delegator)
    delegations = above.content.delegations
    found = delegations.named(role.name)
    if found is None:
        raise InputError(f"role {role.name} has no keys of its own: they are those of {above.name}")
    before = _Keys(keyids=found.keyids, threshold=found.threshold)
    after = _rotated(before, rotation, role.name)
    changes = _signed_anew(role, after, rotation.add)
    if after.is_same(before):
        return changes if changes.contents else None
    known = {**keys_of(above.metadata.signed), **{key.keyid: key for key in rotation.add}}
    require_different(role.name, (known[keyid] for keyid in after.keyids if keyid in known))
    entry = replace(found, keyids=after.keyids, threshold=after.threshold)
    roles = tuple(entry if each.name == role.name else each for each in delegations.roles)
    content = replace(above.content, delegations=_with_keys(replace(delegations, roles=roles), rotation.add))
    return Changes(contents={above.name: content, **changes.contents}, renewed=changes.renewed | {role.name})


def _rotated(before: _Keys, rotation: Rotation, name: str) -> _Keys:
    """Return the keys of ``name`` after ``rotation`` (step 1).

    Raises:
        InputError: fewer would be left than must sign, or a beginning of a key id fits two of them.
    """
    gone = set[str]()
    for text in (*rotation.remove, *rotation.stolen):
        fitting = [keyid for keyid in before.keyids if keyid.startswith(text)]
        if len(fitting) > 1:
            raise InputError(f"key id {text} fits two keys of {name}: {', '.join(fitting)}")
        gone.update(fitting)
    kept = [keyid for keyid in before.keyids if keyid not in gone]
    keyids = tuple(dict.fromkeys([*kept, *(key.keyid for key in rotation.add)]))
    threshold = rotation.threshold or before.threshold
    if threshold > len(keyids):
        raise InputError(
            f"threshold of {name} cannot be met: expected at most {len(keyids)} keys, got {threshold}",
            hint="add a key (--add), or lower it (--threshold)",
        )
    return _Keys(keyids=keyids, threshold=threshold)


def _signed_anew(role: LoadedRole, keys: _Keys, add: Iterable[Key]) -> Changes:
    """Return the change by which ``keys`` sign the bins of ``role`` too; none where it has none (step 3)."""
    bins = role.content.delegations.bins
    if bins is None or keys.is_same(_Keys(keyids=bins.keyids, threshold=bins.threshold)):
        return Changes()
    theirs = replace(bins, keyids=keys.keyids, threshold=keys.threshold)
    delegations = _with_keys(replace(role.content.delegations, bins=theirs), add)
    content = Content(table=role.content.table, delegations=delegations)
    return Changes(contents={role.name: content}, renewed=frozenset(bins.names()))


def _with_keys(delegations: Delegations, add: Iterable[Key]) -> Delegations:
    """Return ``delegations`` with the keys that they name and no others."""
    known = {**delegations.keys, **{key.keyid: {"keyid": key.keyid, **key.to_dict()} for key in add}}
    named = {keyid for role in delegations.roles for keyid in role.keyids}
    named |= set(delegations.bins.keyids) if delegations.bins is not None else set()
    return replace(delegations, keys={keyid: known[keyid] for keyid in known if keyid in named})
