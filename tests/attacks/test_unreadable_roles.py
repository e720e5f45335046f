"""A delegate signs what nobody can read, or delegates to nobody: all the others go on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import DelegatedRole, Delegations, SuccinctRoles, Targets

from tests.attacks.thief import checked_at, forge_below, robbed, whole
from tests.delegation.test_delegate import API
from tests.simulators.attacker import Edit, strangers
from tests.simulators.teams import change_keys
from tests.simulators.world import Consumer, World, file_store, soon
from trust.delegate import remove
from trust.rebuild import rebuild
from trust.replica import plan_move, publish_replica, read_replica
from trust.report import shown_as_published
from trust.revoke import Revocation, revoke
from trust.roles import REVOKED_FIELD, SIGNERS_FIELD
from trust.state import TrustedState
from trust.verdict import Denied, Reason


@pytest.fixture
def consumer(world: World) -> Consumer:
    """Give a consumer of a collection with two teams, one of which is the thief's."""
    return robbed(world)


def test_role_that_was_refused_once_keeps_its_floor(world: World, consumer: Consumer) -> None:
    """A revocation that was seen stays seen, though the role was missing for a while."""
    digest = world.sign("2", path="acme/api")
    world.revoke(digest=digest)
    assert not whole(consumer)
    world.sign("3", path="acme/api")
    name = world.attacker.delegate_file("acme.api")
    data = (world.directory / name).read_bytes()
    (world.directory / name).unlink()
    assert set(whole(consumer)) == {"acme.api"}
    world.attacker.put(name, data)
    world.attacker.forge_delegate("acme.api", lambda said: said.unrecognized_fields.update({REVOKED_FIELD: {}}))
    assert whole(consumer)["acme.api"].reason == Reason.ROLLED_BACK.value
    assert consumer.denied(API).reason is Reason.ROLLED_BACK


def _revoked(said: Targets) -> None:
    said.unrecognized_fields[REVOKED_FIELD] = {"x": 1}


def _no_table(said: Targets) -> None:
    said.unrecognized_fields[REVOKED_FIELD] = ["x"]


def _signers(said: Targets) -> None:
    said.unrecognized_fields[SIGNERS_FIELD] = 1


def _target(said: Targets) -> None:
    said.targets["acme/evil:1"].unrecognized_fields["custom"] = {"signed": "never"}


def _pattern(said: Targets) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    role = DelegatedRole("ghost", [key.keyid], 1, terminating=True, paths=["acme/evil:?"])
    said.delegations = Delegations({key.keyid: key}, {"ghost": role})


def _bins(said: Targets) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    said.targets.clear()
    said.delegations = Delegations({key.keyid: key}, succinct_roles=SuccinctRoles([key.keyid], 1, 1, "evil.g1"))


def _empty_list(said: Targets) -> None:
    said.unrecognized_fields[REVOKED_FIELD] = []


def _foreign_key(said: Targets) -> None:
    """The library gives up on the keys of another tool with whatever error comes up."""
    key = Key.from_dict("1" * 64, {"keytype": "rsa", "scheme": "pgp+rsa-pkcsv1.5", "keyval": {"public": "x"}})
    role = DelegatedRole("ghost", [key.keyid], 1, terminating=True, paths=["acme/evil:*"])
    said.delegations = Delegations({key.keyid: key}, {"ghost": role})


def _true_for_one(said: Targets) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    role = DelegatedRole("ghost", [key.keyid], 1, terminating=True, paths=["acme/evil:*"])
    role.threshold = True
    said.delegations = Delegations({key.keyid: key}, {"ghost": role})


def _one_for_true(said: Targets) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    role: Any = DelegatedRole("ghost", [key.keyid], 1, terminating=True, paths=["acme/evil:*"])
    role.terminating = 1
    said.delegations = Delegations({key.keyid: key}, {"ghost": role})


@pytest.mark.parametrize(
    "edit",
    [
        _revoked, _no_table, _empty_list, _signers, _target, _pattern, _bins, _foreign_key, _true_for_one,
        _one_for_true,
    ],
)  # fmt: skip
def test_role_that_nobody_can_read_keeps_nobody_from_revoking_listing_or_copying(
    world: World, consumer: Consumer, tmp_path: Path, edit: Edit
) -> None:
    digest = consumer.allowed(API).digest
    kept = world.sign("2", path="acme/api")
    world.attacker.forge_delegate("evil", edit)
    world.revoke(digest=digest)
    assert consumer.denied(API).reason is Reason.REVOKED

    view = world.store.view(known=None, deadline=soon())
    assert view is not None
    shown = shown_as_published(consumer.stanza, view, None)
    assert "acme/api:2" in shown.tables["acme.api"].targets
    assert len(shown.refused) == (2 if edit is _bins else 1)

    there = file_store(f"file:{tmp_path / 'there'}")
    move = plan_move(consumer.stanza, read_replica(consumer.stanza, view), there, deadline=soon())
    assert publish_replica(move, there, deadline=soon())
    other = world.consumer("behind the copy")
    assert other.allowed("registry.test/acme/api:2", store=there).digest == kept
    assert other.denied("registry.test/acme/evil:1", store=there).reason is Reason.TAMPERED

    world.publish(lambda publisher: remove(publisher, "evil", keep_images=False))
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.UNSIGNED
    assert not whole(consumer)


def test_image_that_was_revoked_while_its_role_could_not_be_read_stays_so_when_it_is_mended(
    world: World, consumer: Consumer
) -> None:
    digest = consumer.allowed("registry.test/acme/evil:1").digest
    held = dict(world.keys)
    world.attacker.forge_delegate("evil", _revoked)
    del world.keys["evil"]
    revocation = Revocation(path="acme/evil", tag=None, digest=digest)
    published = world.publish(lambda publisher: revoke(publisher, [revocation]))
    assert published.changed
    assert published.untrusted == ("evil",)
    assert not world.publish(lambda publisher: revoke(publisher, [revocation])).changed
    world.keys |= held
    world.attacker.forge_delegate("evil", lambda said: said.unrecognized_fields.pop(REVOKED_FIELD))
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.REVOKED
    assert consumer.denied(f"registry.test/acme/evil@{digest}").reason is Reason.REVOKED


def test_rubbish_and_delegations_to_nobody_stop_no_recovery_of_a_stolen_online_key(
    world: World, consumer: Consumer
) -> None:
    """The thief of a team's key has also the online key, and nobody can read what he left."""
    consumer.allowed(API)
    forge_below(world, "evil", "ghost", "acme/evil:x*", keys=world.keys["evil"])
    world.sign("2", path="acme/api")
    world.attacker.forge_delegate("acme.api", _revoked)  # a second team's, by its own fault
    world.attacker.forge("snapshot", lambda said: said.meta["evil.json"].__setattr__("version", 2**31 - 1))
    stolen = world.keys["timestamp"]
    change_keys(world, "online", add=strangers(), stolen=stolen)
    assert set(whole(consumer)) == {"acme.api", "ghost"}
    assert consumer.allowed("registry.test/acme/evil:1").role == "evil"
    assert consumer.denied(API).reason is Reason.TAMPERED
    world.publish(lambda publisher: remove(publisher, "acme.api", keep_images=False))
    assert consumer.denied(API).reason is Reason.UNSIGNED


def test_lost_store_is_rebuilt_though_a_delegate_left_rubbish(world: World, consumer: Consumer) -> None:
    forge_below(world, "evil", "ghost", "acme/evil:x*", keys=world.keys["evil"])
    world.attacker.forge_delegate("evil", _revoked)
    assert set(whole(consumer)) == {"evil"}
    there = file_store(f"file:{world.folder / 'rebuilt'}")
    state = TrustedState(consumer.home)
    try:
        rebuild(consumer.stanza, state, there, mirror=None, deadline=soon(), dry_run=False)
    finally:
        state.close()
    other = world.consumer("afterwards")
    assert other.allowed(API, store=there).role == "acme.api"
    assert isinstance(other.verify("registry.test/acme/evil:1", store=there), Denied)


def test_delegate_that_expired_keeps_nobody_from_noting_that_the_store_had_nothing_new(
    world: World, consumer: Consumer
) -> None:
    soon_over = world.now + timedelta(hours=1)
    world.attacker.forge_delegate("evil", lambda said: setattr(said, "expires", soon_over))
    assert not whole(consumer)
    world.later(hours=2)
    consumer.allowed(API)
    assert checked_at(consumer) == int(world.now.timestamp())
    assert consumer.denied("registry.test/acme/evil:1").reason is Reason.EXPIRED
    before = checked_at(consumer)
    world.later(days=30)  # past the timestamp: a clock that is set ahead is not noted
    assert consumer.denied(API).reason is Reason.EXPIRED
    assert checked_at(consumer) == before


def test_role_that_nobody_can_read_keeps_no_other_team_from_publishing(world: World, consumer: Consumer) -> None:
    world.attacker.forge_delegate("evil", lambda said: said.unrecognized_fields.update({REVOKED_FIELD: {"x": 1}}))
    digest = world.sign("2", path="acme/api")
    assert consumer.allowed("registry.test/acme/api:2").digest == digest
    world.revoke("1", path="acme/api")
    assert consumer.denied(API).reason is Reason.UNSIGNED
    world.publish(lambda publisher: remove(publisher, "acme.api", keep_images=True))
    assert consumer.allowed("registry.test/acme/api:2").role == "targets"
