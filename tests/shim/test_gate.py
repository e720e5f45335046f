"""The gate and its snapshot, in memory over a legitimate world's metadata: what is ruled, and until when."""

from __future__ import annotations

from datetime import timedelta

from registry_shim.gate import Refusal, Standing
from tests.shim.gateway import BESIDE, REPOSITORY, gateway
from tests.simulators.world import START, WEB, World, index_bytes, manifest_bytes
from trust.digest import sha256
from trust.policy import Pinned, Policy, Rewrite
from trust.reference import Repository, parse_collection, parse_reference
from trust.value import replace
from trust.verdict import Allowed, Denied, Reason


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
