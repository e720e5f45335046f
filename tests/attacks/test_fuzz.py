"""Whatever is in the store, a verifier answers: with a denial that changes nothing, or with what was signed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner

from tests.simulators.world import WEB, Consumer, World
from trust.database import DATABASE
from trust.digest import Digest
from trust.verdict import Allowed

EXAMPLES = 60
ROLES = ("root", "timestamp", "snapshot", "targets")
STEP = 12  # each field gets two of the odd values, the next field the next two: all of them take minutes
GONE = object()
ODD: tuple[Any, ...] = (
    GONE, None, True, -1, 0, 1, 2**31, 2**62, 2**63 - 1,
    "", "x", "x" * 5000, "\x00", [], {}, [[]], ["x"],
    {"": {}}, {"x": None}, "2031-05-01T12:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "root",
    "sha256:" + "0" * 64,
)  # fmt: skip


@dataclass(kw_only=True)
class Scene:
    """A world that every example finds as it was; a fixture would be worn by the first of them."""

    world: World
    consumer: Consumer
    digest: Digest
    files: dict[str, bytes]
    state: bytes

    def reset(self) -> None:
        """Put everything back."""
        self.world.attacker.restore(self.files)
        (self.consumer.home / DATABASE).write_bytes(self.state)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    world = World(tmp_path_factory.mktemp("fuzz"))
    digest = world.sign(note="of the publisher")
    world.revoke(digest=world.sign("1.3"))
    consumer = world.consumer()
    consumer.allowed()
    return Scene(
        world=world,
        consumer=consumer,
        digest=digest,
        files=world.attacker.files(),
        state=(consumer.home / DATABASE).read_bytes(),
    )


@pytest.mark.parametrize("role", ROLES)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_damaged_bytes_are_never_more_than_refused(scene: Scene, role: str, data: st.DataObject) -> None:
    scene.reset()
    world, consumer, attacker = scene.world, scene.consumer, scene.world.attacker
    world.rotate() if role == "root" else attacker.forge("targets")
    name = attacker.file_of(role)
    body = (attacker.directory / name).read_bytes()
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 40)))
    instead = data.draw(st.binary(max_size=8))
    attacker.put(name, body[:start] + instead + body[end:])
    before = consumer.rows()
    verdict = consumer.verify()
    match verdict:
        case Allowed():
            assert verdict.digest == scene.digest
        case _:
            assert consumer.rows()["role"] == before["role"]


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path of every value inside ``value``."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from _nodes(inner, (*path, key))


def _signed(document: dict[str, Any], keys: list[CryptoSigner]) -> bytes:
    """Return ``document`` as signed metadata; python-tuf would refuse to make what is malformed."""
    payload = str(encode_canonical(document)).encode()
    signatures = [key.sign(payload).to_dict() for key in keys]
    return json.dumps({"signatures": signatures, "signed": document}).encode()


def _changed(document: dict[str, Any], path: tuple[Any, ...], odd: object) -> dict[str, Any]:
    """Return a copy of ``document`` whose value at ``path`` is ``odd``, or gone."""
    result: dict[str, Any] = json.loads(json.dumps(document))
    place: Any = result
    for key in path[:-1]:
        place = place[key]
    if odd is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = odd
    return result


@pytest.mark.parametrize("role", ROLES)
def test_validly_signed_nonsense_is_never_a_crash(scene: Scene, role: str) -> None:
    """The attacker holds the role's keys: any field of it is gone, or of another type."""
    scene.reset()
    world, attacker = scene.world, scene.world.attacker
    metadata = attacker.current(role)
    version = metadata.signed.version + 1
    document = {**metadata.signed.to_dict(), "version": version}
    crashes = []
    for number, path in enumerate(sorted(_nodes(document), key=repr)):
        for odd in ODD[number % STEP :: STEP]:
            scene.reset()
            body = _signed(_changed(document, path, odd), world.keys[role])
            if role == "root":
                attacker.put(f"{version}.root.json", body)
            else:
                attacker.place(role, version, body)
            fresh = world.consumer("fresh")
            shutil.rmtree(fresh.home, ignore_errors=True)
            try:
                scene.consumer.verify()
                fresh.verify(f"{WEB}@{scene.digest}")
            except Exception as err:  # noqa: BLE001 - all of them are told at once
                crashes.append((path, odd, repr(err)))
    assert crashes == []
