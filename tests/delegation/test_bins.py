"""A role grows beyond one file and nobody notices: not the consumer, not his policy, not his state."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tuf.api.metadata import SuccinctRoles

from tests.delegation.test_delegate import delegate
from tests.simulators.world import Consumer, World, index_bytes, manifest_bytes
from trust.bins import rebin
from trust.delegations import Bins, matches
from trust.errors import InputError, RefusedError
from trust.published import Published
from trust.verdict import Reason


@pytest.fixture
def consumer(world: World) -> Consumer:
    return world.consumer()


def bins(world: World, count: int, role: str = "targets") -> Published:
    """Move ``role`` into so many bins."""
    return world.publish(lambda publisher: rebin(publisher, role, count))


@given(path=st.text(min_size=1, max_size=40), bits=st.integers(1, 14))
def test_bin_of_a_path_is_the_one_that_tuf_names(path: str, bits: int) -> None:
    ours = Bins(prefix="targets.g1", count=1 << bits, keyids=("k",), threshold=1)
    theirs = SuccinctRoles(["k"], 1, bits, "targets.g1")
    assert ours.name_of(path) == theirs.get_role_for_target(path)
    assert list(ours.names())[-1] == list(theirs.get_roles())[-1]


@example(pattern="acme/*:1", path="acme/team/web:1")
@given(pattern=st.text("ab*/:", max_size=8), path=st.text("ab/:", max_size=8))
def test_pattern_matches_what_it_matches_for_other_clients(pattern: str, path: str) -> None:
    from tuf.api.metadata import DelegatedRole  # noqa: PLC0415 - the other client

    role = DelegatedRole("team", [], 1, terminating=True, paths=[pattern])
    assert matches(pattern, path) == role.is_delegated_path(path)


def test_move_into_bins_and_back_is_noticed_by_nobody(world: World, consumer: Consumer) -> None:
    digests = {tag: world.sign(tag) for tag in map(str, range(30))}
    first = consumer.allowed("registry.test/acme/web:7")
    for count in (8, 32, 0):
        assert bins(world, count).changed
        assert not bins(world, count).changed
        for tag, digest in digests.items():
            allowed = consumer.allowed(f"registry.test/acme/web:{tag}@{digest}")
            assert (allowed.digest, allowed.role, allowed.signers) == (digest, "targets", first.signers)
        fresh = world.consumer(f"of {count}", roles=("targets",))
        assert fresh.allowed("registry.test/acme/web:7").digest == digests["7"]


def test_revocation_outlives_the_move_into_bins_and_back(world: World) -> None:
    digest = world.sign("2.0")
    world.revoke(digest=digest)
    for count in (8, 0):
        assert bins(world, count).changed
        fresh = world.consumer(f"of {count}")
        for image in (f"registry.test/acme/web@{digest}", "registry.test/acme/web:2.0"):
            assert fresh.denied(image).reason is Reason.REVOKED


def test_edits_in_bins_are_what_they_are_in_one_file(world: World, consumer: Consumer) -> None:
    bins(world, 16)
    child = manifest_bytes("child")
    index = world.push(child, index_bytes(child))
    world.sign("multi", manifest=world.images[index])
    assert consumer.allowed(f"registry.test/acme/web@{index}").role == "targets"
    world.push(manifest_bytes("other"))
    other = world.sign("multi", manifest=manifest_bytes("other"))
    assert consumer.allowed("registry.test/acme/web:multi").digest == other
    world.revoke(digest=other)
    assert consumer.denied("registry.test/acme/web:multi").reason is Reason.REVOKED
    with pytest.raises(InputError, match="revoked"):
        world.sign("again", manifest=manifest_bytes("other"))
    world.revoke("1.4")
    assert consumer.denied().reason is Reason.UNSIGNED


def test_one_more_tag_signs_its_own_bins_and_no_others(world: World) -> None:
    bins(world, 64)
    before = set(world.attacker.files())
    world.sign("more")
    new = sorted(set(world.attacker.files()) - before)
    assert [name.split(".", 1)[1] for name in new if "snapshot" in name] == ["snapshot.json"]
    assert 1 <= len([name for name in new if ".targets.g1-" in name]) <= 2
    assert len(new) <= 3


def test_snapshot_names_bins_by_version_alone(world: World) -> None:
    delegate(world, "acme.web", "acme/web", bins=4)
    meta = world.attacker.current("snapshot").signed.meta
    assert meta["acme.web.g1-0.json"].hashes is None
    assert meta["acme.web.json"].hashes is not None
    assert world.consumer().allowed().role == "acme.web"


def test_cold_consumer_reads_one_bin_of_many(world: World) -> None:
    bins(world, 64)
    read: list[str] = []

    def reading(name: str, _max: int, honest: bytes | None) -> bytes | None:
        read.append(name)
        return honest

    world.consumer().allowed(store=world.wire(reading))
    assert len([name for name in read if ".g1-" in name]) == 1


@pytest.mark.parametrize("count", [1, 3, -2, 1 << 20])
def test_number_of_bins_is_a_power_of_two(world: World, count: int) -> None:
    with pytest.raises(InputError, match="power of two"):
        bins(world, count)


def test_role_with_delegates_has_no_bins_beside(world: World) -> None:
    delegate(world, "acme.web", "acme/web")
    with pytest.raises(InputError, match=r"delegates to acme\.web"):
        bins(world, 4)
    assert bins(world, 4, role="acme.web").changed
    assert world.consumer().allowed().role == "acme.web"


def test_renewal_of_a_role_renews_its_bins(world: World, consumer: Consumer) -> None:
    bins(world, 4)
    world.later(days=80)
    world.renew("targets")
    world.later(days=6)
    assert consumer.allowed().role == "targets"
    world.later(days=85)
    world.renew()
    assert consumer.denied().reason is Reason.EXPIRED


def test_bin_set_back_by_a_stolen_online_key_is_refused(world: World, consumer: Consumer) -> None:
    bins(world, 4)
    world.sign("1.4", manifest=manifest_bytes("old"))
    consumer.allowed()
    name = next(name for name, role in _bins_with(world, "acme/web:1.4"))
    old = world.attacker.files()[world.attacker.delegate_file(name)]
    version = int(world.attacker.delegate_file(name).split(".")[0])
    world.sign("1.4", manifest=manifest_bytes("new"))
    consumer.allowed()
    world.attacker.forge("snapshot", lambda snapshot: _set(snapshot, name, version))
    assert world.attacker.files()[f"{version}.{name}.json"] == old
    assert consumer.refusal().reason is Reason.ROLLED_BACK


def _set(snapshot: Any, name: str, version: int) -> None:
    snapshot.meta[f"{name}.json"].version = version


def _bins_with(world: World, path: str) -> list[tuple[str, Any]]:
    meta = world.attacker.current("snapshot").signed.meta
    names = [name.removesuffix(".json") for name in meta if ".g1-" in name]
    found = [(name, world.attacker.metadata(world.attacker.delegate_file(name)).signed) for name in names]
    return [(name, role) for name, role in found if path in role.targets]


def test_attestation_in_bins_is_found_wherever_its_bin_is(world: World) -> None:
    """The tag, its digest, the index above it and the attestation lie in bins of their own."""
    child = manifest_bytes("child")
    index = world.sign("multi", manifest=world.images[world.push(child, index_bytes(child))])
    bins(world, 64)
    strict = world.consumer("strict", attestations=("spdx",))
    images = [f"registry.test/acme/web{text}" for text in (":multi", f"@{index}", f"@{world.push(child)}")]
    assert {strict.denied(image).reason for image in images} == {Reason.ATTESTATION_MISSING}
    said = world.attest("spdx", index)
    assert [strict.allowed(image).attestations for image in images] == [{"spdx": (said,)}] * 3
    assert world.consumer("fresh", attestations=("spdx",)).allowed(images[0]).attestations == {"spdx": (said,)}
    assert world.consumer("careless").allowed(images[1]).attestations == {"spdx": (said,)}  # its bin is not asked


def test_child_of_an_index_is_judged_though_its_bin_was_not_asked_for(world: World) -> None:
    child, stranger = manifest_bytes("child"), manifest_bytes("nobody signed it")
    world.sign("multi", manifest=world.images[world.push(child, index_bytes(child))])
    bins(world, 64)
    runner = world.consumer("runner")
    runner.vet("registry.test/acme/web:multi", world.push(child))
    with pytest.raises(RefusedError, match="does not sign"):
        runner.vet("registry.test/acme/web:multi", world.push(stranger))


def test_attestation_of_a_delegated_image_is_signed_by_its_role(world: World) -> None:
    digest = world.sign("dev-1")
    delegate(world, "acme.web", "acme/web")
    delegate(world, "ci", "acme/web:dev-*", delegator="acme.web")
    said = world.attest("slsa", digest)
    allowed = world.consumer("strict", attestations=("slsa",)).allowed("registry.test/acme/web:dev-1")
    assert (allowed.role, allowed.attestations) == ("ci", {"slsa": (said,)})
