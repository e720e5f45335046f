"""What every store promises, over each of them: written once, one commit point, one winner."""

from __future__ import annotations

import threading
from pathlib import Path

import obstore
import pytest
from obstore.store import from_url

from tests.simulators.world import soon
from tests.stores.conftest import Opener
from tests.stores.editions import edition, now, publish
from trust.errors import ConflictError, InputError, LimitError, TrustError
from trust.stores.interface import TIMESTAMP, Store

RACERS = 8
BINS = 1_050


def test_new_store_holds_nothing_and_can_hold_a_collection(store: Store) -> None:
    store.probe(deadline=soon())
    assert now(store).read(TIMESTAMP, 100) is None
    assert now(store).read("1.root.json", 100) is None
    assert store.names(deadline=soon()) == frozenset()
    assert store.pending(deadline=soon()) == {}


def test_published_edition_is_what_everybody_reads(opener: Opener) -> None:
    publish(opener(), 1)
    publish(opener(), 2)
    view = now(opener())
    assert view.read(TIMESTAMP, 100) == b"timestamp 2"
    assert view.read("2.targets.json", 100) == b"targets 2"
    assert view.read("3.targets.json", 100) is None


def test_edition_made_on_what_is_no_longer_current_is_a_conflict(opener: Opener) -> None:
    publish(opener(), 1)
    stale = edition(now(opener()), 3, by=" of the slow")
    publish(opener(), 2)
    with pytest.raises(ConflictError, match=r"moved on|another"):
        opener().publish(stale, deadline=soon())
    assert now(opener()).read(TIMESTAMP, 100) == b"timestamp 2"


def test_second_founder_is_a_conflict(opener: Opener) -> None:
    first, second = edition(now(opener()), 1, by=" of one"), edition(now(opener()), 2, by=" of two")
    opener().publish(first, deadline=soon())
    with pytest.raises(ConflictError):
        opener().publish(second, deadline=soon())
    assert now(opener()).read(TIMESTAMP, 100) == b"timestamp 1 of one"


@pytest.mark.parametrize("numbers", ["same", "own"])
def test_of_racing_publishers_one_wins_and_the_others_are_told(opener: Opener, numbers: str) -> None:
    publish(opener(), 1)
    own = [2 if numbers == "same" else 2 + number for number in range(RACERS)]
    editions = [edition(now(opener()), own[number], by=f" of {number}") for number in range(RACERS)]
    start, outcome = threading.Barrier(RACERS), dict[int, str]()

    def race(number: int) -> None:
        store = opener()
        start.wait(30)
        try:
            store.publish(editions[number], deadline=soon())
            outcome[number] = "won"
        except ConflictError:
            outcome[number] = "conflict"
        except TrustError as err:
            outcome[number] = str(err)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(RACERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcome) == RACERS
    winners = [number for number, said in outcome.items() if said == "won"]
    assert set(outcome.values()) <= {"won", "conflict"}
    assert len(winners) <= 1
    current = now(opener()).read(TIMESTAMP, 100)
    assert current == (editions[winners[0]].timestamp if winners else b"timestamp 1")
    # Where none has won, each of two saw the other first, and both try again on numbers that are free.
    assert winners or opener().url.startswith("registry") or (opener().url.startswith("s3") and numbers == "same")


def test_number_of_an_orphan_is_burnt(opener: Opener) -> None:
    """A writer who died after his files and before the timestamp; in a registry such a one leaves a claim."""
    publish(opener(), 1)
    if opener().url.startswith("registry"):
        return
    leave(opener().url, "2.targets.json", b"of the dead")
    assert now(opener()).taken("2.targets.json")
    assert not now(opener()).taken("2.snapshot.json")
    with pytest.raises(ConflictError, match="two contents"):
        publish(opener(), 2)
    assert now(opener()).read("2.targets.json", 100) == b"of the dead"
    assert now(opener()).read(TIMESTAMP, 100) == b"timestamp 1"
    assert "2.targets.json" in opener().names(deadline=soon())
    publish(opener(), 3)


def test_number_that_was_published_never_gets_other_contents(opener: Opener) -> None:
    publish(opener(), 1)
    files = {"1.targets.json": b"of another", "2.snapshot.json": b"snapshot 2"}
    with pytest.raises(ConflictError, match=r"two contents.*1\.targets\.json"):
        opener().publish(edition(now(opener()), 2, files=files), deadline=soon())
    assert now(opener()).read("1.targets.json", 100) == b"targets 1"
    assert now(opener()).read(TIMESTAMP, 100) == b"timestamp 1"


def test_file_that_a_dead_writer_left_as_we_would_write_it_is_no_conflict(opener: Opener) -> None:
    publish(opener(), 1)
    if not opener().url.startswith("registry"):
        leave(opener().url, "2.targets.json", b"targets 2")
    publish(opener(), 2)
    assert now(opener()).read(TIMESTAMP, 100) == b"timestamp 2"


def leave(url: str, name: str, data: bytes) -> None:
    """Have a file in the store that no timestamp leads to."""
    if url.startswith("file:"):
        Path(url.removeprefix("file:"), name).write_bytes(data)
    else:
        obstore.put(from_url(url, client_options={"allow_http": True}), name, data)


def test_file_that_is_larger_than_its_reader_takes_is_refused(opener: Opener) -> None:
    publish(opener(), 1)
    for name in (TIMESTAMP, "1.targets.json"):
        with pytest.raises(LimitError, match="too large"):
            now(opener()).read(name, 3)


def test_name_that_is_a_path_is_refused(store: Store) -> None:
    for name in ("../1.root.json", "a/b.json", "pending/targets.json", ".lock", "1.root.json/"):
        with pytest.raises(InputError, match="malformed"):
            now(store).read(name, 100)


def test_token_says_unchanged_until_something_changes(opener: Opener) -> None:
    publish(opener(), 1)
    view = now(opener())
    assert view.read("2.root.json", 100) is None
    view.read(TIMESTAMP, 100)
    if view.token is None:
        assert opener().view(known=None, deadline=soon()) is not None
        return
    assert opener().view(known=view.token, deadline=soon()) is None
    publish(opener(), 2)
    changed = opener().view(known=view.token, deadline=soon())
    assert changed is not None
    assert changed.read(TIMESTAMP, 100) == b"timestamp 2"


@pytest.mark.parametrize("known", ["", "x", "sha256:" + "0" * 64, '2.root.json "0"', "2.root.json", "../x y"])
def test_token_of_another_store_is_no_reason_to_say_unchanged(opener: Opener, known: str) -> None:
    """The address in the policy may change while the trusted state stays."""
    publish(opener(), 1)
    view = opener().view(known=known, deadline=soon())
    assert view is not None
    assert view.read(TIMESTAMP, 100) == b"timestamp 1"


def test_removed_files_are_gone_and_the_others_stay(store: Store) -> None:
    publish(store, 1)
    publish(store, 2)
    old = frozenset({"1.targets.json", "1.snapshot.json"})
    store.remove(old, deadline=soon())
    store.remove(old, deadline=soon())
    assert store.names(deadline=soon()) == {"2.targets.json", "2.snapshot.json"}
    assert now(store).read("timestamp.json", 100) == b"timestamp 2"
    assert now(store).read("2.targets.json", 100) == b"targets 2"


@pytest.mark.parametrize("name", ["timestamp.json", "1.root.json", "17.root.json", "../1.targets.json", ".lock"])
def test_what_must_stay_is_not_removed(store: Store, name: str) -> None:
    publish(store, 1)
    with pytest.raises(ValueError, match="never removed"):
        store.remove(["1.targets.json", name], deadline=soon())
    assert store.names(deadline=soon()) == {"1.targets.json", "1.snapshot.json"}
    assert now(store).read("timestamp.json", 100) == b"timestamp 1"


def test_large_role_is_published_whole(opener: Opener) -> None:
    """Larger than the piece in which object stores are written by default: no condition holds over pieces."""
    data = bytes(range(256)) * 32_768  # 8 MiB
    view = now(opener())
    opener().publish(edition(view, 1, files={"1.targets.json": data}), deadline=soon())
    assert now(opener()).read("1.targets.json", 9_000_000) == data
    opener().set_pending("targets", data, replaces=None, deadline=soon())
    assert opener().pending(deadline=soon()) == {"targets": data}


def test_thousands_of_files_are_listed_and_removed(opener: Opener) -> None:
    """A role in bins has 4,096 of them; object stores list and delete a thousand at a time."""
    bins = {f"1.targets.g1-{number:03x}.json": b"%d" % number for number in range(BINS)}
    opener().publish(edition(now(opener()), 1, files=bins), deadline=soon(120))
    assert opener().names(deadline=soon()) == set(bins)
    kept = {"1.targets.g1-000.json"}
    opener().remove(set(bins) - kept, deadline=soon())
    if not opener().url.startswith("registry"):
        assert opener().names(deadline=soon()) == kept
    assert now(opener()).read("1.targets.g1-000.json", 10) == b"0"
