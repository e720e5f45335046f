"""A change that waits for signatures is replaced by whoever has seen it, and by nobody else."""

from __future__ import annotations

import pytest

from tests.simulators.world import soon
from tests.stores.editions import now, publish
from trust.errors import ConflictError, InputError, LimitError
from trust.stores import interface
from trust.stores.interface import Store


def put(store: Store, name: str, data: bytes | None, replaces: bytes | None = None) -> None:
    store.set_pending(name, data, replaces=replaces, deadline=soon())


def test_nothing_waits_in_a_new_store(store: Store) -> None:
    assert store.pending(deadline=soon()) == {}


def test_what_waits_is_what_was_put_until_it_is_cleared(store: Store) -> None:
    put(store, "targets", b"one")
    put(store, "team.web", b"two")
    assert store.pending(deadline=soon()) == {"targets": b"one", "team.web": b"two"}
    put(store, "targets", b"three", replaces=b"one")
    put(store, "team.web", None, replaces=b"two")
    assert store.pending(deadline=soon()) == {"targets": b"three"}
    put(store, "team.web", b"two")
    assert store.pending(deadline=soon()) == {"targets": b"three", "team.web": b"two"}


@pytest.mark.parametrize(("there", "seen"), [(b"one", None), (b"one", b"two"), (None, b"one")])
def test_change_that_another_replaced_is_a_conflict(store: Store, there: bytes | None, seen: bytes | None) -> None:
    put(store, "targets", there)
    for data in (b"mine", None):
        with pytest.raises(ConflictError):
            put(store, "targets", data, replaces=seen)
    assert store.pending(deadline=soon()) == ({"targets": there} if there else {})


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "x" * 101, ".hidden", "a..b", "a\0"])
def test_name_that_is_no_role_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="malformed"):
        put(store, name, b"x")
    assert store.pending(deadline=soon()) == {}


def test_changes_beyond_the_caps_are_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        put(store, f"role{number}", b"x" * 10)
    monkeypatch.setattr(interface, "PENDING_MAX", 2)
    with pytest.raises(LimitError, match="too many changes"):
        store.pending(deadline=soon())


def test_change_larger_than_may_be_read_back_is_not_written(store: Store) -> None:
    with pytest.raises(LimitError, match="too large"):
        put(store, "targets", bytes(interface.PENDING_MAX_BYTES + 1))
    assert store.pending(deadline=soon()) == {}


def test_what_waits_is_no_file_of_the_collection(store: Store) -> None:
    publish(store, 1)
    put(store, "targets", b"one")
    view = now(store)
    assert view.read("targets.json", 100) is None
    assert view.strays() == ()
    assert store.names(deadline=soon()) == {"1.targets.json", "1.snapshot.json"}
    publish(store, 2, kept=("1.targets.json",))
    assert store.pending(deadline=soon()) == {"targets": b"one"}
