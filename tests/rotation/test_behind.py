"""A rotation cut short between the new root and the timestamp: completed by anybody, used by no thief."""

from __future__ import annotations

import pytest

from tests.journeys.test_watch import Watchman
from tests.simulators.attacker import Keys, strangers
from tests.simulators.teams import change_keys, roles_of
from tests.simulators.world import ONLINE, Consumer, World
from trust.errors import RefusedError
from trust.stores.interface import TIMESTAMP
from trust.verdict import Reason
from trust.watch import REST_MOST

ROLES = ["targets", "online", "timestamp", "snapshot"]


def _cut_short(world: World, role: str) -> Keys:
    """Rotate a stolen key of ``role``, and die before the timestamp; return the key."""
    if role in ONLINE:
        own = strangers()
        change_keys(world, role, add=own, remove=world.keys[role])
    stolen, before = world.keys[roles_of(role)[0]], world.attacker.files()[TIMESTAMP]
    change_keys(world, role, add=strangers(), stolen=stolen)
    world.attacker.put(TIMESTAMP, before)
    _forget(world)
    return stolen


def _forget(world: World) -> None:
    """Go on as the publisher who was not there: his home knows nothing of the rotation."""
    world.home = world.folder / f"{world.home.name}-other"


@pytest.mark.parametrize("role", ROLES)
def test_consumers_refuse_until_any_publisher_changes_anything(
    world: World, consumer: Consumer, role: str
) -> None:
    _cut_short(world, role)
    denied = consumer.verify()
    assert denied.reason is Reason.WRONG_SIGNER  # type: ignore[union-attr]
    assert consumer.refusal().reason is Reason.WRONG_SIGNER  # no state but the root has changed
    digest = world.sign("2.0")
    assert consumer.allowed("registry.test/acme/web:2.0").digest == digest
    consumer.allowed()
    world.consumer("fresh").allowed()


@pytest.mark.parametrize("role", ROLES)
def test_repeated_rotation_completes_one_that_was_cut_short(world: World, consumer: Consumer, role: str) -> None:
    stolen = _cut_short(world, role)
    new = world.keys[roles_of(role)[0]]
    assert change_keys(world, role, add=new, stolen=stolen).changed
    consumer.allowed()
    assert not change_keys(world, role, add=new, stolen=stolen).changed


def test_rotations_that_were_cut_short_one_after_the_other_are_completed(world: World, consumer: Consumer) -> None:
    for role in ("targets", "online"):
        before = world.attacker.files()[TIMESTAMP]
        change_keys(world, role, add=strangers(), stolen=world.keys[roles_of(role)[0]])
        world.attacker.put(TIMESTAMP, before)
        _forget(world)
    world.renew()
    consumer.allowed()


def test_signature_that_changes_nothing_completes_it_as_well(world: World, consumer: Consumer) -> None:
    _cut_short(world, "online")
    world.sign()
    consumer.allowed()


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_what_a_stolen_key_signs_after_the_crash_is_not_signed_anew(world: World, role: str) -> None:
    """The new keys would vouch for the thief's image from then on."""
    thief = dict(world.keys)
    for name in ("online", "targets"):
        before = world.attacker.files()[TIMESTAMP]
        change_keys(world, name, add=strangers(), stolen=thief[roles_of(name)[0]])
        world.attacker.put(TIMESTAMP, before)
        _forget(world)
    attacker = type(world.attacker)(world.directory, thief)
    attacker.forge(role, lambda signed: signed.unrecognized_fields.update({"x-thief": "was here"}))
    files = world.attacker.files()
    with pytest.raises(RefusedError, match="expected 1 signatures by different keys, got 0"):
        world.sign("2.0")
    assert world.attacker.files() == files


def test_time_before_a_completed_rotation_is_a_rollback_to_who_saw_it(world: World) -> None:
    before = world.attacker.files()[TIMESTAMP]
    change_keys(world, "targets", add=strangers(), stolen=world.keys["targets"])
    world.attacker.put(TIMESTAMP, before)
    with pytest.raises(RefusedError, match="older than what was published from here") as caught:
        world.sign("2.0")
    assert caught.value.reason == Reason.ROLLED_BACK.value


def test_watch_completes_it_before_anything_is_due(world: World, consumer: Consumer) -> None:
    done: list[str] = []

    def die_once() -> None:
        if not done:
            done.append("cut short")
            _forget(world)  # it is another publisher who dies
            _cut_short(world, "online")
            assert consumer.denied().reason is Reason.WRONG_SIGNER

    Watchman(world).watch(2 * REST_MOST, die_once)
    consumer.allowed()
