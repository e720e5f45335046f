"""Figure ``idle``: many containers that do nothing, started detached: what each costs in time and memory.

Each sleeps in a container with a name, a control group, a network and a root of its own. Memory is what the
machine has less of afterwards (``MemAvailable``: processes, the kernel's own, the supervisor) divided by their
number; beside it the share of the processes alone (``Pss``), the containers' and ours. With few of them others on
the machine weigh more, and nothing is promised. Starts are timed one by one, in this process, verdict included;
one by the command is timed before and after, so that their number shows in it or does not.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from scripts.bench.collection import BuiltCollection, build_pushed
from scripts.bench.layout import layer_of
from scripts.bench.measure import Timing, fixed, side_by_side
from scripts.bench.result import Row, timed
from scripts.bench.server import docker_registry
from scripts.bench.setting import BenchError, Setting, component, launcher
from trust.deadline import deadline_in
from trust.policy_files import read_policy
from trust.reference import parse_reference
from trust.run import run
from trust.runtime.bundle import Caller
from trust.runtime.content import machine_platform
from trust.runtime.host import Host, open_containers, open_content, open_engine
from trust.runtime.options import RunOptions
from trust.runtime.source import LayoutSource
from trust.state import TrustedState
from trust.verdict import Allowed
from trust.verify import Verifier

FIGURE = "idle"
MEMORY_MAX_KIB = 1024.0
ENGINES = ("crun", "runc")
_COUNT, _QUICK_COUNT = 2300, 40
_COMMAND = ("/bin/busybox", "sleep", "86400")
_SETTLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """In KiB: what the machine has available, and the shares of containers' processes and of ours."""

    available: int
    containers: int
    ours: int
    own_processes: int


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: it needs root, or something could not be started.
    """
    if os.geteuid() != 0:
        raise BenchError("idle containers are measured as root: each has a control group")
    with docker_registry(setting, f"{FIGURE}.registry") as port:
        layer = layer_of({"bin/busybox": Path(component("busybox"))}, directories=("bin", "etc"))
        built = build_pushed(setting, FIGURE, host=f"127.0.0.1:{port}", layers=[layer])
        engine = next((name for name in ENGINES if launcher(setting, name, is_needed=False)), None)
        if engine is None:
            raise BenchError("no crun and no runc: expected one below .lab/bin or on PATH")
        fleet = _Fleet(setting, built, engine)
        try:
            return fleet.measured(_QUICK_COUNT if setting.is_quick else _COUNT)
        finally:
            fleet.remove()


class _Fleet:
    def __init__(self, setting: Setting, built: BuiltCollection, engine: str) -> None:
        self._setting, self._built, self._name = setting, built, engine
        self._host = Host(
            home=built.home,
            caller=Caller(uid=os.geteuid(), gid=os.getegid()),
            platform=machine_platform(os.uname().machine),
            environ=setting.environ,
        )
        self._engine = open_engine(engine, self._host)
        self._containers = open_containers(self._host)

    def measured(self, count: int) -> Sequence[Row]:
        before_all = self._by_command("first")
        self._start(0)  # the supervisor is there, and everything that is made once
        time.sleep(_SETTLE_SECONDS)
        before, began = _memory(self._built.home), time.monotonic()
        times = [self._start(number) for number in range(1, count + 1)]
        seconds = time.monotonic() - began
        after_all = self._by_command("last")
        time.sleep(_SETTLE_SECONDS)
        after = _memory(self._built.home)
        running = sum(each.pid is not None for each in self._containers.all())
        if running < count:
            raise BenchError(f"of {count} containers {running} run")
        limit = None if self._setting.is_quick else MEMORY_MAX_KIB
        return (
            Row(figure=FIGURE, what=f"{self._name}, containers that run", value=count, unit=""),
            timed(FIGURE, "trust run -d, beside none", before_all),
            timed(FIGURE, "trust run -d, beside all of them", after_all),
            self._row("start of one, median", 1000 * statistics.median(times), "ms"),
            self._row("start of all", seconds, "s"),
            self._row("memory of each, all of it", (before.available - after.available) / count, "KiB", limit),
            self._row("memory of each, its processes", (after.containers - before.containers) / count, "KiB"),
            self._row("memory of each, of the supervisor's", (after.ours - before.ours) / count, "KiB"),
            self._row("processes of ours beside them", after.own_processes, "", 1),
        )

    def _row(self, what: str, value: float, unit: str, limit: float | None = None) -> Row:
        return Row(figure=FIGURE, what=what, value=value, unit=unit, limit=limit)

    def _by_command(self, what: str) -> Timing:
        words = ("run", "-d", "--engine", self._name, self._built.image, *_COMMAND)
        rounds = 3 if self._setting.is_quick else 9
        return side_by_side(
            {what: fixed(self._setting.trust, *words, environ=self._built.environ)}, rounds=rounds
        )[what]

    def _start(self, number: int) -> float:
        began = time.monotonic()
        now = datetime.now(timezone.utc)
        run(
            self._verdict(now),
            identity=os.urandom(16).hex(),
            options=RunOptions(command=_COMMAND, name=f"idle-{number}", is_detached=True),
            host=self._host,
            engine=self._engine,
            source=LayoutSource(layout=open_content(self._host)),
            now=now,
            deadline=deadline_in(60.0, time.monotonic),
            vet=lambda _digest: None,  # it is no index
        )
        return time.monotonic() - began

    def _verdict(self, now: datetime) -> Allowed:
        def no_store(_stanza: object) -> None:
            raise BenchError("the trusted state is asked, and nobody else")

        verdict = Verifier(
            policy=read_policy([self._built.policy]),
            state=TrustedState(self._built.home),
            open_store=no_store,  # type: ignore[arg-type]
            now=now,
            deadline=deadline_in(60.0, time.monotonic),
            offline=True,
        ).verify(parse_reference(self._built.image))
        if not isinstance(verdict, Allowed):
            raise BenchError(f"image was refused: {verdict.detail}")
        return verdict

    def remove(self) -> None:
        for listed in self._containers.all():
            self._containers.remove(listed.container, force=True)


def _memory(home: Path) -> Memory:
    containers = ours = own = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            is_ours = os.fsencode(home) in words and words[0] == os.fsencode(sys.executable)
            is_idle = tuple(map(os.fsdecode, words[: len(_COMMAND)])) == _COMMAND
            if is_ours or os.fsencode(home) in b"\0".join(words):
                own += 1
                ours += _share(process)
            elif is_idle:
                containers += _share(process)
    return Memory(available=_available(), containers=containers, ours=ours, own_processes=own)


def _share(process: Path) -> int:
    return _field(process / "smaps_rollup", "Pss")


def _available() -> int:
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _field(path: Path, name: str) -> int:
    fields: Mapping[str, str] = dict(
        line.split(":", 1) for line in path.read_text("ascii").splitlines()[:60] if ":" in line
    )
    return int(fields[name].split()[0])
