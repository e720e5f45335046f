"""A worker of the shim in this process, over a legitimate world and an upstream on the wire.

The test is its keeper. Everything between a client and the upstream is real; no process has to start.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from registry_shim.channel import Channel, open_channel
from registry_shim.config_document import config_of
from registry_shim.worker import Worker
from tests.simulators.shim import Reply, ask, policy_text, until
from tests.simulators.upstream import Picture, ScriptedRegistry, serving
from tests.simulators.world import World, soon
from trust.client import refresh
from trust.digest import Digest
from trust.policy_files import policy_of
from trust.state import TrustedState
from trust.value import replace
from trust.verdict import Reason

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
PATH = "acme/web"


class Counter:
    """A worker below ``folder``; ``rules`` are for its policy, ``upstream`` for its registry."""

    def __init__(self, folder: Path, *, rules: dict[str, Any] | None = None, **upstream: Any) -> None:
        self.world = World(folder / "world", now=datetime.now(timezone.utc))
        self.stanza = replace(self.world.stanza, **(rules or {}))
        self.registry = ScriptedRegistry()
        self.home = folder / "shim"
        self.heard: list[dict[str, Any]] = []
        self._upstream = upstream
        self._generation = 0
        self._server = serving(self.registry)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.stumbles: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._server.__enter__()
        self._thread.start()
        self._run(self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._server.__exit__(kind, value, trace)

    def sign(self, tag: str, image: Picture) -> None:
        """Have the image in the registry, and signed."""
        self.registry.push(PATH, tag, image)
        self.world.sign(tag, path=PATH, manifest=image.manifest)

    def read(self) -> Self:
        """Refresh the trusted state, and have the worker stand on it."""
        state = TrustedState(self.home)
        try:
            refresh(self.stanza, state, self.world.store, paths=None, now=self.world.now, deadline=soon())
        finally:
            state.close()
        self._generation += 1
        return self._tell(None)

    def refuse(self, reason: Reason) -> Self:
        """Have the worker told that nothing of the collection is accepted now."""
        return self._tell({"reason": reason.value, "detail": "the keeper says so", "hint": None})

    def _tell(self, refusal: dict[str, Any] | None) -> Self:
        gate, before = self.worker._gate, self.worker._gate.epoch
        said = {"pin": str(self.stanza.root), "generation": self._generation, "refusal": refusal}
        self.call(lambda: self._channel.send({"standings": [said]}))
        until(lambda: gate.epoch > before, "the worker stands on what is new")
        return self

    def ask(self, last: object, kind: str = "manifests", method: str = "GET", **headers: str) -> Reply:
        """Return what a client gets of the repository."""
        return ask(self.port, f"/v2/{PATH}/{kind}/{last}", method, **headers)

    def get(self, address: str) -> Reply:
        """Return what a client gets."""
        return ask(self.port, address)

    def kept(self, digest: Digest) -> Path:
        """Return the file of what is in the cache, or will be in a moment."""
        path = self.home / "cache/sha256" / digest.hex[:2] / digest.hex
        until(path.exists, f"{digest} is kept")
        return path

    def asked(self) -> list[str]:
        """Return what the upstream was asked."""
        return list(self._server.targets)

    def call(self, what: Callable[[], T]) -> T:
        """Return what ``what`` returns in the worker's loop."""

        async def called() -> T:
            return what()

        result: T = self._run(called)
        return result

    def _run(self, work: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(60)

    async def _begin(self) -> None:
        self._loop.set_exception_handler(lambda _loop, context: self.stumbles.append(context))
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(listener.getsockname()[1])
        ours, theirs = socket.socketpair()
        self._channel = await open_channel(ours)
        name = self.stanza.collection.host
        document = {
            "listen": "127.0.0.1:0", "home": str(self.home), "default": name,
            "upstream": [{"name": name, "url": self._server.url, **self._upstream}],
        }  # fmt: skip
        policy = policy_of([("policy.toml", policy_text(self.stanza))])
        self.worker = Worker(config_of(document, source="shim.toml"), policy, number=1)
        self._serving = asyncio.create_task(self.worker.run([listener], await open_channel(theirs)))
        self._listening = asyncio.create_task(self._listen(self._channel))

    async def _listen(self, channel: Channel) -> None:
        async for message in channel:
            self.heard.append(json.loads(json.dumps(message)))

    async def _end(self) -> None:
        self._channel.send({"drain": True})
        await self._serving
        self._channel.close()
        await self._listening
