"""Owns what the supervisor does: one loop over all detached containers of a home, in one thread.

It starts them, learns how they end, starts them again, asks after their health, bounds their logs and carries
their ports. It never waits for an engine: starts and health checks are children that end soon.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trust.errors import TrustError
from trust.runtime.bounded_log import bound
from trust.runtime.course import Course, is_wanted
from trust.runtime.ends import Ends
from trust.runtime.names import bears_its_name
from trust.runtime.neglected import Neglected, neglected
from trust.runtime.plan import PLAN
from trust.runtime.reception import Reception, tell
from trust.runtime.relay import Relay
from trust.runtime.starting import engine_for, is_healthy, planned, start_planned
from trust.runtime.updates import AT_ONCE, Updates
from trust.runtime.watched import NEVER, Watched
from trust.runtime.workers import Answer, Workers

_TICK_SECONDS = 1.0
_AT_A_TICK = 250  # containers; with more of them each is looked at less often
_IDLE_SECONDS = 3.0
_FOSTER_SECONDS = 0.3


class Supervisor:
    """What looks after the containers of ``home``; ``clock`` is monotonic, ``share`` random below one."""

    def __init__(
        self,
        home: Path,
        door: socket.socket,
        *,
        clock: Callable[[], float],
        share: Callable[[], float],
        environ: Mapping[str, str],
    ) -> None:
        self._containers = home / "containers"
        self._clock = clock
        self._share = share
        self._updates = Updates(home=home, environ=environ)
        self._selector = selectors.DefaultSelector()
        self._reception = Reception(door, self._selector, serve=self._serve)
        self._watched: dict[str, Watched] = {}
        self._workers = Workers(self._selector)
        self._ends = Ends()
        self._answers: dict[int, socket.socket] = {}  # by the reading end of the worker's pipe
        self._idle_since = clock()

    def take_up(self) -> None:
        """Look after every container that is here and wants it: those that run, and those that are to run."""
        with _reported():
            self._updates.clear_up()
        for found in neglected(self._containers, self._watched):
            with _reported():
                self._take_up(found)

    def run(self) -> None:
        """Look after containers until there are none."""
        wake, wakened = os.pipe()
        for end in (wake, wakened):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakened)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(wake, selectors.EVENT_READ, "wake")
        ticked = 0.0
        while self._is_needed():
            for key, events in self._selector.select(self._pause()):
                with _reported():
                    self._handle(key, events)
            for one, status in self._ends.reaped(self._workers):
                self._ended(one, status)
            if self._clock() - ticked >= _TICK_SECONDS * (1 + len(self._watched) / _AT_A_TICK):
                ticked = self._clock()
                self._tick()
            self._due()

    def _is_needed(self) -> bool:
        if self._watched or self._answers:
            self._idle_since = self._clock()
        return self._clock() - self._idle_since < _IDLE_SECONDS

    def _pause(self) -> float:
        now = self._clock()
        due = [one.next_due for one in self._watched.values() if not one.workers or one.lost_at < NEVER]
        return max(0.0, min([now + _TICK_SECONDS, *due]) - now)

    def _handle(self, key: selectors.SelectorKey, events: int) -> None:
        match key.data:
            case None:
                self._reception.accept()
            case "wake":
                with suppress(BlockingIOError):
                    os.read(key.fd, 4096)
            case "client" if isinstance(key.fileobj, socket.socket):
                self._reception.hear(key.fileobj)
            case Relay() as relay if isinstance(key.fileobj, socket.socket) and key.fileobj.fileno() >= 0:
                relay.ready(key.fileobj, events)
            # A door that was handed on since it was looked at is told of again, with who has it now.
            case Watched() as one if isinstance(key.fileobj, socket.socket) and key.fileobj in one.doors:
                one.accept(key.fileobj, self._selector, self._first_process(one))
            case Watched() as one if key.fd == one.pidfd:
                # It may become our child yet, by the end of the engine that started it: then we shall hear how.
                one.lost_at = self._clock() + _FOSTER_SECONDS
                one.forget_pidfd(self._selector)
            case (str() as what, Watched() as one):
                self._worker_done(what, one, key.fd)
            case _:
                pass

    def _serve(self, asked: dict[str, Any], mounts: Sequence[int], client: socket.socket) -> Answer | None:
        """Do what a command asks for; a start is answered when it is done."""
        directory = self._containers / Path(str(asked.get("identity", "-"))).name
        one = self._watched.get(directory.name) or Watched(planned(directory), Course())
        self._watched[one.identity] = one
        try:
            self._open(one)
            if asked.get("do") != "start":
                return {"ok": True}
            self._start(one, client, mounts)
        except (TrustError, OSError):
            self._forget(one)
            raise
        return None

    def _take_up(self, found: Neglected) -> None:
        one = Watched(found.plan, found.course)
        self._watched[one.identity] = one
        with suppress(TrustError):
            self._open(one)
        if found.pid is None:
            self._ended(one, one.course.exit_status)
        else:
            self._runs(one, found.pid, is_new=False)

    def _open(self, one: Watched) -> None:
        """Have its ports open, if it bears its name: then those of who bore it before are its own.

        Raises:
            UnavailableError: one of them is somebody's.
        """
        if not one.is_closed or not bears_its_name(one.directory):
            return
        for other in tuple(self._watched.values()):
            if other is not one and other.doors and not bears_its_name(other.directory):
                one.take_doors(other, self._selector)
        one.publish(self._selector)

    def _start(self, one: Watched, client: socket.socket | None, mounts: Sequence[int] = ()) -> None:
        """Have a container started, the first time for ``client``, who gives what it stands on."""
        one.start_at = NEVER
        is_first, mount = client is not None, mounts[0] if mounts else None

        def start(_pipe: int) -> int:
            return start_planned(one.directory, is_first=is_first, mount=mount)

        reading = self._workers.begin(one, "start", start, kept=mounts)
        if client is not None:
            self._answers[reading] = client

    def _worker_done(self, what: str, one: Watched, reading: int) -> None:
        answer = self._workers.answer(one, what, reading)
        client = self._answers.pop(reading, None)
        if what == "start":
            if "ok" in answer:
                self._runs(one, int(answer["ok"]))
            elif client is not None:
                self._forget(one)
            else:
                one.record(why=answer["error"])
                self._ended(one, one.course.exit_status)
        elif what == "update":
            one.follow(self._clock(), self._share())
            if "schema" not in answer or not bears_its_name(one.directory):  # it was killed, or took its time
                self._updates.clear_up()
        elif what == "health" and one.pid is not None:
            one.judge(self._clock(), succeeded=answer.get("ok") is True)
        if client is not None:
            tell(client, answer)

    def _runs(self, one: Watched, pid: int, *, is_new: bool = True) -> None:
        """Look after a container that runs, whose end is that of ``pid``."""
        one.began(pid, self._clock(), is_new=is_new)
        if one.update_at == NEVER and "update" not in one.workers:
            one.follow(self._clock(), self._share())
        known, status = self._ends.expect(pid, one)
        if known:
            self._ended(one, status)
        elif one.pidfd is not None:
            self._selector.register(one.pidfd, selectors.EVENT_READ, one)

    def _ended(self, one: Watched, status: int | None) -> None:
        """Decide what becomes of a container that has ended; None is an end that nobody saw."""
        self._ends.forget(one)
        one.forget_process(self._selector)
        one.leave()
        one.health_at = NEVER
        self._bound(one)
        if not (one.is_detached and is_wanted(one.directory) and one.starts_again(status, self._clock())):
            one.record(exit_status=status, is_waiting=False, is_over=True, health=None)
            self._forget(one)

    def _due(self) -> None:
        now = self._clock()
        for one in tuple(self._watched.values()):
            if one.lost_at <= now:
                self._ended(one, None)
            if one.workers.keys() - {"update"}:
                continue
            if one.start_at <= now:
                if is_wanted(one.directory):
                    one.record(restarts=one.course.restarts + 1)
                    self._start(one, None)
                else:
                    self._forget(one)
            elif one.health_at <= now and (check := one.care.health) is not None:
                one.health_at = NEVER
                directory = one.directory
                self._workers.begin(one, "health", lambda _, d=directory, c=check: is_healthy(d, c))  # type: ignore[misc]
            elif one.update_at <= now and "update" not in one.workers:
                self._look_at_tag(one)

    def _look_at_tag(self, one: Watched) -> None:
        if self._workers.count("update") >= AT_ONCE:
            one.update_at = self._clock() + _TICK_SECONDS
            return
        one.update_at = NEVER
        following, identity = one.following, one.identity
        if following is not None and is_wanted(one.directory):
            self._workers.begin(one, "update", lambda pipe: self._updates.become(identity, following, stdout=pipe))

    def _tick(self) -> None:
        """Bound logs, and forget what has been removed."""
        for one in tuple(self._watched.values()):
            self._bound(one)
            if not (one.directory / PLAN).exists() and not one.workers:
                self._forget(one)
            elif not one.is_detached and one.pid is None:
                with suppress(TrustError):  # in the foreground: its engine is not ours
                    if (pid := engine_for(planned(one.directory)).waited_for(one.directory)) is not None:
                        self._runs(one, pid)
            elif one.start_at != NEVER and not is_wanted(one.directory):
                one.record(is_waiting=False, is_over=True)
                self._forget(one)
            elif one.is_closed:
                with suppress(TrustError):
                    self._open(one)

    def _bound(self, one: Watched) -> None:
        if one.is_detached:
            for name in ("stdout.log", "stderr.log"):
                with suppress(OSError):
                    bound(one.directory / name, one.care.log_max_bytes)

    def _first_process(self, one: Watched) -> int | None:
        with suppress(TrustError):
            plan = planned(one.directory)
            return engine_for(plan).running([one.identity]).get(one.identity)
        return None

    def _forget(self, one: Watched) -> None:
        """Look after it no more; its ports go to who bears its name now, if anybody does."""
        if one.doors:
            for heir in tuple(self._watched.values()):
                if heir is not one and heir.is_closed:
                    with suppress(TrustError):
                        self._open(heir)
        self._ends.forget(one)
        one.close(self._selector)
        self._watched.pop(one.identity, None)


@contextmanager
def _reported() -> Iterator[None]:
    """Have what fails in the log, and go on."""
    try:
        yield
    except (TrustError, OSError):
        traceback.print_exc()
