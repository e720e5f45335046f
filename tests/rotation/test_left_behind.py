"""A thief leaves a change to wait before his key is taken away: nobody signs it for him."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey

from tests.simulators.attacker import Keys, strangers
from tests.simulators.team import Member, unsigned, waiting
from tests.simulators.teams import WEB_ROLE, change_keys, delegate, ids
from tests.simulators.world import World, manifest_bytes, soon
from trust.digest import Digest, sha256
from trust.errors import ConflictError
from trust.incident import Suspect, revoke_signed
from trust.proposal import Waiting
from trust.rotate import Rotation, rotate
from trust.verdict import Reason

GOOD = sha256(manifest_bytes("acme/web:1.4"))
OTHER = "registry.test/acme/web:2.0"


@pytest.fixture(params=["targets", WEB_ROLE])
def role(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def world(tmp_path: Path, role: str) -> World:
    """Give a collection in which ``acme/web:1.4`` is signed by the one key of ``role``."""
    world = World(tmp_path)
    if role == WEB_ROLE:
        delegate(world)
    world.sign()
    return world


def _left(world: World, keys: Keys, *, signed: bool = True) -> Digest:
    """Have a thief with ``keys`` and write access to the store leave another ``acme/web:1.4`` to wait there."""
    waits = Member(world=world, name="thief", keys=keys).sign("1.4", manifest=manifest_bytes("evil")).waits
    assert waits is not None
    if not signed:
        (data,) = waiting(world).values()
        world.store.set_pending(waits.change.place, unsigned(data), replaces=data, deadline=soon())
    return waits.change.id


@pytest.mark.parametrize("signed", [True, False])
def test_change_left_by_a_stolen_key_is_dropped_and_not_signed_by_the_new_one(
    world: World, role: str, *, signed: bool
) -> None:
    consumer, old = world.consumer(), world.keys[role]
    left = _left(world, old, signed=signed)
    done = change_keys(world, role, add=strangers(), stolen=old)
    assert (done.changed, [(each.role, each.id) for each in done.dropped]) == (True, [(role, left)])
    assert waiting(world) == {}
    assert consumer.allowed().digest == GOOD
    world.sign("2.0")
    assert consumer.allowed().digest == GOOD
    consumer.allowed(OTHER)


@pytest.mark.parametrize("signed", [True, False])
def test_change_signed_by_a_removed_key_alone_is_refused_until_somebody_looked_at_it(
    world: World, role: str, *, signed: bool
) -> None:
    consumer, old = world.consumer(), world.keys[role]
    _left(world, old, signed=signed)
    files, waits = world.attacker.files(), waiting(world)
    with pytest.raises(ConflictError, match="was not approved from here"):
        change_keys(world, role, add=strangers(), remove=old)
    assert (world.attacker.files(), waiting(world)) == (files, waits)
    assert consumer.allowed().digest == GOOD


def test_change_that_a_key_which_stays_has_signed_is_taken_along(world: World, role: str) -> None:
    old, kept = world.keys[role], strangers()
    change_keys(world, role, add=kept)
    Member(world=world, name="bob", keys=kept).sign("2.0")
    done = change_keys(world, role, stolen=old)
    assert (done.changed, done.dropped, waiting(world)) == (True, (), {})
    world.consumer().allowed(OTHER)


def test_dry_run_drops_nothing(world: World, role: str) -> None:
    old = world.keys[role]
    _left(world, old)
    files, waits = world.attacker.files(), waiting(world)
    assert change_keys(world, role, add=strangers(), stolen=old, dry_run=True).dropped
    assert (world.attacker.files(), waiting(world)) == (files, waits)


def test_what_waits_under_a_stolen_key_is_not_revoked_by_signing_it(world: World, role: str) -> None:
    consumer, old = world.consumer(), world.keys[role]
    theft = world.later(days=1).now
    bad = world.sign("3.0", manifest=manifest_bytes("bad"))
    left = _left_long_ago(world, old, theft)

    suspect = Suspect(keyid=ids(old)[0], since=theft)
    done = world.publish(lambda publisher: revoke_signed(publisher, suspect)[0])
    assert [each.id for each in done.dropped] == [left]
    assert consumer.denied("registry.test/acme/web:3.0").reason is Reason.REVOKED
    assert consumer.denied(f"registry.test/acme/web@{bad}").reason is Reason.REVOKED
    assert consumer.allowed().digest == GOOD


def _left_long_ago(world: World, keys: Keys, theft: datetime) -> Digest:
    """Have the thief leave what says of itself that it was signed before the theft."""
    now, world.now = world.now, theft - timedelta(hours=1)
    try:
        return _left(world, keys)
    finally:
        world.now = now


def test_rotation_that_waits_for_another_signer_takes_nothing_of_the_thief_along(tmp_path: Path) -> None:
    """Ann names the key stolen; the thief leaves his change afterwards; Bob signs something, then the rotation."""
    world = World(tmp_path, keys_each=2, threshold=2)
    change_keys(world, "targets", threshold=1)
    world.sign()
    old, new, (first, second) = world.keys["targets"], strangers(), world.keys["root"]
    ann = Member(world=world, name="ann", keys=[first, *new, *world.keys["snapshot"]])
    bob = Member(world=world, name="bob", keys=[second, *new, *world.keys["snapshot"]])
    consumer = world.consumer()
    before = _left(world, old[:1])
    (data,) = waiting(world).values()
    rotation = Rotation(role="targets", add=(new[0].public_key,), stolen=ids(old))
    done = ann.do(lambda publisher: rotate(publisher, rotation))
    assert [each.id for each in done.dropped] == [before]
    assert list(waiting(world)) == ["root"]
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    files, waits = world.attacker.files(), waiting(world)
    bob.review = _agree_to_root
    with pytest.raises(ConflictError, match="not mine"):
        bob.sign("2.0")
    assert (world.attacker.files(), waiting(world)) == (files, waits)
    assert done.waits is not None
    assert bob.approve(done.waits.change.id).changed
    assert bob.settle().published == ()
    assert consumer.allowed().digest == GOOD


def _agree_to_root(waits: Waiting, _words: object) -> None:
    if waits.change.place != "root":
        raise ConflictError("not mine")


def test_stolen_key_under_a_second_id_counts_no_more(tmp_path: Path) -> None:
    """The delegator lists the thief's key twice: naming one of its ids stolen ends both."""
    world = World(tmp_path)
    twice = strangers()[0]
    key = twice.public_key
    alias = SSlibKey("0" * 64, key.keytype, key.scheme, {"public": key.keyval["public"].upper()})
    again = CryptoSigner(twice._private_key, alias)
    delegate(world, keys=[twice])
    world.sign()
    world.attacker.forge("targets", lambda targets: targets.add_key(alias, WEB_ROLE))
    _left(world, [again])
    done = change_keys(world, WEB_ROLE, add=strangers(), stolen=[twice])
    assert [each.role for each in done.dropped] == [WEB_ROLE]
    assert world.consumer().allowed().digest == GOOD
