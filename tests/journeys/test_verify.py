"""From a reference to a verdict: what every gate asks, over a legitimate collection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.simulators.relay import Relay, Wire
from tests.simulators.world import WEB, Consumer, World, index_bytes, manifest_bytes
from trust.digest import sha256
from trust.errors import InputError, RefusedError
from trust.policy import Pinned, Policy
from trust.reference import parse_reference
from trust.stores.interface import View
from trust.verdict import Denied, Reason, Verdict
from trust.verify import compare_tag

REPOSITORY = "registry.test/acme/web"


def _reason(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Denied), verdict
    return verdict.reason


def test_signed_tag_is_allowed_with_its_digest_and_size(world: World, consumer: Consumer) -> None:
    data = manifest_bytes("the image")
    digest = world.sign("2.0", manifest=data)
    verdict = consumer.allowed(f"{REPOSITORY}:2.0")
    assert (verdict.digest, verdict.size_bytes, verdict.role) == (digest, len(data), "targets")
    assert verdict.versions == consumer.versions()
    assert str(verdict.pinned) == f"{REPOSITORY}@{digest}"


def test_signed_digest_is_allowed_by_itself(world: World, consumer: Consumer) -> None:
    digest = world.sign("2.0")
    assert consumer.allowed(f"{REPOSITORY}@{digest}").digest == digest


def test_children_of_a_signed_index_are_allowed_by_their_digests(world: World, consumer: Consumer) -> None:
    children = [manifest_bytes(platform) for platform in ("amd64", "arm64")]
    nested = index_bytes(manifest_bytes("riscv64"))
    world.push(*children, nested, manifest_bytes("riscv64"))
    world.sign("multi", manifest=index_bytes(*children, nested))
    for data in (*children, nested, manifest_bytes("riscv64")):
        assert consumer.allowed(f"{REPOSITORY}@{sha256(data)}").size_bytes == len(data)
    assert _reason(consumer.verify(f"{REPOSITORY}@{sha256(b'mips')}")) is Reason.UNSIGNED


def test_image_that_nobody_signed_is_denied(consumer: Consumer) -> None:
    assert consumer.refusal(f"{REPOSITORY}:latest").reason is Reason.UNSIGNED
    assert consumer.refusal(REPOSITORY).reason is Reason.UNSIGNED


def test_image_that_no_collection_covers_is_denied(consumer: Consumer) -> None:
    for image in ("nginx", "registry.test/other/web:1.4", "other.test/acme/web:1.4"):
        denied = consumer.refusal(image)
        assert denied.reason is Reason.NO_POLICY
        assert denied.hint is not None


@pytest.mark.parametrize("tag", ["_trust", "_trust.0000000001.abcdef012345", "_trust-other"])
def test_reserved_tag_is_never_allowed(consumer: Consumer, tag: str) -> None:
    assert consumer.refusal(f"{REPOSITORY}:{tag}").reason is Reason.UNSIGNED


def test_revoked_tag_is_denied_and_its_digest_too(world: World, consumer: Consumer) -> None:
    digest = world.sign("2.0")
    world.revoke("2.0")
    assert _reason(consumer.verify(f"{REPOSITORY}:2.0")) is Reason.UNSIGNED
    assert consumer.refusal(f"{REPOSITORY}@{digest}").reason is Reason.UNSIGNED


def test_revoked_digest_says_revoked_under_each_of_its_names(world: World, consumer: Consumer) -> None:
    digest = world.sign("2.0")
    world.sign("latest", manifest=world.images[digest])
    world.revoke(digest=digest)
    for name in (":2.0", ":latest", f"@{digest}"):
        assert _reason(consumer.verify(REPOSITORY + name)) is Reason.REVOKED
    world.sign("latest")
    consumer.allowed(f"{REPOSITORY}:latest")
    assert _reason(consumer.verify(f"{REPOSITORY}:2.0")) is Reason.REVOKED


def test_tag_moves_only_where_the_publisher_moves_it(world: World, consumer: Consumer) -> None:
    first = consumer.allowed().digest
    second = world.sign("1.4", manifest=manifest_bytes("rebuilt"))
    assert consumer.allowed().digest == second
    assert consumer.allowed(f"{REPOSITORY}@{first}").digest == first
    strict = world.consumer("strict", digests="current")
    assert _reason(strict.verify(f"{REPOSITORY}@{first}")) is Reason.REVOKED


def test_tag_beside_a_digest_is_verified_by_the_digest(world: World, consumer: Consumer) -> None:
    first = consumer.allowed().digest
    second = world.sign("1.4", manifest=manifest_bytes("rebuilt"))
    verdict = consumer.allowed(f"{WEB}@{first}")
    assert verdict.digest == first
    assert verdict.notices == (f"tag 1.4 has moved on to {second}",)


def test_locally_denied_digest_is_denied_whatever_the_publisher_says(world: World, consumer: Consumer) -> None:
    digest = consumer.allowed().digest
    consumer.policy = Policy(denied_digests=frozenset({digest}))
    assert consumer.refusal().reason is Reason.REVOKED
    assert consumer.refusal(offline=True).reason is Reason.REVOKED


def test_locally_denied_key_is_denied_whatever_it_signs(world: World, consumer: Consumer) -> None:
    keyid = world.keys["targets"][0].public_key.keyid
    consumer.policy = Policy(denied_keys=frozenset({keyid}))
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


def test_offline_asks_nobody(world: World, consumer: Consumer) -> None:
    def nobody(name: str, _max_bytes: int, _data: bytes | None) -> bytes | None:
        raise AssertionError(f"asked for {name}")

    verdict = consumer.allowed(offline=True, store=Wire(honest=world.store, read=nobody))
    assert verdict.digest == consumer.allowed().digest
    assert world.consumer("fresh").refusal(offline=True).reason is Reason.UNREACHABLE


def test_first_use_is_said_once(world: World) -> None:
    consumer = world.consumer()
    assert [notice for notice in consumer.allowed().notices if "first use" in notice]
    assert consumer.allowed().notices == ()


def test_warm_verification_asks_for_two_files_and_writes_nothing(world: World, consumer: Consumer) -> None:
    asked: list[str] = []

    def watched(name: str, _max_bytes: int, data: bytes | None) -> bytes | None:
        asked.append(name)
        return data

    before = consumer.rows()
    consumer.allowed(store=Wire(honest=world.store, read=watched))
    assert sorted(asked) == ["2.root.json", "timestamp.json"]
    assert consumer.rows() == before


def test_unchanged_store_is_noted_when_a_minute_has_passed(world: World, consumer: Consumer) -> None:
    def noted() -> object:
        return consumer.rows()["collection"][0][-2]

    first = noted()
    world.later(seconds=59)
    consumer.allowed()
    assert noted() == first
    world.later(seconds=1)
    consumer.allowed()
    assert noted() == int(world.now.timestamp())


def test_expiry_that_nears_is_told(world: World, consumer: Consumer) -> None:
    world.later(days=6)
    notices = consumer.allowed().notices
    assert [notice for notice in notices if notice.startswith("role timestamp expires in 1 day")]


def test_pinned_digest_needs_no_collection(world: World, consumer: Consumer) -> None:
    digest = sha256(b"pause")
    pin = Pinned(
        reference=parse_reference(f"registry.k8s.test/pause:3@{digest}"), until=world.now + timedelta(days=1)
    )
    consumer.policy = Policy(pinned=(pin,))
    assert consumer.allowed("registry.k8s.test/pause:3").digest == digest
    assert consumer.refusal("registry.k8s.test/pause:4").reason is Reason.NO_POLICY
    world.later(days=1)
    assert consumer.refusal("registry.k8s.test/pause:3").reason is Reason.EXPIRED


@pytest.mark.parametrize("image", ["registry.k8s.test/pause:3", f"registry.k8s.test/pause@{sha256(b'pause')}"])
def test_pinned_digest_that_is_denied_here_is_denied(world: World, consumer: Consumer, image: str) -> None:
    digest = sha256(b"pause")
    pinned = parse_reference(f"registry.k8s.test/pause:3@{digest}")
    pin = Pinned(reference=pinned, until=world.now + timedelta(days=1))
    consumer.policy = Policy(pinned=(pin,), denied_digests=frozenset({sha256(b"another")}))
    consumer.allowed(image)
    consumer.policy = Policy(pinned=(pin,), denied_digests=frozenset({digest}))
    denied = consumer.refusal(image)
    assert (denied.reason, denied.detail) == (Reason.REVOKED, f"digest {digest} is on the local deny list")


def test_child_of_a_pinned_index_is_held_against_the_deny_list_alone(world: World, consumer: Consumer) -> None:
    """Of what the policy pins there is no metadata that could say more."""
    pinned = parse_reference(f"registry.k8s.test/pause:3@{sha256(b'pause')}")
    pin, child = Pinned(reference=pinned, until=world.now + timedelta(days=1)), sha256(b"child")
    consumer.policy = Policy(pinned=(pin,))
    consumer.vet("registry.k8s.test/pause:3", child)
    consumer.policy = Policy(pinned=(pin,), denied_digests=frozenset({child}))
    with pytest.raises(RefusedError, match=f"digest {child} is on the local deny list") as caught:
        consumer.vet("registry.k8s.test/pause:3", child)
    assert caught.value.reason == "revoked"


def test_registry_whose_tag_is_elsewhere_has_moved_it(consumer: Consumer) -> None:
    verdict = consumer.allowed()
    for got in (None, sha256(b"of the attacker")):
        moved = compare_tag(verdict, got)
        assert isinstance(moved, Denied)
        assert (moved.reason, moved.expected, moved.got) == (Reason.TAG_MOVED, verdict.digest, got)
    assert compare_tag(verdict, verdict.digest) is verdict
    by_digest = consumer.allowed(f"{REPOSITORY}@{verdict.digest}")
    assert compare_tag(by_digest, None) is by_digest


def test_longest_match_decides_and_where_it_fails_no_shorter_one_is_asked(
    world: World, consumer: Consumer
) -> None:
    inner = World(world.folder / "inner", name="registry.test/acme/web")
    consumer.policy = Policy(stanzas=(inner.stanza,))
    assert _reason(consumer.verify()) is Reason.UNSIGNED
    world.sign(path="acme/web2")
    consumer.allowed("registry.test/acme/web2:1.4")
    mine = inner.sign(manifest=manifest_bytes("of the inner collection"))
    assert consumer.allowed().digest == mine
    for path in inner.attacker.directory.glob("*"):
        path.unlink()
    assert consumer.refusal().reason is Reason.UNREACHABLE


@dataclass(kw_only=True)
class Odd(Relay):
    """A store that answers with what ``seen`` returns."""

    seen: Callable[[], View | None]

    def view(self, **_asked: object) -> View | None:
        return self.seen()


def test_what_is_wrong_with_this_machines_own_configuration_is_told_and_is_no_verdict(
    world: World, consumer: Consumer
) -> None:
    def seen() -> View | None:
        raise InputError("no credentials here")

    before = consumer.rows()
    with pytest.raises(InputError, match="no credentials here"):
        consumer.verify(store=Odd(honest=world.store, seen=seen))
    assert consumer.rows() == before


def test_store_that_says_not_modified_to_whoever_knows_nothing_is_not_believed(world: World) -> None:
    denied = world.consumer().refusal(store=Odd(honest=world.store, seen=lambda: None))
    assert denied.reason is Reason.UNREACHABLE
    assert "not modified" in denied.detail
