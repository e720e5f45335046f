"""A change below its threshold: it waits, is seen, is approved, and only then is it there for anybody."""

from __future__ import annotations

import pytest

from tests.simulators.attacker import strangers
from tests.simulators.team import Member, team, waiting, words
from tests.simulators.world import WEB, Consumer, World, manifest_bytes
from trust.digest import sha256
from trust.errors import ConflictError, InputError, UnavailableError
from trust.pending import parse_pending, pending_bytes
from trust.verdict import Reason

NEW = "registry.test/acme/web:2.0"


def test_consumers_see_nothing_of_a_change_before_its_last_signature(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, _ = people
    files, rows = world.attacker.files(), consumer.rows()
    waits = ann.sign("2.0").waits
    assert waits is not None
    assert [(role.role, role.count, len(role.signed)) for role in waits.roles] == [("targets", 1, 1)]
    assert waits.roles[0].open == tuple(key.public_key.keyid for key in world.keys["targets"][1:])
    assert world.attacker.files() == files
    assert consumer.refusal(NEW).reason is Reason.UNSIGNED
    assert consumer.rows() == rows

    done = bob.approve(waits.change.id)
    assert done.waits is None
    assert done.changed
    signers = {ann.keys[0].public_key.keyid, bob.keys[0].public_key.keyid}
    assert set(consumer.allowed(NEW).signers) == signers
    assert ann.pending() == ()
    assert consumer.allowed(WEB).digest == sha256(manifest_bytes("acme/web:1.4"))


def test_change_is_shown_in_words_before_it_is_signed(world: World, people: list[Member]) -> None:
    ann, bob, _ = people
    other = manifest_bytes("another image")
    world.later(days=1)
    waits = ann.sign("1.4", manifest=other, reason="hotfix").waits
    assert waits is not None
    bob.approve(waits.change.id)
    said = words(bob.shown[0])
    old, new = sha256(manifest_bytes("acme/web:1.4")), sha256(other)
    assert f"tag acme/web:1.4 moves from {old} to {new}" in said
    assert "reason=hotfix" in said
    assert "expires moves from" in said
    assert "version moves from 2 to 3" in said


def test_prefix_of_eight_digits_names_a_change_and_a_shorter_one_does_not(people: list[Member]) -> None:
    ann, bob, _ = people
    waits = ann.sign("2.0").waits
    assert waits is not None
    digits = waits.change.id.hex
    with pytest.raises(InputError, match="at least 8 hex digits"):
        bob.approve(digits[:7])
    with pytest.raises(InputError, match="no change with this id"):
        bob.approve(f"{int(digits[:8], 16) ^ 1:08x}")
    assert bob.approve(f"sha256:{digits[:8]}").changed


def test_approving_twice_changes_nothing(world: World, people: list[Member]) -> None:
    ann = people[0]
    waits = ann.sign("2.0").waits
    assert waits is not None
    before = waiting(world)
    again = ann.approve(waits.change.id)
    assert not again.changed
    assert again.waits is not None
    assert waiting(world) == before


def test_signing_again_what_waits_already_changes_nothing(people: list[Member]) -> None:
    ann = people[0]
    first, again = ann.sign("2.0"), ann.sign("2.0")
    assert first.changed
    assert not again.changed
    assert again.waits is not None
    assert first.waits is not None
    assert again.waits.change.id == first.waits.change.id


def test_key_that_does_not_sign_a_change_is_an_error_and_signs_nothing(world: World, people: list[Member]) -> None:
    ann, bob, _ = people
    waits = ann.sign("2.0").waits
    assert waits is not None
    before = waiting(world)
    foreign = frozenset({strangers()[0].public_key.keyid})
    with pytest.raises(InputError, match="does not sign targets"):
        bob.approve(waits.change.id, chosen=foreign)
    bob.keys = strangers()
    with pytest.raises(UnavailableError, match="no key that can give one is at hand"):
        bob.approve(waits.change.id)
    assert waiting(world) == before


def test_nobody_at_hand_leaves_no_change_behind(world: World, people: list[Member]) -> None:
    ann = people[0]
    ann.keys = strangers()
    with pytest.raises(UnavailableError, match="needs 2 signatures, 0 of its keys are at hand"):
        ann.sign("2.0")
    assert waiting(world) == {}


def test_last_signature_without_an_online_key_completes_and_a_publisher_publishes(
    world: World, consumer: Consumer
) -> None:
    ann, bob, eve = team(world, online=False)
    waits = ann.sign("2.0").waits
    assert waits is not None
    done = bob.approve(waits.change.id)
    assert done.waits is not None
    assert done.waits.is_complete
    assert consumer.refusal(NEW).reason is Reason.UNSIGNED
    daemon = Member(world=world, name="daemon", keys=world.keys["snapshot"][:2])
    settled = daemon.settle()
    assert [each.changed for each in settled.published] == [True]
    assert settled.left == ()
    consumer.allowed(NEW)
    assert eve.pending() == ()


def test_staging_opens_no_online_key_and_publishes_nothing(world: World, consumer: Consumer) -> None:
    job = Member(world=world, name="ci", keys=[key for keys in world.keys.values() for key in keys], stage=True)
    waits = job.sign("2.0").waits
    assert waits is not None
    assert waits.is_complete
    assert not job.opened & {key.public_key.keyid for key in world.keys["snapshot"]}
    assert consumer.refusal(NEW).reason is Reason.UNSIGNED
    daemon = Member(world=world, name="daemon", keys=world.keys["snapshot"][:2])
    assert len(daemon.settle().published) == 1
    consumer.allowed(NEW)


def test_two_who_approve_at_once_lose_no_signature(world: World, consumer: Consumer) -> None:
    ann, bob, eve = team(world, online=False)
    waits = ann.sign("2.0").waits
    assert waits is not None
    bob.meanwhile = lambda: eve.approve(waits.change.id)
    done = bob.approve(waits.change.id)
    assert done.rebased == 1
    assert done.waits is not None
    assert len(done.waits.roles[0].signed) == 3
    assert Member(world=world, name="daemon", keys=world.keys["snapshot"]).settle().published
    assert len(consumer.allowed(NEW).signers) == 3


def test_change_amended_between_show_and_sign_gets_no_signature(world: World, people: list[Member]) -> None:
    ann, bob, _ = people
    waits = ann.sign("2.0").waits
    assert waits is not None
    bob.meanwhile = lambda: ann.sign("3.0")
    with pytest.raises(ConflictError, match="waits no longer"):
        bob.approve(waits.change.id)
    (left,) = ann.pending()
    assert left.waiting is not None
    assert left.waiting.roles[0].signed == (ann.keys[0].public_key.keyid,)


def test_last_signer_at_the_same_time_as_another_finds_it_published(world: World, people: list[Member]) -> None:
    ann, bob, eve = people
    waits = ann.sign("2.0").waits
    assert waits is not None
    bob.meanwhile = lambda: eve.approve(waits.change.id)
    done = bob.approve(waits.change.id)
    assert not done.changed
    assert done.waits is None
    assert set(world.consumer().allowed(NEW).signers) == {
        ann.keys[0].public_key.keyid,
        eve.keys[0].public_key.keyid,
    }


def test_rejected_change_waits_no_longer(consumer: Consumer, people: list[Member]) -> None:
    ann, bob, _ = people
    waits = ann.sign("2.0").waits
    assert waits is not None
    bob.reject(waits.change.id)
    assert ann.pending() == ()
    with pytest.raises(InputError, match="no change with this id"):
        bob.approve(waits.change.id)
    assert consumer.refusal(NEW).reason is Reason.UNSIGNED


def test_document_of_a_change_is_read_back_byte_for_byte(people: list[Member], world: World) -> None:
    ann = people[0]
    ann.sign("2.0", note='ein Bär \\ "')
    (data,) = waiting(world).values()
    assert pending_bytes(parse_pending(data)) == data
