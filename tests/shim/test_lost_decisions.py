"""Decisions that cannot be handed over are counted, and the log tells of them."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

from registry_shim.channel import UNSENT_MAX_BYTES, open_channel
from registry_shim.decision_log import DecisionLog
from registry_shim.gate import Ruling
from registry_shim.log_check import check_log
from registry_shim.tally import KEPT_DECISIONS_MAX, TOLD_MAX, Tally, decisions_of
from trust.reference import parse_reference
from trust.verdict import Denied, Reason

MORE = 7
RULING = Ruling(
    verdict=Denied(reference=parse_reference("registry.test/acme/web:1"), reason=Reason.UNSIGNED, detail="no"),
    collection="registry.test/acme/",
)


def _tally(count: int) -> Tally:
    tally = Tally(1, clock=lambda: 1_790_000_000.0)
    for _ in range(count):
        tally.decided("192.0.2.7", "GET", "manifest", RULING)
    return tally


def test_decisions_above_what_a_worker_keeps_are_told_of_as_lost() -> None:
    tally = _tally(KEPT_DECISIONS_MAX + MORE)
    assert tally.count == KEPT_DECISIONS_MAX + MORE
    told, lost = 0, []
    while not tally.is_empty:
        message = json.loads(json.dumps(tally.take()))
        told += len(list(decisions_of(message)))
        lost.append(message["lost"])
    assert (told, sum(lost), lost[-1]) == (KEPT_DECISIONS_MAX, MORE, MORE)
    assert len(lost) == KEPT_DECISIONS_MAX // TOLD_MAX
    assert tally.take()["lost"] == 0


def test_lost_decisions_alone_are_something_to_tell() -> None:
    tally = _tally(KEPT_DECISIONS_MAX + MORE)
    for _ in range(KEPT_DECISIONS_MAX // TOLD_MAX - 1):
        tally.take()
    tally.decided("192.0.2.7", "GET", "manifest", RULING)
    assert tally.count == TOLD_MAX + MORE + 1


def test_line_tells_of_them_at_once_and_the_chain_holds(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log")
    for decided in decisions_of(_tally(2).take()):
        log.append(decided)
    log.flush()
    log.lose(MORE)
    assert (log.flush(), log.lost_total, log.head.seq) == (1, MORE, 3)
    assert log.flush() == 0
    for decided in decisions_of(_tally(1).take()):
        log.append(decided)
    log.close()
    report = check_log(tmp_path / "log")
    assert (report.lines, report.lost, report.broken) == (4, MORE, None)
    assert [json.loads(line).get("lost", 0) for line in (tmp_path / "log").read_bytes().splitlines()] == [
        0, 0, MORE, 0,
    ]  # fmt: skip


def test_keeper_that_does_not_listen_costs_no_decision_that_was_taken_already() -> None:
    """A worker asks before it takes what it has: what is not sent stays with it."""

    async def scene() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            channel = await open_channel(ours)
            while channel.send({"text": "x" * UNSENT_MAX_BYTES}):
                pass
            assert not channel.is_heard
            channel.close()

    asyncio.run(scene())
