"""Figure ``migrate``: a running process of 200 MB is frozen, carried through a registry, verified, and resumed.

Two homes on this machine share a registry. The process writes a line every ten milliseconds, so that its downtime
is what its user would see: from its last line here to its first there, the start of ``trust restore`` included.
Half of its memory is random, half is a program over and over. Each move is a new process, and sends all of it.

Verification is what would be left out if nobody verified: the verdicts, the comparison with the yardstick, the
hashes of all that was fetched. The hashes are counted in full, as one thread computes them, although they are
computed while the next piece is fetched. The yardstick is made during the transfer: what is counted of it is what
the rest has to wait for, which is more where there is less to fetch. So the limit is for the full size alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.bench.collection import BuiltCollection, build_pushed, consumer_through
from scripts.bench.layout import layer_of
from scripts.bench.measure import run
from scripts.bench.result import Row
from scripts.bench.server import docker_registry
from scripts.bench.setting import BenchError, Setting, component, launcher

FIGURE = "migrate"
VERIFICATION_MAX_PERCENT = 15.0
_MEGABYTES, _QUICK_MEGABYTES = 200, 40
_ROUNDS, _QUICK_ROUNDS = 5, 3
_WAIT_SECONDS = 120.0
_FROZEN = ("freeze", "pack", "push", "sign")
_RESUMED = ("verdicts", "base", "transfer", "verify", "restore")
_SAID = {
    "freeze": "freeze: CRIU writes the memory",
    "pack": "pack: cut, compress, hash",
    "push": "push",
    "sign": "sign",
    "verdicts": "verdicts on snapshot and image",
    "base": "the image, which is here",
    "transfer": "transfer: fetch, hash, decompress",
    "verify": "compare with the yardstick",
    "restore": "restore: CRIU reads the memory",
}
# `tail` keeps what it reads until there is an end, which never comes.
_PROGRAM = (
    "while :; do echo; usleep 10000; done & cd /bin; "
    "while :; do ./busybox head -c 1000000 /dev/urandom; ./busybox head -c 1000000 busybox; done | "
    "(./busybox head -c {size}; echo >/ready; exec ./busybox sleep 100000) | ./busybox tail -c {size}"
)

Move = Mapping[str, float]


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure; none where nobody can freeze a process.

    Raises:
        BenchError: something could not be started, or refused.
    """
    if os.geteuid() != 0 or launcher(setting, "criu", is_needed=False) is None:
        print(f"benchmark: {FIGURE} is left out: to freeze a process takes root, and CRIU", file=sys.stderr)
        return []
    megabytes = _QUICK_MEGABYTES if setting.is_quick else _MEGABYTES
    with docker_registry(setting, f"{FIGURE}.registry") as port:
        layer = layer_of({"bin/busybox": Path(component("busybox"))}, directories=("bin",))
        here = build_pushed(setting, FIGURE, host=f"127.0.0.1:{port}", layers=[layer])
        there = consumer_through(setting, f"{FIGURE}.there", here, host=here.host)
        rounds = 1 + (_QUICK_ROUNDS if setting.is_quick else _ROUNDS)  # the first one warms up
        moves = [_moved(setting, here, there, megabytes, number) for number in range(rounds)][1:]
    limit = None if setting.is_quick else VERIFICATION_MAX_PERCENT
    return _rows(moves, megabytes, limit=limit)


def _rows(moves: Sequence[Move], megabytes: int, *, limit: float | None) -> Sequence[Row]:
    def row(name: str, what: str) -> Row:
        values = [move[name] for move in moves]
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
        return Row(figure=FIGURE, what=what, value=statistics.median(values), unit="ms", quartiles=(first, third))

    shares = [(move["verdicts"] + move["verify"] + move["hash"]) / move["downtime"] for move in moves]
    signed = [move["sign"] / move["downtime"] for move in moves]
    return (
        *(row(name, _SAID[name]) for name in (*_FROZEN, *_RESUMED)),
        row("hash", "hashes of all that was fetched, one thread"),
        row("downtime", f"downtime of a process of {megabytes} MB"),
        Row(figure=FIGURE, what="signing in the downtime", value=statistics.median(signed) * 100, unit="%"),
        Row(
            figure=FIGURE,
            what="verification in the downtime",
            value=statistics.median(shares) * 100,
            unit="%",
            limit=limit,
        ),
    )


def _moved(setting: Setting, here: BuiltCollection, there: BuiltCollection, megabytes: int, number: int) -> Move:
    """Return what one move took, in milliseconds, by its phases."""
    name, image = f"m{number}", f"{here.host}/acme/moving:v{number}"
    program = _PROGRAM.format(size=megabytes * 1_000_000)
    words = ("run", "-d", "--engine", "runc", "--name", name, here.image, "/bin/busybox", "sh", "-c", program)
    run(setting.trust, *words, environ=here.environ)
    with _removed(setting, here, name), _removed(setting, there, name):
        place = here.home / "containers" / (here.home / "containers/names" / name).readlink().name
        _until((place / "upper/ready").exists, "the process to have its memory")
        frozen = _document(setting, here, "checkpoint", name, image)
        with _first_line(there) as seen:
            resumed = _document(setting, there, "restore", image, "--name", name)
            _until(lambda: bool(seen), "the process to go on")
        last_line = (place / "stdout.log").stat().st_mtime
    return {
        **frozen["milliseconds"],
        **resumed["milliseconds"],
        "downtime": (seen[0] - last_line) * 1000,
        "hash": _hashing(frozen["bytes"]["all"]),
    }


@contextmanager
def _removed(setting: Setting, home: BuiltCollection, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        listed = json.loads(run(setting.trust, "ps", "--json", environ=home.environ))["containers"]
        if any(one["name"] == name for one in listed):
            run(setting.trust, "rm", "--force", name, environ=home.environ)


@contextmanager
def _first_line(home: BuiltCollection) -> Iterator[list[float]]:
    """Give a list that holds the time at which a container of ``home`` has written, once it has."""
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            if any(log.stat().st_size for log in home.home.glob("containers/*/stdout.log")):
                seen.append(time.time())
                return

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()


def _document(setting: Setting, home: BuiltCollection, *words: str) -> dict[str, Any]:
    return dict(json.loads(run(setting.trust, *words, "--json", environ=home.environ)))


def _hashing(size_bytes: int) -> float:
    content, began = bytes(1 << 20), time.perf_counter()
    digest = hashlib.sha256()
    for _ in range(size_bytes >> 20):
        digest.update(content)
    return (time.perf_counter() - began) * 1000


def _until(condition: Callable[[], bool], what: str) -> None:
    gives_up = time.monotonic() + _WAIT_SECONDS
    while not condition():
        if time.monotonic() > gives_up:
            raise BenchError(f"waited in vain for {what}")
        time.sleep(0.02)
