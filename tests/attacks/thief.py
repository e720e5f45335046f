"""The thief of one team's key: what he signs below it, and what its consumers then make of all the others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, TargetFile, Targets

from registry_shim.snapshot import load_snapshot
from tests.delegation.test_delegate import delegate
from tests.simulators.attacker import Keys, signed
from tests.simulators.world import Consumer, World, manifest_bytes, soon
from trust.chain import RoleRefusal
from trust.client import StoredRoles, refresh
from trust.delegations import walk
from trust.digest import sha256
from trust.policy import Policy
from trust.reference import parse_reference
from trust.roles import COLLECTION_FIELD, REVOKED_FIELD, ROLE_FIELD, SIGNERS_FIELD
from trust.state import TrustedState
from trust.verdict import Verdict

STOLEN = manifest_bytes("the thief's")


def robbed(world: World) -> Consumer:
    """Return a consumer of a collection with two teams: ``evil``, whose key is stolen, and ``acme.api``."""
    world.sign("1", path="acme/api")
    world.sign("1", path="acme/evil")
    delegate(world, "evil", "acme/evil")
    delegate(world, "acme.api", "acme/api")
    return world.consumer()


def target_of(manifest: bytes) -> TargetFile:
    """Return what a thief signs of ``manifest``."""
    said = {"custom": {"signed": 1_900_000_000, "by": []}}
    return TargetFile(len(manifest), {"sha256": sha256(manifest).hex}, "any", said)


def stone(*paths: str) -> dict[str, Any]:
    """Return a tombstone for ``paths``, as it is signed."""
    return {"at": "2031-05-01T12:00:00Z", "by": [], "paths": list(paths)}


def forge_below(world: World, above: str, name: str, pattern: str, *, keys: Keys) -> None:
    """Have ``above`` delegate ``pattern`` to a role that is there already, by ``keys``."""
    role = DelegatedRole(name, [key.public_key.keyid for key in keys], 1, terminating=True, paths=[pattern])
    delegations = Delegations(spelled(keys), {name: role})
    world.attacker.forge_delegate(above, lambda said: setattr(said, "delegations", delegations))


def turn_round(world: World) -> None:
    """Have the delegations of targets in the opposite order; the thief's is the last, or the first."""
    world.attacker.forge(
        "targets",
        lambda said: setattr(said.delegations, "roles", dict(reversed(list(said.delegations.roles.items())))),
    )


def spelled(keys: Keys) -> dict[str, Key]:
    """Return the public keys of ``keys`` by id."""
    return {key.public_key.keyid: key.public_key for key in keys}


def new_role(
    world: World,
    name: str,
    keys: Keys,
    delegations: Delegations | None = None,
    targets: Mapping[str, TargetFile] | None = None,
) -> bytes:
    """Return the first version of a role that nobody made with our tools."""
    fields = {COLLECTION_FIELD: world.attacker.current("targets").signed.unrecognized_fields[COLLECTION_FIELD]}
    fields |= {ROLE_FIELD: name, REVOKED_FIELD: {}, SIGNERS_FIELD: []}
    expires = world.now + timedelta(days=30)
    said = Targets(
        version=1,
        expires=expires,
        targets=dict(targets or {}),
        delegations=delegations,
        unrecognized_fields=fields,
    )
    return signed(Metadata(said), keys)


def whole(consumer: Consumer) -> Mapping[str, RoleRefusal]:
    """Have ``consumer`` verify every role, as a shim does; return what he refuses."""
    state = TrustedState(consumer.home)
    try:
        refresh(consumer.stanza, state, consumer.world.store, paths=None, now=consumer.world.now, deadline=soon())
        return state.refusals(consumer.stanza.root)
    finally:
        state.close()


def served(consumer: Consumer, image: str) -> Verdict:
    """Return the verdict of a shim that has just looked at all roles, as ``whole`` does."""
    state = TrustedState(consumer.home)
    try:
        snapshot = load_snapshot(consumer.stanza, state)
    finally:
        state.close()
    policy, reference = Policy(stanzas=(consumer.stanza,)), parse_reference(image)
    match = policy.match(reference)
    assert snapshot is not None
    assert match is not None
    return snapshot.verdict(policy, match, reference, consumer.world.now.timestamp())


def checked_at(consumer: Consumer) -> int:
    """Return when the store was last noted to have been asked, in seconds."""
    moment: int = consumer.rows()["collection"][0][5]
    return moment


def owner(consumer: Consumer, path: str) -> str:
    """Return the role that answers for ``path``, by what is stored."""
    state = TrustedState(consumer.home)
    try:
        chain = state.chain(consumer.stanza.root)
        assert chain is not None
        return walk(path, StoredRoles(state=state, pin=consumer.stanza.root, chain=chain)).owner
    finally:
        state.close()
