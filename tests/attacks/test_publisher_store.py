"""A publisher reads his own store as a stranger would: whoever stole the online key decides nothing for him."""

from __future__ import annotations

from typing import Any

import pytest
from tuf.api.metadata import MetaFile

from tests.simulators.attacker import signed, strangers
from tests.simulators.world import ONLINE, World
from trust.errors import RefusedError
from trust.publish import Publisher
from trust.published import Published
from trust.verdict import Reason


def test_publisher_builds_on_no_old_targets_under_a_new_number(world: World) -> None:
    """A stolen online key and a link without hashes must not have revoked images signed again."""
    attacker = world.attacker
    old = (attacker.directory / attacker.file_of("targets")).read_bytes()
    world.revoke("1.4")
    attacker.put("9.targets.json", old)
    attacker.forge("snapshot", lambda snapshot: snapshot.meta.update({"targets.json": MetaFile(version=9)}))
    world.home = world.folder / "another publisher"
    with pytest.raises(RefusedError) as caught:
        world.sign("1.6")
    assert caught.value.reason in {Reason.ROLLED_BACK.value, Reason.TAMPERED.value}


def test_publisher_reads_of_fifty_rotations_none_twice(world: World) -> None:
    read: list[str] = []

    def count(name: str, _max_bytes: int, data: bytes | None) -> bytes | None:
        read.extend([name] if name.endswith(".root.json") else [])
        return data

    def renew(publisher: Publisher) -> Published:
        return publisher.renew(frozenset())

    for _ in range(50):
        world.rotate()
    world.publish(renew, store=world.wire(count))
    assert [name for name in read if read.count(name) > 1] == []
    assert len(read) == 52  # the first, the fifty, and that there is no other
    read.clear()
    world.publish(renew, store=world.wire(count))
    assert read == ["51.root.json", "52.root.json"]
    world.rotate()
    read.clear()
    world.publish(renew, store=world.wire(count))
    assert read == ["51.root.json", "52.root.json", "53.root.json"]
    world.consumer().allowed()


def test_publisher_notices_that_roots_which_he_has_seen_are_gone_or_others(world: World) -> None:
    frozen = world.attacker.files()
    world.rotate()
    world.renew()
    newest = world.attacker.files()
    world.attacker.restore(frozen)
    with pytest.raises(RefusedError) as caught:
        world.renew()
    assert caught.value.reason == Reason.ROLLED_BACK.value
    world.attacker.restore(newest)
    world.attacker.edit_bytes("2.root.json", lambda data: data + b" ")
    world.renew()  # the same root in other bytes is walked anew, from the pin
    root = world.attacker.current("root")
    root.signed.expires = world.now
    world.attacker.put("2.root.json", signed(root, strangers()))
    with pytest.raises(RefusedError) as caught:
        world.renew()
    assert caught.value.reason == Reason.WRONG_SIGNER.value


def test_root_that_the_publisher_has_seen_counts_for_the_consumer_of_his_home_too(world: World) -> None:
    """He keeps it for himself; a consumer who then meets it keeps it as if he had found it first."""
    consumer = world.consumer()
    consumer.home = world.home
    consumer.allowed()
    frozen = world.attacker.files()
    world.replace_keys(*ONLINE)
    world.attacker.forge("snapshot")
    world.renew()
    consumer.allowed(offline=True)  # what was verified is as it was
    newest = world.attacker.files()["2.root.json"]
    world.attacker.restore({**frozen, "2.root.json": newest})
    assert consumer.denied().reason is Reason.WRONG_SIGNER
    world.attacker.restore(frozen)
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


def test_publisher_refuses_a_snapshot_without_targets(world: World) -> None:
    world.attacker.forge("snapshot", lambda snapshot: snapshot.meta.clear())
    with pytest.raises(RefusedError) as caught:
        world.sign("1.6")
    assert caught.value.reason == Reason.TAMPERED.value


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
@pytest.mark.parametrize("field", ["x-collection", "x-role"])
def test_publisher_builds_on_no_role_of_another_collection(world: World, role: str, field: str) -> None:
    def elsewhere(signed: Any) -> None:
        signed.unrecognized_fields[field] = "0" * 32

    world.rotate(elsewhere) if role == "root" else world.attacker.forge(role, elsewhere)
    with pytest.raises(RefusedError, match="belongs elsewhere") as caught:
        world.sign("1.6")
    assert caught.value.reason == Reason.TAMPERED.value


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_publisher_builds_on_no_role_of_a_foreign_key(world: World, role: str) -> None:
    world.attacker.forge(role, signers=strangers())
    with pytest.raises(RefusedError, match="expected 1 signatures by different keys, got 0"):
        world.sign("1.6")
