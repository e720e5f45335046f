"""Attacks with metadata that is none: what two readers would read differently, and a store that is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tuf.api.metadata import MetaFile

from tests.matrix.attack import GOOD, Attack, attack
from tests.matrix.stage import Case
from tests.simulators.attacker import signed

NAMES = ("../../etc/passwd.json", "..%2f.json", "a\0b.json")


def attacks() -> Iterator[Attack]:
    """Give them all."""
    changes: dict[str, Callable[[bytes], bytes]] = {
        "a duplicate key": lambda data: data.replace(b'"_type":', b'"version":1,"_type":', 1),
        "a float": lambda data: _with_field(data, b"1.5"),
        "an integer of 10^30": lambda data: _with_field(data, b"1" + b"0" * 30),
        "a depth of 10^5": lambda data: _with_field(data, b"[" * 10**5 + b"]" * 10**5),
        "something behind its end": lambda data: data + b"{}",
    }
    for what, change in changes.items():
        yield attack(f"metadata with {what}", "tampered", _misshape, change)
    yield attack("role names with dots, slashes and NUL", GOOD, _odd_names, unprotected="good")
    outage = {
        "verify": "unreachable",
        "shim": GOOD,
        "run": "unreachable",
    }  # a shim serves until the metadata's end
    yield attack("store that is emptied", outage, _empty, unprotected="good")


def _with_field(data: bytes, value: bytes) -> bytes:
    """Add a field that is not signed."""
    return b'{"x-other":' + value + b"," + data.lstrip()[1:]


def _misshape(case: Case, change: Callable[[bytes], bytes]) -> None:
    case.lure()
    metadata = case.attacker.current("targets")
    metadata.signed.version += 1
    case.name_evil(metadata.signed)
    data = signed(metadata, case.world.keys["targets"])
    case.attacker.place("targets", metadata.signed.version, change(data))


def _odd_names(case: Case) -> None:
    odd = {name: MetaFile(version=1) for name in NAMES}
    case.attacker.forge("snapshot", lambda snapshot: snapshot.meta.update(odd))


def _empty(case: Case) -> None:
    case.attacker.restore({})
