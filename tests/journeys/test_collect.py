"""Old metadata goes once no valid timestamp can name it, and nothing before."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.attacker import signed, strangers
from tests.simulators.world import START, World, file_store, soon
from trust.collect import GRACE, READ_MAX, Superseded, collect, superfluous
from trust.deadline import Deadline
from trust.delegate import NewRole, add
from trust.errors import LimitError, UnreachableError
from trust.loaded import Loaded
from trust.state import TrustedState

DAY = timedelta(days=1)


def loaded(world: World) -> Loaded:
    state = TrustedState(world.home)
    try:
        return world.publisher(state).load()
    finally:
        state.close()


def collected(world: World) -> tuple[str, ...]:
    return collect(world.store, loaded(world), now=world.now, deadline=soon())


def names(world: World) -> set[str]:
    return set(world.attacker.files())


def test_nothing_goes_while_its_snapshot_is_valid(world: World) -> None:
    world.later(days=1).sign("1.5")
    world.later(days=1).renew()
    before = world.attacker.files()
    assert collected(world) == ()
    assert world.attacker.files() == before


def test_what_only_expired_snapshots_name_goes_and_every_root_stays(world: World) -> None:
    world.later(days=1).sign("1.5")
    world.rotate()
    world.later(days=10).renew("targets")
    current = loaded(world).versions()
    assert collected(world)
    kept = {f"{current[role]}.{role}.json" for role in ("snapshot", "targets")}
    assert names(world) == {"timestamp.json", "1.root.json", "2.root.json"} | kept
    world.consumer().allowed()
    assert collected(world) == ()


def test_consumer_with_an_old_valid_timestamp_can_finish_its_refresh_after_a_collection(world: World) -> None:
    world.later(days=6).sign("1.5")
    held = world.attacker.files()["timestamp.json"]
    world.later(days=4).sign("1.6")
    world.later(days=1).renew()
    removed = collected(world)
    assert any(name.endswith(".snapshot.json") for name in removed)
    assert any(name.endswith(".targets.json") for name in removed)
    world.attacker.put("timestamp.json", held)  # what he read before, and finds the rest of now
    world.consumer().allowed("registry.test/acme/web:1.5")


def test_superseded_snapshot_stays_until_a_grace_after_its_expiry(world: World) -> None:
    before = f"{loaded(world).versions()['snapshot']}.snapshot.json"
    world.later(days=6).renew()
    expires = START + 7 * DAY
    world.now = expires + GRACE - timedelta(seconds=1)
    assert before not in collected(world)
    world.now = expires + GRACE
    assert before in collected(world)


def test_files_of_a_publish_under_way_stay_and_those_of_a_dead_publisher_go(world: World) -> None:
    versions = loaded(world).versions()
    above, data = versions["targets"] + 1, b'{"written":"by a publisher who was killed, or is not done"}'
    for name in (f"{above}.targets.json", f"{versions['snapshot'] + 1}.snapshot.json"):
        world.attacker.put(name, data)
    assert collected(world) == ()
    world.sign("1.5")  # burns both numbers
    removed = collected(world)
    assert removed == (f"{versions['snapshot'] + 1}.snapshot.json", f"{above}.targets.json")
    world.consumer().allowed("registry.test/acme/web:1.5")


def test_files_that_are_no_version_of_a_role_here_stay(world: World) -> None:
    others = {"1.strange.json", "pending.targets.json", "01.targets.json", "1.targets.txt.json", "x.json"}
    for name in others:
        world.attacker.put(name, b"{}")
    world.later(days=10).renew("targets")
    collected(world)
    assert others <= names(world)


def test_forged_snapshot_makes_files_stay_and_never_go(world: World) -> None:
    first = world.attacker.files()
    world.later(days=10).renew("targets")
    snapshot = world.attacker.current("snapshot").signed.version
    forged = world.attacker.current("snapshot")
    forged.signed.meta["targets.json"].version = 1
    forged.signatures.clear()
    world.attacker.put("1.snapshot.json", forged.to_bytes())
    assert snapshot > 1
    assert "1.targets.json" not in collected(world)
    assert {"1.targets.json", "timestamp.json", "1.root.json"} <= names(world) & set(first)
    world.consumer().allowed()


def test_forged_snapshot_that_never_expires_stays_and_ends_nothing(world: World) -> None:
    """What nobody signed is read here: the last moment of the calendar has no hour after it."""
    world.later(days=10).renew("targets")
    forged = world.attacker.current("snapshot")
    forged.signed.expires = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
    forged.signatures.clear()
    world.attacker.put("1.snapshot.json", forged.to_bytes())
    assert "1.snapshot.json" not in collected(world)
    assert "1.snapshot.json" in names(world)


def test_deadline_that_passes_while_snapshots_are_read_removes_nothing(world: World) -> None:
    world.sign("1.5")
    world.later(days=10).renew("targets")
    before, current = world.attacker.files(), loaded(world)
    ticks = iter(range(1_000))
    deadline = Deadline(ends_at=2.5, clock=lambda: float(next(ticks)))

    class View:
        def read(self, name: str, max_bytes: int) -> bytes | None:
            deadline.remaining_seconds()
            return current.view.read(name, max_bytes)

    with pytest.raises(LimitError, match="deadline passed"):
        collect(world.store, Loaded(View(), current.top), now=world.now, deadline=deadline)  # type: ignore[arg-type]
    assert world.attacker.files() == before


def test_snapshots_beyond_what_one_run_reads_stay_with_what_they_may_name() -> None:
    files = [f"{n}.{role}.json" for role in ("snapshot", "targets") for n in range(1, 11)]
    old = [Superseded(version=n, expires=START - DAY, roles={"targets": n}) for n in (1, 2, 3)]
    current = {"snapshot": 10, "targets": 10}
    doomed = superfluous(files, current=current, superseded=old, unread=tuple(range(4, 10)), now=START)
    assert doomed == (
        "1.snapshot.json", "2.snapshot.json", "3.snapshot.json", "1.targets.json", "2.targets.json",
    )  # fmt: skip
    assert superfluous(files, current=current, superseded=(), unread=tuple(range(1, 10)), now=START) == ()


def test_valid_snapshots_beyond_what_one_run_reads_stay(world: World) -> None:
    attacker, keys = world.attacker, world.keys["snapshot"]
    snapshot = attacker.current("snapshot")
    for version in range(2, READ_MAX + 5):
        snapshot.signed.version = version
        attacker.put(f"{version}.snapshot.json", signed(snapshot, keys))
    attacker.forge("snapshot", lambda said: setattr(said, "version", READ_MAX + 5), bump=False)
    before = attacker.files()
    assert collected(world) == ()
    assert attacker.files() == before


numbers = st.integers(1, 12)
snapshots = st.builds(
    lambda version, days, targets, team: Superseded(
        version=version, expires=START + timedelta(days=days), roles={"targets": targets, "team": team}
    ),
    numbers, st.integers(-3, 3), numbers, numbers,
)  # fmt: skip


@given(
    files=st.sets(st.tuples(numbers, st.sampled_from(["root", "snapshot", "targets", "team", "gone"]))),
    superseded=st.lists(snapshots, max_size=6),
    current=st.fixed_dictionaries({"snapshot": numbers, "targets": numbers, "team": numbers}),
)
def test_whatever_a_valid_snapshot_or_the_current_one_names_stays(
    files: set[tuple[int, str]], superseded: list[Superseded], current: dict[str, int]
) -> None:
    listed = [f"{version}.{role}.json" for version, role in files]
    doomed = set(superfluous(listed, current=current, superseded=superseded, now=START))
    assert doomed <= set(listed)
    for version, role in files:
        name = f"{version}.{role}.json"
        names = (each for each in superseded if each.expires + GRACE > START)
        is_named = any(version == {**each.roles, "snapshot": each.version}.get(role) for each in names)
        must_stay = role in {"root", "gone"} or version >= current[role] or is_named
        assert (name in doomed) is not must_stay


def test_store_that_shows_nothing_any_more_is_an_error_and_nothing_goes(world: World) -> None:
    world.later(days=10).renew("targets")
    view = file_store("file:/nonexistent/metadata").view(known=None, deadline=soon())
    assert view is not None
    before = world.attacker.files()
    with pytest.raises(UnreachableError):
        collect(world.store, Loaded(view, loaded(world).top), now=world.now, deadline=soon())
    assert world.attacker.files() == before


def test_versions_of_delegated_roles_and_bins_go_like_all_others(world: World) -> None:
    world.keys["acme.web"] = strangers()
    keys = (world.keys["acme.web"][0].public_key,)
    role = NewRole(name="acme.web", patterns=("acme/web:*", "acme/web@*"), keys=keys, bins=4)
    world.publish(lambda publisher: add(publisher, [role]))
    held = world.attacker.files()
    world.later(days=1).sign("1.5")
    assert collected(world) == ()
    world.later(days=9).renew()
    removed = collected(world)
    assert {name.split(".")[1] for name in removed} == {"snapshot", "targets", "acme"}
    named = {f"{link.version}.{name}" for name, link in loaded(world).top.snapshot.signed.meta.items()}
    assert named <= names(world)
    assert set(held) - set(removed) - named <= {"timestamp.json", "1.root.json"}
    for tag in ("1.4", "1.5"):
        world.consumer(tag).allowed(f"registry.test/acme/web:{tag}")
