"""Blobs on their way in: followed by many, fetched once, the tail withheld, committed only when whole."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registry_shim import fills as module
from registry_shim.cache import Cache
from registry_shim.fills import Fill, Fills
from trust.digest import Digest, sha256
from trust.errors import LimitError, RefusedError, StateError, UnreachableError
from trust.oci.content import VerifiedChunks
from trust.reference import Repository

WEB = Repository(host="registry.test", path="acme/web")
PIECES = [bytes([number]) * 1000 for number in range(5)]
BLOB = b"".join(PIECES)
ROOM = 1024 * 1024


@dataclass
class Source:
    """An upstream that sends ``pieces``, each once it is let; ``error`` comes after them."""

    pieces: list[bytes] = field(default_factory=lambda: list(PIECES))
    error: Exception | None = None
    digest: Digest = field(default_factory=lambda: sha256(BLOB))
    size_bytes: int = len(BLOB)
    asked: int = 0

    def __post_init__(self) -> None:
        self.let = threading.Semaphore(0)

    def open(self) -> VerifiedChunks:
        self.asked += 1
        return VerifiedChunks(self._chunks(), self.digest, self.size_bytes, what="blob")

    def all(self) -> Source:
        self.let.release(1000)
        return self

    def _chunks(self) -> Iterator[bytes]:
        for piece in self.pieces:
            assert self.let.acquire(timeout=20)
            yield piece
        assert self.let.acquire(timeout=20)
        if self.error is not None:
            raise self.error


async def eventually(holds: Callable[[], bool]) -> None:
    """Return once it holds."""
    clock = asyncio.get_running_loop().time
    end = clock() + 20
    while not holds():
        assert clock() < end
        await asyncio.sleep(0.005)


async def read(fills: Fills, fill: Fill) -> bytes:
    """Return the blob as a client gets it; leave the fill."""
    got = b""
    try:
        while len(got) < fill.size_bytes:
            available = await asyncio.wait_for(fill.beyond(len(got)), 20)
            got += os.pread(fill.descriptor, available - len(got), len(got))
        return got
    finally:
        fills.leave(fill)


def open_files() -> int:
    """Return how many files of fills are open here; what others of this process open and close is not ours."""
    names = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            names.append(str(path.readlink()))
    return sum("memfd:blob" in name or "/incoming/" in name for name in names)


def run(
    tmp_path: Path, story: Callable[[Fills, Cache], Coroutine[Any, Any, None]], *, room: int = ROOM
) -> list[int]:
    """Run ``story``; return the sizes that were stored, and require that nothing is left open or on its way."""
    stored: list[int] = []
    cache = Cache(tmp_path, room)

    async def main() -> None:
        with ThreadPoolExecutor(4) as executor:
            fills = Fills(cache, executor, stored=stored.append)
            await story(fills, cache)
            await eventually(lambda: not fills._running)
            assert fills._unkept_bytes == 0

    before = open_files()
    asyncio.run(main())
    assert open_files() <= before
    assert not list((tmp_path / "incoming").iterdir())
    return stored


def kept(cache: Cache) -> bytes | None:
    found = cache.open(sha256(BLOB))
    if found is None:
        return None
    with found.file:
        return found.file.read()


def key(login: str | None = None) -> module.Key:
    return WEB, sha256(BLOB), login


def test_many_followers_cost_one_fetch_and_all_get_everything(tmp_path: Path) -> None:
    source = Source()

    async def story(fills: Fills, cache: Cache) -> None:
        followers = [read(fills, fills.follow(key(), len(BLOB), source.open)) for _ in range(20)]
        source.all()
        assert await asyncio.gather(*followers) == [BLOB] * 20
        await eventually(lambda: not fills._running)
        assert kept(cache) == BLOB

    assert run(tmp_path, story) == [len(BLOB)]
    assert source.asked == 1


def test_last_piece_is_withheld_until_the_hash_agrees(tmp_path: Path) -> None:
    source = Source(pieces=[*PIECES[:-1], b"x" * 1000])

    async def story(fills: Fills, cache: Cache) -> None:
        fill = fills.follow(key(), len(BLOB), source.open)
        source.let.release(5)
        await eventually(lambda: fill.available >= 4000)
        assert fill.available == 4000
        assert kept(cache) is None
        source.all()
        with pytest.raises(RefusedError, match="expected sha256"):
            await read(fills, fill)
        assert fill.available == 4000
        assert kept(cache) is None

    assert run(tmp_path, story) == []


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (Source(pieces=PIECES[:-1]), RefusedError),
        (Source(pieces=[*PIECES, b"more"]), RefusedError),
        (Source(pieces=PIECES[:2], error=UnreachableError("cut short")), UnreachableError),
        (Source(pieces=[], error=LimitError("too slow")), LimitError),
    ],
)
def test_broken_fill_is_an_error_for_all_and_leaves_nothing(
    tmp_path: Path, source: Source, error: type[Exception]
) -> None:
    async def story(fills: Fills, cache: Cache) -> None:
        followers = [fills.follow(key(), len(BLOB), source.open) for _ in range(3)]
        source.all()
        results = await asyncio.gather(*(read(fills, each) for each in followers), return_exceptions=True)
        assert {type(result) for result in results} == {error}
        assert kept(cache) is None
        honest = Source().all()
        assert await read(fills, fills.follow(key(), len(BLOB), honest.open)) == BLOB

    assert run(tmp_path, story) == [len(BLOB)]


def test_fill_goes_on_for_the_cache_when_its_client_has_gone(tmp_path: Path) -> None:
    source = Source()

    async def story(fills: Fills, cache: Cache) -> None:
        fills.leave(fills.follow(key(), len(BLOB), source.open))
        source.all()
        await eventually(lambda: kept(cache) is not None)

    assert run(tmp_path, story) == [len(BLOB)]


class _Wakes:
    """A loop that counts how it is woken."""

    def __init__(self) -> None:
        self.at_once = 0
        self.soon = 0

    def call_later(self, *_given: Any) -> None:
        raise AssertionError("only the loop's own thread may call this")

    def call_soon_threadsafe(self, call: Callable[..., Any], *_given: Any) -> None:
        self.at_once += call != self.call_later
        self.soon += call == self.call_later


def test_followers_are_woken_for_the_first_piece_for_a_good_deal_and_for_the_last() -> None:
    fill, loop = Fill(10 * module.TELL_BYTES + 1), _Wakes()
    for _ in range(40):
        fill.came(module.TELL_BYTES // 4, loop)  # type: ignore[arg-type]
    fill.came(1, loop)  # type: ignore[arg-type]
    assert 10 <= loop.at_once <= 12
    assert loop.soon == 1, "what is less is told in a moment, and one is enough"
    fill.tell()
    fill.came(1, loop)  # type: ignore[arg-type]
    assert loop.soon == 2


def test_slow_upstream_is_followed_as_it_sends(tmp_path: Path) -> None:
    async def story(fills: Fills, _cache: Cache) -> None:
        source = Source()
        fill = fills.follow((WEB, source.digest, None), len(BLOB), source.open)
        for count in (2, 3, 4):  # the last of them is withheld until another comes
            source.let.release(2 if count == 2 else 1)
            seen = (count - 1) * len(PIECES[0])
            assert await asyncio.wait_for(fill.beyond(seen - 1), 5) == seen
        source.all()
        await read(fills, fill)

    run(tmp_path, story)


def test_login_decides_over_its_own_fill_alone(tmp_path: Path) -> None:
    honest = Source().all()

    def refused() -> VerifiedChunks:
        raise UnreachableError("this login may not read it")

    async def story(fills: Fills, cache: Cache) -> None:
        mine = fills.follow(key("mine"), len(BLOB), honest.open)
        yours = fills.follow(key("yours"), len(BLOB), refused)
        with pytest.raises(UnreachableError):
            await read(fills, yours)
        assert await read(fills, mine) == BLOB

    run(tmp_path, story)


def test_blob_that_the_upstream_lacks_is_missing(tmp_path: Path) -> None:
    async def story(fills: Fills, cache: Cache) -> None:
        fill = fills.follow(key(), len(BLOB), lambda: None)
        assert await fill.beyond(0) == 0
        assert fill.is_missing
        fills.leave(fill)

    assert run(tmp_path, story) == [0]


def test_without_room_a_blob_lives_in_memory_and_is_not_kept(tmp_path: Path) -> None:
    source = Source().all()

    async def story(fills: Fills, cache: Cache) -> None:
        assert not cache.room_for(len(BLOB))
        assert await read(fills, fills.follow(key(), len(BLOB), source.open)) == BLOB
        assert kept(cache) is None

    assert run(tmp_path, story, room=len(BLOB)) == [0]


def test_memory_without_room_is_bounded_over_all_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full disk each of 64 threads took up to 256 MiB."""
    monkeypatch.setattr(module, "UNKEPT_MAX_BYTES", int(1.5 * len(BLOB)))
    first, second, third = Source(), Source().all(), Source().all()

    async def story(fills: Fills, cache: Cache) -> None:
        follower = fills.follow(key("first"), len(BLOB), first.open)
        await eventually(lambda: fills._unkept_bytes > 0)
        with pytest.raises(LimitError, match="cache has no room"):
            await read(fills, fills.follow(key("second"), len(BLOB), second.open))
        first.all()
        assert await read(fills, follower) == BLOB
        await eventually(lambda: not fills._running)
        assert await read(fills, fills.follow(key("third"), len(BLOB), third.open)) == BLOB

    run(tmp_path, story, room=len(BLOB))


def test_cache_that_is_gone_is_a_state_error(tmp_path: Path) -> None:
    source = Source().all()

    async def story(fills: Fills, cache: Cache) -> None:
        (tmp_path / "incoming").rmdir()
        with pytest.raises(StateError, match="cache cannot take a blob") as caught:
            await read(fills, fills.follow(key(), len(BLOB), source.open))
        assert caught.value.hint == "make room"
        (tmp_path / "incoming").mkdir()

    run(tmp_path, story)
