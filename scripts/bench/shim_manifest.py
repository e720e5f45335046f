"""Figure ``shim-manifest``: a signed manifest by its tag, many times, from a warm shim.

Beside it the docker-registry behind it, asked directly, and an nginx with ``proxy_cache`` before that, which
decides nothing. Servers are loaded in turn, by the same clients; the processor time is that of
all processes of a server.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.bench.collection import REPOSITORY, build_pushed
from scripts.bench.gateway import AUTHS, nginx, shims
from scripts.bench.load import Question, loaded, question
from scripts.bench.processes import cpu_seconds
from scripts.bench.result import Row, ratio
from scripts.bench.server import Server, registry_server
from scripts.bench.setting import BenchError, Setting

FIGURE = "shim-manifest"
REGISTRY_CPU_MIN = 15.0  # so many times the shim's
REGISTRY_RATES_MIN = 10.0
NGINX_RATES_MIN = 0.35
_REGISTRY, _NGINX = "docker-registry", "nginx proxy_cache"
_PATH = f"/v2/{REPOSITORY}/manifests/v0"
_ROUNDS, _QUICK_ROUNDS = 7, 3
_ROUND_SECONDS, _QUICK_ROUND_SECONDS = 2.0, 1.0
_MICRO = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rounds:
    """Answers in a second, the server's processor seconds for each, and the clients', round by round."""

    rates: list[float]
    cpu: list[float]
    own_cpu: list[float]

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cpu_us(self) -> float:
        return statistics.median(self.cpu) * _MICRO


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or answered otherwise than it should.
    """
    with registry_server(setting, f"{FIGURE}.registry") as registry:
        built = build_pushed(setting, f"{FIGURE}.trust", host=f"127.0.0.1:{registry.port}")
        with (
            nginx(setting, f"{FIGURE}.nginx", registry.port) as peer,
            shims(setting, f"{FIGURE}.shim", built) as ours,
        ):
            servers = {_REGISTRY: registry, _NGINX: peer.caching, **{_named(a): ours[a].server for a in AUTHS}}
            measured = _measured(setting, servers)
    return (*_shown(measured), *(row for auth in AUTHS for row in _compared(measured, _named(auth))))


def _measured(setting: Setting, servers: Mapping[str, Server]) -> dict[str, _Rounds]:
    questions = {name: _warm(server) for name, server in servers.items()}
    if len({one.content_sha256 for one in questions.values()}) != 1:
        raise BenchError("the servers do not serve the same manifest")
    rounds = {name: _Rounds(rates=[], cpu=[], own_cpu=[]) for name in servers}
    for _ in range(_QUICK_ROUNDS if setting.is_quick else _ROUNDS):
        for name, server in servers.items():
            before = cpu_seconds(server.process_id)
            load = loaded(questions[name], seconds=_QUICK_ROUND_SECONDS if setting.is_quick else _ROUND_SECONDS)
            rounds[name].cpu.append((cpu_seconds(server.process_id) - before) / load.answers)
            rounds[name].rates.append(load.rate)
            rounds[name].own_cpu.append(load.own_cpu_seconds / load.answers)
    return rounds


def _warm(server: Server) -> Question:
    """Return the question, its answer in the cache of every worker: connections come to one by chance."""
    asked = question(server.port, _PATH)
    loaded(asked, seconds=0.3)
    return asked


def _shown(measured: Mapping[str, _Rounds]) -> Sequence[Row]:
    rows = []
    for name, rounds in measured.items():
        first, _, third = statistics.quantiles(rounds.rates, n=4, method="inclusive")
        rows.append(Row(figure=FIGURE, what=name, value=rounds.rate, unit="/s", quartiles=(first, third)))
        rows.append(Row(figure=FIGURE, what=f"{name}, CPU for each", value=rounds.cpu_us, unit="us"))
    own = max(statistics.median(rounds.own_cpu) for rounds in measured.values()) * _MICRO
    return (*rows, Row(figure=FIGURE, what="the clients' own CPU for each, at most", value=own, unit="us"))


def _compared(measured: Mapping[str, _Rounds], ours: str) -> Sequence[Row]:
    shim, registry, peer = measured[ours], measured[_REGISTRY], measured[_NGINX]
    return (
        ratio(FIGURE, f"CPU of {_REGISTRY} / {ours}", registry.cpu_us / shim.cpu_us, floor=REGISTRY_CPU_MIN),
        ratio(FIGURE, f"{ours} / {_REGISTRY}", shim.rate / registry.rate, floor=REGISTRY_RATES_MIN),
        ratio(FIGURE, f"{ours} / {_NGINX}", shim.rate / peer.rate, floor=NGINX_RATES_MIN),
    )


def _named(auth: str) -> str:
    return f"shim, auth = {auth}"
