"""A delegate whose changes others publish cannot fill the snapshot, which everybody has to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.team import Member, waiting
from tests.simulators.teams import delegate, ids
from tests.simulators.world import World
from trust.delegations import NAME_MAX, Delegation, Delegations
from trust.draft import Changes
from trust.errors import RefusedError
from trust.loaded import Loaded
from trust.published import Published
from trust.share import SHARE_MAX_BYTES
from trust.targets import Content, Table

EVIL = "evil"
NOTHING = Table(targets={}, revoked={})
ENTRY_BYTES = NAME_MAX + 128
MANY = SHARE_MAX_BYTES // ENTRY_BYTES


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a collection with a team, ``evil``, that has no online key; the owner signs the rest."""
    world = World(tmp_path)
    delegate(world, EVIL, "acme/evil")
    world.sign()
    return world


@pytest.fixture
def daemon(world: World) -> Member:
    """Give who publishes what others completed: he has the online key alone."""
    return Member(world=world, name="daemon", keys=world.keys["snapshot"])


def _named(prefix: str, number: int) -> str:
    return f"{prefix}{number:05d}.".ljust(NAME_MAX - 1, "x") + "x"


def _add(world: World, count: int, *, prefix: str = "a", above: str = EVIL, online: bool = False) -> Published:
    """Have the team delegate to ``count`` roles with its own key, signed at once; what is there stays."""
    key = world.keys[EVIL][0].public_key
    names = [_named(prefix, number) for number in range(count)]

    def change(loaded: Loaded) -> Changes:
        before = loaded.find(above).content
        roles = tuple(
            Delegation(
                name=name, patterns=(f"acme/evil:{prefix}{number}",), keyids=ids(world.keys[EVIL]), threshold=1
            )
            for number, name in enumerate(names)
        )
        after = Delegations(
            roles=(*before.delegations.roles, *roles), keys={key.keyid: {"keyid": key.keyid, **key.to_dict()}}
        )
        new = dict.fromkeys(names, Content(table=NOTHING))
        return Changes(contents={above: Content(table=before.table, delegations=after), **new})

    thief = Member(
        world=world, name="thief", keys=[*world.keys[EVIL], *(world.keys["snapshot"] if online else [])]
    )
    published: Published = thief.do(lambda publisher: publisher.publish(change))
    return published


def test_delegate_who_adds_very_many_roles_is_refused_and_stops_nobody(world: World, daemon: Member) -> None:
    consumer = world.consumer()
    waits = _add(world, MANY + 1).waits
    assert waits is not None
    assert waits.is_complete
    files, left = world.attacker.files(), waiting(world)
    settled = daemon.settle()
    assert settled.published == ()
    (shown,) = settled.left
    assert shown.problem is not None
    assert f"role evil and those below it would take more than {SHARE_MAX_BYTES} bytes" in shown.problem
    with pytest.raises(RefusedError, match="leaves too little room for others") as caught:
        daemon.approve(waits.change.id)
    assert caught.value.reason == "limit-reached"
    assert (world.attacker.files(), waiting(world)) == (files, left)
    consumer.allowed()
    world.sign("2.0")
    consumer.allowed("registry.test/acme/web:2.0")


def test_what_was_added_before_counts_and_a_change_without_new_names_is_not_held_up(
    world: World, daemon: Member
) -> None:
    half = MANY // 2
    for prefix in ("a", "b"):
        _add(world, half, prefix=prefix)
        assert len(daemon.settle().published) == 1
    _add(world, 4, prefix="c", above=_named("a", 0))  # below one of his own
    (shown,) = daemon.settle().left
    assert shown.problem is not None
    assert "role evil and those below it" in shown.problem
    Member(world=world, name="owner", keys=world.keys["targets"]).reject(shown.id)
    team = Member(world=world, name="team", keys=world.keys[EVIL])
    assert team.sign("z", path="acme/evil").waits is not None
    assert len(daemon.settle().published) == 1
    world.consumer().allowed("registry.test/acme/evil:z")


def test_owner_adds_what_he_likes(world: World) -> None:
    """His change names what is delegated: it is he who knows how much."""
    delegate(world, "acme.db", "acme/db", bins=64)
    world.sign("1", path="acme/db")
    world.consumer().allowed("registry.test/acme/db:1")
