"""A publisher reads his own store as a stranger would: whoever stole the online key decides nothing for him."""

from __future__ import annotations

from typing import Any

import pytest
from tuf.api.metadata import MetaFile

from tests.simulators.world import World, strangers
from trust.errors import RefusedError
from trust.verdict import Reason


def test_publisher_builds_on_no_old_targets_under_a_new_number(world: World) -> None:
    """A stolen online key and a link without hashes must not have revoked images signed again."""
    attacker = world.attacker
    old = (attacker.directory / attacker.file_of("targets")).read_bytes()
    world.revoke("1.4")
    attacker.put("9.targets.json", old)
    attacker.forge("snapshot", lambda snapshot: snapshot.meta.update({"targets.json": MetaFile(version=9)}))
    world.home = world.folder / "another publisher"
    with pytest.raises(RefusedError) as caught:
        world.sign("1.6")
    assert caught.value.reason in {Reason.ROLLED_BACK.value, Reason.TAMPERED.value}


def test_publisher_refuses_a_snapshot_without_targets(world: World) -> None:
    world.attacker.forge("snapshot", lambda snapshot: snapshot.meta.clear())
    with pytest.raises(RefusedError) as caught:
        world.sign("1.6")
    assert caught.value.reason == Reason.TAMPERED.value


@pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
@pytest.mark.parametrize("field", ["x-collection", "x-role"])
def test_publisher_builds_on_no_role_of_another_collection(world: World, role: str, field: str) -> None:
    def elsewhere(signed: Any) -> None:
        signed.unrecognized_fields[field] = "0" * 32

    world.rotate(elsewhere) if role == "root" else world.attacker.forge(role, elsewhere)
    with pytest.raises(RefusedError, match="belongs elsewhere") as caught:
        world.sign("1.6")
    assert caught.value.reason == Reason.TAMPERED.value


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_publisher_builds_on_no_role_of_a_foreign_key(world: World, role: str) -> None:
    world.attacker.forge(role, signers=strangers())
    with pytest.raises(RefusedError, match="expected 1 signatures by different keys, got 0"):
        world.sign("1.6")
