"""Figure ``verify-refresh``: a warm ``trust verify IMAGE`` that asks for newer metadata over HTTP; there is none.

Image and metadata lie on a real docker-registry. What goes over the wire is counted by a proxy before it, which a
second home reads through: the requests for metadata, and, apart, the one that asks where the registry's own tag
is. Time is measured without the proxy, beside ``notary lookup``, which asks its server the same question.
"""

from __future__ import annotations

from collections.abc import Sequence

from scripts.bench.collection import REPOSITORY, BuiltCollection, build_pushed, consumer_through
from scripts.bench.counting_proxy import CountingProxy, Exchange, counting_proxy
from scripts.bench.measure import fixed, run, side_by_side
from scripts.bench.peers import notary_repository, notary_server
from scripts.bench.result import Row, ratio, timed
from scripts.bench.server import docker_registry
from scripts.bench.setting import BenchError, Setting

FIGURE = "verify-refresh"
LOOKUPS_MAX = 8.0
METADATA_REQUESTS_MAX = 2
METADATA_BYTES_MAX = 1_000
METADATA_REPOSITORY = "acme/trust-metadata"
_COUNTED_RUNS = 3
_VERIFY = "trust verify, refreshed over HTTP"
_LOOKUP = "notary lookup"


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or refused.
    """
    with docker_registry(setting, f"{FIGURE}.registry") as port:
        built = build_pushed(setting, f"{FIGURE}.trust", host=f"127.0.0.1:{port}")
        with counting_proxy(port) as proxy:
            consumer = consumer_through(setting, f"{FIGURE}.counted", built, host=f"127.0.0.1:{proxy.port}")
            counted = _counted(setting, consumer, proxy)
        with notary_server(setting, f"{FIGURE}.server") as url:
            repository = notary_repository(setting, url, f"{FIGURE}.notary", targets=1)
            timings = side_by_side(
                {
                    _VERIFY: fixed(setting.trust, "verify", built.image, environ=built.environ),
                    _LOOKUP: fixed(*repository.lookup(), environ=repository.environ),
                },
                rounds=setting.rounds,
            )
    return (
        *(timed(FIGURE, name, timing) for name, timing in timings.items()),
        ratio(FIGURE, f"{_VERIFY} / {_LOOKUP}", timings[_VERIFY].over(timings[_LOOKUP]), limit=LOOKUPS_MAX),
        *counted,
    )


def _counted(setting: Setting, consumer: BuiltCollection, proxy: CountingProxy) -> Sequence[Row]:
    """Return what one verification asks for and is answered: the dearest of a few."""
    proxy.taken()
    runs = []
    for _ in range(_COUNTED_RUNS):
        run(setting.trust, "verify", consumer.image, environ=consumer.environ)
        runs.append(proxy.taken())
    metadata, tag = (
        max((_below(repository, asked) for asked in runs), key=_cost)
        for repository in (METADATA_REPOSITORY, REPOSITORY)
    )
    others = {one.line for asked in runs for one in asked if one not in [*metadata, *tag]} - {
        one.line for one in (*metadata, *tag)
    }
    if others or not metadata or not tag:
        raise BenchError(f"the proxy saw what it cannot tell: metadata {metadata}, tag {tag}, others {others}")
    return (
        _row("metadata requests", len(metadata), "requests", METADATA_REQUESTS_MAX),
        _row("metadata answers, headers included", _bytes(metadata), "bytes", METADATA_BYTES_MAX),
        _row("requests for the image's own tag", len(tag), "requests", None),
        _row("answers about the image's own tag", _bytes(tag), "bytes", None),
    )


def _below(repository: str, asked: Sequence[Exchange]) -> Sequence[Exchange]:
    return [one for one in asked if one.target.startswith(f"/v2/{repository}/")]


def _cost(asked: Sequence[Exchange]) -> tuple[int, int]:
    return len(asked), _bytes(asked)


def _bytes(asked: Sequence[Exchange]) -> int:
    return sum(one.response_bytes for one in asked)


def _row(what: str, value: int, unit: str, limit: int | None) -> Row:
    return Row(figure=FIGURE, what=what, value=value, unit=unit, limit=limit)
