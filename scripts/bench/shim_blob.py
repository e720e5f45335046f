"""Figure ``shim-blob``: a layer of 64 MiB through the shim, from its cache and for the first time.

From the cache beside the docker-registry itself, one client and eight at once. For the first time, the cache
emptied before each, beside an nginx that only passes the bytes on (``proxy_pass``): it hashes and keeps nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.collection import REPOSITORY, BuiltCollection, build_pushed
from scripts.bench.gateway import AUTHS, Shim, nginx, shims
from scripts.bench.layout import manifest_in
from scripts.bench.load import Question, answered, question
from scripts.bench.measure import Timing
from scripts.bench.processes import cpu_seconds
from scripts.bench.result import Row, ratio, timed
from scripts.bench.server import Server, registry_server
from scripts.bench.setting import BenchError, Setting

FIGURE = "shim-blob"
LAYER_BYTES = 64 * 1024 * 1024
REGISTRY_SPEED_MIN = 0.75
PASSING_SPEED_MIN = 0.65
_AT_ONCE = (1, 8)
_REGISTRY, _PASSING = "docker-registry", "nginx proxy_pass"
_ROUNDS, _QUICK_ROUNDS = 15, 5
_SETTLED_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question to a server, and what is done before each time."""

    question: Question
    server: Server
    prepare: Callable[[], None] | None = None


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or answered otherwise than it should.
    """
    with registry_server(setting, f"{FIGURE}.registry") as registry:
        layers = [os.urandom(LAYER_BYTES)]
        built = build_pushed(setting, f"{FIGURE}.trust", host=f"127.0.0.1:{registry.port}", layers=layers)
        path = f"/v2/{REPOSITORY}/blobs/{_layer(built)}"
        with (
            nginx(setting, f"{FIGURE}.nginx", registry.port) as peer,
            shims(setting, f"{FIGURE}.shim", built) as ours,
        ):
            first = {_named(auth): _first(ours[auth], path) for auth in AUTHS}
            first[_PASSING] = _Asked(question=question(peer.passing.port, path), server=peer.passing)
            kept = {_REGISTRY: registry, **{_named(auth): ours[auth].server for auth in AUTHS}}
            asked = {
                name: _Asked(question=question(server.port, path), server=server) for name, server in kept.items()
            }
            if len({one.question.content_sha256 for one in (*first.values(), *asked.values())}) != 1:
                raise BenchError("the servers do not serve the same blob")
            rows = [row for count in _AT_ONCE for row in _from_cache(setting, asked, count)]
            return (*rows, *_for_the_first_time(setting, first))


def _from_cache(setting: Setting, asked: Mapping[str, _Asked], count: int) -> Sequence[Row]:
    timings = _side_by_side(setting, asked, at_once=count)
    at_once = f"{count} at once"
    return (
        *(timed(FIGURE, f"{name}, {at_once}", timing) for name, timing in timings.items()),
        *(
            ratio(
                FIGURE,
                f"speed of {_named(auth)} from cache / {_REGISTRY}, {at_once}",
                timings[_REGISTRY].over(timings[_named(auth)]),
                floor=REGISTRY_SPEED_MIN,
            )
            for auth in AUTHS
        ),
    )


def _for_the_first_time(setting: Setting, asked: Mapping[str, _Asked]) -> Sequence[Row]:
    timings = _side_by_side(setting, asked, at_once=1)
    return (
        *(timed(FIGURE, f"{name}, first time", timing) for name, timing in timings.items()),
        *(
            ratio(
                FIGURE,
                f"speed of {_named(auth)}, first time / {_PASSING}",
                timings[_PASSING].over(timings[_named(auth)]),
                floor=PASSING_SPEED_MIN,
            )
            for auth in AUTHS
        ),
    )


def _side_by_side(setting: Setting, asked: Mapping[str, _Asked], *, at_once: int) -> dict[str, Timing]:
    """Return how long it takes each time until all have their answer, the processor time that of the server."""
    wall: dict[str, list[float]] = {name: [] for name in asked}
    cpu: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(_QUICK_ROUNDS if setting.is_quick else _ROUNDS):
        for name, one in asked.items():
            if one.prepare is not None:
                one.prepare()
            before = cpu_seconds(one.server.process_id)
            load = answered(one.question, connections=at_once)
            wall[name].append(load.seconds)
            cpu[name].append(cpu_seconds(one.server.process_id) - before)
    return {name: Timing(wall=tuple(wall[name]), cpu=tuple(cpu[name])) for name in asked}


def _first(shim: Shim, path: str) -> _Asked:
    """Return the question of a client for whom the shim must fetch the blob; its manifest was asked for."""
    question(shim.server.port, f"/v2/{REPOSITORY}/manifests/v0")
    asked = question(shim.server.port, path)
    algorithm, _, hexadecimal = path.rpartition("/")[2].partition(":")
    kept = shim.cache / algorithm / hexadecimal[:2] / hexadecimal
    return _Asked(question=asked, server=shim.server, prepare=lambda: _removed(kept))


def _removed(kept: Path) -> None:
    """Have the cache without the file, once what wrote it last is done: it comes after the answer's last byte."""
    gives_up = time.monotonic() + _SETTLED_SECONDS
    while not kept.exists():
        if time.monotonic() > gives_up:
            raise BenchError(f"the shim did not keep {kept.name} within {_SETTLED_SECONDS:.0f} s")
        time.sleep(0.01)
    kept.unlink()


def _layer(built: BuiltCollection) -> str:
    """Return the digest of the image's only layer."""
    digest: str = json.loads(manifest_in(built.layout))["layers"][0]["digest"]
    return digest


def _named(auth: str) -> str:
    return f"shim, auth = {auth}"
