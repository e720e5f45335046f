"""The refreshers of the shim: what comes of a refresh, and that nothing ends them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from registry_shim.answers import Code, denied
from registry_shim.freshness import RETRY_FIRST_SECONDS, Freshness
from registry_shim.grants import GRANTS_MAX, Grants
from registry_shim.pull import WARNING_MAX_LENGTH, _warning
from tests.simulators.relay import Wire
from tests.simulators.world import World, soon
from trust.database import DATABASE
from trust.digest import sha256
from trust.errors import LimitError, UnreachableError
from trust.policy import Stanza
from trust.reference import parse_collection, parse_reference
from trust.stores.interface import Store
from trust.value import replace
from trust.verdict import Denied, Reason

MAX_AGE = timedelta(seconds=0.1)


def run(world: World, open_store: Callable[[Stanza], Store], story: Callable[[Freshness], bool]) -> list[str]:
    """Refresh until ``story`` holds; return the pins of which workers were told."""
    told: list[str] = []
    stanza = replace(world.stanza, max_age=MAX_AGE)

    async def main() -> None:
        with ThreadPoolExecutor(2) as executor:
            freshness = Freshness(
                (stanza,),
                home=world.folder / "shim",
                open_store=open_store,
                max_age=MAX_AGE,
                executor=executor,
                clock=lambda: world.now.timestamp(),  # noqa: PLW0108 - it moves
                changed=told.append,
            )
            running = asyncio.create_task(freshness.run())
            deadline = soon(20)
            while not story(freshness):
                deadline.remaining_seconds()
                assert not running.done()
                await asyncio.sleep(0.01)
            running.cancel()

    asyncio.run(main())
    return told


def pin(world: World) -> str:
    return str(world.stanza.root)


def test_metadata_that_changed_is_another_generation(world: World) -> None:
    seen: list[int] = []

    def story(freshness: Freshness) -> bool:
        generation = freshness.generation(pin(world))
        if generation and generation not in seen:
            seen.append(generation)
            world.renew()
        return len(seen) == 3

    assert set(run(world, lambda _stanza: world.store, story)) == {pin(world)}
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    "error",
    [ValueError("no error of ours"), OSError(28, "disk full"), UnreachableError("away"), LimitError("slow")],
)
def test_error_of_any_kind_is_an_outage_that_ends(
    world: World, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """One that was no ``TrustError`` ended the refreshers of every collection for good, silently."""
    answers = [error]

    def open_store(_stanza: Stanza) -> Store:
        if answers:
            raise answers.pop()
        return world.store

    def story(freshness: Freshness) -> bool:
        assert freshness.refusal(pin(world)) is None
        return freshness.generation(pin(world)) == 1

    run(world, open_store, story)
    assert ("a refresh of" in caplog.text) is not isinstance(error, (UnreachableError, LimitError))


def test_store_that_shows_what_is_not_trusted_is_a_refusal(world: World) -> None:
    world.attacker.put("timestamp.json", b"{}")

    def story(freshness: Freshness) -> bool:
        refusal = freshness.refusal(pin(world))
        return refusal is not None and refusal.reason is Reason.TAMPERED

    run(world, lambda _stanza: world.store, story)


def test_status_says_whether_a_collection_is_unread_fresh_stale_or_refused(world: World) -> None:
    is_away = [True]
    seen: list[str] = []

    def open_store(_stanza: Stanza) -> Store:
        if is_away:
            raise UnreachableError("away")
        return world.store

    def story(freshness: Freshness) -> bool:
        (status,) = freshness.statuses()
        if [status.freshness] == seen[-1:]:
            return False
        seen.append(status.freshness)
        if status.freshness == "unread":
            is_away.clear()
        elif status.freshness == "fresh":
            is_away.append(True)
            world.later(seconds=10)
        elif status.freshness == "stale":
            world.attacker.put("timestamp.json", b"{}")
            is_away.clear()
        return status.freshness == "refused"

    run(world, open_store, story)
    assert seen == ["unread", "fresh", "stale", "refused"]


def test_home_that_cannot_be_used_is_a_refusal(world: World) -> None:
    (world.folder / "shim").write_text("in the way")

    def story(freshness: Freshness) -> bool:
        refusal = freshness.refusal(pin(world))
        return refusal is not None and refusal.reason is Reason.STATE_DAMAGED

    run(world, lambda _stanza: world.store, story)


def test_state_that_is_damaged_below_a_refresher_is_a_refusal_and_never_what_was_known(world: World) -> None:
    def story(freshness: Freshness) -> bool:
        refusal = freshness.refusal(pin(world))
        if refusal is None and freshness.generation(pin(world)) == 1:
            with closing(sqlite3.connect(world.folder / "shim" / DATABASE)) as other, other:
                other.execute("UPDATE role SET expires = 'soon'")
        return refusal is not None and refusal.reason is Reason.STATE_DAMAGED

    run(world, lambda _stanza: world.store, story)


def test_new_root_ends_what_the_old_one_vouched_for_though_the_rest_is_withheld(world: World) -> None:
    withheld: list[bool] = []

    def read(name: str, _max_bytes: int, data: bytes | None) -> bytes | None:
        if withheld and "root" not in name:
            raise UnreachableError("away")
        return data

    def story(freshness: Freshness) -> bool:
        if freshness.generation(pin(world)) == 1 and not withheld:
            assert freshness.refusal(pin(world)) is None
            world.replace_keys("snapshot", "timestamp")
            withheld.append(True)
        refusal = freshness.refusal(pin(world))
        return refusal is not None and refusal.reason is Reason.UNREACHABLE

    run(world, lambda _stanza: Wire(honest=world.store, read=read), story)


def test_outage_is_asked_about_again_soon_and_then_less_often(world: World) -> None:
    from registry_shim.freshness import Found, _Collection  # noqa: PLC0415 - of this test alone

    one = _Collection(world.stanza, timedelta(seconds=60))
    found = Found(chain=None, error=UnreachableError("away"))
    pauses = [one.take(found) for _ in range(40)]
    assert pauses[0] == RETRY_FIRST_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0, "never longer than without an outage"


def test_grant_is_of_one_login_and_one_repository_and_ends() -> None:
    now = [0.0]
    grants = Grants(60.0, clock=lambda: now[0])
    grants.add("registry.test", "acme/web", "Basic a")
    assert grants.holds("registry.test", "acme/web", "Basic a")
    for other in (
        ("registry.test", "acme/web", None),
        ("registry.test", "acme/web", ""),
        ("registry.test", "acme/web", "Basic b"),
        ("registry.test", "acme/db", "Basic a"),
        ("other.test", "acme/web", "Basic a"),
    ):
        assert not grants.holds(*other)
    assert "Basic a" not in repr(vars(grants)), "a login is kept by its hash alone"
    now[0] = 60.0
    assert not grants.holds("registry.test", "acme/web", "Basic a")


def test_many_logins_take_no_endless_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_shim.grants.GRANTS_MAX", 10)
    grants = Grants(60.0, clock=lambda: 0.0)
    for number in range(100):
        grants.add("registry.test", "acme/web", f"Basic {number}")
        assert len(grants._until) <= 10
    assert GRANTS_MAX <= 1_000_000


def refusal(detail: str, reason: Reason = Reason.TAMPERED) -> Denied:
    return Denied(reference=parse_reference("registry.test/acme/web:1"), reason=reason, detail=detail)


def test_line_ends_in_a_reason_do_not_become_headers() -> None:
    """What a store or an upstream said may stand in it."""
    warning = _warning(refusal('a\r\nX-Evil: yes\r\n\r\nbody "quoted" \\ \x00 \u2028 é' + "x" * 1000))
    assert warning.isascii()
    assert warning.isprintable()
    assert warning.startswith('299 trust-shim "tampered: a??X-Evil')
    assert warning.count('"') == 2
    assert len(warning) < WARNING_MAX_LENGTH + 50


@pytest.mark.parametrize("reason", list(Reason))
def test_reason_stands_in_message_and_detail_of_a_code_of_the_specification(reason: Reason) -> None:
    answer = denied(refusal("why", reason))
    assert answer.code is Code.DENIED
    assert answer.status in {403, 503}
    assert ("Retry-After" in answer.headers) is (answer.status == 503)
    assert answer.message == f"{reason.value}: why"
    assert answer.detail is not None
    assert answer.detail["reason"] == reason.value


def test_trusted_state_is_made_by_one_thread(tmp_path: Path) -> None:
    """At a first start with several collections they took each other's half-made database."""
    worlds = [World(tmp_path / name, name=f"registry.test/{name}/") for name in ("a", "b", "c", "d")]
    failed: list[str] = []

    async def main(number: int) -> None:
        with ThreadPoolExecutor(8) as executor:
            freshness = Freshness(
                tuple(world.stanza for world in worlds),
                home=tmp_path / f"shim{number}",
                open_store=lambda stanza: next(w.store for w in worlds if w.stanza.root == stanza.root),
                max_age=MAX_AGE,
                executor=executor,
                clock=worlds[0].now.timestamp,
                changed=lambda which: failed.append(which) if freshness.refusal(which) else None,
            )
            running = asyncio.create_task(freshness.run())
            deadline = soon(20)
            while not freshness.is_read:
                deadline.remaining_seconds()
                await asyncio.sleep(0.01)
            running.cancel()

    for number in range(3):
        asyncio.run(main(number))
    assert failed == []


def test_store_that_hangs_holds_up_its_own_collections_alone(world: World) -> None:
    """Sixty of them took every thread, and a revocation elsewhere was felt minutes later."""
    gone = threading.Event()
    honest = replace(world.stanza, max_age=MAX_AGE)
    hung = [
        replace(
            honest,
            root=sha256(b"%d" % number),
            metadata="registry:",
            collection=parse_collection(f"hung.test/{number}/"),
        )
        for number in range(60)
    ]
    told: list[str] = []

    def open_store(stanza: Stanza) -> Store:
        if stanza.metadata == "registry:":
            gone.wait(20)
            raise UnreachableError("it hangs")
        return world.store

    async def main() -> None:
        with ThreadPoolExecutor(8) as executor:
            freshness = Freshness(
                (*hung, honest), home=world.folder / "shim", open_store=open_store, max_age=MAX_AGE,
                executor=executor, clock=world.now.timestamp, changed=told.append,
            )  # fmt: skip
            running = asyncio.create_task(freshness.run())
            deadline = soon(10)
            try:
                while told.count(pin(world)) < 3:
                    deadline.remaining_seconds()
                    await asyncio.sleep(0.01)
            finally:
                gone.set()
                running.cancel()

    asyncio.run(main())
    assert told[:3] == [pin(world)] * 3
