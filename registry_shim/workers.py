"""Owns the worker processes: on sockets that are bound already, watched, replaced without a lost connection.

A worker that dies is started again, after a pause where it died young. A new configuration gets new workers; the
old ones finish what they are at and go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from registry_shim.channel import Channel, open_channel
from trust.children import child_environment

YOUNG_SECONDS = 5.0
PAUSE_SECONDS = 1.0
END_SECONDS = 30.0
_log = logging.getLogger("trust-shim")


class _One:
    def __init__(self, number: int, process: Process, channel: Channel) -> None:
        self.number = number
        self.process = process
        self.channel = channel
        self.is_serving = False


class Workers:
    """``count`` processes on ``listening``.

    ``hello`` makes the first message of a worker from its number; ``heard`` is called with everything that one
    says; ``greet`` is what a worker is told once it serves. ``first`` is set when the first one serves,
    ``restarted`` counts those that had to be started again.
    """

    def __init__(
        self,
        listening: list[socket.socket],
        count: int,
        *,
        hello: Callable[[int], dict[str, Any]],
        greet: Callable[[], dict[str, Any]],
        heard: Callable[[dict[str, Any]], None],
    ) -> None:
        self._listening = listening
        self._count = count
        self._hello = hello
        self._greet = greet
        self._heard = heard
        self._live: dict[int, _One] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._is_ending = False
        self.restarted = 0
        self.first = asyncio.Event()

    @property
    def serving(self) -> int:
        """How many serve now."""
        return sum(one.is_serving for one in self._live.values())

    def start(self) -> None:
        """Have all of them running soon."""
        self._keeping = [asyncio.create_task(self._keep(number)) for number in range(self._count)]

    def tell(self, message: dict[str, Any]) -> None:
        """Say ``message`` to all that run."""
        for one in self._live.values():
            one.channel.send(message)

    async def end(self) -> None:
        """Have none running after this; each finishes what it is at, within ``END_SECONDS``."""
        self._is_ending = True
        self.tell({"drain": True})
        _, late = await asyncio.wait(self._keeping, timeout=END_SECONDS) if self._keeping else (None, ())
        for one in list(self._live.values()):
            with suppress(ProcessLookupError):
                one.process.kill()
        for task in late:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep(self, number: int) -> None:
        clock = asyncio.get_running_loop().time
        while not self._is_ending:
            started = clock()
            try:
                await self._run(number)
            except Exception:  # noqa: BLE001 - no process, a full disk under a log: the next may fare better
                _log.exception("worker %d failed", number)
            self.restarted += not self._is_ending
            if not self._is_ending and clock() - started < YOUNG_SECONDS:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _run(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fds = [one.fileno() for one in self._listening]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", "registry_shim.worker", "--channel", str(theirs.fileno()),
                *(word for fd in fds for word in ("--listen", str(fd))),
                pass_fds=(theirs.fileno(), *fds), stdin=asyncio.subprocess.DEVNULL,
                env=child_environment(os.environ),
            )  # fmt: skip
        channel = await open_channel(ours)
        one = self._live[number] = _One(number, process, channel)
        try:
            channel.send(self._hello(number))
            async for message in channel:
                if "serving" in message:
                    one.is_serving = True
                    self.first.set()
                    channel.send(self._greet())
                    if self._is_ending:
                        channel.send({"drain": True})
                self._heard(message)
        finally:
            one.is_serving = False
            channel.close()
            if process.returncode is None:
                with suppress(asyncio.TimeoutError, TimeoutError):
                    await asyncio.wait_for(process.wait(), 1.0)
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            del self._live[number]
