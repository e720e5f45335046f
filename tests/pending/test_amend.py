"""An edit of a role for which a change waits: one change comes of it, and nobody signs what he has not seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuf.api.metadata import Root

from tests.simulators.team import Member, team, unsigned, waiting, words
from tests.simulators.world import Consumer, World, manifest_bytes, soon
from trust.digest import sha256
from trust.errors import ConflictError, RefusedError, StaleError
from trust.pending import parse_pending
from trust.revoke import Revocation, revoke
from trust.verdict import Denied, Reason

WEB2, WEB3 = "registry.test/acme/web:2.0", "registry.test/acme/web:3.0"


def test_edit_of_a_role_that_waits_amends_it_and_signatures_are_discarded_loudly(
    world: World, consumer: Consumer
) -> None:
    ann, bob, eve = _three_of_three(world)
    first = ann.sign("2.0").waits
    assert first is not None
    assert bob.approve(first.change.id).waits is not None
    amended = ann.sign("3.0")
    assert amended.waits is not None
    assert amended.discarded == (bob.keys[0].public_key.keyid,)
    assert amended.waits.change.id != first.change.id
    assert list(waiting(world)) == ["targets"]
    assert amended.waits.roles[0].signed == (ann.keys[0].public_key.keyid,)
    bob.approve(amended.waits.change.id)
    eve.approve(amended.waits.change.id)
    consumer.allowed(WEB2)
    consumer.allowed(WEB3)


def test_edit_signs_nothing_of_another_that_was_not_seen(world: World, people: list[Member]) -> None:
    ann, bob, _ = people
    first = ann.sign("2.0").waits
    assert first is not None
    before = waiting(world)
    with pytest.raises(ConflictError, match="was not approved from here"):
        bob.sign("3.0")
    assert waiting(world) == before
    seen: list[str] = []
    bob.review = lambda _waits, differences: seen.extend(line for each in differences for line in each.words)
    amended = bob.sign("3.0")
    assert any("tag acme/web:2.0 is new" in line for line in seen)
    assert amended.discarded == (ann.keys[0].public_key.keyid,)


def test_what_whoever_can_write_to_the_store_lets_wait_gets_into_no_edit(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    (publisher,) = team(world)
    forger = Member(world=world, name="forger", keys=world.keys["targets"], stage=True)
    waits = forger.sign("1.4", manifest=manifest_bytes("evil")).waits
    assert waits is not None
    (data,) = waiting(world).values()
    stripped = unsigned(data)
    world.store.set_pending("targets", stripped, replaces=data, deadline=soon())
    with pytest.raises(ConflictError, match="was not approved from here"):
        publisher.sign("2.0")
    assert consumer.allowed().digest == sha256(manifest_bytes("acme/web:1.4"))
    publisher.reject(waits.change.id)
    assert publisher.sign("2.0").waits is None


def test_staged_and_complete_change_goes_out_with_the_next_edit(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.sign()
    Member(world=world, name="ci", keys=world.keys["targets"]).sign("2.0")
    (publisher,) = team(world)
    assert publisher.sign("3.0").waits is None
    assert waiting(world) == {}
    consumer = world.consumer()
    consumer.allowed(WEB2)
    consumer.allowed(WEB3)


def test_staged_change_that_is_signed_again_where_the_online_key_is_is_published(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.sign()
    Member(world=world, name="ci", keys=world.keys["targets"]).sign("2.0")
    (publisher,) = team(world)
    assert publisher.sign("2.0").waits is None
    assert waiting(world) == {}
    world.consumer().allowed(WEB2)


def test_change_that_was_overtaken_is_stale_and_is_merged_by_the_next_edit(
    world: World, consumer: Consumer
) -> None:
    ann, bob, _ = team(world)
    first = ann.sign("2.0").waits
    assert first is not None
    (data,) = waiting(world).values()
    ann.reject(first.change.id)
    world.sign("1.5")  # somebody with every key
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    files = world.attacker.files()
    with pytest.raises(StaleError, match="is stale: targets is at version 3"):
        bob.approve(first.change.id)
    assert bob.settle().published == ()
    assert world.attacker.files() == files
    (left,) = bob.pending()
    assert left.problem is not None
    assert "is stale" in left.problem
    merged = ann.sign("3.0").waits
    assert merged is not None
    bob.approve(merged.change.id)
    said = words(bob.shown[-1])
    assert "tag acme/web:2.0 is new" in said
    assert "acme/web:1.5" not in said
    for image in (WEB2, WEB3, "registry.test/acme/web:1.5"):
        consumer.allowed(image)


def test_stale_change_whose_base_is_gone_is_refused_with_what_to_do(world: World) -> None:
    ann, *_ = team(world)
    first = ann.sign("2.0").waits
    assert first is not None
    (data,) = waiting(world).values()
    ann.reject(first.change.id)
    world.sign("1.5")
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    (world.directory / "2.targets.json").unlink()
    with pytest.raises(StaleError) as caught:
        ann.sign("3.0")
    assert "trust reject" in str(caught.value.hint)
    assert waiting(world) == {"targets": data}


def test_forged_base_of_a_stale_change_brings_nothing_back(world: World) -> None:
    ann, *_ = team(world)
    first = ann.sign("2.0").waits
    assert first is not None
    (data,) = waiting(world).values()
    ann.reject(first.change.id)
    world.sign("1.4", manifest=manifest_bytes("the newer 1.4"))
    base = world.directory / "2.targets.json"
    forged = base.read_bytes().replace(
        sha256(manifest_bytes("acme/web:1.4")).hex.encode(), sha256(manifest_bytes("the newer 1.4")).hex.encode()
    )
    base.write_bytes(forged)
    was = parse_pending(data).roles[0].base
    assert was is not None
    changed = data.replace(was.digest.hex.encode(), sha256(forged).hex.encode())
    world.store.set_pending("targets", changed, replaces=None, deadline=soon())
    with pytest.raises(RefusedError, match="expected 2 signatures by different keys"):
        ann.sign("3.0")


def test_change_that_waited_too_long_is_stale(world: World, people: list[Member]) -> None:
    ann, bob, _ = people
    first = ann.sign("2.0").waits
    assert first is not None
    world.later(days=91)
    with pytest.raises(StaleError, match="targets in it expired"):
        bob.approve(first.change.id)


def test_changes_of_two_roles_wait_apart(world: World, consumer: Consumer) -> None:
    ann, bob, _ = team(world)
    first = ann.sign("2.0").waits
    root_ann, root_bob, _ = team(world, "root")
    second = root_ann.renew("root").waits
    assert first is not None
    assert second is not None
    assert sorted(waiting(world)) == ["root", "targets"]
    root_bob.approve(second.change.id)
    assert list(waiting(world)) == ["targets"]
    consumer.allowed()
    assert consumer.versions()["timestamp"] > 2
    bob.approve(first.change.id)
    consumer.allowed(WEB2)


def test_rubbish_that_waits_is_told_of_and_can_be_dropped(world: World, people: list[Member]) -> None:
    ann = people[0]
    world.store.set_pending("targets", b'{"schema": 7}', replaces=None, deadline=soon())
    with pytest.raises(ConflictError, match="is not understood"):
        ann.sign("2.0")
    (left,) = ann.pending()
    assert left.problem is not None
    ann.reject(left.id)
    assert ann.sign("2.0").waits is not None


def test_revocation_waits_like_a_signature_and_then_holds(world: World, consumer: Consumer) -> None:
    ann, bob, _ = team(world)
    digest = sha256(manifest_bytes("acme/web:1.4"))
    revocation = Revocation(path="acme/web", tag=None, digest=digest)
    waits = ann.do(lambda publisher: revoke(publisher, [revocation])).waits
    consumer.allowed()
    bob.approve(waits.change.id)
    assert f"digest {digest} is revoked: acme/web:1.4" in words(bob.shown[0])
    verdict = consumer.verify()
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.REVOKED


def _three_of_three(world: World) -> list[Member]:
    def change(root: Root) -> None:
        root.roles["targets"].threshold = 3

    world.rotate(change)
    world.renew("targets")
    return team(world)
