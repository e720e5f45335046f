"""Metadata that is none: endless, slow, ambiguous, nested, mistyped; names that would leave the store."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, MetaFile

from tests.simulators.attacker import signed
from tests.simulators.relay import Wire
from tests.simulators.world import Consumer, World
from trust.deadline import deadline_in
from trust.metadata import ROOT_MAX_BYTES, SNAPSHOT_MAX_BYTES, TARGETS_MAX_BYTES, TIMESTAMP_MAX_BYTES
from trust.verdict import Reason

CAPS = {"root": ROOT_MAX_BYTES, "timestamp": TIMESTAMP_MAX_BYTES, "snapshot": SNAPSHOT_MAX_BYTES,
        "targets": TARGETS_MAX_BYTES}  # fmt: skip
ROLES = tuple(CAPS)


def _publish(world: World, role: str, change: Callable[[bytes], bytes]) -> None:
    """Publish the next version of ``role``, its bytes changed after it was signed."""
    attacker = world.attacker
    if role == "root":
        world.rotate()
        attacker.edit_bytes("2.root.json", change)
        return
    metadata = attacker.current(role)
    metadata.signed.version += 1
    attacker.place(role, metadata.signed.version, change(signed(metadata, world.keys[role])))


def _with_field(text: str) -> Callable[[bytes], bytes]:
    """Return a change that adds an unsigned field: python-tuf takes no notice of it."""
    return lambda data: b'{"x-other":' + text.encode() + b"," + data.lstrip()[1:]


def _instead(bytes_instead: bytes) -> Callable[[bytes], bytes]:
    return lambda _data: bytes_instead


AMBIGUOUS = {
    "duplicate key outside": lambda data: data.replace(b'"signed":', b'"signed":{},"signed":', 1),
    "duplicate key inside": lambda data: data.replace(b'"_type":', b'"version":1,"_type":', 1),
    "lone surrogate": lambda data: data.replace(b'"_type":', b'"x-other":"\\ud800","_type":', 1),
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "float": _with_field("1.0"),
    "exponent": _with_field("1e3"),
    "not a number": _with_field("NaN"),
    "infinity": _with_field("-Infinity"),
    "10^30": _with_field("1" + "0" * 30),
    "2^63": _with_field(str(2**63)),
    "depth 10^5": _with_field("[" * 10**5 + "]" * 10**5),
    "depth 33": _with_field("[" * 33 + "]" * 33),
    "trailing": lambda data: data + b"{}",
    "truncated": lambda data: data[:-2],
    "not utf-8": lambda data: data.replace(b'"_type"', b'"\xff\xfe"', 1),
    "empty": _instead(b""),
    "a list": _instead(b"[]"),
    "null": _instead(b"null"),
    "nothing": _instead(b"{}"),
    "signed is a list": _instead(b'{"signatures":[],"signed":[]}'),
    "html": _instead(b"<html><body>Login</body></html>"),
}


@pytest.mark.parametrize("change", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
@pytest.mark.parametrize("role", ROLES)
def test_ambiguous_or_broken_bytes_are_refused(
    world: World, consumer: Consumer, role: str, change: Callable[[bytes], bytes]
) -> None:
    _publish(world, role, change)
    assert consumer.refusal().reason in {Reason.TAMPERED, Reason.LIMIT_REACHED}


def test_unsigned_field_says_nothing(world: World) -> None:
    world.attacker.edit_bytes("timestamp.json", _with_field('{"x-revoked":{},"version":99}'))
    consumer = world.consumer()
    consumer.allowed()
    assert consumer.versions()["timestamp"] == 2


@pytest.mark.parametrize("role", ROLES)
def test_endless_data_end_at_the_cap_of_the_role(world: World, consumer: Consumer, role: str) -> None:
    asked: dict[str, int] = {}

    def endless(name: str, max_bytes: int, data: bytes | None) -> bytes | None:
        asked[name] = max(max_bytes, asked.get(name, 0))
        return data if f"{role}.json" not in name else b" " * (max_bytes + 1)

    world.sign("1.5")
    denied = consumer.refusal(store=Wire(honest=world.store, read=endless))
    assert denied.reason in {Reason.TAMPERED, Reason.LIMIT_REACHED}
    assert all(
        size <= max(CAPS[role], ROOT_MAX_BYTES) for name, size in asked.items() if f"{role}.json" in name
    ), asked


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_no_more_than_the_signed_length_is_read(world: World, consumer: Consumer, role: str) -> None:
    asked: dict[str, int] = {}

    def watching(name: str, max_bytes: int, data: bytes | None) -> bytes | None:
        asked[name] = max_bytes
        return data

    world.sign("1.5")
    consumer.allowed(store=Wire(honest=world.store, read=watching))
    name = world.attacker.file_of(role)
    assert asked[name] == len(world.attacker.files()[name])


@pytest.mark.parametrize("role", ROLES)
def test_file_above_the_cap_could_not_be_decided(world: World, consumer: Consumer, role: str) -> None:
    world.sign("1.5")
    name = "2.root.json" if role == "root" else world.attacker.file_of(role)
    world.attacker.put(name, b"{" + b" " * CAPS[role])
    assert consumer.refusal().reason is Reason.LIMIT_REACHED


def test_slow_store_is_ended_by_the_deadline_of_the_whole(world: World, consumer: Consumer) -> None:
    """Each read takes a second: no single one is too slow, their sum is."""
    ticks = count()
    world.sign("1.5")
    denied = consumer.refusal(deadline=deadline_in(3, lambda: float(next(ticks))))
    assert denied.reason is Reason.LIMIT_REACHED


def test_slow_chain_of_roots_is_ended_by_the_deadline(world: World, consumer: Consumer) -> None:
    ticks = count()
    for _ in range(20):
        world.rotate()
    denied = consumer.refusal(deadline=deadline_in(10, lambda: float(next(ticks))))
    assert denied.reason is Reason.LIMIT_REACHED


NAMES = ("../../etc/passwd.json", "..%2f.json", "a\x00b.json", "/etc/passwd.json", "C:\\x.json", ".json",
         "root.json", "timestamp.json", "a/../targets.json", "x" * 5000 + ".json")  # fmt: skip


def test_role_names_of_a_snapshot_never_become_paths(world: World, consumer: Consumer) -> None:
    seen: set[str] = set()

    def watching(name: str, _max_bytes: int, data: bytes | None) -> bytes | None:
        seen.add(name)
        return data

    world.attacker.forge(
        "snapshot", lambda snapshot: snapshot.meta.update({n: MetaFile(version=1) for n in NAMES})
    )
    consumer.allowed(store=Wire(honest=world.store, read=watching))
    assert seen <= {"2.root.json", "timestamp.json", "3.snapshot.json"}
    assert sorted(path.name for path in world.folder.iterdir()) == ["consumer", "metadata", "publisher"]


def test_version_that_no_file_has_is_unreachable(world: World, consumer: Consumer) -> None:
    world.attacker.forge("timestamp", lambda signed: setattr(signed, "snapshot_meta", MetaFile(version=10**12)))
    assert consumer.refusal().reason is Reason.UNREACHABLE


@pytest.mark.parametrize(
    "delegated", [{"paths": ["acme/?eb:*"]}, {"paths": ["acme/[a-z]:*"]}, {"path_hash_prefixes": ["ab"]}]
)
def test_delegation_that_two_readers_would_read_in_two_ways_is_refused(
    world: World, consumer: Consumer, delegated: dict[str, list[str]]
) -> None:
    role = DelegatedRole("team", [], 1, True, **delegated)  # type: ignore[arg-type]  # noqa: FBT003 - TUF's order
    world.attacker.forge(
        "targets", lambda targets: setattr(targets, "delegations", Delegations({}, {"team": role}))
    )
    assert consumer.refusal().reason is Reason.TAMPERED


@pytest.mark.parametrize("name", ["timestamp.json", "2.root.json", "3.snapshot.json", "3.targets.json"])
def test_missing_or_odd_file_is_never_an_answer(world: World, consumer: Consumer, name: str) -> None:
    world.rotate() if "root" in name else world.sign("1.5")
    path = world.attacker.directory / name
    path.unlink()
    path.mkdir()
    assert consumer.refusal().reason is Reason.UNREACHABLE
    path.rmdir()
    path.symlink_to("/dev/zero")
    assert consumer.refusal().reason is Reason.UNREACHABLE


def test_missing_store_is_unreachable_and_not_empty(world: World, consumer: Consumer) -> None:
    world.attacker.directory.rename(world.folder / "unmounted")
    assert consumer.refusal().reason is Reason.UNREACHABLE
    assert world.consumer("fresh").refusal().reason is Reason.UNREACHABLE


@pytest.mark.parametrize("name", ["1.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_incomplete_store_is_unreachable_at_first_use(world: World, name: str) -> None:
    (world.attacker.directory / name).unlink()
    assert world.consumer().refusal().reason is Reason.UNREACHABLE


@pytest.mark.parametrize("seconds", [0, -1, True, "90d", None, 2**62, 10**15])
def test_period_that_is_no_span_of_time_is_not_believed(world: World, consumer: Consumer, seconds: object) -> None:
    world.rotate(lambda root: root.unrecognized_fields["x-expiry"].update(timestamp=seconds))
    consumer.allowed()
    world.renew()
    consumer.allowed()
