"""Figure ``publishers``: many publishers of one collection at once, killed and stopped at random, on each store.

Each publisher is a process with a home of its own, whose acknowledgements outlive it. Meanwhile one after another
is killed with SIGKILL and started again, or stopped for longer than a registry's writers wait for each other. At
the end a consumer who never was there looks for every tag that was acknowledged; then one more publisher signs,
who merges what a registry passed over, and another consumer looks again.

A directory and an object store exclude that a change is passed over: both numbers must be 0. A registry detects
it only: what the first consumer misses are the detections, what the second misses is lost.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from scripts.bench.publisher import PATH, Job, order_of, publisher_of, signers_of, store_of
from scripts.bench.result import Row
from scripts.bench.server import docker_registry
from scripts.bench.setting import CHECKOUT, BenchError, Setting
from tests.simulators.object_store import BUCKET, environment, seaweedfs
from trust.ceremony import init
from trust.deadline import deadline_in
from trust.digest import sha256
from trust.first_edition import Role
from trust.oci.http import Http
from trust.policy import Policy, Stanza
from trust.reference import parse_collection, parse_reference
from trust.roles import DEFAULT_EXPIRY
from trust.sign import sign
from trust.state import TrustedState
from trust.verdict import Allowed
from trust.verify import Verifier

FIGURE = "publishers"
PUBLISHERS, SIGNATURES = 32, 1_000
QUICK_PUBLISHERS, QUICK_SIGNATURES = 8, 60
MISCHIEF_EVERY_SECONDS = 1.0
SPARED = 4
STALL_SECONDS = (0.2, 5.0)
ENDS_SECONDS = 900.0  # then what is acknowledged is counted: a registry serves so many writers slowly
QUICK_ENDS_SECONDS = 60.0
_SEED = 20_261_126
_LAST = "last-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one store's publishers."""

    acknowledged: int
    missed_at_the_end: int
    missed_after_the_next: int
    kills: int
    stalls: int
    seconds: float


@dataclass(kw_only=True)
class Crowd:
    """The publishers of one collection; ``kills`` and ``stalls`` are what was done to them."""

    jobs: Sequence[Path]
    environ: Mapping[str, str]
    log: Path
    random: random.Random
    ends_seconds: float = ENDS_SECONDS
    kills: int = 0
    stalls: int = 0
    running: dict[Path, subprocess.Popen[bytes]] = field(default_factory=dict)
    stopped: dict[Path, float] = field(default_factory=dict)

    def run(self) -> float:
        """Have every publisher do his share, or as much as the time allows; return the seconds that it took.

        Raises:
            BenchError: one failed.
        """
        began = mischief_at = time.monotonic()
        try:
            for job in self.jobs:
                self._start(job)
            while self.running and time.monotonic() - began < self.ends_seconds:
                time.sleep(0.02)
                self._wake()
                self._reap()
                if time.monotonic() - mischief_at > MISCHIEF_EVERY_SECONDS:
                    mischief_at = time.monotonic()
                    self._harm()
        finally:
            for process in self.running.values():
                process.kill()
                process.wait()
        return time.monotonic() - began

    def _start(self, job: Path) -> None:
        with self.log.open("ab") as log:
            self.running[job] = subprocess.Popen(
                [sys.executable, "-m", "scripts.bench.publisher", str(job)], cwd=CHECKOUT, env=self.environ,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def _reap(self) -> None:
        for job, process in list(self.running.items()):
            status = process.poll()
            if status is None:
                continue
            del self.running[job]
            self.stopped.pop(job, None)
            if status == -signal.SIGKILL:
                self._start(job)
            elif status != 0:
                said = self.log.read_text("utf-8", errors="replace")[-500:]
                raise BenchError(f"a publisher ended with status {status}: {said}")

    def _harm(self) -> None:
        """Kill one, and stop another for a while; the last few are left alone, or they would die as they start."""
        victims = [job for job in self.running if job not in self.stopped]
        if len(victims) < SPARED:
            return
        killed, stopped = self.random.sample(victims, 2)
        self.running[killed].kill()
        self.kills += 1
        self.running[stopped].send_signal(signal.SIGSTOP)
        self.stopped[stopped] = time.monotonic() + self.random.uniform(*STALL_SECONDS)
        self.stalls += 1

    def _wake(self) -> None:
        for job, until in list(self.stopped.items()):
            if time.monotonic() > until:
                del self.stopped[job]
                if job in self.running:
                    self.running[job].send_signal(signal.SIGCONT)


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or a publisher failed.
    """
    count, signatures, ends = (
        (QUICK_PUBLISHERS, QUICK_SIGNATURES, QUICK_ENDS_SECONDS)
        if setting.is_quick
        else (PUBLISHERS, SIGNATURES, ENDS_SECONDS)
    )
    rows: list[Row] = []
    for name, place in _PLACES.items():
        directory = setting.fresh(f"{FIGURE}.{name}")
        with place(setting, directory) as (url, environ):
            outcome = crowded(
                directory / "crowd", url, environ, publishers=count, signatures=signatures, ends_seconds=ends
            )
        rows += _rows(name, outcome)
    return rows


def crowded(
    directory: Path,
    metadata: str,
    environ: Mapping[str, str],
    *,
    publishers: int,
    signatures: int,
    ends_seconds: float = ENDS_SECONDS,
) -> Outcome:
    """Return what became of ``signatures`` by ``publishers`` at once in a new collection at ``metadata``.

    Raises:
        BenchError: one failed.
    """
    directory.mkdir(parents=True)
    with environment({name: value for name, value in environ.items() if name.startswith("AWS_")}):
        first = _founded(directory, metadata)
        jobs = [_job(directory, first, number, publishers, signatures) for number in range(publishers)]
        crowd = Crowd(
            jobs=[path for path, _ in jobs],
            environ=environ,
            log=directory / "log",
            random=random.Random(_SEED),  # noqa: S311 - mischief is repeatable, not unguessable
            ends_seconds=ends_seconds,
        )
        seconds = crowd.run()
        acknowledged = [tag for _, job in jobs for tag in job.done()]
        missed = _missed(directory / "consumer-1", first.stanza, acknowledged)
        with Http(environ={}) as http, closing(TrustedState(directory / "last")) as state:
            store = store_of(first.stanza, http)
            sign(publisher_of(first.stanza, state, store, signers_of(first.keys)), [order_of(_LAST)])
        lost = _missed(directory / "consumer-2", first.stanza, [*acknowledged, _LAST])
    return Outcome(
        acknowledged=len(acknowledged),
        missed_at_the_end=missed,
        missed_after_the_next=lost,
        kills=crowd.kills,
        stalls=crowd.stalls,
        seconds=seconds,
    )


def _founded(directory: Path, metadata: str) -> Job:
    """Return the job of a publisher of a new collection."""
    keys = {name: CryptoSigner.generate_ed25519() for name in ("root", "targets", "online")}
    roles = {
        name: Role(
            keys=(keys["online" if name in {"snapshot", "timestamp"} else name].public_key,),
            threshold=1,
            period=period,
        )
        for name, period in DEFAULT_EXPIRY.items()
    }
    signers = {key.public_key.keyid: key for key in keys.values()}
    stanza = Stanza(collection=parse_collection("registry.invalid/acme/"), root=sha256(b""), metadata=metadata)
    with Http(environ={}) as http, closing(TrustedState(directory / "founder")) as state:
        born = init(
            stanza,
            state=state,
            store=store_of(stanza, http),
            roles=roles,
            keyring=lambda keyids: {keyid: signers[keyid] for keyid in keyids if keyid in signers},
            now=datetime.now(timezone.utc),
            deadline=deadline_in(60, time.monotonic),
            randomness=os.urandom,
        )
    private = tuple(keys[name].private_bytes.decode() for name in ("targets", "online"))
    return Job(
        name="first", count=0, directory=str(directory), collection=str(stanza.collection), root=str(born.root),
        metadata=metadata, keys=private,
    )  # fmt: skip


def _job(directory: Path, first: Job, number: int, publishers: int, signatures: int) -> tuple[Path, Job]:
    """Return the share of publisher ``number``, and the file that he is started with."""
    home = directory / f"publisher-{number}"
    home.mkdir()
    share = signatures // publishers + (number < signatures % publishers)
    job = replace(first, name=f"p{number}", count=share, directory=str(home))
    job.write(home / "job.json")
    return home / "job.json", job


def _missed(home: Path, stanza: Stanza, tags: Sequence[str]) -> int:
    """Return how many of ``tags`` a consumer without any state is not allowed."""
    missed = 0
    with Http(environ={}) as http, closing(TrustedState(home)) as state:
        for number, tag in enumerate(tags):
            verifier = Verifier(
                policy=Policy(stanzas=(stanza,)),
                state=state,
                open_store=lambda stanza: store_of(stanza, http),
                now=datetime.now(timezone.utc),
                deadline=deadline_in(60, time.monotonic),
                offline=number > 0,
            )
            verdict = verifier.verify(parse_reference(f"registry.invalid/{PATH}:{tag}"))
            missed += not isinstance(verdict, Allowed)
    return missed


def _rows(name: str, outcome: Outcome) -> list[Row]:
    excludes = name != "registry:"

    def row(what: str, value: float, unit: str, limit: float | None = None) -> Row:
        return Row(figure=FIGURE, what=f"{name} {what}", value=value, unit=unit, limit=limit)

    return [
        row("acknowledged signatures", outcome.acknowledged, "signatures"),
        row("acknowledged, absent at the end", outcome.missed_at_the_end, "signatures", 0 if excludes else None),
        row(
            "absent after the next publisher", outcome.missed_after_the_next, "signatures", 0 if excludes else None
        ),
        row("publishers killed", outcome.kills, "times"),
        row("publishers stopped for a while", outcome.stalls, "times"),
        row("throughput", outcome.acknowledged / outcome.seconds, "signatures/s"),
    ]


@contextmanager
def _in_files(setting: Setting, directory: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield f"file:{directory / 'metadata'}", setting.environ


@contextmanager
def _in_objects(setting: Setting, directory: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    with seaweedfs(directory / "seaweedfs") as server:
        yield f"s3://{BUCKET}/acme", {**setting.environ, **server.environ()}


@contextmanager
def _in_registry(setting: Setting, directory: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    with docker_registry(setting, f"{directory.name}.registry") as port:
        yield f"registry://127.0.0.1:{port}/acme/trust-metadata:_trust", setting.environ


_Place = Callable[[Setting, Path], AbstractContextManager[tuple[str, Mapping[str, str]]]]
_PLACES: Mapping[str, _Place] = {
    "file:": _in_files,
    "s3:": _in_objects,
    "registry:": _in_registry,
}
