"""Attacks on who signed: nobody, strangers, too few, one who poses as two, one who was removed (TUF 1.0 §5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from securesystemslib.signer import Signature, SSlibKey
from tuf.api.metadata import Metadata, Root

from tests.matrix.attack import Attack, attack
from tests.matrix.stage import Case
from tests.simulators.attacker import signed, strangers
from tests.simulators.world import ONLINE

TOP = ("targets", "snapshot", "timestamp")
SEVERAL = {"keys_each": 3, "threshold": 2}


def attacks() -> Iterator[Attack]:
    """Give them all."""
    for role in TOP:
        yield attack(f"unsigned {role}", "below-threshold", _unsigned, role)
        yield attack(f"{role} signed by a foreign key", "wrong-signer", _by_a_stranger, role)
        yield attack(
            f"{role} with one signature less than the threshold",
            "below-threshold",
            _by_too_few,
            role,
            world=SEVERAL,
        )
        yield attack(
            f"{role} signed by a removed key", "wrong-signer", _by_a_removed_key, role,
            first=partial(_remove_a_key, role=role), world={"keys_each": 2},
        )  # fmt: skip
        yield attack(f"{role} with the signature of another version", "tampered", _with_an_old_signature, role)
        yield attack(f"{role} signed by one key under two ids", "below-threshold", _by_one_key_twice, role)
    yield attack(
        "revoked online key under a consumer that has the new root", "wrong-signer", _by_a_revoked_online_key
    )


def _unsigned(case: Case, role: str) -> None:
    case.steal(role, signers=[])


def _by_a_stranger(case: Case, role: str) -> None:
    case.steal(role, signers=strangers())


def _by_too_few(case: Case, role: str) -> None:
    case.steal(role, signers=case.world.keys[role][:1])


def _remove_a_key(case: Case, role: str) -> None:
    removed = case.world.keys[role][0]
    case.world.rotate(lambda root: root.revoke_key(removed.public_key.keyid, role))
    case.world.renew("targets")


def _by_a_removed_key(case: Case, role: str) -> None:
    case.steal(role, signers=case.world.keys[role][:1])


def _with_an_old_signature(case: Case, role: str) -> None:
    metadata = _next(case, role)
    case.attacker.place(role, metadata.signed.version, metadata.to_bytes())


def _by_one_key_twice(case: Case, role: str) -> None:
    signer = case.world.keys[role][0]
    key = signer.public_key
    alias = SSlibKey("the-same-key", key.keytype, key.scheme, {"public": key.keyval["public"].upper()})

    def two_of_two(root: Root) -> None:
        for each in (key, alias):
            root.add_key(each, role)
        root.roles[role].threshold = 2

    case.world.rotate(two_of_two)
    metadata = _next(case, role)
    signed(metadata, [signer])
    metadata.signatures[alias.keyid] = Signature(alias.keyid, metadata.signatures[key.keyid].signature)
    case.attacker.place(role, metadata.signed.version, metadata.to_bytes())


def _by_a_revoked_online_key(case: Case) -> None:
    stolen = case.world.replace_keys(*ONLINE)
    case.steal("snapshot", signers=stolen)
    case.attacker.forge("timestamp", signers=stolen)


def _next(case: Case, role: str) -> Metadata[Any]:
    """Return the next version of ``role`` above targets that name the evil image, not signed yet."""
    case.lure()
    if role != "targets":
        case.attacker.forge("targets", case.name_evil)
    metadata = case.attacker.current(role)
    metadata.signed.version += 1
    if role == "targets":
        case.name_evil(metadata.signed)
    return metadata
