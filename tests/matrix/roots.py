"""Attacks on the chain of roots: every link is signed by both sides, and none is skipped (TUF 1.0 §5.3)."""

from __future__ import annotations

from collections.abc import Iterator

from tuf.api.metadata import Root

from tests.matrix.attack import Attack, attack
from tests.matrix.stage import Case
from tests.simulators.attacker import strangers


def attacks() -> Iterator[Attack]:
    """Give them all."""
    yield attack("unsigned root", "below-threshold", _usurp)
    yield attack("root without the signature of the old keys", "wrong-signer", _usurp, "new")
    yield attack("root without the signature of the new keys", "below-threshold", _usurp, "old")
    yield attack("root that skips a version", "rolled-back", _skip)
    yield attack("root of another collection that has the same keys", "tampered", _of_another)
    yield attack("gap in the chain of roots", "wrong-signer", _gap)


def _usurp(case: Case, *sides: str) -> None:
    """Hand root and targets over to a stranger, signed by those ``sides`` of the old and the new keys."""
    new, keys = strangers(), case.world.keys

    def hand_over(root: Root) -> None:
        for role in ("root", "targets"):
            root.revoke_key(keys[role][0].public_key.keyid, role)
            root.add_key(new[0].public_key, role)

    of = {"old": keys["root"], "new": new}
    case.world.rotate(hand_over, signers=[key for side in sides for key in of[side]])
    case.steal("targets", signers=new)


def _skip(case: Case) -> None:
    case.lure()
    case.world.rotate(lambda root: setattr(root, "version", 3))
    case.attacker.put("2.root.json", case.attacker.files()["3.root.json"])


def _of_another(case: Case) -> None:
    case.lure()
    case.world.rotate(lambda root: root.unrecognized_fields.update({"x-collection": "0" * 32}))


def _gap(case: Case) -> None:
    """The third root would name the thief's key, and is out of reach: what he signed is a stranger's."""
    new = strangers()
    case.world.rotate()
    case.world.rotate(lambda root: root.add_key(new[0].public_key, "targets"))
    (case.attacker.directory / "2.root.json").unlink()
    case.steal("targets", signers=new)
