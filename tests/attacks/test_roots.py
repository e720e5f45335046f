"""The chain of roots: every link signed by both sides, long chains walked, revoked keys that never come back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError
from tuf.api.metadata import Root

from tests.simulators.attacker import signed, strangers
from tests.simulators.relay import Wire
from tests.simulators.world import ONLINE, Consumer, World, soon
from trust.digest import sha256
from trust.refresh import ROOT_ROTATIONS_MAX
from trust.verdict import Denied, Reason
from trust.view_fetcher import ViewFetcher


def _rotations(world: World, count: int) -> None:
    """Publish ``count`` more roots, each signed by the root's keys."""
    root, attacker = world.attacker.current("root"), world.attacker
    for _ in range(count):
        root.signed.version += 1
        attacker.put(f"{root.signed.version}.root.json", signed(root, world.keys["root"]))


def test_gap_in_the_chain_of_roots_ends_the_walk(world: World, consumer: Consumer) -> None:
    world.rotate()
    world.rotate()
    (world.attacker.directory / "2.root.json").unlink()
    consumer.allowed()
    assert consumer.versions()["root"] == 1


def test_root_that_skips_a_version_is_refused(world: World, consumer: Consumer) -> None:
    world.rotate(lambda root: setattr(root, "version", 3))
    world.attacker.put("2.root.json", world.attacker.files()["3.root.json"])
    assert consumer.refusal().reason is Reason.ROLLED_BACK


@pytest.mark.parametrize(
    ("sides", "reason"),
    [
        (("old",), Reason.BELOW_THRESHOLD),
        (("new",), Reason.WRONG_SIGNER),
        (("stranger",), Reason.WRONG_SIGNER),
    ],
)
def test_root_without_a_signature_of_both_sides_is_refused(
    world: World, consumer: Consumer, sides: tuple[str, ...], reason: Reason
) -> None:
    new = strangers()
    keys = {"old": world.keys["root"], "new": new, "stranger": strangers()}

    def hand_over(root: Root) -> None:
        root.revoke_key(world.keys["root"][0].public_key.keyid, "root")
        root.add_key(new[0].public_key, "root")

    world.rotate(hand_over, signers=[key for side in sides for key in keys[side]])
    assert consumer.refusal().reason is reason


def test_root_handed_over_with_both_signatures_is_followed(world: World, consumer: Consumer) -> None:
    old, new = world.keys["root"], strangers()

    def hand_over(root: Root) -> None:
        root.revoke_key(old[0].public_key.keyid, "root")
        root.add_key(new[0].public_key, "root")

    world.rotate(hand_over, signers=[*old, *new])
    consumer.allowed()
    world.rotate(signers=old)
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


def test_three_hundred_rotations_are_walked(world: World, consumer: Consumer) -> None:
    """python-tuf stops in silence after 256 and then believes the root that it has reached."""
    _rotations(world, 300)
    consumer.allowed()
    world.consumer("fresh").allowed()
    assert consumer.versions()["root"] == 301


def test_more_rotations_than_the_limit_could_not_be_decided(world: World, consumer: Consumer) -> None:
    _rotations(world, ROOT_ROTATIONS_MAX + 1)
    assert consumer.refusal().reason is Reason.LIMIT_REACHED


def test_first_root_that_is_not_the_pinned_one_is_refused(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    world.attacker.restore(other.attacker.files())
    assert world.consumer().refusal().reason is Reason.TAMPERED


def test_revoked_online_key_is_refused_by_who_already_stored_the_new_root(
    world: World, consumer: Consumer
) -> None:
    """The warm path must not go on from a chain that was verified under the root before."""
    frozen = world.attacker.files()
    stolen = world.replace_keys(*ONLINE)
    newest = world.attacker.files()["2.root.json"]
    world.attacker.restore({**frozen, "2.root.json": newest})
    first = consumer.verify()
    assert isinstance(first, Denied)
    assert first.reason is Reason.WRONG_SIGNER
    assert consumer.refusal().reason is Reason.WRONG_SIGNER
    world.attacker.forge("timestamp", signers=stolen)
    assert consumer.refusal().reason is Reason.WRONG_SIGNER
    assert consumer.refusal(offline=True).reason is Reason.UNREACHABLE


def test_revoked_online_key_is_refused_when_the_new_root_is_hidden_again(world: World, consumer: Consumer) -> None:
    frozen = world.attacker.files()
    world.replace_keys(*ONLINE)
    consumer.verify()
    world.attacker.restore(frozen)
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


def test_new_root_is_kept_though_what_follows_is_out_of_reach(world: World, consumer: Consumer) -> None:
    frozen = world.attacker.files()
    world.replace_keys(*ONLINE)

    def no_timestamp(name: str, _max_bytes: int, data: bytes | None) -> bytes | None:
        return None if name == "timestamp.json" else data

    verdict = consumer.verify(store=Wire(honest=world.store, read=no_timestamp))
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.UNREACHABLE
    world.attacker.restore(frozen)
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


def test_revoked_online_key_is_refused_within_the_age_that_the_policy_admits(world: World) -> None:
    consumer = world.consumer(max_age=timedelta(hours=1))
    consumer.allowed()
    frozen = world.attacker.files()
    world.replace_keys(*ONLINE)
    world.later(hours=2)
    consumer.verify()
    world.attacker.restore(frozen)
    world.later(minutes=1)
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


def test_new_online_key_is_accepted_in_one_step(world: World, consumer: Consumer) -> None:
    world.replace_keys(*ONLINE)
    world.attacker.forge("snapshot")
    consumer.allowed()
    consumer.allowed(offline=True)
    assert consumer.versions()["root"] == 2


def test_root_of_another_collection_with_the_same_keys_is_refused(world: World, consumer: Consumer) -> None:
    """Signed by the very keys that may rotate this root, and bound to another collection."""
    world.rotate(lambda root: root.unrecognized_fields.update({"x-collection": "0" * 32}))
    denied = consumer.refusal()
    assert denied.reason is Reason.TAMPERED
    (world.attacker.directory / "2.root.json").unlink()
    consumer.allowed()


@pytest.mark.parametrize("body", [b"{}", b"no metadata", b"{"])
def test_pinned_file_that_is_no_root_is_refused_though_its_digest_is_the_pin(world: World, body: bytes) -> None:
    world.attacker.put("1.root.json", body)
    consumer = world.consumer(root=sha256(body))
    assert consumer.refusal().reason is Reason.TAMPERED


def test_verifier_without_room_for_its_working_files_decides_nothing(
    world: World, consumer: Consumer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sign("1.5")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    denied = consumer.refusal("registry.test/acme/web:1.5")
    assert denied.reason is Reason.STATE_DAMAGED
    assert "no room for working files" in denied.detail


def test_metadata_is_read_whole_and_capped_and_never_streamed(world: World) -> None:
    view = world.store.view(known=None, deadline=soon())
    assert view is not None
    fetcher = ViewFetcher(view, roots_only=False)
    with pytest.raises(DownloadError):
        fetcher.fetch("view:/timestamp.json")
    assert fetcher.fetched == {}
