"""Keys come and go: consumers follow by themselves, what a key signed is signed anew, nothing is repeated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Root

from tests.simulators.attacker import Keys, strangers
from tests.simulators.relay import Relay
from tests.simulators.teams import WEB_ROLE, bin_targets, change_keys, delegate, ids, roles_of
from tests.simulators.world import ONLINE, START, Consumer, World, soon
from trust.deadline import Deadline
from trust.draft import Changes, draft
from trust.edition import sealed
from trust.errors import ConflictError, InputError, UnreachableError
from trust.loaded import Loaded
from trust.repository import load
from trust.stores.interface import Publication


def _gone(how: str, keys: Keys) -> dict[str, Any]:
    """Return the keys that go, under the word for how."""
    return {how: keys}


TOP = ["root", "targets", "online", "snapshot", "timestamp"]


@pytest.mark.parametrize("role", TOP)
@pytest.mark.parametrize("how", ["remove", "stolen"])
def test_consumers_follow_a_rotated_key_with_no_change_on_their_side(
    world: World, consumer: Consumer, role: str, how: str
) -> None:
    old, new = world.keys[roles_of(role)[0]], strangers()
    if role in ONLINE and how == "stolen":
        change_keys(world, role, add=(old := strangers()), remove=world.keys[role])  # of its own
    if how == "stolen" and role == "root":
        old = old + strangers()
        change_keys(world, "root", add=old[1:])
        old = old[:1]
    assert change_keys(world, role, add=new, **_gone(how, old)).changed
    for each in roles_of(role):
        assert set(ids(old)).isdisjoint(world.attacker.current("root").signed.roles[each].keyids)
        assert ids(new)[0] in world.attacker.current("root").signed.roles[each].keyids
    consumer.allowed()
    consumer.allowed(offline=True)
    world.consumer("fresh").allowed()
    del world.keys["added"]
    world.sign("2.0")  # the new keys alone go on
    consumer.allowed("registry.test/acme/web:2.0")


@pytest.mark.parametrize("role", TOP)
def test_repeated_rotation_publishes_nothing(world: World, role: str) -> None:
    old, new = world.keys[roles_of(role)[0]], strangers()
    change_keys(world, role, add=new, remove=old)
    files = world.attacker.files()
    assert not change_keys(world, role, add=new, remove=old).changed
    assert world.attacker.files() == files


@pytest.mark.parametrize("role", [*TOP, WEB_ROLE])
def test_dry_run_of_a_rotation_publishes_nothing(tmp_path: Path, role: str) -> None:
    world = World(tmp_path)
    delegate(world)
    world.sign()
    files = world.attacker.files()
    assert change_keys(world, role, add=strangers(), dry_run=True).changed
    assert world.attacker.files() == files


@pytest.mark.parametrize("role", TOP)
def test_threshold_is_raised_with_the_keys_for_it(world: World, consumer: Consumer, role: str) -> None:
    change_keys(world, role, add=strangers(2), threshold=2)
    for each in roles_of(role):
        found = world.attacker.current("root").signed.roles[each]
        assert (len(found.keyids), found.threshold) == (3, 2)
        assert len(world.attacker.current(each).signatures) >= 2
    consumer.allowed()


@pytest.mark.parametrize("role", [*TOP, WEB_ROLE])
def test_threshold_above_the_number_of_keys_is_refused(tmp_path: Path, role: str) -> None:
    world = World(tmp_path)
    delegate(world)
    files = world.attacker.files()
    with pytest.raises(InputError, match=r"threshold of .* cannot be met: expected at most 2 keys, got 3"):
        change_keys(world, role, add=strangers(), threshold=3)
    with pytest.raises(InputError, match="expected at most 0 keys, got 1"):
        change_keys(world, role, remove=world.keys[roles_of(role)[0]])
    assert world.attacker.files() == files


def test_old_and_new_root_thresholds_sign(tmp_path: Path) -> None:
    world = World(tmp_path, keys_each=3, threshold=2)
    world.sign()
    old, new = world.keys["root"], strangers()
    world.keys["root"] = old[:2]
    change_keys(world, "root", add=new, remove=old[2:])
    assert set(world.attacker.current("root").signatures) == {*ids(old[:2]), *ids(new)}
    world.consumer().allowed()


def test_root_below_its_old_threshold_waits_and_consumers_see_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, keys_each=3, threshold=2)
    world.sign()
    old, files = world.keys["root"], world.attacker.files()
    world.keys["root"] = old[:1]
    done = change_keys(world, "root", add=strangers(), remove=old[2:])
    assert done.waits is not None
    assert [(role.role, role.count) for role in done.waits.roles] == [("root", 1)]
    assert world.attacker.files() == files


def test_stolen_root_key_signs_no_root_any_more(tmp_path: Path) -> None:
    world = World(tmp_path, keys_each=3, threshold=2)
    stolen = world.keys["root"][:1]
    change_keys(world, "root", add=strangers(), stolen=stolen)
    assert not set(ids(stolen)) & set(world.attacker.current("root").signatures)


def test_stolen_key_signs_nothing_though_it_is_at_hand(world: World) -> None:
    for role in ("targets", "online"):
        stolen = world.keys[roles_of(role)[0]]
        change_keys(world, role, add=strangers(), stolen=stolen)
        for each in roles_of(role):
            assert not set(ids(stolen)) & set(world.attacker.current(each).signatures)


@pytest.mark.parametrize("role", TOP[1:])
def test_between_the_two_publications_both_sides_have_signed(world: World, consumer: Consumer, role: str) -> None:
    old, new = world.keys[roles_of(role)[0]], strangers()
    change_keys(world, role, add=new, remove=old)
    for each in roles_of(role):
        assert {*ids(old), *ids(new)} <= set(world.attacker.current(each).signatures)
    newest = world.attacker.directory / "2.root.json"
    newest.rename(world.folder / "2.root.json")
    consumer.allowed()
    assert consumer.versions()["root"] == 1


@dataclass(kw_only=True)
class Between(Relay):
    """A store whose ``moment`` comes before the second of two publications."""

    moment: Callable[[], object]
    published: int = 0

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        self.published += 1
        if self.published == 2:
            self.moment()
        self.honest.publish(publication, deadline=deadline)


@pytest.mark.parametrize("role", TOP[1:])
def test_publisher_who_loaded_before_the_new_root_came_is_told_of_it(
    world: World, consumer: Consumer, role: str
) -> None:
    """What it signs by the old keys would be refused under the new root."""
    old_keys, honest, loaded = dict(world.keys), world.store, list[Loaded]()

    def look() -> None:
        view = honest.view(known=None, deadline=soon())
        assert view is not None
        loaded.append(load(world.stanza, view, floors={}))

    world.store = Between(honest=honest, moment=look)
    change_keys(world, role, add=strangers(), remove=world.keys[roles_of(role)[0]])
    signers = {key.public_key.keyid: key for name in (*ONLINE, "targets") for key in old_keys[name]}
    late = draft(loaded[0], Changes(renewed=frozenset({"targets"})), now=world.now)
    late.sign(signers)
    edition = sealed(loaded[0], late, signers=signers, now=world.now)
    with pytest.raises(ConflictError):
        honest.publish(edition.publication, deadline=soon())
    consumer.allowed()


@pytest.mark.parametrize("role", ["targets", "online"])
def test_rotation_of_a_stolen_key_can_be_completed_wherever_it_was_cut_short(
    world: World, consumer: Consumer, role: str
) -> None:
    """Nothing that the new keys alone have signed goes out before the root that names them."""

    def die() -> None:
        raise UnreachableError("the publisher died")

    honest, before = world.store, dict(world.keys)
    world.store = Between(honest=honest, moment=die)
    with suppress(UnreachableError):
        change_keys(world, role, add=strangers(), stolen=world.keys[roles_of(role)[0]])
    world.store, world.home = honest, world.folder / "another home"
    world.keys = {**before, **world.keys}
    digest = world.sign("2.0")
    assert consumer.allowed("registry.test/acme/web:2.0").digest == digest


@pytest.mark.parametrize("bins", [0, 4])
@pytest.mark.parametrize("how", ["remove", "stolen"])
def test_delegated_role_is_signed_anew_by_its_new_keys(tmp_path: Path, bins: int, how: str) -> None:
    world = World(tmp_path)
    delegate(world, bins=bins)
    digest = world.sign()
    consumer = world.consumer()
    consumer.allowed()
    old, new = world.keys[WEB_ROLE], strangers()
    assert change_keys(world, WEB_ROLE, add=new, **_gone(how, old)).changed
    allowed = consumer.allowed()
    assert (allowed.signers, allowed.digest, allowed.role) == (ids(new), digest, WEB_ROLE)
    files = world.attacker.files()
    assert not change_keys(world, WEB_ROLE, add=new, **_gone(how, old)).changed
    assert world.attacker.files() == files
    world.sign("2.0")
    consumer.allowed("registry.test/acme/web:2.0")


@pytest.mark.parametrize("how", ["remove", "stolen"])
def test_bins_of_targets_follow_its_keys(tmp_path: Path, how: str) -> None:
    world = World(tmp_path)
    bin_targets(world, 4)
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    new = strangers()
    change_keys(world, "targets", add=new, **_gone(how, world.keys["targets"]))
    assert consumer.allowed().signers == ids(new)
    assert not change_keys(world, "targets", add=new).changed


def test_delegated_threshold_is_counted_by_consumers(tmp_path: Path) -> None:
    world = World(tmp_path)
    delegate(world, keys=strangers(2))
    world.sign()
    change_keys(world, WEB_ROLE, threshold=2)
    consumer = world.consumer()
    assert len(consumer.allowed().signers) == 2
    files = world.attacker.files()
    world.keys[WEB_ROLE] = world.keys[WEB_ROLE][:1]
    world.sign("2.0")  # it waits
    assert world.attacker.files() == files


def test_role_that_is_not_there_is_refused(world: World) -> None:
    with pytest.raises(InputError, match=r"the collection has no role acme\.other"):
        change_keys(world, "acme.other", add=strangers())


def test_key_of_another_collection_is_refused(world: World, tmp_path: Path) -> None:
    """Metadata of two collections that share a key could be swapped."""
    other = World(tmp_path / "other", name="registry.test/other/")
    other.init(world.home)  # known here from now on
    files = world.attacker.files()
    with pytest.raises(InputError, match=r"belongs to collection registry\.test/other/"):
        change_keys(world, "targets", add=other.keys["targets"])
    assert world.attacker.files() == files


def test_three_hundred_rotations_are_followed_by_who_was_away(world: World, consumer: Consumer) -> None:
    """The root that it knows has long expired, and every key that it knows is gone."""
    for _ in range(294):
        old, world.keys["root"] = world.keys["root"], strangers()
        world.later(days=7)
        world.rotate(partial(_hand_over, old=old, new=world.keys["root"]), signers=[*old, *world.keys["root"]])
    for number in range(6):
        role = ("root", "targets", "online")[number % 3]
        change_keys(world, role, add=strangers(), remove=world.keys[roles_of(role)[0]])
    assert world.now - START > timedelta(days=5 * 365)
    consumer.allowed()
    world.consumer("fresh").allowed()
    assert consumer.versions()["root"] == 301


def _hand_over(root: Root, old: Keys, new: Keys) -> None:
    root.revoke_key(ids(old)[0], "root")
    root.add_key(new[0].public_key, "root")


def test_stolen_key_that_signs_another_role_too_is_refused(world: World) -> None:
    """The other role would still be signed by it."""
    files = world.attacker.files()
    with pytest.raises(InputError, match="signs timestamp too"):
        change_keys(world, "snapshot", add=strangers(), stolen=world.keys["snapshot"])
    assert world.attacker.files() == files
