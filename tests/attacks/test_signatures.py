"""Who signed: nobody, foreign keys, too few keys, one key that poses as two, keys that were removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey
from tuf.api.metadata import Root

from tests.simulators.attacker import signed, strangers
from tests.simulators.world import Consumer, World
from trust.verdict import Reason

ROLES = ("targets", "snapshot", "timestamp")


@pytest.mark.parametrize("role", ROLES)
def test_unsigned_role_is_refused(world: World, consumer: Consumer, role: str) -> None:
    world.attacker.forge(role, signers=[])
    assert consumer.refusal().reason is Reason.BELOW_THRESHOLD


def test_unsigned_root_is_refused(world: World, consumer: Consumer) -> None:
    world.rotate(signers=[])
    assert consumer.refusal().reason is Reason.BELOW_THRESHOLD


@pytest.mark.parametrize("role", ROLES)
def test_role_signed_by_a_foreign_key_is_refused(world: World, consumer: Consumer, role: str) -> None:
    world.attacker.forge(role, signers=strangers())
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


@pytest.mark.parametrize("role", ROLES)
def test_role_signed_by_a_foreign_key_is_refused_at_first_use(world: World, role: str) -> None:
    world.attacker.forge(role, signers=strangers())
    assert world.consumer().refusal().reason is Reason.WRONG_SIGNER


@pytest.mark.parametrize("role", ROLES)
def test_broken_signature_of_the_right_key_is_refused(world: World, consumer: Consumer, role: str) -> None:
    attacker = world.attacker
    metadata = attacker.current(role)
    metadata.signed.version += 1
    for keyid, signature in metadata.signatures.items():  # of the version before
        metadata.signatures[keyid] = Signature(keyid, signature.signature)
    attacker.place(role, metadata.signed.version, metadata.to_bytes())
    assert consumer.refusal().reason is Reason.TAMPERED


@pytest.mark.parametrize("role", ROLES)
def test_one_signature_less_than_the_threshold_is_refused(tmp_path: Path, role: str) -> None:
    world = World(tmp_path, keys_each=3, threshold=2)
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    world.attacker.forge(role, signers=world.keys[role][:1])
    assert consumer.refusal().reason is Reason.BELOW_THRESHOLD


def test_root_with_one_signature_less_than_the_threshold_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, keys_each=3, threshold=2)
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    world.rotate(signers=world.keys["root"][:1])
    assert consumer.refusal().reason is Reason.BELOW_THRESHOLD


def test_any_keys_that_reach_the_threshold_are_accepted(tmp_path: Path) -> None:
    world = World(tmp_path, keys_each=3, threshold=2)
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    world.attacker.forge("targets", signers=world.keys["targets"][1:])
    assert len(consumer.allowed().signers) == 2


def _same_key(key: SSlibKey) -> dict[str, SSlibKey]:
    """Return the same public key spelled otherwise, each under a key id of its own."""
    public = key.keyval["public"]
    spellings: dict[str, dict[str, Any]] = {
        "same": {"public": public},
        "capitals": {"public": public.upper()},
        "spaces": {"public": f"{public[:8]} {public[8:]}"},
        "more fields": {"public": public, "comment": "another"},
    }
    return {name: SSlibKey(f"{name}-id", key.keytype, key.scheme, value) for name, value in spellings.items()}


def _two_of_two(world: World, role: str, signer: CryptoSigner, alias: SSlibKey) -> None:
    """Have ``role`` want two signatures, and sign it with ``signer`` under its own id and under ``alias``."""

    def two_of_two(root: Root) -> None:
        for key in (signer.public_key, alias):
            root.add_key(key, role)
        root.roles[role].threshold = 2

    world.rotate(two_of_two)
    metadata = world.attacker.current(role)
    metadata.signed.version += 1
    signed(metadata, [signer])
    twin = metadata.signatures[signer.public_key.keyid]
    metadata.signatures[alias.keyid] = Signature(alias.keyid, twin.signature)
    world.attacker.place(role, metadata.signed.version, metadata.to_bytes())


@pytest.mark.parametrize("spelling", ["same", "capitals", "spaces", "more fields"])
@pytest.mark.parametrize("role", ROLES)
def test_one_key_under_two_ids_counts_once(world: World, consumer: Consumer, role: str, spelling: str) -> None:
    signer = world.keys[role][0]
    _two_of_two(world, role, signer, _same_key(signer.public_key)[spelling])
    assert world.consumer("fresh").refusal().reason is Reason.BELOW_THRESHOLD
    before = consumer.versions()
    consumer.verify()
    assert consumer.versions() == before


def test_one_pem_key_in_two_spellings_counts_once(world: World) -> None:
    signer = CryptoSigner.generate_ecdsa()
    key = signer.public_key
    pem = key.keyval["public"].replace("\n", "\r\n")
    _two_of_two(world, "targets", signer, SSlibKey("another-id", key.keytype, key.scheme, {"public": pem}))
    assert world.consumer().refusal().reason is Reason.BELOW_THRESHOLD


def test_one_root_key_under_two_ids_does_not_rotate_the_root(tmp_path: Path) -> None:
    world = World(tmp_path, keys_each=2, threshold=2)
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    first = world.keys["root"][0]
    alias = _same_key(first.public_key)["same"]

    def alone(root: Root) -> None:
        root.revoke_key(world.keys["root"][1].public_key.keyid, "root")
        root.add_key(alias, "root")

    world.rotate(alone, signers=world.keys["root"])
    root = world.attacker.current("root")
    twin = root.signatures[first.public_key.keyid]
    root.signatures[alias.keyid] = Signature(alias.keyid, twin.signature)
    world.attacker.put(f"{root.signed.version}.root.json", root.to_bytes())
    assert consumer.refusal().reason is Reason.BELOW_THRESHOLD


@pytest.mark.parametrize("role", ROLES)
def test_signature_by_a_removed_key_is_refused(tmp_path: Path, role: str) -> None:
    world = World(tmp_path, keys_each=2)
    world.sign()
    consumer = world.consumer()
    consumer.allowed()
    removed = world.keys[role][0]

    def remove(root: Root) -> None:
        root.revoke_key(removed.public_key.keyid, role)

    world.rotate(remove)
    world.renew("targets")
    consumer.allowed()
    world.attacker.forge(role, signers=[removed])
    assert consumer.refusal().reason is Reason.WRONG_SIGNER


def test_the_algorithm_is_taken_from_the_key_and_not_from_the_signature(world: World, consumer: Consumer) -> None:
    attacker = world.attacker
    metadata = attacker.current("timestamp")
    metadata.signed.version += 1
    signer = strangers()[0]
    signature = signer.sign(metadata.signed_bytes)
    keyid = world.keys["timestamp"][0].public_key.keyid
    metadata.signatures.clear()
    metadata.signatures[keyid] = Signature(keyid, signature.signature, {"method": "ed25519", "public": "of mine"})
    attacker.put("timestamp.json", metadata.to_bytes())
    assert consumer.refusal().reason is Reason.TAMPERED
