"""Owns one container under the supervisor's eyes: its processes, its clocks, its published ports."""

from __future__ import annotations

import os
import selectors
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from trust.runtime.course import Course, write_course
from trust.runtime.following import read_following
from trust.runtime.plan import Plan
from trust.runtime.ports import Port, listening, sockets_inside
from trust.runtime.relay import Relay
from trust.runtime.restart import STEADY_SECONDS, pause_seconds
from trust.value import replace

SOCKETS_AT_ONCE = 16
NEVER = float("inf")


class Watched:
    """A container that is looked after; times are of a monotonic clock, in seconds.

    ``pid`` is the process whose end is its end. It is our child where we started it; of one that we found running
    ``pidfd`` tells when it has ended, and nobody can tell how.
    """

    def __init__(self, plan: Plan, course: Course) -> None:
        self.directory: Path = plan.bundle.directory
        self.identity = plan.bundle.identity
        self.engine = plan.engine
        self.care = plan.care
        self.is_detached = plan.is_detached
        self.course = course
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.began_at = 0.0
        self.failures = 0  # starts in a row that ended too soon
        self.unhealthy = 0  # answers in a row
        self.start_at = self.health_at = self.lost_at = self.update_at = NEVER
        self.following = read_following(self.directory)
        self.workers: dict[str, int] = {}
        self.doors: dict[socket.socket, Port] = {}
        self.relays: set[Relay] = set()
        self._inside: list[socket.socket] = []

    def record(self, **changes: Any) -> None:  # noqa: ANN401 - of any field
        """Have ``changes`` in the course, here and on the disk."""
        self.course = replace(self.course, **changes)
        write_course(self.directory, self.course)

    def began(self, pid: int, now: float, *, is_new: bool) -> None:
        """Record that it runs; ``is_new``: since now."""
        self.pid, self.began_at, self.unhealthy = pid, now, 0
        health = None if is_new else self.course.health
        if self.care.health is not None:
            self.health_at = now + self.care.health.interval_seconds
            health = health or "starting"
        self.record(exit_status=None, is_waiting=False, is_over=False, why=None, health=health)

    def starts_again(self, status: int | None, now: float) -> bool:
        """Tell whether it is to be started again after this end, and have it due then."""
        if not self.care.restart.wants(status, self.course.restarts):
            return False
        self.failures = 0 if now - self.began_at >= STEADY_SECONDS else self.failures + 1
        self.start_at = now + pause_seconds(self.failures - 1 if self.failures else 0)
        self.record(exit_status=status, is_waiting=True, health=None)
        return True

    def judge(self, now: float, *, succeeded: bool) -> None:
        """Take in one answer to the health check."""
        check = self.care.health
        if check is None:
            return
        health, self.unhealthy = check.judged(
            succeeded=succeeded,
            failures=self.unhealthy,
            before=self.course.health or "starting",
            age_seconds=now - self.began_at,
        )
        self.health_at = now + check.interval_seconds
        if health != self.course.health:
            self.record(health=health)

    @property
    def next_due(self) -> float:
        """When something is to be done."""
        return min(self.start_at, self.health_at, self.lost_at, self.update_at)

    def follow(self, now: float, share: float) -> None:
        """Have the next look at its tag due in the interval, more or less by a tenth; ``share`` is below one."""
        if self.following is not None:
            self.update_at = now + self.following.every_seconds * (0.9 + 0.2 * share)

    @property
    def is_closed(self) -> bool:
        """Tell whether it has ports that are not open."""
        return len(self.doors) < len(self.care.ports)

    def take_doors(self, other: Watched, selector: selectors.BaseSelector) -> None:
        """Have what comes in at its ports of ``other`` from now on; connections stay where they are."""
        for door, port in tuple(other.doors.items()):
            if port in self.care.ports:
                self.doors[door] = other.doors.pop(door)
                selector.modify(door, selectors.EVENT_READ, self)

    def publish(self, selector: selectors.BaseSelector) -> None:
        """Have every port of the container open on the host.

        Raises:
            UnavailableError: one of them is somebody's; none is open then.
        """
        taken = set(self.doors.values())
        try:
            for port in self.care.ports:
                if port not in taken:
                    door = listening(port)
                    self.doors[door] = port
                    selector.register(door, selectors.EVENT_READ, self)
        except Exception:
            self.withdraw(selector)
            raise

    def withdraw(self, selector: selectors.BaseSelector) -> None:
        """Have no port open, and no connection."""
        for door in self.doors:
            selector.unregister(door)
            door.close()
        self.doors.clear()
        self.leave()

    def leave(self) -> None:
        """Let go of what belongs to a run of the container that has ended."""
        for relay in tuple(self.relays):
            relay.close()
        for one in self._inside:
            one.close()
        self._inside.clear()

    def accept(self, door: socket.socket, selector: selectors.BaseSelector, first: int | None) -> None:
        """Carry what comes in at ``door``; ``first`` is the container's first process, None where none runs."""
        try:
            outside, _ = door.accept()
        except OSError:
            return
        inside: socket.socket | None = None
        try:
            if first is None:
                raise ConnectionRefusedError
            if not self._inside:
                self._inside = sockets_inside(first, SOCKETS_AT_ONCE)
            inside = self._inside.pop()
            with suppress(BlockingIOError):
                inside.connect(("127.0.0.1", self.doors[door].container))
            self.relays.add(Relay(outside, inside, selector, ended=self.relays.discard))
        except OSError:
            outside.close()
            if inside is not None:
                inside.close()

    def close(self, selector: selectors.BaseSelector) -> None:
        """Hold nothing any more."""
        self.withdraw(selector)
        self.forget_process(selector)

    def forget_process(self, selector: selectors.BaseSelector) -> None:
        """Hold nothing of a process that has ended."""
        self.forget_pidfd(selector)
        self.pid = None
        self.lost_at = NEVER

    def forget_pidfd(self, selector: selectors.BaseSelector) -> None:
        """Look no more for the end of a process that is not our child."""
        if self.pidfd is not None:
            selector.unregister(self.pidfd)
            os.close(self.pidfd)
        self.pidfd = None
