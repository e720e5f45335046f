"""Owns the supervisor's children: what takes time is done by one of them, whose answer comes through a pipe.

A child has nothing of its parent but that pipe and what it is given to keep: our lock, door and clients must not
outlive us in it. Its answer is a JSON object, ``{"ok": …}`` or ``{"error": …, "kind": …, "hint": …}``.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from trust.errors import InputError, StateError, TrustError
from trust.runtime.supervision import MESSAGE_MAX_BYTES
from trust.runtime.watched import Watched

Answer = dict[str, Any]


class Workers:
    """The children at work; ``what`` each does for a container is done once at a time."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._pids: dict[int, str] = {}

    def count(self, what: str) -> int:
        """Return how many do that now."""
        return sum(each == what for each in self._pids.values())

    def has(self, pid: int) -> bool:
        """Tell whether ``pid`` is one of them, at work or just done."""
        return pid in self._pids

    def begin(self, one: Watched, what: str, action: Callable[[int], object], *, kept: Sequence[int] = ()) -> int:
        """Have ``action`` done by a child; return the descriptor on which its answer will come.

        ``action`` is given the pipe's end, for what it may become.
        """
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            _work(action, writing, kept)
        os.close(writing)
        one.workers[what] = pid
        self._pids[pid] = what
        self._selector.register(reading, selectors.EVENT_READ, (what, one))
        return reading

    def answer(self, one: Watched, what: str, reading: int) -> Answer:
        """Return what the child has answered; one that was killed has failed."""
        content = os.read(reading, MESSAGE_MAX_BYTES)
        self._selector.unregister(reading)
        os.close(reading)
        self._pids.pop(one.workers.pop(what, 0), None)
        answer: Answer = json.loads(content) if content else {"error": "worker was killed", "kind": "unavailable"}
        return answer


def failure(err: Exception) -> Answer:
    """Return how an error is told."""
    kind = "input" if isinstance(err, InputError) else "state" if isinstance(err, StateError) else "unavailable"
    return {"error": str(err), "kind": kind, "hint": getattr(err, "hint", None)}


def _work(action: Callable[[int], object], writing: int, kept: Sequence[int]) -> None:
    """Be the child; never returns."""
    try:
        signal.set_wakeup_fd(-1)
        _close_all_but({writing, *kept})
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            answer: Answer = {"ok": action(writing)}
        except (TrustError, OSError) as err:
            answer = failure(err)
        os.write(writing, json.dumps(answer).encode())
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        traceback.print_exc()
    os._exit(0)


def _close_all_but(kept: set[int]) -> None:
    low = 3
    for descriptor in sorted(kept):
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
