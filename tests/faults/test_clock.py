"""The clock jumps under a consumer and under a running shim: forward, back, across an expiry, and to where it was.

What holds is the clock's own word: nothing is believed that has expired by it, and nothing at all by one that
stands behind what was verified (``clock``), until it has caught up. ``TRUST_FAULTS=all`` tries every jump with
every change that is published meanwhile, and the shim at each; otherwise one change for each jump, and two jumps.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.places import Record, few, record, some
from tests.simulators.shim import until
from tests.simulators.world import Consumer, World
from tests.simulators.yard import Plot, Yard, yard
from trust.client import CLOCK_TOLERANCE
from trust.roles import DEFAULT_EXPIRY
from trust.verdict import Allowed, Denied, Reason

HOUR, DAY = 3600, 86_400
VALID = int(DEFAULT_EXPIRY["timestamp"].total_seconds())
JUMPS = (-60, -HOUR, -DAY, -400 * DAY, -50 * 365 * DAY, 60, DAY, VALID - 60, VALID + 60, 400 * DAY, 30 * 365 * DAY)
MEANWHILE = ("nothing", "sign", "revoke", "renew")
ONE_FIVE, ONE_SIX = "registry.test/acme/web:1.5", "registry.test/acme/web:1.6"


def publish(world: World, what: str) -> None:
    """Have something published at the true time."""
    if what == "sign":
        world.sign("1.6")
    elif what == "revoke":
        world.revoke("1.5")
    elif what == "renew":
        world.renew()


def expected(jump: int) -> set[Reason]:
    """Return why nothing is believed under a clock that is ``jump`` seconds ahead; nothing where it is."""
    if timedelta(seconds=jump) < -CLOCK_TOLERANCE:
        return {Reason.CLOCK}
    return {Reason.EXPIRED} if jump >= VALID else set()


def is_by_the_clock(consumer: Consumer, jump: int, *, offline: bool) -> bool:
    """Tell whether what was signed is believed if it is valid by the clock, and refused for that reason if not."""
    verdict = consumer.verify(offline=offline)
    if isinstance(verdict, Denied):
        return verdict.reason in expected(jump)
    return isinstance(verdict, Allowed) and not expected(jump)


def is_right_again(world: World, consumer: Consumer, jump: int, what: str) -> bool:
    """Tell whether a consumer believes again, once the clock is right and has caught up with what he verified."""
    first = consumer.verify()
    is_behind = timedelta(seconds=jump) > CLOCK_TOLERANCE and jump < VALID
    if isinstance(first, Denied) and not (is_behind and first.reason is Reason.CLOCK):
        return False
    if is_behind:
        world.later(seconds=jump)
        world.renew()
    if not all(isinstance(consumer.verify(offline=offline), Allowed) for offline in (False, True)):
        return False
    five, six = consumer.verify(ONE_FIVE), consumer.verify(ONE_SIX)
    return isinstance(five, Denied if what == "revoke" else Allowed) and isinstance(
        six, Allowed if what == "sign" else Denied
    )


@pytest.mark.parametrize("jump", JUMPS)
def test_consumer_whose_clock_jumps_believes_by_it_and_recovers(
    tmp_path: Path, jump: int, record_property: Record
) -> None:
    changes, broken = some(MEANWHILE, JUMPS.index(jump)), []
    for what in changes:
        world = World(tmp_path / what)
        world.sign("1.4")
        world.sign("1.5")
        consumer = world.consumer()
        consumer.allowed()
        publish(world, what)
        world.later(seconds=jump)
        during = [is_by_the_clock(consumer, jump, offline=offline) for offline in (True, False)]
        lies = isinstance(consumer.verify("registry.test/acme/web:never"), Allowed)
        world.later(seconds=-jump)
        if lies or not all(during) or not is_right_again(world, consumer, jump, what):
            broken.append((what, during, lies, consumer.verify()))
    record(record_property, len(changes), broken)


@pytest.fixture
def plot(tmp_path: Path) -> Iterator[Plot]:
    """Give a repository of a yard whose shim's clock can be moved."""
    with yard(tmp_path, moves_clock=True) as own:
        plot = own.plot()
        plot.push("evil", plot.stranger)
        assert plot.through("1").status == 200
        yield plot


def reason(plot: Plot, last: object = "1") -> str:
    """Return why the shim does not give the image; nothing where it does, whole."""
    reply = plot.through(str(last))
    assert plot.stranger.blobs[-1] not in reply.body
    if reply.status == 200:
        assert reply.body == plot.picture.manifest, "only what was signed is given"
        return ""
    return reply.reason


def settles(plot: Plot, reasons: set[str]) -> bool:
    """Tell whether the shim comes to answer so, and never gives what nobody signed."""
    try:
        until(lambda: reason(plot) in reasons, f"it answers {reasons}", seconds=12)
    except AssertionError:
        return False
    return all(plot.through(last).status in {403, 503} for last in ("evil", plot.stranger.digest))


def test_shim_whose_clock_jumps_decides_by_it_and_recovers(plot: Plot, record_property: Record) -> None:
    shim, stands_at, broken = plot.yard.shim, 0, []
    jumps = few(JUMPS, 2)
    for jump in jumps:
        shim.set_clock(stands_at + jump)
        wanted = {each.value for each in expected(jump)} or {""}
        during = settles(plot, wanted)
        shim.set_clock(stands_at)
        if 0 < jump < VALID:  # it was verified by that clock, which has to come there again
            is_held = settles(plot, {"", "clock"})
            stands_at += jump
            renew(plot.yard, jump)
            shim.set_clock(stands_at)
        else:
            is_held = True
        if not (during and is_held and settles(plot, {""})):
            broken.append((jump, during, is_held, reason(plot)))
    record(record_property, len(jumps), broken)


def renew(own: Yard, seconds: int) -> None:
    """Have so much time pass for the publisher too."""
    own.world.later(seconds=seconds)
    own.world.renew()
