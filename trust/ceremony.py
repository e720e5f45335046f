"""Owns the birth of a collection: a random identity, four roles, the first root that consumers pin.

1. no key is used by another collection known here: metadata of two that share one could be swapped
2. the store can hold a collection, and holds none
3. the first edition is signed and published
4. it is verified from its pin, as every consumer will
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from trust.client import refresh
from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.edition import Role, Signers, first_edition
from trust.errors import ConflictError, InputError
from trust.metadata import ROOT_MAX_BYTES, parse_metadata
from trust.policy import Stanza
from trust.state import TrustedState
from trust.stores.interface import TIMESTAMP, Store

IDENTITY_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Born:
    """A new collection: the pin of its first root, and the date on which verification stops unless renewed."""

    root: Digest
    versions: Mapping[str, int]
    valid_until: datetime


def init(
    stanza: Stanza,
    *,
    state: TrustedState,
    store: Store,
    roles: Mapping[str, Role],
    signers: Signers,
    now: datetime,
    deadline: Deadline,
    randomness: Callable[[int], bytes],
) -> Born:
    """Return the collection that now exists in ``store``; ``stanza.root`` is not known yet and ignored.

    Raises:
        InputError: a key belongs to another collection, or the store cannot hold one.
        ConflictError: a collection is there already.
    """
    _require_unused_keys(state, roles, str(stanza.collection))
    store.probe(deadline=deadline)
    view = store.view(known=None, deadline=deadline)
    if view is None or view.read(TIMESTAMP, ROOT_MAX_BYTES) is not None or view.taken("1.root.json"):
        raise ConflictError(
            f"a collection is there already: {store.url}", hint="trust inspect shows it; init never overwrites one"
        )
    identity = randomness(IDENTITY_BYTES).hex()
    edition = first_edition(identity=identity, roles=roles, signers=signers, view=view, now=now)
    store.publish(edition.publication, deadline=deadline)
    pin = sha256(edition.publication.files["1.root.json"])
    state.set_published(pin, edition.versions)
    current = refresh(replace(stanza, root=pin, fresh="allow"), state, store, now=now, deadline=deadline)
    valid_until = min(facts.expires for facts in current.chain.facts("targets"))
    return Born(root=pin, versions=edition.versions, valid_until=valid_until)


def _require_unused_keys(state: TrustedState, roles: Mapping[str, Role], name: str) -> None:
    wanted = {key.keyid: role for role, entry in roles.items() for key in entry.keys}
    for pin, (other, body) in state.newest_roots().items():
        used = set(parse_metadata(body, "root").signed.keys)
        shared = sorted(set(wanted) & used)
        if shared:
            raise InputError(
                f"key {shared[0][:12]} for {wanted[shared[0]]} of {name} belongs to collection {other} ({pin})",
                hint="give each collection keys of its own: leave --key out and new ones are made",
            )
