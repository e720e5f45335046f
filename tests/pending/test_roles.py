"""m of n for every role: targets, delegated roles and their bins, root, and several online keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tuf.api.metadata import Root, TargetFile

from tests.simulators.attacker import Keys, strangers
from tests.simulators.relay import Relay
from tests.simulators.team import Member, team, waiting, words
from tests.simulators.world import Consumer, World, manifest_bytes, soon
from trust.bins import rebin
from trust.deadline import Deadline
from trust.delegate import NewRole, add, remove
from trust.delegations import expanded
from trust.digest import sha256
from trust.draft import Changes
from trust.errors import RefusedError, UnavailableError, UnreachableError
from trust.loaded import Loaded
from trust.pending import parse_pending, pending_bytes
from trust.published import Published
from trust.stores.interface import Publication
from trust.verdict import Reason

WEB2 = "registry.test/acme/web:2.0"


def test_role_is_delegated_by_two_people_and_begun_by_two_of_its_own(world: World, consumer: Consumer) -> None:
    ann, bob, _ = team(world)
    keys = strangers(3)
    waits = _delegate(ann, keys).waits
    assert waits is not None
    assert {role.role: role.count for role in waits.roles} == {"targets": 1, "acme.web": 2}
    assert list(waiting(world)) == ["targets"]
    members = _owners(world, keys)
    for member in (members[0], bob, members[1]):
        rows = consumer.rows()
        assert consumer.allowed().role == "targets"
        assert {name: len(each) for name, each in rows.items()} == {n: len(e) for n, e in consumer.rows().items()}
        done = member.approve(waits.change.id)
    assert done.waits is None
    said = words(bob.shown[0])
    assert "role acme.web is delegated: paths acme/web:* acme/web@*, threshold 2 of 3" in said
    assert f"role acme.web gets key {keys[0].public_key.keyid}" in said
    assert "tag acme/web:1.4 goes" in said
    assert "the role is new" in said
    assert consumer.allowed().role == "acme.web"


def test_delegated_role_needs_two_of_its_own_three(world: World, consumer: Consumer) -> None:
    one, two, three = _owners(world, _delegated(world))
    consumer.allowed()
    waits = one.sign("2.0").waits
    assert waits is not None
    assert [(role.role, role.count) for role in waits.roles] == [("acme.web", 1)]
    assert list(waiting(world)) == ["acme.web"]
    assert consumer.refusal(WEB2).reason is Reason.UNSIGNED
    with pytest.raises(UnavailableError, match="no key that can give one is at hand"):
        team(world)[0].approve(waits.change.id)
    two.approve(waits.change.id)
    assert consumer.allowed(WEB2).role == "acme.web"
    assert three.pending() == ()


def test_sign_below_a_delegation_that_waits_amends_it(world: World, consumer: Consumer) -> None:
    ann, bob, _ = team(world)
    keys = strangers(1)
    first = _delegate(ann, keys, threshold=1).waits
    assert first is not None
    ann.keys += keys
    ann.approve(first.change.id)
    second = ann.sign("2.0").waits
    assert second is not None
    assert {role.role: role.count for role in second.roles} == {"targets": 1, "acme.web": 0}
    assert list(waiting(world)) == ["targets"]
    bob.approve(second.change.id)
    assert consumer.allowed(WEB2).role == "acme.web"


def test_role_in_bins_is_signed_by_two_and_waits_under_its_own_name(world: World, consumer: Consumer) -> None:
    ann, bob, _ = team(world)
    waits = ann.do(lambda publisher: rebin(publisher, "targets", 4)).waits
    bob.approve(waits.change.id)
    consumer.allowed()
    signed = ann.sign("2.0").waits
    assert signed is not None
    assert all(role.role.startswith("targets.g") for role in signed.roles)
    assert list(waiting(world)) == ["targets"]
    more = ann.sign("3.0").waits
    assert more is not None
    bob.approve(more.change.id)
    for tag in ("1.4", "2.0", "3.0"):
        consumer.allowed(f"registry.test/acme/web:{tag}")


def test_removal_of_a_role_waits_and_shows_what_comes_back(world: World, consumer: Consumer) -> None:
    _delegated(world)
    ann, bob, _ = team(world)
    waits = ann.do(lambda publisher: remove(publisher, "acme.web", keep_images=True)).waits
    assert consumer.allowed().role == "acme.web"
    bob.approve(waits.change.id)
    assert "role acme.web is delegated no more" in words(bob.shown[0])
    assert f"tag acme/web:1.4 is new: {sha256(manifest_bytes('acme/web:1.4'))}" in words(bob.shown[0])
    assert consumer.allowed().role == "targets"


def test_root_is_renewed_by_two_of_three_and_consumers_follow(world: World, consumer: Consumer) -> None:
    ann, bob, _ = team(world, "root", online=False)
    world.later(days=1)
    waits = ann.renew("root").waits
    assert waits is not None
    rows = consumer.rows()
    consumer.allowed()
    assert {row[1]: row[2] for row in rows["role"]} == consumer.versions()
    assert bob.approve(waits.change.id).waits is not None
    daemon = Member(world=world, name="daemon", keys=world.keys["snapshot"])
    assert len(daemon.settle().published) == 1
    consumer.allowed()
    root = world.attacker.current("root")
    assert root.signed.version == 2
    assert len(root.signatures) == 2


def test_new_root_with_another_key_for_targets_is_shown_and_waits_for_both_thresholds(
    world: World, consumer: Consumer
) -> None:
    ann, bob, _ = team(world, "root")
    new = strangers(1)[0]

    def change(loaded: Loaded) -> Changes:
        root = Root.from_dict(loaded.root.to_dict())
        root.add_key(new.public_key, "root")
        root.roles["root"].threshold = 3
        return Changes(root=root)

    waits = ann.do(lambda publisher: publisher.publish(change)).waits
    assert [(role.role, role.count) for role in waits.roles] == [("root", 2)]
    assert bob.approve(waits.change.id).waits is not None
    assert f"role root gets key {new.public_key.keyid}" in words(bob.shown[0])
    assert "role root needs 3 of 4 keys, not 2 of 3" in words(bob.shown[0])
    newcomer = Member(world=world, name="new", keys=[new, *world.keys["snapshot"]])
    assert newcomer.approve(waits.change.id).waits is None
    consumer.allowed()


def test_two_changes_of_the_root_become_one(world: World) -> None:
    ann, _, eve = team(world, "root")
    first = ann.renew("root").waits
    assert first is not None
    new = strangers(1)[0]

    def change(loaded: Loaded) -> Changes:
        root = Root.from_dict(loaded.root.to_dict())
        root.add_key(new.public_key, "targets")
        return Changes(root=root)

    second = ann.do(lambda publisher: publisher.publish(change)).waits
    assert second.change.id != first.change.id
    assert second.change.root.version == 2
    assert list(waiting(world)) == ["root"]
    assert ann.do(lambda publisher: publisher.publish(_none)).waits is None
    assert eve.approve(second.change.id).waits is None


def test_root_that_was_to_follow_its_roles_is_published_by_the_next_one(world: World, consumer: Consumer) -> None:
    (root_ann, root_bob, _), owners = team(world, "root"), world.keys["targets"]
    new = strangers(1)[0]
    for each in (root_ann, root_bob):
        each.keys += owners

    def change(loaded: Loaded) -> Changes:
        root = Root.from_dict(loaded.root.to_dict())
        root.add_key(new.public_key, "targets")
        return Changes(root=root, renewed=frozenset({"targets"}))

    waits = root_ann.do(lambda publisher: publisher.publish(change)).waits
    assert [(role.role, role.count) for role in waits.roles] == [("root", 1), ("targets", 0)]
    root_bob.store = _Dying(honest=world.store, left=1)
    with pytest.raises(UnreachableError, match="gone"):
        root_bob.approve(waits.change.id)
    assert (world.attacker.current("root").signed.version, world.attacker.current("targets").signed.version) == (
        1,
        3,
    )
    consumer.allowed()
    root_bob.store = None
    assert root_bob.approve(waits.change.id).waits is None
    assert world.attacker.current("root").signed.version == 2
    consumer.allowed()
    assert waiting(world) == {}


@dataclass(kw_only=True)
class _Dying(Relay):
    """A store that goes away after ``left`` publications."""

    left: int

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        if not self.left:
            raise UnreachableError("the store is gone")
        self.left -= 1
        self.honest.publish(publication, deadline=deadline)


@pytest.mark.parametrize("number", [0, 1])
def test_either_of_two_online_keys_publishes(tmp_path: Path, number: int) -> None:
    keys = {role: strangers(1) for role in ("root", "targets")}
    world = World(tmp_path, keys={**keys, "snapshot": strangers(2), "timestamp": []})
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    job = Member(world=world, name="ci", keys=keys["targets"])
    assert job.sign("2.0").waits is not None
    daemon = Member(world=world, name="daemon", keys=[world.keys["snapshot"][number]])
    assert len(daemon.settle().published) == 1
    consumer.allowed(WEB2)
    daemon.renew()
    assert len(world.attacker.current("timestamp").signatures) == 1
    consumer.allowed(WEB2)


def test_role_that_signs_what_it_has_delegated_is_refused(world: World, consumer: Consumer) -> None:
    _delegated(world)
    ann, bob, _ = team(world)
    ann.sign("1.0", path="acme/other")
    (data,) = waiting(world).values()
    pending = parse_pending(data)
    signed = pending.roles[0].metadata.signed
    shadow = TargetFile.from_dict(signed.targets["acme/other:1.0"].to_dict(), "acme/web:1.4")
    signed.targets["acme/web:1.4"] = shadow
    world.store.set_pending("targets", pending_bytes(pending), replaces=data, deadline=soon())
    with pytest.raises(RefusedError, match=r"signs acme/web:1\.4, which it has delegated to acme\.web"):
        bob.approve(pending.id)
    assert consumer.allowed().role == "acme.web"


def _none(_loaded: Loaded) -> None:
    return None


def _delegate(member: Member, keys: Keys, *, threshold: int = 2) -> Published:
    role = NewRole(
        name="acme.web",
        patterns=expanded("acme/web"),
        keys=tuple(key.public_key for key in keys),
        threshold=threshold,
    )
    published: Published = member.do(lambda publisher: add(publisher, [role]))
    return published


def _delegated(world: World) -> Keys:
    """Have ``acme.web`` delegated to three new keys, two of which must sign; return them."""
    keys = strangers(3)
    every = Member(
        world=world, name="founder", keys=[*keys, *(key for some in world.keys.values() for key in some)]
    )
    assert _delegate(every, keys).waits is None
    return keys


def _owners(world: World, keys: Keys) -> list[Member]:
    return [
        Member(world=world, name=f"owner-{number}", keys=[key, *world.keys["snapshot"]])
        for number, key in enumerate(keys)
    ]
