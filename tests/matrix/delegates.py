"""Attacks on a delegated role that signs the images: nobody answers in its place, least of all its delegator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tuf.api.metadata import Metadata

from tests.matrix.attack import Attack, attack
from tests.matrix.stage import TEAM, Case
from tests.simulators.attacker import Edit, Keys, strangers


def attacks() -> Iterator[Attack]:
    """Give them all; the roles above move on meanwhile, and are followed."""
    moves = (
        ("unsigned delegated role", "below-threshold", _unsigned),
        ("delegated role signed by a foreign key", "wrong-signer", _by_a_stranger),
        ("delegated role signed by its delegator's key", "wrong-signer", _by_its_delegator),
        ("delegated role bound to another name", "tampered", _under_another_name),
        ("delegated role dropped from the snapshot", "tampered", _dropped),
        ("delegated role gone from the store", "unreachable", _gone),
    )
    for name, reason, move in moves:
        yield attack(name, reason, move, is_delegated=True, follows=True)
    yield attack(
        "delegated role rolled back", "rolled-back", _rolled_back,
        is_delegated=True, follows=True, unprotected="old",
    )  # fmt: skip


def _unsigned(case: Case) -> None:
    _forge(case, signers=[])


def _by_a_stranger(case: Case) -> None:
    _forge(case, signers=strangers())


def _by_its_delegator(case: Case) -> None:
    _forge(case, signers=case.world.keys["targets"])


def _under_another_name(case: Case) -> None:
    _forge(case, lambda said: said.unrecognized_fields.update({"x-role": "another"}))


def _dropped(case: Case) -> None:
    case.lure()
    case.attacker.forge("snapshot", lambda snapshot: snapshot.meta.pop(f"{TEAM}.json"))


def _gone(case: Case) -> None:
    _forge(case)
    (case.attacker.directory / case.attacker.delegate_file(TEAM)).unlink()


def _rolled_back(case: Case) -> None:
    case.lure("old")
    snapshot: Any = Metadata.from_bytes(case.before[case.file_before("snapshot")]).signed
    name = f"{TEAM}.json"
    case.attacker.forge("snapshot", lambda said: said.meta.update({name: snapshot.meta[name]}))


def _forge(case: Case, edit: Edit = lambda _said: None, *, signers: Keys | None = None) -> None:
    """Publish the role as it names the evil image, after ``edit``."""
    case.lure()

    def both(said: Any) -> None:
        case.name_evil(said)
        edit(said)

    case.attacker.forge_delegate(TEAM, both, signers=signers)
