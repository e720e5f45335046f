"""Whoever can write to the store against those who sign what waits: stripped, edited, put back, forged."""

from __future__ import annotations

import json

import pytest

from tests.pending.tampering import sent, tamper
from tests.simulators.attacker import strangers
from tests.simulators.team import Member, team, waiting
from tests.simulators.world import Consumer, World, manifest_bytes, soon
from trust.canonical import signed_bytes
from trust.digest import sha256
from trust.errors import ConflictError, InputError, RefusedError, StaleError
from trust.pending import PendingRole, parse_pending
from trust.verdict import Reason

NEW = "registry.test/acme/web:2.0"


def test_signature_that_was_stripped_is_missing_and_nothing_is_published(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, eve = people
    waits = sent(ann)
    tamper(world, lambda role: role.metadata.signatures.clear())
    done = bob.approve(waits.change.id)
    assert done.waits is not None
    assert done.waits.roles[0].signed == (bob.keys[0].public_key.keyid,)
    assert consumer.refusal(NEW).reason is Reason.UNSIGNED
    eve.approve(waits.change.id)
    consumer.allowed(NEW)


def test_content_that_was_changed_has_another_id_and_keeps_no_signature(
    world: World, people: list[Member]
) -> None:
    ann, bob, _ = people
    waits = sent(ann)
    evil = sha256(manifest_bytes("evil"))

    def edit(role: PendingRole) -> None:
        role.metadata.signed.targets["acme/web:2.0"].hashes["sha256"] = evil.hex

    tamper(world, edit)
    with pytest.raises(InputError, match="no change with this id waits"):
        bob.approve(waits.change.id)
    (shown,) = bob.pending()
    assert shown.waiting is not None
    assert shown.waiting.roles[0].signed == ()
    assert any(f"acme/web:2.0 is new: {evil}" in line for line in shown.differences[0].words)


def test_bytes_of_which_a_change_has_its_id_are_laid_beside_it_in_vain(
    world: World, people: list[Member], consumer: Consumer
) -> None:
    ann, bob, _ = people
    change = sent(ann).change
    known = b"[" + b",".join(signed_bytes(role.metadata) for role in change.roles) + b"]"
    assert sha256(known) == change.id
    for place in ("aaa", "bbb"):
        world.store.set_pending(place, known, replaces=None, deadline=soon())
    decoys = [each for each in bob.pending() if each.problem]
    assert len({each.id for each in decoys}) == 2
    assert bob.approve(change.id).changed
    consumer.allowed(NEW)
    for each in decoys:
        bob.reject(each.id)
    assert not waiting(world)


def test_change_that_was_published_and_is_put_back_does_nothing(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, eve = people
    waits = sent(ann)
    data = waiting(world)["targets"]
    bob.approve(waits.change.id)
    files = world.attacker.files()
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    assert not eve.approve(waits.change.id).changed
    assert waiting(world) == {}
    world.sign("5.0")
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    with pytest.raises(StaleError):
        eve.approve(waits.change.id)
    assert eve.settle().published == ()
    assert world.attacker.files().items() >= {k: v for k, v in files.items() if k != "timestamp.json"}.items()
    consumer.allowed(NEW)


def test_change_of_another_collection_is_refused(world: World, people: list[Member]) -> None:
    other = World(world.folder / "other", keys_each=3, threshold=2, keys=world.keys)
    stranger = team(other)[0]
    stranger.sign("2.0")
    (data,) = waiting(other).values()
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    with pytest.raises(RefusedError, match="of another collection"):
        people[1].approve(parse_pending(data).id)


def test_signature_of_a_key_that_does_not_sign_the_role_counts_for_nothing(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, _ = people
    waits = sent(ann)

    def edit(role: PendingRole) -> None:
        for key in strangers(3):
            role.metadata.sign(key, append=True)

    tamper(world, edit)
    assert bob.settle().published == ()
    (shown,) = bob.pending()
    assert shown.waiting is not None
    assert shown.waiting.roles[0].count == 1
    bob.approve(waits.change.id)
    consumer.allowed(NEW)
    body = json.loads((world.directory / world.attacker.file_of("targets")).read_bytes())
    assert len(body["signatures"]) == 2


def test_publisher_who_dies_after_the_timestamp_leaves_a_change_that_is_merely_done(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, eve = people
    waits = sent(ann)
    data = waiting(world)["targets"]
    bob.approve(waits.change.id)
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    assert [each.problem for each in eve.pending()] == ["it is published"]
    assert [each.changed for each in eve.settle().published] == [False]
    assert waiting(world) == {}
    consumer.allowed(NEW)


def test_publisher_who_dies_before_the_timestamp_leaves_a_file_that_the_next_one_adopts(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, eve = people
    waits = sent(ann)
    data, timestamp = waiting(world)["targets"], (world.directory / "timestamp.json").read_bytes()
    bob.approve(waits.change.id)
    (world.directory / "timestamp.json").write_bytes(timestamp)
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    left = (world.directory / "3.targets.json").read_bytes()
    assert eve.approve(waits.change.id).waits is None
    assert (world.directory / "3.targets.json").read_bytes() == left
    consumer.allowed(NEW)


def test_file_of_another_content_under_the_number_of_a_change_makes_it_stale(
    world: World, people: list[Member]
) -> None:
    ann, bob, _ = people
    waits = sent(ann)
    (world.directory / "3.targets.json").write_bytes((world.directory / "2.targets.json").read_bytes())
    with pytest.raises(StaleError, match="the number 3 of targets is taken"):
        bob.approve(waits.change.id)
    merged = ann.sign("3.0").waits
    assert merged is not None
    assert bob.approve(merged.change.id).waits is None


def test_another_content_in_the_place_of_a_change_is_a_conflict_and_gets_nothing(
    world: World, people: list[Member]
) -> None:
    ann, bob, _ = people
    waits = sent(ann)
    bob.meanwhile = lambda: tamper(world, lambda role: setattr(role.metadata.signed, "version", 9))
    with pytest.raises(ConflictError, match="waits no longer"):
        bob.approve(waits.change.id)
    (left,) = waiting(world).values()
    assert bob.keys[0].public_key.keyid not in parse_pending(left).roles[0].metadata.signatures
