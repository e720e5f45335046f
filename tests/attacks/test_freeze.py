"""Newer metadata is withheld: what the consumer has runs out, whichever role it is, however it is asked."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.simulators.world import START, Consumer, World
from trust.roles import DEFAULT_EXPIRY
from trust.verdict import Reason

ROLES = ("targets", "snapshot", "timestamp")
BRIEF = timedelta(hours=1)


def _expire(world: World, role: str) -> None:
    """Publish ``role`` so that it ends in an hour, long before every other role."""
    if role == "root":
        world.rotate(lambda root: setattr(root, "expires", world.now + BRIEF))
    else:
        world.attacker.forge(role, lambda signed: setattr(signed, "expires", world.now + BRIEF))


@pytest.mark.parametrize("role", ["root", *ROLES])
def test_expired_role_is_refused_on_the_warm_path(world: World, consumer: Consumer, role: str) -> None:
    _expire(world, role)
    consumer.allowed()
    world.later(minutes=59)
    consumer.allowed()
    world.later(minutes=1)
    denied = consumer.refusal()
    assert denied.reason is Reason.EXPIRED
    assert role in denied.detail


@pytest.mark.parametrize("role", ["root", *ROLES])
def test_expired_role_is_refused_offline(world: World, consumer: Consumer, role: str) -> None:
    _expire(world, role)
    consumer.allowed()
    consumer.allowed(offline=True)
    world.later(hours=1)
    assert consumer.refusal(offline=True).reason is Reason.EXPIRED


@pytest.mark.parametrize("role", ["root", *ROLES])
def test_expired_role_is_refused_within_the_age_that_the_policy_admits(world: World, role: str) -> None:
    consumer = world.consumer(max_age=timedelta(days=30))
    _expire(world, role)
    consumer.allowed()
    world.later(hours=1)
    assert consumer.refusal().reason is Reason.EXPIRED


@pytest.mark.parametrize("role", ["root", *ROLES])
def test_expired_role_is_refused_at_first_use(world: World, role: str) -> None:
    _expire(world, role)
    world.later(hours=1)
    denied = world.consumer().refusal()
    assert denied.reason is Reason.EXPIRED
    assert role in denied.detail


@pytest.mark.parametrize("role", ROLES)
def test_new_but_expired_role_is_refused_and_not_kept(world: World, consumer: Consumer, role: str) -> None:
    world.attacker.forge(role, lambda signed: setattr(signed, "expires", world.now - BRIEF))
    assert consumer.refusal().reason is Reason.EXPIRED


def test_renewed_collection_is_valid_again_for_who_was_refused(world: World, consumer: Consumer) -> None:
    world.later(days=8)
    assert consumer.refusal().reason is Reason.EXPIRED
    world.renew()
    consumer.allowed()


def test_expired_root_is_replaced_by_a_legal_rotation(world: World, consumer: Consumer) -> None:
    world.now = START + DEFAULT_EXPIRY["root"] + timedelta(days=100)
    world.rotate()
    world.renew("targets")
    consumer.allowed()
    world.consumer("fresh").allowed()
    assert consumer.versions()["root"] == 2


def test_root_that_expired_between_two_others_does_not_matter(world: World, consumer: Consumer) -> None:
    world.rotate(lambda root: setattr(root, "expires", world.now - BRIEF))
    world.rotate()
    consumer.allowed()
    assert consumer.versions()["root"] == 3


def test_valid_until_is_the_earliest_expiry_of_the_whole_chain(world: World, consumer: Consumer) -> None:
    for role in ("root", *ROLES):
        _expire(world, role)
        assert consumer.allowed().valid_until == world.now + BRIEF
        world.rotate()
        world.renew("targets")
        assert consumer.allowed().valid_until == world.now + DEFAULT_EXPIRY["timestamp"]


def test_withheld_root_is_noticed_when_the_timestamp_changes(world: World, consumer: Consumer) -> None:
    world.replace_keys("timestamp", "snapshot")
    world.attacker.forge("snapshot")
    hidden = {name: data for name, data in world.attacker.files().items() if name != "2.root.json"}
    world.attacker.restore(hidden)
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


def test_nobody_is_told_of_an_expiry_by_a_stopped_clock(tmp_path: Path) -> None:
    """The moment is the caller's: a world in 2031 is valid there whatever this machine's clock says."""
    world = World(tmp_path)
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    world.later(days=8)
    world.renew()
    consumer.allowed()
    assert world.consumer("fresh").allowed().valid_until > world.now
