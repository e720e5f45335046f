"""Attacks with what is validly signed, in another place: collection, role, repository, tag, digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tuf.api.metadata import TargetFile

from tests.matrix.attack import SIGNED_COMES, Attack, attack
from tests.matrix.stage import Case
from tests.simulators.attacker import link_of, name_it, signed
from tests.simulators.world import World

TOP = ("targets", "snapshot", "timestamp")


def attacks() -> Iterator[Attack]:
    """Give them all."""
    yield attack("metadata of another collection that has the same keys", "tampered", _of_a_twin)
    for role in TOP:
        for field in ("x-collection", "x-role"):
            yield attack(f"{role} without {field}", "tampered", _without, role, field)
    yield attack("snapshot in the place of targets", "tampered", _stand_in)
    yield attack(
        "image that is signed for another tag", SIGNED_COMES, _signed_elsewhere, "web", "2",
        follows=True, is_signed_elsewhere=True,
    )  # fmt: skip
    yield attack(
        "image that is signed for another repository", SIGNED_COMES, _signed_elsewhere, "other", "1", follows=True
    )
    yield attack("target under the digest of another manifest", SIGNED_COMES, _under_another_digest, follows=True)
    yield attack("hash right and length wrong", "tampered", _misname, 1)
    yield attack("length right and hash wrong", "tampered", _misname, 0, {"sha256": "0" * 64})
    yield attack(
        "revoked image that the registry still has", "revoked", _revoked, unprotected="good", follows=True
    )


def _of_a_twin(case: Case) -> None:
    case.lure()
    twin = World(case.folder / "twin", name=case.name, keys=case.world.keys, now=case.world.now)
    for tag in ("1", "2", "3"):
        twin.sign(tag, path=case.path, manifest=case.pictures.evil.manifest)
    case.attacker.restore({**twin.attacker.files(), "1.root.json": case.attacker.files()["1.root.json"]})


def _without(case: Case, role: str, field: str) -> None:
    case.steal(role, edit=lambda said: said.unrecognized_fields.pop(field))


def _stand_in(case: Case) -> None:
    case.lure()
    data = case.attacker.files()[case.attacker.file_of("snapshot")]
    case.attacker.place("targets", case.attacker.current("targets").signed.version + 1, data)


def _signed_elsewhere(case: Case, repository: str, tag: str) -> None:
    path = f"{case.path.removesuffix('web')}{repository}"
    case.world.sign(tag, path=path, manifest=case.pictures.evil.manifest)
    case.lure()


def _under_another_digest(case: Case) -> None:
    case.lure()
    evil, fields = case.pictures.evil, {"custom": {"signed": 1, "by": []}}

    def swap(said: Any) -> None:
        path = f"{case.path}@{evil.digest}"
        said.targets[path] = TargetFile(len(evil.manifest), {"sha256": "0" * 64}, path, fields)

    case.attacker.forge("targets", swap)


def _misname(case: Case, surplus: int, hashes: dict[str, str] | None = None) -> None:
    case.lure()
    metadata = case.attacker.current("targets")
    metadata.signed.version += 1
    case.name_evil(metadata.signed)
    data = signed(metadata, case.world.keys["targets"])
    link = link_of(metadata.signed.version, data)
    link.length = len(data) + surplus
    link.hashes = hashes or link.hashes
    case.attacker.put(f"{link.version}.targets.json", data)
    case.attacker.forge("snapshot", lambda snapshot: name_it(snapshot, link))


def _revoked(case: Case) -> None:
    case.world.revoke(path=case.path, digest=case.pictures.good.digest)
