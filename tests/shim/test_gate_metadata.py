"""What the gate makes of metadata: served as it was verified, and a role that was not refuses what it covers."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing

import pytest
from tuf.api.metadata import Metadata

from registry_shim.gate import Refusal, Standing
from registry_shim.snapshot import KEPT_VERDICTS_MAX, Snapshot, load_snapshot
from tests.delegation.test_delegate import delegate
from tests.shim.gateway import BESIDE, REPOSITORY, gateway
from tests.simulators.attacker import strangers
from tests.simulators.world import WEB, Consumer, World
from trust.database import DATABASE
from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.errors import StateError
from trust.reference import Repository
from trust.state import TrustedState
from trust.stores.artifact import parse_artifact
from trust.stores.interface import Publication, View
from trust.verdict import Allowed, Denied, Reason


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
