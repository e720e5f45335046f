"""Owns a worker: a process that serves pulls from the sockets that the keeper has bound.

It is told by the keeper what to believe of each collection, and tells it every decision. Where the keeper is gone
it stops: a gate whose metadata nobody refreshes must not go on. Started by ``registry_shim.workers`` alone.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from aiohttp import web

from registry_shim.bodies import Whole
from registry_shim.cache import Cache
from registry_shim.channel import Channel, open_channel
from registry_shim.closure import Closure
from registry_shim.complaint import complain, log_to_stderr, say
from registry_shim.config import Config
from registry_shim.config_document import config_of
from registry_shim.gate import Gate, Refusal, Ruling, Standing
from registry_shim.grants import Grants
from registry_shim.listening import BACKLOG
from registry_shim.listings import Listings
from registry_shim.pull import Pull
from registry_shim.routes import BlobAsk, ManifestAsk, Ping, ReferrersAsk, Routes, TagsAsk
from registry_shim.server import Server
from registry_shim.snapshot import Snapshot, load_snapshot
from registry_shim.tally import Tally
from registry_shim.tls_door import Complaints, TlsDoor
from registry_shim.upstream import Upstream
from registry_shim.upstreams import Upstreams
from trust.digest import Digest, parse_digest
from trust.errors import TrustError
from trust.policy import Policy, Stanza
from trust.policy_files import policy_of
from trust.reference import Repository
from trust.state import TrustedState
from trust.verdict import Reason

THREADS = 64  # how many upstream answers one worker reads at once
TELL_EVERY_SECONDS = 0.1
FIRST_WORD_SECONDS = 10.0  # how long a request waits for the keeper's first word on its collection
DRAIN_SECONDS = 25.0
LAST_WORD_SECONDS = 2.0  # for a keeper that is slow to listen, when a worker ends
ACCEPTED_SECONDS = 0.05  # in which what was accepted becomes a connection: the library drops it once closed
_OK = 200
_PONG = Whole(_OK, {"Content-Type": "application/json", "Docker-Distribution-Api-Version": "registry/2.0"}, b"{}")


class Worker:
    """One serving process."""

    def __init__(self, config: Config, policy: Policy, *, number: int) -> None:
        self._config = config
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="upstream")
        # Not among the upstreams' threads: blobs that drip in must not delay a revocation, nor the word to end.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._gate = Gate(policy, clock=time.time)
        self._generations: dict[Digest, int] = {}
        self._snapshots: dict[Digest, Snapshot | None] = {}
        self._word = asyncio.Event()
        self._tally = Tally(number, clock=time.time)
        self._routes = Routes(
            names=frozenset(config.upstreams),
            prefixes={one.prefix: one.name for one in config.upstreams.values()},
            default=config.default,
        )
        limits = config.limits
        self._upstreams = Upstreams(
            {one.name: Upstream(one, seconds=limits.upstream_seconds) for one in config.upstreams.values()},
            Grants(limits.grant_seconds, clock=time.monotonic),
            self._executor,
        )
        self._closure = Closure(config.home)
        cache = Cache(config.cache_directory, config.cache_bytes)
        self._pull = Pull(
            gate=self._gate,
            upstreams=self._upstreams,
            closure=self._closure,
            cache=cache,
            report=self._report,
            count=self._tally.cache_event,
            clock=time.time,
        )
        self._listings = Listings(gate=self._gate, upstreams=self._upstreams, report=self._report)
        self._server = Server(self._answer, limits=limits, counted=self._tally.answered)

    async def run(self, listening: list[socket.socket], channel: Channel) -> None:
        """Serve until the keeper says otherwise, or is gone."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(Complaints())
        tls, patience = server_context(self._config), self._config.limits.head_seconds

        def connection() -> asyncio.Protocol:
            return self._server() if tls is None else TlsDoor(self._server, tls, patience)

        servers = [await loop.create_server(connection, sock=one, backlog=BACKLOG) for one in listening]
        telling = asyncio.create_task(self._tell(channel))
        channel.send({"serving": os.getpid()})
        try:
            async for message in channel:
                if "drain" in message:
                    break
                await self._hear(message)
        finally:
            for one in listening:
                loop.remove_reader(one)
            await asyncio.sleep(ACCEPTED_SECONDS)
            for server in servers:
                server.close()
            await self._server.shutdown(DRAIN_SECONDS)
            telling.cancel()
            await self._tell_the_rest(channel)
            channel.close()
            self._upstreams.close()
            self._closure.close()
            for executor in (self._executor, self._reader):
                executor.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        hot = self._pull.hot(request)
        if hot is not None:
            return hot
        ask = self._routes.parse(request.raw_path)
        if not isinstance(ask, Ping):
            await self._first_word(Repository(host=ask.upstream, path=ask.path))
        match ask:
            case Ping(upstream=upstream):
                if upstream is not None:
                    await self._upstreams.ping(upstream, request.headers.get("Authorization"))
                return _PONG
            case TagsAsk():
                return await self._listings.tags(request, ask)
            case ReferrersAsk():
                return await self._listings.referrers(request, ask)
            case ManifestAsk():
                return await self._listings.metadata(request, ask) or await self._pull.manifest(request, ask)
            case BlobAsk():
                return await self._listings.metadata(request, ask) or await self._pull.blob(request, ask)

    async def _first_word(self, repository: Repository) -> None:
        """Return once something was said of the collection of ``repository``, or in vain: the gate says so."""
        clock = asyncio.get_running_loop().time
        until = clock() + FIRST_WORD_SECONDS
        while self._gate.is_unread(repository) and clock() < until:
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._word.wait(), until - clock())

    def _report(self, request: web.BaseRequest, kind: str, ruling: Ruling) -> None:
        self._tally.decided(request.remote or "", request.method, kind, ruling)

    async def _tell(self, channel: Channel) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_SECONDS)
            while not self._tally.is_empty and channel.is_heard:  # else it is kept, and what is too much counted
                channel.send(self._tally.take())

    async def _tell_the_rest(self, channel: Channel) -> None:
        """Tell the keeper what is left; of one that does not listen any more, say so."""
        clock = asyncio.get_running_loop().time
        until = clock() + LAST_WORD_SECONDS
        while not self._tally.is_empty:
            if channel.is_heard:
                channel.send(self._tally.take())
            elif clock() < until:
                await asyncio.sleep(TELL_EVERY_SECONDS)
            else:
                number = self._tally.count
                logging.getLogger("trust-shim").error("the keeper does not listen: %d decisions are lost", number)
                return

    async def _hear(self, message: dict[str, Any]) -> None:
        """Take the keeper's word on collections."""
        by_pin = {stanza.root: stanza for stanza in self._gate.stanzas}
        for said in message.get("standings", ()):
            pin = parse_digest(said["pin"])
            stanza = by_pin.get(pin)
            if stanza is not None:
                await self._stand(stanza, int(said["generation"]), said["refusal"])
        word, self._word = self._word, asyncio.Event()
        word.set()

    async def _stand(self, stanza: Stanza, generation: int, refused: dict[str, Any] | None) -> None:
        pin, refusal = stanza.root, None
        if refused is not None:
            refusal = Refusal(reason=Reason(refused["reason"]), detail=refused["detail"], hint=refused.get("hint"))
        if self._generations.get(pin) != generation:
            try:
                loop = asyncio.get_running_loop()
                self._snapshots[pin] = await loop.run_in_executor(self._reader, self._load, stanza)
                self._generations[pin] = generation
            except TrustError as err:
                refusal = Refusal(reason=Reason.STATE_DAMAGED, detail=str(err), hint=err.hint)
        self._gate.stand(pin, Standing(snapshot=self._snapshots.get(pin), refusal=refusal))

    def _load(self, stanza: Stanza) -> Snapshot | None:
        state = TrustedState(self._config.home)
        try:
            return load_snapshot(stanza, state)
        finally:
            state.close()


def server_context(config: Config) -> ssl.SSLContext | None:
    """Return the TLS side of the server; None where none was asked for.

    Raises:
        OSError, ssl.SSLError: it was asked for and cannot be had: there is no server then (Notary audit 15-9).
    """
    if config.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(config.tls.certificate, config.tls.key, password=lambda: "")
    return context


async def _serve(channel_fd: int, listen_fds: list[int]) -> None:
    channel = await open_channel(socket.socket(fileno=channel_fd))
    messages = channel.__aiter__()
    hello = await anext(messages, None)
    if hello is None:  # the keeper was killed before it said anything: there is nobody to serve for
        return
    config = config_of(hello["document"], source=hello["source"])
    worker = Worker(config, policy_of(hello["policy"]), number=int(hello["number"]))
    await worker.run([socket.socket(fileno=one) for one in listen_fds], channel)


def main() -> None:
    """Run a worker on the descriptors that the keeper names; exit 0 when told to end, 1 where it cannot serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--listen", type=int, action="append", default=[])
    arguments = parser.parse_args()
    log_to_stderr()
    # The keeper ends its workers: a ^C at the terminal is the keeper's to hear.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = 0
    try:
        asyncio.run(_serve(arguments.channel, arguments.listen))
    except (TrustError, OSError) as err:
        complain(f"worker: {err}")
        code = 1
    say()
    os._exit(code)  # threads that still wait for an upstream are waited for otherwise


if __name__ == "__main__":
    main()
