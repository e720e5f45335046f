"""A collection that is watched stays fresh, through outages, and whoever watches hears of what it cannot mend."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.simulators.attacker import strangers
from tests.simulators.world import START, World, soon
from trust.deadline import Deadline
from trust.delegate import NewRole, add
from trust.errors import ConflictError, RefusedError, StateError, UnavailableError, UnreachableError
from trust.publish import Publisher
from trust.published import Published
from trust.state import TrustedState
from trust.stores.interface import Publication, Store, View
from trust.value import replace
from trust.watch import LOOK_EVERY, PERIODS, REST_MOST, RETRY_FIRST, RETRY_MOST, Event, Watch

DAY = timedelta(days=1)


class Wire:
    """The way to a store, which can be cut."""

    def __init__(self, store: Store) -> None:
        self.url = store.url
        self.store = store
        self.cut: Exception | None = None
        self.publications: list[Publication] = []
        self.at_view: Callable[[], object] = lambda: None

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        self.require()
        self.at_view()
        return self.store.view(known=known, deadline=deadline)

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        self.require()
        self.store.publish(publication, deadline=deadline)
        self.publications.append(publication)

    def probe(self, *, deadline: Deadline) -> None:
        self.store.probe(deadline=deadline)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def require(self) -> None:
        if self.cut is not None:
            raise self.cut


class Watchman:
    """Watches a world whose clock goes on only while he waits; ``at_each`` happens after each wait."""

    def __init__(self, world: World, **more: Any) -> None:
        self.world = world
        self.wire = Wire(world.store)
        self.events: list[Event] = []
        self.waits: list[timedelta] = []
        self.more = more

    def watch(self, span: timedelta, at_each: Callable[[], object] = lambda: None) -> Watchman:
        state = TrustedState(self.world.home)
        ends_at = self.world.now + span

        def wait(asked: timedelta) -> bool:
            self.waits.append(asked)
            self.world.now += max(asked, timedelta(seconds=1))
            at_each()
            return self.world.now >= ends_at

        def open_publisher(_name: str, now: Any) -> Publisher:
            publisher = self.world.publisher(state, store=self.wire)
            return replace(publisher, now=now, periods=PERIODS, deadline=soon())

        try:
            Watch(
                collections=("registry.test/acme/",), open_publisher=open_publisher, clock=lambda: self.world.now,
                wait=wait, report=self.events.append, **self.more,
            ).run()  # fmt: skip
        finally:
            state.close()
        return self

    def told(self, *kinds: str) -> list[str]:
        return [event.text for event in self.events if event.kind in kinds]


def test_watched_collection_is_fresh_at_every_moment(world: World) -> None:
    consumer = world.consumer()
    watchman = Watchman(world).watch(4 * DAY, consumer.allowed)
    assert len(watchman.told("published")) == 8  # at once, and twice a day
    assert watchman.told("failed", "near", "expired") == []
    assert [event.kind for event in (*watchman.events[:2], watchman.events[-1])] == ["published", "ready", "ended"]
    assert max(watchman.waits) <= REST_MOST


def test_watch_signs_for_a_day_and_a_person_for_what_the_root_says(world: World) -> None:
    Watchman(world).watch(timedelta(hours=2))
    for role in ("snapshot", "timestamp"):
        assert world.attacker.current(role).signed.expires == START + DAY
    world.later(hours=1).renew()
    for role in ("snapshot", "timestamp"):
        assert world.attacker.current(role).signed.expires == world.now + 7 * DAY
        assert "x-period" not in world.attacker.current(role).signed.unrecognized_fields


def test_consumer_is_warned_by_the_period_that_was_signed_for(world: World) -> None:
    Watchman(world).watch(timedelta(hours=2))
    consumer = world.consumer()
    assert consumer.allowed().notices[1:] == ()  # 22 hours are little of seven days, and much of one
    world.later(hours=17)
    assert any("role timestamp expires in 5 hours" in notice for notice in consumer.allowed().notices)


@pytest.mark.parametrize("period", [0, -1, 10**12, "7d", None, [86_400], {}])
def test_period_that_is_none_falls_back_to_what_the_root_says(world: World, period: object) -> None:
    world.attacker.forge("timestamp", lambda signed: signed.unrecognized_fields.update({"x-period": period}))
    consumer = world.consumer()
    assert consumer.allowed().notices[1:] == ()
    world.later(days=6)
    assert any("role timestamp expires in" in notice for notice in consumer.allowed().notices)


def test_period_never_exceeds_what_the_root_says(world: World) -> None:
    world.publish(lambda publisher: replace(publisher, periods={"timestamp": 30 * DAY}).renew(frozenset()))
    assert world.attacker.current("timestamp").signed.expires == world.now + 7 * DAY


def test_outage_is_survived_backed_off_and_told_as_expiry_nears_and_passes(world: World) -> None:
    watchman = Watchman(world)

    def weather() -> None:
        is_cut = START + timedelta(hours=3) <= world.now < START + timedelta(hours=40)
        watchman.wire.cut = UnreachableError("the store does not answer", hint="is it up?") if is_cut else None

    watchman.watch(timedelta(hours=60), weather)
    kinds = [event.kind for event in watchman.events]
    assert watchman.told("near") == [
        "role timestamp expires in 5 hours, on 2031-05-02T12:00:00Z",
        "role snapshot expires in 5 hours, on 2031-05-02T12:00:00Z",
    ]
    assert len(watchman.told("expired")) == 2
    assert all(text.endswith("no image is allowed any more") for text in watchman.told("expired"))
    assert kinds.index("failed") < kinds.index("near") < kinds.index("expired")
    failed = [event for event in watchman.events if event.kind == "failed"]
    gaps = [after.at - before.at for before, after in pairwise(failed)]
    assert gaps[:4] == [RETRY_FIRST * 2**number for number in range(4)]
    assert set(gaps[8:]) == {RETRY_MOST}
    assert failed[0].hint == "is it up?"
    recovered = next(event for event in watchman.events[kinds.index("expired") :] if event.kind == "published")
    assert START + timedelta(hours=40) <= recovered.at <= START + timedelta(hours=40) + RETRY_MOST
    world.consumer().allowed()


@pytest.mark.parametrize("cut", [UnreachableError("no answer"), ConflictError("another was first")])
def test_store_that_does_not_answer_at_the_beginning_is_waited_for(world: World, cut: Exception) -> None:
    watchman = Watchman(world)
    watchman.wire.cut = cut

    def mended() -> None:
        if world.now > START + timedelta(minutes=5):
            watchman.wire.cut = None

    watchman.watch(timedelta(hours=1), mended)
    assert [event.kind for event in watchman.events[:2]] == ["failed", "ready"]
    assert len(watchman.told("published")) == 1


@pytest.mark.parametrize(
    "cut", [RefusedError("set back", reason="rolled-back"), StateError("disk is full"), UnavailableError("no key")]
)
def test_what_no_waiting_mends_ends_the_watch_in_its_first_turn_only(world: World, cut: Exception) -> None:
    watchman = Watchman(world)
    watchman.wire.cut = cut
    with pytest.raises(type(cut)):
        watchman.watch(DAY)
    assert watchman.events == []
    watchman.wire.cut = None

    def later() -> None:
        watchman.wire.cut = cut if world.now < START + timedelta(hours=14) else None

    watchman.watch(DAY, later)
    assert watchman.told("failed")
    assert watchman.events[-2].kind == "published"


def test_without_the_online_key_nothing_is_published_and_the_watch_ends(world: World) -> None:
    before = world.attacker.files()
    world.keys |= {"snapshot": [], "timestamp": []}
    with pytest.raises(UnavailableError, match="snapshot needs 1 signatures, 0 of its keys are at hand"):
        Watchman(world).watch(DAY)
    assert world.attacker.files() == before


def test_what_another_publisher_signed_in_time_is_not_signed_again(world: World) -> None:
    watchman = Watchman(world)

    def other() -> None:
        if len(watchman.waits) % 6 == 0:
            world.renew()

    watchman.watch(2 * DAY, other)
    assert len(watchman.told("published")) == 1


def test_role_that_others_must_renew_is_told_once_near_and_once_past(world: World) -> None:
    world.later(days=66).renew()
    watchman = Watchman(world).watch(25 * DAY)
    assert len(watchman.told("near")) == 1
    assert watchman.told("near")[0].startswith("role targets expires in 22 days")
    assert len(watchman.told("expired")) == 1
    hints = {event.hint for event in watchman.events if event.kind == "near"}
    assert hints == {"with its keys at hand: trust renew registry.test/acme/ targets"}


def test_completed_changes_are_looked_for_each_minute_and_published(world: World) -> None:
    complete = [False]

    def publish_pending(publisher: Publisher) -> Published:
        if complete[0]:
            complete[0] = False
            return publisher.renew(frozenset({"targets"}))
        return Published(changed=False, versions={})

    def completed() -> None:
        complete[0] = len(watchman.waits) == 30

    watchman = Watchman(world, publish_pending=publish_pending)
    watchman.watch(timedelta(hours=1), completed)
    assert set(watchman.waits) == {LOOK_EVERY}
    assert len(watchman.told("published")) == 2
    assert world.attacker.current("targets").signed.expires > START + 90 * DAY


def test_looking_for_changes_reads_the_store_no_more_often(world: World) -> None:
    watchman = Watchman(world, publish_pending=lambda _publisher: Published(changed=False, versions={}))
    reads = []
    watchman.wire.at_view = lambda: reads.append(world.now)
    watchman.watch(timedelta(hours=11))
    assert len(watchman.waits) == 11 * 60
    assert len(reads) <= 3 + 11  # the first turn loads, renews and loads; then once an hour


def test_clock_that_is_set_back_does_not_stop_the_watch(world: World) -> None:
    watchman = Watchman(world)

    def set_back() -> None:
        if len(watchman.waits) == 3:
            world.now -= timedelta(days=2)

    watchman.watch(timedelta(days=2), set_back)
    assert len(watchman.told("published")) >= 4
    assert watchman.told("failed") == []
    world.consumer().allowed()


def test_what_is_superseded_is_collected_after_each_publish(world: World) -> None:
    seen = []
    watchman = Watchman(world, collect=lambda _publisher, loaded: seen.append(loaded.versions()["snapshot"]))
    watchman.watch(2 * DAY)
    assert seen == [event.versions["snapshot"] for event in watchman.events if event.kind == "published"]


def delegated(world: World) -> None:
    world.keys["acme.web"] = strangers()
    role = NewRole(
        name="acme.web",
        patterns=("acme/web:*", "acme/web@*"),
        keys=(world.keys["acme.web"][0].public_key,),
        period=4 * DAY,
    )
    world.publish(lambda publisher: add(publisher, [role]))


def test_delegated_role_that_nears_its_end_is_told_once(world: World) -> None:
    delegated(world)
    watchman = Watchman(world).watch(5 * DAY)
    assert [text.partition(" in ")[0] for text in watchman.told("near")] == ["role acme.web expires"]
    assert [text.partition(" expired ")[0] for text in watchman.told("expired")] == ["role acme.web"]


def test_delegated_role_that_is_gone_lets_no_other_expire(world: World) -> None:
    world.sign("1.0", path="acme/api")
    delegated(world)
    (world.directory / world.attacker.delegate_file("acme.web")).unlink()
    consumer = world.consumer()
    watchman = Watchman(world).watch(3 * DAY, lambda: consumer.allowed("registry.test/acme/api:1.0"))
    assert len(watchman.told("published")) == 6
    assert watchman.told("failed") == []
