"""What a person reads before signing, and the document that it is read from."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulators.team import Member, waiting
from tests.simulators.world import World
from trust.delegations import Delegation, Delegations
from trust.difference import field_words, root_words, targets_words
from trust.digest import sha256
from trust.errors import InputError
from trust.pending import parse_pending, pending_bytes
from trust.targets import Content, Table, Target, Tombstone
from trust.value import replace

WHEN = datetime(2031, 5, 1, tzinfo=timezone.utc)
TARGET = Target(
    digest=sha256(b"a"), size_bytes=1, media_type="m", signed_at=WHEN, signed_by=("k1",), annotations={}
)


@pytest.mark.parametrize("name", list(Target.__annotations__))
def test_every_field_of_a_target_that_differs_is_said(name: str) -> None:
    other: dict[str, Any] = {
        "digest": sha256(b"b"), "size_bytes": 2, "media_type": "n", "signed_at": WHEN.replace(year=2032),
        "signed_by": ("k2",), "tags": ("1.4",), "inside": (sha256(b"c"),), "annotations": {"a": "b"},
    }  # fmt: skip
    changed = replace(TARGET, **{name: other.get(name, {"spdx": (sha256(b"d"),)})})
    said = targets_words(_content({"acme/web:1.4": TARGET}), _content({"acme/web:1.4": changed}), str)
    assert len(said) == 1
    assert "acme/web:1.4" in said[0]
    assert targets_words(_content({"acme/web:1.4": TARGET}), _content({"acme/web:1.4": TARGET}), str) == ()


def test_revocations_and_delegations_that_differ_are_said() -> None:
    stone = Tombstone(revoked_at=WHEN, revoked_by=("k1",), paths=("acme/web:1.4",))
    table = Table(targets={}, revoked={"sha256:" + "0" * 64: stone})
    (said,) = targets_words(_content({}), Content(table=table), str)
    assert "is revoked: acme/web:1.4" in said
    (back,) = targets_words(Content(table=table), _content({}), str)
    assert "is no longer revoked" in back
    role = Delegation(name="acme.web", patterns=("acme/web:*",), keyids=("k1", "k2"), threshold=1)
    for changed, words in (
        (replace(role, threshold=2), "threshold moves from 1 of 2 to 2 of 2"),
        (replace(role, patterns=("acme/app:*",)), "paths moves from acme/web:* to acme/app:*"),
        (replace(role, keyids=("k1", "k3")), "gets key k3 (k3)"),
        (replace(role, keyids=("k2", "k1")), "names its keys in another order"),
        (replace(role, terminating=False), "search moves from ends there to goes on behind it"),
    ):
        said_all = targets_words(_delegating(role), _delegating(changed), str)
        assert any(words in line for line in said_all), said_all
    assert targets_words(_delegating(role), _content({}), str) == ("role acme.web is delegated no more",)


def test_place_of_a_delegated_role_among_others_is_said_where_it_is_new_or_moves() -> None:
    a, b, c = (Delegation(name=name, patterns=("acme/web:*",), keyids=("k1",), threshold=1) for name in "abc")
    said = targets_words(_delegating(a, c), _delegating(a, b, c), str)
    assert "role b is searched as number 2 of 3, after a and before c" in said
    assert "role b is searched as number 1 of 3, before a" in targets_words(
        _delegating(a, c), _delegating(b, a, c), str
    )
    assert "role c is searched as number 3 of 3, after b" in targets_words(
        _delegating(a, b), _delegating(a, b, c), str
    )
    moved = targets_words(_delegating(a, b, c), _delegating(c, a, b), str)
    assert moved == ("roles are searched in another order: c, a, b",)
    assert not any("searched" in line for line in targets_words(_delegating(a, b), _delegating(a), str))


@given(st.dictionaries(st.sampled_from(["a", "b", "x-new"]), st.integers() | st.text(), max_size=3))
def test_field_that_nobody_has_words_for_is_said_as_it_is(after: dict[str, Any]) -> None:
    said = "\n".join(field_words({"a": 1}, after))
    for key in {"a", *after}:
        assert (key in said) == (after.get(key) != 1 if key == "a" else True)


def test_threshold_of_a_root_is_said_with_what_it_was() -> None:
    role = {"keyids": ["k1", "k2"], "threshold": 1}
    before = {"roles": {"root": role}, "keys": {}, "version": 1}
    after = {"roles": {"root": {**role, "threshold": 2}}, "keys": {}, "version": 2}
    assert root_words(before, after, str) == (
        "role root needs 2 of 2 keys, not 1 of 2",
        "version moves from 1 to 2",
    )


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_document_that_is_read_is_written_back_byte_for_byte(world: World, data: st.DataObject) -> None:
    if not waiting(world):
        Member(world=world, name="ann", keys=[world.keys["targets"][0]]).sign("2.0", note='ein Bär \\ "')
    (document,) = waiting(world).values()
    assert pending_bytes(parse_pending(document)) == document
    place = data.draw(st.integers(0, len(document) - 1))
    mutated = (
        document[:place] + data.draw(st.binary(max_size=3)) + document[place + data.draw(st.integers(0, 3)) :]
    )
    try:
        parsed = parse_pending(mutated)
    except InputError:
        return
    assert pending_bytes(parsed) == mutated


def _content(targets: dict[str, Target]) -> Content:
    return Content(table=Table(targets=targets, revoked={}))


def _delegating(*roles: Delegation) -> Content:
    return Content(table=Table(targets={}, revoked={}), delegations=Delegations(roles=roles))
