"""A collection whose keys are in several hands: its first metadata waits, and is there once all have signed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.attacker import strangers
from tests.simulators.team import Member, waiting, words
from tests.simulators.world import World, soon
from trust.birth import approve_birth, found, waits_to_be_born
from trust.ceremony import Born
from trust.errors import ConflictError, InputError, RefusedError, StaleError, UnavailableError
from trust.first_edition import Role
from trust.pending import parse_pending, pending_bytes
from trust.proposal import Waiting
from trust.stores.file import FileStore
from trust.value import replace
from trust.verdict import Allowed


@pytest.fixture
def place(tmp_path: Path) -> World:
    """Give a world whose store is empty, and whose keys no collection has."""
    world = World(tmp_path / "elsewhere", keys_each=3, threshold=2)
    world.directory = tmp_path / "metadata"
    world.store = FileStore(f"file:{world.directory}", world.directory)
    world.keys = {role: strangers(3) for role in ("root", "targets", "snapshot")}
    world.keys["timestamp"] = world.keys["snapshot"]
    world.stanza = replace(world.stanza, metadata=world.store.url)
    return world


def test_first_metadata_waits_and_the_last_signature_makes_the_collection(place: World) -> None:
    ann, bob = _members(place)
    begun = _begin(ann, place)
    assert isinstance(begun, Waiting)
    assert {role.role: role.count for role in begun.roles} == {"root": 1, "targets": 1}
    assert not list(place.directory.glob("*.json"))
    (shown,) = _do(bob, lambda publisher: waits_to_be_born(publisher, str))
    for role in ("root", "targets"):
        for key in place.keys[role]:
            assert f"role {role} gets key {key.public_key.keyid}" in words(shown)
        assert f"role {role} needs 2 of 3 keys" in words(shown)
    born = _approve(bob, begun)
    assert isinstance(born, Born)
    place.stanza = replace(place.stanza, root=born.root)
    assert waiting(place) == {}
    place.sign()
    assert isinstance(place.consumer().verify(), Allowed)
    again = _begin(ann, place)
    assert isinstance(again, Born)
    assert not again.changed
    assert again.root == born.root


def test_init_is_repeated_where_the_online_key_is(place: World) -> None:
    ann, bob = _members(place)
    ann.keys = [place.keys["root"][0], place.keys["targets"][0], *place.keys["snapshot"]]
    bob.keys = [place.keys["root"][1], place.keys["targets"][1]]
    begun = _begin(ann, place)
    assert isinstance(begun, Waiting)
    assert isinstance(_begin(ann, place), Waiting)
    done = _approve(bob, begun)
    assert isinstance(done, Waiting)
    assert done.is_complete
    born = _begin(ann, place)
    assert isinstance(born, Born)
    assert born.changed


def test_beginning_of_another_collection_is_neither_signed_nor_overwritten(place: World) -> None:
    ann, bob = _members(place)
    begun = _begin(ann, place)
    assert isinstance(begun, Waiting)
    before = waiting(place)
    place.threshold = 3
    with pytest.raises(ConflictError, match="the beginning of another collection waits"):
        _begin(bob, place)
    assert waiting(place) == before


@pytest.mark.parametrize(
    "edit",
    [
        lambda root, _targets: root.unrecognized_fields.update({"x-more": 1}),
        lambda root, _targets: setattr(root, "version", 7),
        lambda root, _targets: setattr(root, "consistent_snapshot", None),
        lambda root, _targets: root.keys.pop(root.roles["timestamp"].keyids[0]),
        lambda root, _targets: setattr(root, "expires", root.expires.replace(year=2099)),
        lambda root, _targets: setattr(root.roles["root"], "threshold", 4),
        lambda _root, targets: targets.unrecognized_fields.update({"x-more": 1}),
        lambda _root, targets: targets.unrecognized_fields.update({"x-collection": "0" * 32}),
        lambda _root, targets: setattr(targets, "expires", targets.expires.replace(year=2099)),
    ],
)
def test_beginning_with_a_field_that_is_not_shown_is_signed_by_nobody(place: World, edit: Any) -> None:
    ann, bob = _members(place)
    _begin(ann, place)
    (data,) = waiting(place).values()
    pending = parse_pending(data)
    edit(*(role.metadata.signed for role in pending.roles))
    place.store.set_pending("root", pending_bytes(pending), replaces=data, deadline=soon())
    with pytest.raises(RefusedError):
        _do(bob, lambda publisher: approve_birth(publisher, str(pending.id), consent=bob.consent))
    assert bob.shown == []
    assert not list(place.directory.glob("*.json"))


def test_beginning_is_stale_once_the_collection_is_there(place: World) -> None:
    ann, bob = _members(place)
    begun = _begin(ann, place)
    assert isinstance(begun, Waiting)
    (data,) = waiting(place).values()
    _approve(bob, begun)
    files = place.attacker.files()
    place.store.set_pending("root", data, replaces=None, deadline=soon())
    with pytest.raises(StaleError):
        _approve(bob, begun)
    assert place.attacker.files() == files


def test_two_who_give_the_last_signature_at_once_make_one_collection(place: World) -> None:
    ann, bob = _members(place)
    own = [place.keys[role][2] for role in ("root", "targets")]
    eve = Member(world=place, name="eve", keys=[*own, *place.keys["snapshot"]])
    begun = _begin(ann, place)
    assert isinstance(begun, Waiting)
    made: list[object] = []
    bob.meanwhile = lambda: made.append(_approve(eve, begun))
    with pytest.raises((ConflictError, InputError)):
        _approve(bob, begun)
    (born,) = made
    assert isinstance(born, Born)
    place.stanza = replace(place.stanza, root=born.root)
    place.sign()
    place.consumer().allowed()


def test_key_of_another_collection_is_not_signed_into_a_new_one(place: World) -> None:
    ann, bob = _members(place)
    other = World(place.folder / "other", name="other.test/acme/", keys={**place.keys, "targets": strangers(3)})
    begun = _begin(ann, place)
    assert isinstance(begun, Waiting)
    bob.do(lambda publisher: other.init(publisher.state.home))
    with pytest.raises(InputError, match="belongs to collection other"):
        _approve(bob, begun)
    assert bob.shown == []


def test_nobody_of_it_leaves_nothing_behind(place: World) -> None:
    ann, _ = _members(place)
    ann.keys = strangers()
    with pytest.raises(UnavailableError, match="0 of its keys are at hand"):
        _begin(ann, place)
    assert waiting(place) == {}


def _members(world: World) -> list[Member]:
    return [
        Member(
            world=world, name=name,
            keys=[world.keys["root"][number], world.keys["targets"][number], *world.keys["snapshot"]],
        )
        for number, name in enumerate(("ann", "bob"))
    ]  # fmt: skip


def _do(member: Member, journey: Callable[..., Any]) -> Any:
    return member.do(journey)


def _begin(member: Member, world: World) -> Born | Waiting:
    roles: dict[str, Role] = world.roles()
    begun: Born | Waiting = _do(member, lambda publisher: found(publisher, roles, randomness=os.urandom))
    return begun


def _approve(member: Member, begun: Waiting) -> Born | Waiting:
    done: Born | Waiting = _do(
        member, lambda publisher: approve_birth(publisher, str(begun.change.id), consent=member.consent)
    )
    return done
