"""Attacks with what was once true: older metadata shown again, one version with two contents, newer withheld."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from tuf.api.metadata import Metadata

from tests.matrix.attack import Attack, attack
from tests.matrix.stage import TEAM, Case
from tests.simulators.attacker import name_it

TOP = ("targets", "snapshot", "timestamp")
ENDS_IN_SECONDS = 4.0
BRIEF = timedelta(hours=1)


def attacks() -> Iterator[Attack]:
    """Give them all."""
    yield attack("whole store set back", "rolled-back", _set_back, unprotected="old")
    for role in ("snapshot", "targets"):
        yield attack(
            f"{role} rolled back below newer metadata", "rolled-back", _old_below_new, role, unprotected="old"
        )
    yield attack("old targets under a new number", "rolled-back", _old_under_a_new_number, unprotected="old")
    yield attack("mix and match of two snapshots", "tampered", _mix_and_match)
    yield attack("targets dropped from the snapshot", "tampered", _forget_targets)
    yield attack(
        "revocation taken back", "rolled-back", _resurrect, unprotected="good", first=_revoke, known="revoked"
    )
    for role in TOP:
        yield attack(f"same version of {role} with other bytes", "tampered", _same_number, role, unprotected=None)
        yield attack(f"new but expired {role}", "expired", _expired, role)
    for role in ("root", *TOP, TEAM):
        yield attack(
            f"expired {role} under a gate that runs", "expired", _ends, role,
            unprotected="good", lasts=ENDS_IN_SECONDS, follows=True, is_delegated=role == TEAM,
        )  # fmt: skip


def _set_back(case: Case) -> None:
    case.lure("old")
    case.attacker.restore(case.before)


def _old_below_new(case: Case, role: str) -> None:
    case.lure("old")
    above = "timestamp" if role == "snapshot" else "snapshot"
    old: Any = Metadata.from_bytes(case.before[case.file_before(above)]).signed
    link = old.snapshot_meta if role == "snapshot" else old.meta["targets.json"]
    case.attacker.forge(above, lambda said: name_it(said, link))


def _old_under_a_new_number(case: Case) -> None:
    case.lure("old")
    old = case.before[case.file_before("targets")]
    case.attacker.place("targets", case.attacker.current("targets").signed.version + 1, old)


def _mix_and_match(case: Case) -> None:
    case.steal("targets")
    case.attacker.put(case.attacker.file_of("snapshot"), case.before[case.file_before("snapshot")])


def _forget_targets(case: Case) -> None:
    case.lure()
    case.attacker.forge("snapshot", lambda snapshot: snapshot.meta.clear())


def _revoke(case: Case) -> None:
    """Whoever has not seen the revocation cannot miss it."""
    case.world.revoke(path=case.path, digest=case.pictures.good.digest)


def _resurrect(case: Case) -> None:
    def resurrect(said: Any) -> None:
        said.targets = case.targets
        said.unrecognized_fields.pop("x-revoked")

    case.attacker.forge("targets", resurrect)


def _same_number(case: Case, role: str) -> None:
    case.attacker.forge(role, lambda said: said.unrecognized_fields.update({"x-other": "bytes"}), bump=False)


def _expired(case: Case, role: str) -> None:
    case.steal(role, edit=lambda said: setattr(said, "expires", _now() - BRIEF))


def _ends(case: Case, role: str) -> None:
    if role == "root":
        case.world.rotate(_end_soon)
    elif role == TEAM:
        case.attacker.forge_delegate(TEAM, _end_soon)
    else:
        case.attacker.forge(role, _end_soon)


def _end_soon(said: Any) -> None:
    said.expires = _now() + timedelta(seconds=ENDS_IN_SECONDS)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)
