"""The gate and its snapshot, in memory over a legitimate world's metadata: what is ruled, and until when."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from registry_shim.gate import Gate, Refusal, Ruling, Standing
from registry_shim.snapshot import KEPT_VERDICTS_MAX, Snapshot, load_snapshot
from tests.delegation.test_delegate import delegate
from tests.simulators.world import START, WEB, Consumer, World, index_bytes, manifest_bytes, soon, strangers
from trust.client import refresh
from trust.database import DATABASE
from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.errors import StateError
from trust.policy import Pinned, Policy, Rewrite
from trust.reference import Repository, parse_collection, parse_reference
from trust.state import TrustedState
from trust.stores.artifact import parse_artifact
from trust.stores.interface import Publication, View
from trust.value import replace
from trust.verdict import Allowed, Denied, Reason

REPOSITORY = Repository(host="registry.test", path="acme/web")
BESIDE = Repository(host="registry.test", path="acme/trust-metadata")


@dataclass(kw_only=True)
class Gateway:
    """A gate whose clock is the world's."""

    world: World
    consumer: Consumer
    gate: Gate

    def read(self) -> Gateway:
        """Refresh the trusted state, and have the gate stand on it."""
        stanza = self.consumer.stanza
        state = TrustedState(self.consumer.home)
        try:
            refresh(stanza, state, self.world.store, paths=None, now=self.world.now, deadline=soon())
        finally:
            state.close()
        return self.stand_on_what_is_stored()

    def stand_on_what_is_stored(self) -> Gateway:
        """Have the gate stand on the trusted state as it is."""
        with closing(TrustedState(self.consumer.home)) as state:
            self.gate.stand(
                self.consumer.stanza.root, Standing(snapshot=load_snapshot(self.consumer.stanza, state))
            )
        return self

    def rule(self, image: str = WEB) -> Ruling:
        return self.gate.rule(parse_reference(image))

    def allowed(self, image: str = WEB) -> Allowed:
        verdict = self.rule(image).verdict
        assert isinstance(verdict, Allowed), verdict
        return verdict

    def refused(self, image: str = WEB) -> Reason:
        ruling = self.rule(image)
        assert isinstance(ruling.verdict, Denied), ruling
        assert not ruling.is_audited
        return ruling.verdict.reason


def gateway(world: World, policy: Policy | None = None, **rules: Any) -> Gateway:
    consumer = world.consumer(**rules)
    policy = policy or Policy()
    policy = replace(policy, stanzas=(consumer.stanza, *policy.stanzas))
    return Gateway(world=world, consumer=consumer, gate=Gate(policy, clock=lambda: world.now.timestamp()))  # noqa: PLW0108 - it moves


def test_signed_tag_and_digest_are_allowed(world: World) -> None:
    gate = gateway(world).read()
    digest = sha256(manifest_bytes("acme/web:1.4"))
    assert gate.allowed().digest == gate.allowed(f"registry.test/acme/web@{digest}").digest == digest
    assert gate.rule().collection == "registry.test/acme/"


def test_ruling_is_that_of_the_verifier_on_disk(world: World) -> None:
    world.sign("2.0")
    world.revoke("2.0")
    gate = gateway(world).read()
    for image in (WEB, "registry.test/acme/web:2.0", "registry.test/acme/web:3", "other.test/a:1"):
        on_disk = gate.consumer.verify(image)
        in_memory = gate.rule(image).verdict
        if isinstance(on_disk, Allowed):
            on_disk = replace(on_disk, notices=())
            assert isinstance(in_memory, Allowed)
            in_memory = replace(in_memory, notices=())
        assert in_memory == on_disk


def test_nothing_is_allowed_before_something_was_verified(world: World) -> None:
    gate = gateway(world)
    assert gate.refused() is Reason.UNREACHABLE
    gate.gate.stand(gate.consumer.stanza.root, Standing())
    assert gate.refused() is Reason.UNREACHABLE
    assert isinstance(gate.gate.tags(REPOSITORY), Denied)


def test_unsigned_revoked_foreign_and_reserved_are_refused(world: World) -> None:
    digest = world.sign("2.0")
    world.revoke(digest=digest)
    gate = gateway(world).read()
    assert gate.refused("registry.test/acme/web:3.0") is Reason.UNSIGNED
    assert gate.refused("registry.test/acme/db:1.4") is Reason.UNSIGNED
    assert gate.refused("registry.test/acme/web:2.0") is Reason.REVOKED
    assert gate.refused(f"registry.test/acme/web@{digest}") is Reason.REVOKED
    assert gate.refused("other.test/acme/web:1.4") is Reason.NO_POLICY
    assert gate.refused("registry.test/acme/web:_trust") is Reason.UNSIGNED


def test_snapshot_that_stays_expires_with_the_clock(world: World) -> None:
    gate = gateway(world).read()
    gate.allowed()
    world.later(days=7, seconds=-1)
    gate.allowed()
    world.later(seconds=1)
    assert gate.refused() is Reason.EXPIRED
    assert gate.refused("registry.test/acme/web:3.0") is Reason.EXPIRED
    tags = gate.gate.tags(REPOSITORY)
    assert isinstance(tags, Denied)
    assert tags.reason is Reason.EXPIRED
    world.renew()
    gate.read().allowed()


def test_refusal_outranks_what_was_verified(world: World) -> None:
    gate = gateway(world).read()
    gate.allowed()
    snapshot = gate.gate._standings[gate.consumer.stanza.root].snapshot
    refusal = Refusal(reason=Reason.ROLLED_BACK, detail="timestamp version 1 is older than 2")
    gate.gate.stand(gate.consumer.stanza.root, Standing(snapshot=snapshot, refusal=refusal))
    assert gate.refused() is Reason.ROLLED_BACK
    assert isinstance(gate.gate.tags(REPOSITORY), Denied)
    metadata = gate.gate.metadata(BESIDE, "_trust")
    assert isinstance(metadata, Denied)
    assert metadata.reason is Reason.ROLLED_BACK


def test_audit_watches_a_denial_and_never_what_could_not_be_decided(world: World) -> None:
    gate = gateway(world, mode="audit")
    assert gate.refused() is Reason.UNREACHABLE  # not audited: ``refused`` asserts it
    gate.read()
    ruling = gate.rule("registry.test/acme/web:3.0")
    assert isinstance(ruling.verdict, Denied)
    assert ruling.is_audited
    assert not gate.rule().is_audited
    assert gate.refused("other.test/acme/web:1") is Reason.NO_POLICY
    assert gate.refused("registry.test/acme/web:_trust") is Reason.UNSIGNED
    assert gate.gate.tags(REPOSITORY) == ("1.4",)


def test_audit_of_one_collection_watches_no_other(world: World) -> None:
    enforced = replace(world.consumer().stanza, collection=parse_collection("registry.test/acme/web"))
    gate = gateway(world, Policy(stanzas=(enforced,)), mode="audit").read()
    assert gate.rule("registry.test/acme/api:3.0").is_audited
    assert gate.refused("registry.test/acme/web:3.0") is Reason.UNSIGNED


def test_denied_key_and_denied_digest_are_refused(world: World) -> None:
    keyid = world.keys["targets"][0].public_key.keyid
    assert gateway(world, Policy(denied_keys=frozenset({keyid}))).read().refused() is Reason.WRONG_SIGNER
    digest = sha256(manifest_bytes("acme/web:1.4"))
    gate = gateway(world, Policy(denied_digests=frozenset({digest}))).read()
    assert gate.refused() is Reason.REVOKED
    assert gate.refused(f"registry.test/acme/web@{digest}") is Reason.REVOKED
    assert gate.gate.tags(REPOSITORY) == ()


def test_digest_that_no_tag_names_is_refused_where_the_policy_wants_current_ones(world: World) -> None:
    old = sha256(manifest_bytes("acme/web:1.4"))
    world.sign("1.4", manifest=manifest_bytes("newer"))
    image = f"registry.test/acme/web@{old}"
    assert gateway(world).read().allowed(image).digest == old
    assert gateway(world, digests="current").read().refused(image) is Reason.REVOKED


def test_pinned_digest_is_allowed_until_its_day(world: World) -> None:
    digest = sha256(b"third party")
    pin = Pinned(reference=parse_reference(f"other.test/pause:3@{digest}"), until=START + timedelta(days=1))
    gate = gateway(world, Policy(pinned=(pin,)))
    assert gate.allowed("other.test/pause:3").digest == gate.allowed(f"other.test/pause@{digest}").digest == digest
    assert gate.refused("other.test/pause:4") is Reason.NO_POLICY
    assert gate.refused(f"other.test/pause@{sha256(b'other')}") is Reason.NO_POLICY
    world.later(days=1)
    assert gate.refused("other.test/pause:3") is Reason.EXPIRED


def test_children_of_an_index_are_allowed_by_digest_and_not_listed(world: World) -> None:
    children = [manifest_bytes("amd64"), manifest_bytes("arm64")]
    world.push(*children)
    world.sign("multi", manifest=index_bytes(*children))
    gate = gateway(world).read()
    for child in children:
        assert gate.allowed(f"registry.test/acme/web@{sha256(child)}").size_bytes == len(child)
    assert gate.gate.tags(REPOSITORY) == ("1.4", "multi")
    assert gate.gate.tags(Repository(host="registry.test", path="acme/none")) == ()


def test_mirror_is_ruled_by_the_signed_path(world: World) -> None:
    gate = gateway(world, registries=("mirror.test",), rewrites=(Rewrite(source="hub/acme/", to="acme/"),)).read()
    gate.allowed("mirror.test/hub/acme/web:1.4")
    assert gate.gate.tags(Repository(host="mirror.test", path="hub/acme/web")) == ("1.4",)
    assert gate.gate.metadata(Repository(host="mirror.test", path="hub/acme/trust-metadata"), "_trust") is not None


class _Served:
    """A store whose view is what the gate gives out, read as a consumer behind the shim reads it."""

    url = "registry:"

    def __init__(self, manifest: bytes, files: dict[Digest, bytes]) -> None:
        self._named = {name: files[file.digest] for name, file in parse_artifact(manifest).files.items()}
        self.token = str(sha256(manifest))

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:  # noqa: ARG002
        return None if known == self.token else self

    def read(self, name: str, max_bytes: int) -> bytes | None:  # noqa: ARG002
        return self._named.get(name)

    def taken(self, name: str) -> bool:
        return name in self._named

    def strays(self) -> tuple[tuple[View, View], ...]:
        return ()

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        raise NotImplementedError

    def probe(self, *, deadline: Deadline) -> None:
        raise NotImplementedError

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        raise NotImplementedError

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        raise NotImplementedError

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        raise NotImplementedError

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        raise NotImplementedError


def test_metadata_is_what_a_consumer_verifies(world: World) -> None:
    world.rotate()
    world.rotate()
    gate = gateway(world).read()
    metadata = gate.gate.metadata(BESIDE, "_trust")
    assert metadata is not None
    assert not isinstance(metadata, Denied)
    assert metadata.digest.matches(metadata.manifest)
    assert all(digest.matches(data) for digest, data in metadata.files.items())
    on_disk = {path.read_bytes() for path in world.directory.glob("*.json")}
    assert set(metadata.files.values()) <= on_disk, "not a byte of it was made here"
    verdict = world.consumer("behind").verify(store=_Served(metadata.manifest, dict(metadata.files)))
    assert isinstance(verdict, Allowed), verdict
    roots = [Metadata.from_bytes(data) for data in metadata.files.values()]
    assert sorted(one.signed.version for one in roots if one.signed.type == "root") == [1, 2, 3]


def test_consumer_who_reads_while_metadata_changes_finds_every_file(world: World) -> None:
    gate = gateway(world).read()
    metadata = gate.gate.metadata(BESIDE, "_trust")
    assert metadata is not None
    assert not isinstance(metadata, Denied)
    world.renew()
    gate.read()
    for digest, data in metadata.files.items():
        assert gate.gate.metadata_file(BESIDE, digest) == data
        assert gate.gate.metadata_file(REPOSITORY, digest) is None
    gate.gate.stand(
        gate.consumer.stanza.root, Standing(refusal=Refusal(reason=Reason.ROLLED_BACK, detail="older than 2"))
    )
    assert gate.gate.metadata_file(BESIDE, next(iter(metadata.files))) is None


def test_metadata_is_nowhere_but_at_its_place(world: World) -> None:
    gate = gateway(world).read()
    assert gate.gate.metadata(REPOSITORY, "_trust") is None
    assert gate.gate.metadata(BESIDE, "_trust.1.x") is None
    assert gate.gate.metadata(Repository(host="other.test", path="acme/trust-metadata"), "_trust") is None


def test_endless_names_take_no_endless_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gateway(world).read()
    snapshot = gate.gate._standings[gate.consumer.stanza.root].snapshot
    assert isinstance(snapshot, Snapshot)
    monkeypatch.setattr("registry_shim.snapshot.KEPT_VERDICTS_MAX", 10)
    for number in range(100):
        assert gate.refused(f"registry.test/acme/web:none{number}") is Reason.UNSIGNED
        assert len(snapshot._verdicts) <= 10
    assert KEPT_VERDICTS_MAX <= 100_000


def test_role_that_is_not_accepted_refuses_what_it_covers_and_nothing_else(world: World) -> None:
    world.sign("1", path="acme/api")
    delegate(world, "acme.web", "acme/web")
    gate = gateway(world).read()
    assert gate.allowed().role == "acme.web"
    world.attacker.forge_delegate("acme.web", lambda signed: signed.targets.clear(), signers=strangers())
    gate.read()
    assert gate.refused() is Reason.WRONG_SIGNER
    assert gate.refused("registry.test/acme/web:other") is Reason.WRONG_SIGNER
    assert gate.allowed("registry.test/acme/api:1").role == "targets"
    world.attacker.forge_delegate("acme.web", lambda signed: setattr(signed, "version", signed.version))
    gate.read()
    assert gate.refused() is Reason.UNSIGNED


def test_role_whose_file_is_gone_is_not_served_from_what_was_known(world: World) -> None:
    delegate(world, "acme.web", "acme/web")
    gate = gateway(world).read()
    gate.allowed()
    world.sign("2")
    (world.directory / world.attacker.delegate_file("acme.web")).unlink()
    gate.read()
    assert gate.refused() is Reason.UNREACHABLE


def test_bins_and_roles_are_served_as_metadata_too(world: World) -> None:
    world.sign("1", path="acme/api")
    delegate(world, "acme.web", "acme/web", bins=4)
    metadata = gateway(world).read().gate.metadata(BESIDE, "_trust")
    assert metadata is not None
    assert not isinstance(metadata, Denied)
    behind = world.consumer("behind")
    for image, role in ((WEB, "acme.web"), ("registry.test/acme/api:1", "targets")):
        verdict = behind.verify(image, store=_Served(metadata.manifest, dict(metadata.files)))
        assert isinstance(verdict, Allowed), verdict
        assert verdict.role == role


def test_attestation_that_the_policy_asks_for_must_be_signed_also_for_the_children_of_an_index(
    world: World,
) -> None:
    child = world.push(manifest_bytes("child"))
    index = world.sign("multi", manifest=index_bytes(manifest_bytes("child")))
    images = ("registry.test/acme/web:multi", f"registry.test/acme/web@{index}", f"registry.test/acme/web@{child}")
    gate = gateway(world, attestations=("spdx",)).read()
    assert {gate.refused(image) for image in images} == {Reason.ATTESTATION_MISSING}
    said = world.attest("spdx", index)
    gate.read()
    assert [gate.allowed(image).attestations for image in images] == [{"spdx": (said,)}] * 3
    assert gate.allowed(f"registry.test/acme/web@{said}").digest == said
    assert gate.refused() is Reason.ATTESTATION_MISSING


def test_tags_of_a_repository_that_no_collection_covers_are_nobodys(world: World) -> None:
    pin = Pinned(
        reference=parse_reference(f"other.test/pause:latest@{sha256(b'third party')}"), until=START + timedelta(1)
    )
    gate = gateway(world, Policy(pinned=(pin,))).read()
    denied = gate.gate.tags(Repository(host="other.test", path="acme/web"))
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.NO_POLICY
    assert gate.gate.tags(Repository(host="other.test", path="pause")) == ()  # the digest is, no tag of it


def test_role_that_was_never_verified_here_refuses_what_it_covers_and_nothing_else(world: World) -> None:
    world.sign("1", path="acme/api")
    delegate(world, "acme.web", "acme/web")
    gate = gateway(world)
    gate.consumer.allowed("registry.test/acme/api:1")  # a command's look-up, which needed no delegate
    gate.stand_on_what_is_stored()
    assert gate.allowed("registry.test/acme/api:1").role == "targets"
    assert gate.refused() is Reason.UNREACHABLE


def test_collection_of_which_nothing_was_verified_has_no_snapshot(world: World) -> None:
    with closing(TrustedState(world.folder / "new")) as state:
        assert load_snapshot(world.stanza, state) is None


class Busy(TrustedState):
    """A state into which another process writes ``times`` times while it is read."""

    times = 0

    def roots(self, pin: Digest) -> dict[int, bytes]:
        if self.times:
            self.times -= 1
            with closing(sqlite3.connect(self.home / DATABASE)) as other, other:
                other.execute("UPDATE role SET threshold = threshold + 1")
        return super().roots(pin)


@pytest.mark.parametrize(("times", "is_read"), [(0, True), (3, True), (1000, False)])
def test_snapshot_is_of_one_moment_or_none(consumer: Consumer, times: int, *, is_read: bool) -> None:
    with closing(Busy(consumer.home)) as state:
        state.times = times
        if not is_read:
            with pytest.raises(StateError, match="does not stand still"):
                load_snapshot(consumer.stanza, state)
            return
        snapshot = load_snapshot(consumer.stanza, state)
    assert snapshot is not None
    assert {role.facts.threshold for role in snapshot.chain.roles.values()} == {1 + times}
