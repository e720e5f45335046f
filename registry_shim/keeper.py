"""Owns the shim as a service: sockets, workers, the freshness of collections, the log, the operations side.

1. one keeper for each home; what a former one left on its way is removed
2. sockets are bound, or taken from systemd; TLS that was asked for and cannot be had ends it here
3. refreshers and workers start; workers are told what to believe after every refresh
4. SIGHUP, or a changed policy, brings new workers; SIGTERM and SIGINT let the running answers end first
"""

from __future__ import annotations

import asyncio
import fcntl
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from registry_shim.cache import Cache
from registry_shim.complaint import complain
from registry_shim.config import Config
from registry_shim.decision_log import DecisionLog
from registry_shim.freshness import Freshness
from registry_shim.listening import Listening, serve_application
from registry_shim.metadata_doors import Doors
from registry_shim.operations import Operations
from registry_shim.policy_watch import PolicyWatch
from registry_shim.status import traffic_from
from registry_shim.tally import decisions_of
from registry_shim.terminal import say_note
from registry_shim.worker import server_context
from registry_shim.workers import Workers
from trust.errors import StateError, TrustError
from trust.notify import Notifier
from trust.policy import Policy

THREADS = 256  # refreshes at once, of all origins; made as they are needed
TICK_SECONDS = 0.5
NEW_WORKERS_SECONDS = 10.0  # after which the old ones go all the same: theirs is the old policy


class Keeper:
    """The shim's parent process."""

    def __init__(
        self, config: Config, policy: PolicyWatch, *, source: str, version: str, notifier: Notifier
    ) -> None:
        self._config = config
        self._policy = policy
        self._source = source
        self._notifier = notifier
        self._operations = Operations(time.time, version=version, page=config.page, hosts=config.operations_hosts)
        self._log: DecisionLog | None = None
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="refresh")
        self._doors = Doors(config)
        self._listening: list[socket.socket] = []
        self._freshness = self._fresh(self._policy.policy)
        self._workers = self._new_workers()
        self._stopped = asyncio.Event()
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self, listening: Listening, *, started: Callable[[], None]) -> None:
        """Serve on ``listening`` until a signal says otherwise; ``started`` is called once workers serve.

        Raises:
            OSError, ssl.SSLError: TLS was asked for and cannot be had.
            StateError: another shim works in this home, or the decision log cannot be written.
        """
        server_context(self._config)
        with _alone(self._config.home):
            cache = Cache(self._config.cache_directory, self._config.cache_bytes)
            cache.clear_incoming()
            self._executor.submit(cache.sweep)
            self._log = DecisionLog(self._config.decisions) if self._config.decisions else None
            self._note_head()
            self._listening.extend(listening.registry)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stopped.set)
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
            runner = None
            if listening.operations is not None:
                runner = await serve_application(self._operations.application(), listening.operations)
            refreshing = asyncio.create_task(self._freshness.run())
            self._workers.start()
            try:
                await self._keep(refreshing, started)
            finally:
                self._notifier.stopping()
                self._operations.ready(is_ready=False, why="it ends")
                await asyncio.gather(self._workers.end(), *self._ending)
                if runner is not None:
                    await runner.cleanup()
                if self._log is not None:
                    self._write(self._log, self._log.close)
                    self._note_head()
                self._doors.close()
                self._executor.shutdown(wait=False, cancel_futures=True)

    async def _keep(self, refreshing: asyncio.Task[None], started: Callable[[], None]) -> None:
        has_started = False
        try:
            while not self._stopped.is_set():
                if self._policy.has_changed:
                    refreshing = await self._reload(refreshing)
                self._say()
                if not has_started and self._workers.serving:
                    has_started = True
                    self._notifier.ready("pulls are served")
                    started()
                with suppress(asyncio.TimeoutError, TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), TICK_SECONDS)
        finally:
            refreshing.cancel()

    def _fresh(self, policy: Policy) -> Freshness:
        return Freshness(
            policy.stanzas,
            home=self._config.home,
            open_store=self._doors.store,
            max_age=self._config.max_age,
            executor=self._executor,
            clock=time.time,
            changed=self._changed,
        )

    def _new_workers(self) -> Workers:
        texts = self._policy.texts  # what the keeper read, also for a worker that is replaced later
        return Workers(
            self._listening,
            self._config.workers,
            hello=lambda number: {
                "document": self._config.document,
                "source": self._source,
                "policy": texts,
                "number": number,
            },
            greet=lambda: self._standings(self._freshness.pins()),
            heard=self._heard,
        )

    def _heard(self, message: dict[str, Any]) -> None:
        for decided in decisions_of(message):
            self._operations.decided(decided)
            if self._log is not None:
                self._log.append(decided)
        if "traffic" in message:
            self._operations.traffic(traffic_from(message["traffic"]))
        if self._log is not None:
            self._write(self._log, self._log.flush)
            if message.get("lost"):  # they came after those
                self._log.lose(message["lost"])
                self._write(self._log, self._log.flush)

    def _write(self, log: DecisionLog, what: Callable[[], object]) -> None:
        """Do ``what`` with the log; pulls go on where it fails, and everybody hears of it."""
        lost = log.lost_total
        try:
            what()
        except StateError as err:
            if not lost:
                complain(str(err))
        self._operations.log(lines=log.head.seq, lost=log.lost_total)

    def _note_head(self) -> None:
        """Have the journal know how far the log's chain went: who writes the file anew cannot write that too."""
        if self._log is not None and self._log.head.seq:
            say_note(f"decision log is at {self._log.head}")

    def _changed(self, pin: str) -> None:
        self._workers.tell(self._standings([pin]))

    def _standings(self, pins: list[str]) -> dict[str, Any]:
        standings = []
        for pin in pins:
            refusal = self._freshness.refusal(pin)
            said = refusal and {
                "reason": refusal.reason.value,
                "detail": refusal.detail,
                "hint": refusal.hint,
            }
            standings.append({"pin": pin, "generation": self._freshness.generation(pin), "refusal": said})
        return {"standings": standings}

    def _say(self) -> None:
        serving = self._workers.serving
        self._notifier.alive()
        self._operations.collections(self._freshness.statuses())
        self._operations.workers(alive=serving, wanted=self._config.workers, restarted=self._workers.restarted)
        if not serving:
            self._operations.ready(is_ready=False, why="no worker serves")
        elif not self._freshness.is_read:
            self._operations.ready(is_ready=False, why="collections are being read")
        else:
            self._operations.ready(is_ready=True)

    def _hang_up(self) -> None:
        """Go on in a new log, with new workers: certificate and policy are read anew."""
        if self._log is not None:
            self._write(self._log, self._log.reopen)
            self._note_head()
        self._policy.touch()

    async def _reload(self, refreshing: asyncio.Task[None]) -> asyncio.Task[None]:
        """Have new workers under the policy as it is now; with a wrong one everything stays as it was."""
        try:
            server_context(self._config)
            self._policy.read()
        except (TrustError, OSError) as err:
            complain(f"policy and certificate stay as they were: {err}")
            return refreshing
        refreshing.cancel()
        self._notifier.reloading()
        self._freshness = self._fresh(self._policy.policy)
        old, self._workers = self._workers, self._new_workers()
        self._workers.start()
        task = asyncio.create_task(self._freshness.run())
        with suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._workers.first.wait(), NEW_WORKERS_SECONDS)
        # Not waited for: whoever holds a download open must not hold up the next change.
        ending = asyncio.create_task(old.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        self._notifier.ready("the policy was read anew")
        return task


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home for this keeper.

    Raises:
        StateError: another one has it, or it cannot be written.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home / "shim.lock").open("a")
    except OSError as err:
        raise StateError(f"home cannot be written: {home}: {err.strerror}") from err
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise StateError(f"another shim works in {home}", hint="give each its own home") from err
        yield
