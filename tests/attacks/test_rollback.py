"""Older metadata is served again, one version gets two contents, or versions jump so far that none can follow."""

from __future__ import annotations

from typing import Any

import pytest
from tuf.api.metadata import MetaFile

from tests.simulators.attacker import signed
from tests.simulators.world import ONLINE, Consumer, World
from trust.errors import RefusedError
from trust.value import replace
from trust.verdict import Denied, Reason, Verdict

FAR = 2**31 - 1  # Notary audit 15-3: it locked a collection for ever
ROLES = ("targets", "snapshot", "timestamp")


def _reason(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Denied), verdict
    return verdict.reason


def test_rolled_back_timestamp_is_refused(world: World, consumer: Consumer) -> None:
    old = world.attacker.files()["timestamp.json"]
    world.sign("1.5")
    consumer.allowed()
    world.attacker.put("timestamp.json", old)
    assert consumer.refusal().reason is Reason.ROLLED_BACK


def test_whole_store_set_back_is_refused(world: World, consumer: Consumer) -> None:
    old = world.attacker.files()
    world.revoke("1.4")
    assert _reason(consumer.verify()) is Reason.UNSIGNED
    world.attacker.restore(old)
    assert consumer.refusal().reason is Reason.ROLLED_BACK


def test_rolled_back_snapshot_under_a_new_timestamp_is_refused(world: World, consumer: Consumer) -> None:
    attacker = world.attacker
    old = attacker.current("timestamp").signed.snapshot_meta
    world.sign("1.5")
    consumer.allowed()
    attacker.forge("timestamp", lambda timestamp: setattr(timestamp, "snapshot_meta", old))
    assert consumer.refusal().reason is Reason.ROLLED_BACK


def test_rolled_back_targets_under_a_new_snapshot_are_refused(world: World, consumer: Consumer) -> None:
    attacker = world.attacker
    old = attacker.current("snapshot").signed.meta["targets.json"]
    world.sign("1.5")
    consumer.allowed()
    attacker.forge("snapshot", lambda snapshot: snapshot.meta.update({"targets.json": old}))
    assert consumer.refusal().reason is Reason.ROLLED_BACK


def test_old_targets_under_a_new_number_are_refused(world: World, consumer: Consumer) -> None:
    attacker = world.attacker
    old = (attacker.directory / attacker.file_of("targets")).read_bytes()
    world.sign("1.5")
    consumer.allowed()
    attacker.place("targets", attacker.current("targets").signed.version + 1, old)
    assert consumer.refusal().reason is Reason.ROLLED_BACK


def test_rolled_back_root_is_not_believed(world: World, consumer: Consumer) -> None:
    attacker = world.attacker
    world.rotate()
    consumer.allowed()
    attacker.put("3.root.json", attacker.files()["1.root.json"])
    assert consumer.refusal().reason is Reason.ROLLED_BACK


def test_role_dropped_from_the_snapshot_is_refused(world: World, consumer: Consumer) -> None:
    world.attacker.forge("snapshot", lambda snapshot: snapshot.meta.clear())
    assert consumer.refusal().reason is Reason.TAMPERED


def test_further_role_dropped_from_the_snapshot_is_refused(world: World, consumer: Consumer) -> None:
    attacker = world.attacker
    attacker.forge("snapshot", lambda snapshot: snapshot.meta.update({"acme.team.json": MetaFile(version=3)}))
    consumer.allowed()
    attacker.forge("snapshot", lambda snapshot: snapshot.meta.pop("acme.team.json"))
    assert consumer.refusal().reason is Reason.TAMPERED


def test_mix_and_match_of_two_valid_snapshots_is_refused(world: World, consumer: Consumer) -> None:
    attacker = world.attacker
    first = attacker.files()
    world.sign("1.5")
    consumer.allowed()
    world.sign("1.6")
    name = attacker.file_of("snapshot")
    older = max(name for name in first if name.endswith(".snapshot.json"))
    attacker.put(name, first[older])
    assert consumer.refusal().reason is Reason.TAMPERED


def test_mix_and_match_of_two_valid_targets_is_refused(world: World, consumer: Consumer) -> None:
    attacker = world.attacker
    older = (attacker.directory / attacker.file_of("targets")).read_bytes()
    world.sign("1.5")
    attacker.put(attacker.file_of("targets"), older)
    assert consumer.refusal().reason in {Reason.TAMPERED, Reason.LIMIT_REACHED}


@pytest.mark.parametrize("role", ROLES)
def test_same_version_with_other_bytes_is_refused(world: World, consumer: Consumer, role: str) -> None:
    def other(signed_part: Any) -> None:
        signed_part.unrecognized_fields["x-other"] = "bytes"

    world.attacker.forge(role, other, bump=False)
    assert consumer.refusal().reason is Reason.TAMPERED


def test_same_root_version_with_other_bytes_changes_nothing(world: World, consumer: Consumer) -> None:
    world.rotate()
    consumer.allowed()
    before = consumer.rows()
    root = world.attacker.current("root")
    root.signed.unrecognized_fields["x-other"] = "bytes"
    world.attacker.put("2.root.json", signed(root, world.keys["root"]))
    consumer.allowed()
    assert consumer.rows() == before


def test_same_version_with_other_signatures_is_refused(world: World, consumer: Consumer) -> None:
    """The signatures are outside of what is signed: whoever adds one has changed nothing but the bytes."""
    world.attacker.edit_bytes("timestamp.json", lambda data: data + b"\n")
    assert consumer.refusal().reason is Reason.TAMPERED


def _fast_forwarded(world: World, consumer: Consumer) -> None:
    """Let whoever stole the online key count to the end, and the consumer believe it."""
    attacker = world.attacker
    attacker.forge("snapshot", lambda snapshot: setattr(snapshot, "version", FAR))
    attacker.forge("timestamp", lambda timestamp: setattr(timestamp, "version", FAR))
    consumer.allowed()
    assert consumer.versions()["timestamp"] == FAR


def test_fast_forward_is_recovered_from_by_new_online_keys(world: World, consumer: Consumer) -> None:
    attacker, honest = world.attacker, world.attacker.files()
    _fast_forwarded(world, consumer)
    attacker.restore(honest)
    assert consumer.refusal().reason is Reason.ROLLED_BACK
    world.replace_keys(*ONLINE)
    attacker.keys = world.keys
    attacker.forge("snapshot")
    consumer.allowed()
    assert consumer.versions()["timestamp"] < FAR
    assert consumer.versions()["snapshot"] < FAR


def test_recovery_from_fast_forward_survives_an_interruption_after_the_root(
    world: World, consumer: Consumer
) -> None:
    attacker, honest = world.attacker, world.attacker.files()
    _fast_forwarded(world, consumer)
    attacker.restore(honest)
    world.replace_keys(*ONLINE)
    assert _reason(consumer.verify()) is Reason.WRONG_SIGNER
    attacker.keys = world.keys
    attacker.forge("snapshot")
    consumer.allowed()


def test_recovery_may_use_a_number_that_the_thief_had_used(world: World, consumer: Consumer) -> None:
    """Under new online keys a version of before is another one: it has no two contents."""
    attacker = world.attacker
    before = consumer.versions()
    world.replace_keys(*ONLINE)
    attacker.forge("snapshot", bump=False)
    attacker.forge("timestamp", lambda timestamp: setattr(timestamp, "version", before["timestamp"]))
    consumer.allowed()
    assert consumer.versions() == {**before, "root": 2}


def test_revocation_that_was_seen_never_goes_again(world: World, consumer: Consumer) -> None:
    """Whoever signs on an old state of the store, stolen key or honest publisher without state, is refused."""
    digest = world.sign("bad")
    signed_then = world.attacker.current("targets").signed.targets
    world.revoke(digest=digest)
    assert _reason(consumer.verify("registry.test/acme/web:bad")) is Reason.REVOKED

    def resurrect(targets: Any) -> None:
        targets.targets = signed_then
        targets.unrecognized_fields.pop("x-revoked")

    world.attacker.forge("targets", resurrect)
    assert consumer.refusal("registry.test/acme/web:bad").reason is Reason.ROLLED_BACK
    assert consumer.refusal().reason is Reason.ROLLED_BACK


def test_fast_forward_does_not_lock_the_publisher_out(world: World, consumer: Consumer) -> None:
    _fast_forwarded(world, consumer)
    world.sign("1.5")
    consumer.allowed("registry.test/acme/web:1.5")


def test_floors_of_a_new_key_are_not_reset_by_another_rotation(world: World, consumer: Consumer) -> None:
    old = world.attacker.files()
    world.sign("1.5")
    consumer.allowed()
    world.rotate()
    world.attacker.put("timestamp.json", old["timestamp.json"])
    assert _reason(consumer.verify()) is Reason.ROLLED_BACK
    assert consumer.versions()["timestamp"] == 3


def test_floor_of_the_policy_binds_a_fresh_consumer(world: World) -> None:
    old = world.attacker.files()
    world.sign("1.5")
    world.attacker.restore(old)
    fresh = world.consumer(floors={"timestamp": 3})
    assert fresh.refusal().reason is Reason.ROLLED_BACK
    world.consumer("another").allowed()


def test_publisher_notices_that_his_store_was_set_back(world: World) -> None:
    old = world.attacker.files()
    world.sign("1.5")
    world.attacker.restore(old)
    with pytest.raises(RefusedError, match="older than what was published from here") as caught:
        world.sign("1.6")
    assert caught.value.reason == Reason.ROLLED_BACK.value
    assert world.attacker.files() == old


def test_floor_of_the_policy_binds_a_publisher_without_state(world: World) -> None:
    old = world.attacker.files()
    world.sign("1.5")
    world.attacker.restore(old)
    world.home = world.folder / "fresh"
    world.stanza = replace(world.stanza, floors={"timestamp": 3})
    with pytest.raises(RefusedError, match="or than the policy's floor"):
        world.sign("1.6")
    assert world.attacker.files() == old
