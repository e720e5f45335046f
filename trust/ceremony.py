"""Owns the birth of a collection: a random identity, four roles, the first root that consumers pin.

1. no key is used by another collection known here: metadata of two that share one could be swapped
2. the store can hold a collection, and holds none
3. the first edition is signed and published
4. it is verified from its pin, as every consumer will
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from trust.client import refresh
from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.errors import ConflictError, UnreachableError
from trust.first_edition import Role, first_edition, first_root
from trust.key_use import require_unshared
from trust.metadata import ROOT_MAX_BYTES, parse_metadata
from trust.policy import Stanza
from trust.signatures import Keyring
from trust.state import TrustedState
from trust.stores.interface import TIMESTAMP, MissingPlaceError, Store, View
from trust.value import dataclass, replace

IDENTITY_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Born:
    """A new collection: the pin of its first root, and the date on which verification stops unless renewed."""

    root: Digest
    changed: bool  # False: it was there already, with these very keys
    valid_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What ``init`` would do: the root where it is there already, and how long a new collection would be valid."""

    root: Digest | None
    changed: bool
    valid_until: datetime


def init(
    stanza: Stanza,
    *,
    state: TrustedState,
    store: Store,
    roles: Mapping[str, Role],
    keyring: Keyring,
    now: datetime,
    deadline: Deadline,
    randomness: Callable[[int], bytes],
) -> Born:
    """Return the collection that now exists in ``store``; ``stanza.root`` is not known yet and ignored.

    Raises:
        InputError: a key belongs to another collection, or the store cannot hold one.
        ConflictError: a collection is there already.
    """
    store.probe(deadline=deadline)
    view = store.view(known=None, deadline=deadline)
    if view is None:
        raise UnreachableError(f"the store answered 'not modified' to nobody's question: {store.url}")
    root_bytes = root_there(view, roles, store.url)
    if root_bytes is None:
        require_unused_keys(state, roles, str(stanza.collection))
        identity = randomness(IDENTITY_BYTES).hex()
        root_bytes = first_root(identity=identity, roles=roles, signers=keyring(_keyids(roles)), now=now)
    changed = view.read(TIMESTAMP, ROOT_MAX_BYTES) is None
    pin = sha256(root_bytes)
    if changed:
        edition = first_edition(root_bytes, signers=keyring(_keyids(roles)), view=view, now=now)
        store.publish(edition.publication, deadline=deadline)
        state.set_published(pin, edition.versions)
    current = refresh(replace(stanza, root=pin, fresh="allow"), state, store, now=now, deadline=deadline)
    facts = current.chain.facts()
    return Born(root=pin, changed=changed, valid_until=min(each.expires for each in facts))


def plan(
    stanza: Stanza,
    *,
    state: TrustedState | None,
    store: Store,
    roles: Mapping[str, Role],
    now: datetime,
    deadline: Deadline,
) -> Planned:
    """Return what ``init`` would do; nothing is written anywhere, so that the store is not probed.

    ``state`` is None where none was written yet.

    Raises:
        InputError: a key belongs to another collection.
        ConflictError: a collection is there already.
    """
    view = store.view(known=None, deadline=deadline)
    if view is None:
        raise UnreachableError(f"the store answered 'not modified' to nobody's question: {store.url}")
    try:
        root_bytes = root_there(view, roles, store.url)
        changed = view.read(TIMESTAMP, ROOT_MAX_BYTES) is None
    except MissingPlaceError:
        root_bytes, changed = None, True
    if root_bytes is None and state is not None:
        require_unused_keys(state, roles, str(stanza.collection))
    return Planned(
        root=None if root_bytes is None else sha256(root_bytes),
        changed=changed,
        valid_until=now + min(role.period for role in roles.values()),
    )


def root_there(view: View, roles: Mapping[str, Role], url: str) -> bytes | None:
    """Return the first root that is there already if it has exactly these keys: this very init, begun before.

    Raises:
        ConflictError: it is somebody else's.
    """
    data = view.read("1.root.json", ROOT_MAX_BYTES)
    if data is None:
        return None
    root = parse_metadata(data, "root").signed
    if any(set(root.roles[name].keyids) != {key.keyid for key in role.keys} for name, role in roles.items()):
        raise ConflictError(
            f"another collection is there already: {url}", hint="init never overwrites one; choose another URL"
        )
    return data


def _keyids(roles: Mapping[str, Role]) -> set[str]:
    return {key.keyid for role in roles.values() for key in role.keys}


def require_unused_keys(state: TrustedState, roles: Mapping[str, Role], name: str) -> None:
    """Return if no collection known here uses a key of ``roles``.

    Raises:
        InputError: one does: metadata of two that share a key could be swapped.
    """
    require_unshared(state, {key.keyid: role for role, entry in roles.items() for key in entry.keys}, name)
