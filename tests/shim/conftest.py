"""Serves the operations side of a shim on a loop of its own, as the keeper does; or gives a test its own shim."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from registry_shim.operations import Operations
from tests.shim.samples import NOW
from tests.simulators.shim import until
from tests.simulators.yard import Yard, yard


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Message
    body: bytes


class Keeper:
    """A keeper that tells what the test has it tell; ``now`` is its clock."""

    def __init__(self, **settings: Any) -> None:
        self.now = NOW
        self.operations = Operations(lambda: self.now, version="1.2", **settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner = self.run(self._start())

    async def _start(self, port: int = 0) -> web.AppRunner:
        runner = web.AppRunner(self.operations.application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def tell(self, what: Callable[[Operations], object]) -> None:
        """Have the keeper call ``what`` in its loop."""

        async def told() -> None:
            what(self.operations)

        self.run(told())

    @property
    def port(self) -> int:
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, path: str, *, method: str = "GET", host: str = "127.0.0.1") -> Answer:
        """Return the answer; of a stream of events nothing is read."""
        with closing(self.connect()) as connection:
            connection.request(method, path, headers={"Host": host})
            with connection.getresponse() as answer:
                is_stream = answer.headers["Content-Type"] == "text/event-stream" and method == "GET"
                return Answer(answer.status, answer.headers, b"" if is_stream else answer.read())

    def text(self, path: str) -> str:
        return self.ask(path).body.decode()

    def pause(self) -> None:
        """Serve nothing for a while."""
        self.run(self._runner.cleanup())

    def resume(self, port: int) -> None:
        """Serve again, as a keeper that was started anew."""
        self.operations = Operations(lambda: self.now, version="1.2")
        self._runner = self.run(self._start(port))

    def stop(self) -> None:
        self.run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """Give a keeper that serves everything."""
    keeper = Keeper()
    yield keeper
    keeper.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Yard]:
    """Give a yard of this test's, whose shim has two workers."""
    with yard(tmp_path, workers=2) as made:
        until(lambda: len(made.shim.workers) == 2, "both workers run")
        yield made
