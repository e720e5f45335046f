"""Proves that a shim under load decides as it does at leisure: every answer is held to what an oracle knows.

64 clients of our own pull at once, and ``skopeo`` beside them. Meanwhile a publisher moves a tag to and fro and
takes it back, and a watcher asks for that tag on and on. The oracle knows when each change was acknowledged: an
answer may be what was signed then or since, never anything from before.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter

from scripts.bench.checked import pulled
from scripts.bench.result import Row
from scripts.bench.setting import Setting
from scripts.bench.shim_pulls import CLIENTS, Watch, scene
from scripts.proof.changing_tag import MAX_AGE_SECONDS, ChangingTag
from scripts.proof.finding import Proof
from scripts.proof.real_client import RealClient

SECTION = "load"
SECONDS = (15.0, 90.0, 1_800.0)  # quick, usual, full


def prove(setting: Setting) -> Proof:
    """Return how many answers were given, and how many of them were wrong."""
    quick, usual, full = SECONDS
    seconds = quick if setting.is_quick else full if setting.is_full else usual
    with scene(setting, max_age=f"{MAX_AGE_SECONDS}s") as (ours, built, asks):
        over = threading.Event()
        tag = ChangingTag(setting, built, port=ours.server.port)
        client = RealClient(setting, asks, port=ours.server.port)
        threads = [threading.Thread(target=work, args=(over,)) for work in (tag.change, tag.watch, client.pull)]
        for thread in threads:
            thread.start()
        watch = Watch(shim=ours, warm_seconds=seconds)
        outcome = pulled(ours.server.port, asks, clients=CLIENTS, seconds=seconds, each_moment=watch.look)
        over.set()
        for thread in threads:
            thread.join()
    mistakes = outcome.wrong + len(tag.wrong) + len(client.wrong)
    wrong = (*outcome.said, *tag.wrong, *client.wrong)
    for said in wrong:
        print(f"prove: {SECTION}: wrong: {said}", file=sys.stderr)
    seen = Counter(outcome.answers)
    refusals = sum(count for kind, count in seen.items() if not kind.startswith("signed"))
    return Proof(
        rows=(
            _count(f"answers to {CLIENTS} clients in {seconds:.0f} s", sum(seen.values()), least=1),
            _count("of them refusals", refusals, least=1),
            _count("pulls by skopeo", client.pulls, least=1),
            _count("changes of a tag that were published meanwhile", tag.changes, least=1),
            _count("answers about that tag", tag.answers, least=1),
            Row(figure=SECTION, what="wrong answers", value=mistakes, unit="answers", limit=0),
        ),
        lines=tuple(f"load: {kind}: {count}" for kind, count in sorted(seen.items())),
    )  # fmt: skip


def _count(what: str, value: int, *, least: int) -> Row:
    return Row(figure=SECTION, what=what, value=value, unit="", floor=least)
