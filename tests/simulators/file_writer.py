"""A process that forks one writer of a ``file:`` store for each move, stopped until a tracer holds it.

Reads one JSON object for each on stdin (``directory``, ``move``), answers with a line that holds the writer's
process id, then one with its exit status as ``waitpid`` knows it and what it acknowledged.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from trust.deadline import Deadline, deadline_in
from trust.errors import TrustError
from trust.stores.file import FileStore
from trust.stores.interface import TIMESTAMP, Publication

DONE, FAILED = 0, 3
OLD = {name: name.encode() * 40 for name in ("1.root.json", "1.targets.json", "1.snapshot.json")}
OLD_TIMESTAMP, OLD_PENDING = b"timestamp 1" * 40, b"the change of one" * 40
NEW_PENDING = b"the change of two" * 40


def new_files(number: int) -> dict[str, bytes]:
    """Return the versioned files of edition ``number``."""
    return {f"{number}.{role}.json": f"{role} {number}".encode() * 40 for role in ("targets", "snapshot")}


def new_timestamp(number: int) -> bytes:
    """Return the timestamp of edition ``number``."""
    return f"timestamp {number}".encode() * 40


def soon() -> Deadline:
    """Return a deadline that no move reaches."""
    return deadline_in(30, time.monotonic)


def publish(store: FileStore, number: int, files: dict[str, bytes] | None = None) -> None:
    """Publish edition ``number`` on what is there."""
    view = store.view(known=None, deadline=soon())
    assert view is not None
    base = view.read(TIMESTAMP, 10_000)
    files = new_files(number) if files is None else files
    timestamp = new_timestamp(number)
    store.publish(
        Publication(base=view, base_timestamp=base, files=files, kept=(), timestamp=timestamp), deadline=soon()
    )


def make(store: FileStore, move: str) -> None:
    """Make ``move``."""
    if move == "publish":
        publish(store, 2)
    elif move == "found":
        publish(store, 1, OLD)
    elif move == "wait":
        store.set_pending("targets", NEW_PENDING, replaces=OLD_PENDING, deadline=soon())
    elif move == "clear":
        store.set_pending("targets", None, replaces=OLD_PENDING, deadline=soon())
    else:
        store.remove(["1.targets.json", "1.snapshot.json"], deadline=soon())


def _write(order: dict[str, str], out: int) -> NoReturn:
    store = FileStore("file:store", Path(order["directory"]))
    os.kill(os.getpid(), signal.SIGSTOP)  # until the tracer is there: only what comes now is counted
    try:
        make(store, order["move"])
    except TrustError:
        os._exit(FAILED)
    with suppress(OSError):  # what fails here is the message, not the store
        os.write(out, b"done")
    os._exit(DONE)


def serve() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        said, out = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(said)
            _write(json.loads(line), out)
        os.close(out)
        _answer(child)
        acknowledged = os.read(said, 100)
        _, status = os.waitpid(child, 0)
        os.close(said)
        _answer({"status": status, "done": bool(acknowledged)})


def _answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
