"""With ``digests = "current"`` the platforms of a replaced image are refused with it, on disk and in the shim."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_shim.snapshot import load_snapshot
from tests.simulators.teams import bin_targets
from tests.simulators.world import Consumer, World, index_bytes, manifest_bytes, soon
from trust.client import refresh
from trust.digest import Digest, sha256
from trust.policy import Match, Policy
from trust.reference import parse_reference
from trust.state import TrustedState
from trust.verdict import Denied, Reason, Verdict

REPOSITORY = "registry.test/acme/web"


@pytest.fixture(params=[0, 64], ids=["flat", "bins"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """Give a collection whose targets are flat, or where index and child are in bins of their own."""
    world = World(tmp_path)
    if request.param:
        bin_targets(world, request.param)
    return world


@pytest.fixture
def consumer(world: World) -> Consumer:
    return world.consumer(digests="current")


def _reason(world: World, consumer: Consumer, digest: Digest) -> Reason | None:
    """Return why a digest is denied, by the verifier on disk and by the shim alike; None: it is allowed."""
    image = f"{REPOSITORY}@{digest}"
    verdict = consumer.verify(image)
    reason = verdict.reason if isinstance(verdict, Denied) else None
    in_memory = _shim(world, image)
    assert (in_memory.reason if isinstance(in_memory, Denied) else None) is reason
    return reason


def _shim(world: World, image: str) -> Verdict:
    """Return what a shim says that has looked at every role: by its snapshot in memory."""
    consumer = world.consumer("shim", digests="current")
    state = TrustedState(consumer.home)
    try:
        refresh(consumer.stanza, state, world.store, paths=None, now=world.now, deadline=soon())
        snapshot = load_snapshot(consumer.stanza, state)
    finally:
        state.close()
    assert snapshot is not None
    reference = parse_reference(image)
    match = Match(stanza=consumer.stanza, path="acme/web")
    return snapshot.verdict(Policy(), match, reference, world.now.timestamp())


def _sign(world: World, tag: str, *children: bytes, nested: bool = False) -> Digest:
    """Have ``tag`` signed as an index over ``children``, or over an index over them."""
    world.push(*children)
    index = index_bytes(*children)
    if nested:
        world.push(index)
        index = index_bytes(index)
    return world.sign(tag, manifest=index)


@pytest.mark.parametrize("nested", [False, True])
def test_child_of_an_index_whose_tag_moved_on_is_refused(
    world: World, consumer: Consumer, *, nested: bool
) -> None:
    old, new, both = (manifest_bytes(text) for text in ("old", "new", "both"))
    first = _sign(world, "2", old, both, nested=nested)
    for digest in (first, sha256(old), sha256(both)):
        assert _reason(world, consumer, digest) is None
    second = _sign(world, "2", new, both)
    for digest in (first, sha256(old)):
        assert _reason(world, consumer, digest) is Reason.REVOKED
    for digest in (second, sha256(new), sha256(both)):
        assert _reason(world, consumer, digest) is None
    lenient = world.consumer("lenient")
    lenient.allowed(f"{REPOSITORY}@{sha256(old)}")
    rows = consumer.rows()
    consumer.refusal(f"{REPOSITORY}@{sha256(old)}")
    assert consumer.rows() == rows


def test_what_attests_a_replaced_image_is_refused_with_it(world: World, consumer: Consumer) -> None:
    first = world.sign("2", manifest=manifest_bytes("old"))
    said = world.attest("spdx", first)
    assert _reason(world, consumer, said) is None
    world.sign("2", manifest=manifest_bytes("new"))
    assert _reason(world, consumer, said) is Reason.REVOKED


def test_child_whose_index_was_never_looked_up_is_undecided_offline(tmp_path: Path) -> None:
    """Whether the index is current stands in another bin: without it nothing is allowed."""
    world = World(tmp_path)
    bin_targets(world, 64)
    child = manifest_bytes("child")
    _sign(world, "2", child)
    careless = world.consumer("consumer")
    careless.allowed(f"{REPOSITORY}@{sha256(child)}")  # this one asks for the child alone
    strict = world.consumer("consumer", digests="current")
    assert strict.refusal(f"{REPOSITORY}@{sha256(child)}", offline=True).reason is Reason.UNREACHABLE
    strict.allowed(f"{REPOSITORY}@{sha256(child)}")
    strict.allowed(f"{REPOSITORY}@{sha256(child)}", offline=True)
