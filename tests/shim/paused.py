"""A download through a shim that stands still in the middle."""

from __future__ import annotations

import http.client
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from tests.simulators.wire import Exchange, answer
from tests.simulators.yard import Plot

if TYPE_CHECKING:
    from typing_extensions import Self


class Paused:
    """A download of the last layer whose upstream stops in the middle until it is let go on; a context manager."""

    def __init__(self, plot: Plot) -> None:
        self.plot = plot
        self._go_on = threading.Event()
        self.blob = plot.picture.blobs[-1]
        self._connection = http.client.HTTPConnection("127.0.0.1", plot.yard.shim.port, timeout=30)

    def __enter__(self) -> Self:
        assert self.plot.through("1").status == 200
        address = self.plot.at(self.plot.picture.layer, "blobs")
        self.plot.yard.registry.rules[address] = self._script
        self._connection.request("GET", address)
        self._response = self._connection.getresponse()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._go_on.set()
        self._response.close()
        self._connection.close()

    def rest(self) -> bytes:
        """Let it go on, and return the whole of it."""
        self._go_on.set()
        return self._response.read()

    def _script(self, exchange: Exchange) -> None:
        exchange.send(answer(200, Content_Length=str(len(self.blob))) + self.blob[:400_000])
        self._go_on.wait(30)
        exchange.send(self.blob[400_000:])
