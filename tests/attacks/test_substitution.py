"""What is validly signed is shown in another place: another collection, role, repository, tag, digest."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import TargetFile, Targets

from tests.simulators.attacker import link_of, name_it
from tests.simulators.world import Consumer, World, manifest_bytes, soon
from trust.ceremony import init
from trust.errors import InputError
from trust.first_edition import Role
from trust.roles import DEFAULT_EXPIRY
from trust.state import TrustedState
from trust.stores.file import FileStore
from trust.verdict import Reason

ROLES = ("targets", "snapshot", "timestamp")


def _twin(world: World, folder: Path) -> World:
    """Return a collection made with the very keys of ``world``, further on than it in every role."""
    twin = World(folder, keys=world.keys)
    for tag in ("1.4", "1.5", "1.6"):
        twin.sign(tag, manifest=manifest_bytes("staging"))
    return twin


def test_metadata_of_another_collection_with_the_same_keys_is_refused(
    world: World, consumer: Consumer, tmp_path: Path
) -> None:
    """Shown with python-tuf: a production consumer took the files of staging."""
    files = _twin(world, tmp_path / "staging").attacker.files()
    files["1.root.json"] = world.attacker.files()["1.root.json"]
    world.attacker.restore(files)
    assert consumer.refusal().reason is Reason.TAMPERED
    assert world.consumer("fresh").refusal().reason is Reason.TAMPERED


@pytest.mark.parametrize("role", ROLES)
def test_one_role_of_another_collection_with_the_same_keys_is_refused(
    world: World, consumer: Consumer, tmp_path: Path, role: str
) -> None:
    twin = _twin(world, tmp_path / "staging").attacker
    theirs = (twin.directory / twin.file_of(role)).read_bytes()
    version = twin.current(role).signed.version
    if role == "timestamp":
        world.attacker.restore({**twin.files(), **world.attacker.files(), "timestamp.json": theirs})
    else:
        world.attacker.place(role, version, theirs)
    assert consumer.refusal().reason in {Reason.TAMPERED, Reason.UNREACHABLE}


@pytest.mark.parametrize("change", [lambda fields: fields.pop("x-collection"), lambda fields: fields.pop("x-role"),
                                    lambda fields: fields.update({"x-role": "acme.team"}),
                                    lambda fields: fields.update({"x-collection": "0" * 32})])  # fmt: skip
@pytest.mark.parametrize("role", ["root", *ROLES])
def test_role_that_is_not_bound_to_its_collection_and_name_is_refused(
    world: World, consumer: Consumer, role: str, change: Callable[[dict[str, Any]], object]
) -> None:
    if role == "root":
        world.rotate(lambda root: change(root.unrecognized_fields))
    else:
        world.attacker.forge(role, lambda signed: change(signed.unrecognized_fields))
    assert consumer.refusal().reason is Reason.TAMPERED


@pytest.mark.parametrize(
    ("role", "stand_in"), [pair for pair in product(ROLES, ("root", *ROLES)) if pair[0] != pair[1]]
)
def test_role_does_not_stand_in_for_another(world: World, consumer: Consumer, role: str, stand_in: str) -> None:
    attacker = world.attacker
    data = (attacker.directory / attacker.file_of(stand_in)).read_bytes()
    attacker.place(role, attacker.current(role).signed.version + 1, data)
    assert consumer.refusal().reason in {Reason.TAMPERED, Reason.WRONG_SIGNER}


@pytest.mark.parametrize(
    "image",
    [
        "registry.test/acme/db:1.4",
        "registry.test/acme/web:1.5",
        "registry.test/acme/web/sub:1.4",
        "registry.test/acme/web@sha256:" + "0" * 64,
    ],
)
def test_target_is_valid_for_its_own_repository_and_tag_alone(consumer: Consumer, image: str) -> None:
    assert consumer.refusal(image).reason is Reason.UNSIGNED


def test_signed_digest_is_valid_in_its_own_repository_alone(world: World, consumer: Consumer) -> None:
    digest = world.sign("2.0", path="acme/db")
    consumer.allowed(f"registry.test/acme/db@{digest}")
    assert consumer.refusal(f"registry.test/acme/web@{digest}").reason is Reason.UNSIGNED


def test_target_under_the_digest_of_another_manifest_is_refused(world: World, consumer: Consumer) -> None:
    """Who asks for a digest must never be given another one, whoever signed it."""
    digest = world.sign("1.5")
    wanted = f"acme/web@{digest}"

    def swap(targets: Targets) -> None:
        was = targets.targets[wanted]
        custom = was.unrecognized_fields
        targets.targets[wanted] = TargetFile(was.length, {"sha256": "0" * 64}, wanted, custom)

    world.attacker.forge("targets", swap)
    consumer.verify()
    assert consumer.refusal(f"registry.test/{wanted}").reason is Reason.TAMPERED


@pytest.mark.parametrize(
    ("surplus", "reason"), [(-1, Reason.LIMIT_REACHED), (1, Reason.TAMPERED), (10**12, Reason.TAMPERED)]
)
@pytest.mark.parametrize("role", ["targets", "snapshot"])
def test_right_hash_with_a_wrong_length_is_refused(
    world: World, consumer: Consumer, role: str, surplus: int, reason: Reason
) -> None:
    attacker = world.attacker
    data = (attacker.directory / attacker.file_of(role)).read_bytes()
    link = link_of(attacker.current(role).signed.version + 1, data)
    link.length = len(data) + surplus
    attacker.put(f"{link.version}.{role}.json", data)
    attacker.forge("snapshot" if role == "targets" else "timestamp", lambda above: name_it(above, link))
    assert consumer.refusal().reason is reason


@pytest.mark.parametrize("role", ["targets", "snapshot"])
def test_wrong_hash_with_the_right_length_is_refused(world: World, consumer: Consumer, role: str) -> None:
    attacker = world.attacker
    data = (attacker.directory / attacker.file_of(role)).read_bytes()
    link = link_of(attacker.current(role).signed.version + 1, data)
    link.hashes = {"sha256": "0" * 64}
    attacker.put(f"{link.version}.{role}.json", data)
    attacker.forge("snapshot" if role == "targets" else "timestamp", lambda above: name_it(above, link))
    assert consumer.refusal().reason is Reason.TAMPERED


def test_key_that_another_collection_uses_is_refused_at_birth(world: World, tmp_path: Path) -> None:
    roles = {
        role: Role(keys=(world.keys[role][0].public_key,), threshold=1, period=DEFAULT_EXPIRY[role])
        for role in DEFAULT_EXPIRY
    }
    directory = tmp_path / "second"
    state = TrustedState(world.home)
    with pytest.raises(InputError, match="belongs to collection"):
        init(world.stanza, state=state, store=FileStore(f"file:{directory}", directory), roles=roles,
             keyring=world.keyring, now=world.now, deadline=soon(), randomness=os.urandom)  # fmt: skip
    state.close()
    assert list(directory.glob("*.json")) == []
