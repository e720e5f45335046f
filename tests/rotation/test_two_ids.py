"""One key under two ids is one key: who denies it by one of them is not left with the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Root, Targets

from tests.simulators.teams import WEB_ROLE, change_keys, delegate, ids
from tests.simulators.world import World
from trust.errors import RefusedError
from trust.policy import Policy
from trust.verdict import Reason


def _alias(signer: CryptoSigner) -> CryptoSigner:
    """Return the same key under another id, as whoever has it can spell it."""
    key = signer.public_key
    alias = SSlibKey("0" * 64, key.keytype, key.scheme, {"public": key.keyval["public"].upper()})
    return CryptoSigner(signer._private_key, alias)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    delegate(world)
    world.sign()
    world.sign(path="acme/other")
    return world


def _list_twice(world: World, role: str) -> CryptoSigner:
    """Have the delegator of ``role`` list its key under a second id too, by which it is signed from then on."""
    again = _alias(world.keys[role][0])

    def in_root(root: Root) -> None:
        root.add_key(again.public_key, role)

    def in_targets(targets: Targets) -> None:
        targets.add_key(again.public_key, role)

    if role == "targets":
        world.rotate(in_root)
        world.attacker.forge(role, signers=[again])
    else:
        world.attacker.forge("targets", in_targets)
        world.attacker.forge_delegate(role, lambda _signed: None, signers=[again])
    return again


@pytest.mark.parametrize("role", ["targets", WEB_ROLE])
def test_role_that_lists_a_key_twice_is_refused_whichever_id_is_denied(world: World, role: str) -> None:
    consumer = world.consumer()
    consumer.allowed()
    denied = Policy(denied_keys=frozenset(ids(world.keys[role])))
    _list_twice(world, role)
    for policy in (Policy(), denied):
        consumer.policy = policy
        verdict = consumer.denied()
        assert verdict.reason is Reason.BELOW_THRESHOLD
        assert "lists one key under two ids" in verdict.detail


def test_team_that_lists_a_key_twice_stops_nobody_else_and_is_mended(world: World) -> None:
    again = _list_twice(world, WEB_ROLE)
    world.keys["again"] = [again]
    consumer = world.consumer()
    consumer.allowed("registry.test/acme/other:1.4")
    assert consumer.denied().reason is Reason.BELOW_THRESHOLD
    change_keys(world, WEB_ROLE, remove=[again])
    consumer.allowed()


@pytest.mark.parametrize("role", ["root", "targets", "online", WEB_ROLE])
def test_key_is_not_added_to_a_role_that_has_it_under_another_id(world: World, role: str) -> None:
    again = _alias(world.keys["snapshot" if role == "online" else role][0])
    files = world.attacker.files()
    with pytest.raises(RefusedError, match="lists one key under two ids"):
        change_keys(world, role, add=[again])
    assert world.attacker.files() == files
    world.consumer().allowed()


def test_role_is_not_delegated_to_one_key_under_two_ids(world: World) -> None:
    from trust.delegate import NewRole, add  # noqa: PLC0415 - the one test that delegates as a person does

    (signer,) = world.keys["targets"]
    keys = (signer.public_key, _alias(signer).public_key)
    role = NewRole(name="acme.db", patterns=("acme/db:*", "acme/db@*"), keys=keys, threshold=2)
    files = world.attacker.files()
    with pytest.raises(RefusedError, match="lists one key under two ids"):
        world.publish(lambda publisher: add(publisher, [role]))
    assert world.attacker.files() == files
