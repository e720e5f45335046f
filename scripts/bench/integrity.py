"""Figure ``integrity``: what each tier that this machine has costs, at the start of a container and as it reads.

``trust run --rm`` as a whole process, of a small image and of one with a large file, which the container reads or
leaves alone: what the start costs for each MiB that is in the image, and the reading for each MiB that is read. In
each round every command runs once, in turn. Reading is from a warm page cache where the tier has one that outlives
a container (``directory``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.bench.collection import BuiltCollection, build_pushed
from scripts.bench.layout import layer_of
from scripts.bench.measure import fixed, side_by_side
from scripts.bench.result import Row, timed
from scripts.bench.server import docker_registry
from scripts.bench.setting import Setting, component
from trust.runtime.image_mounts import why_not
from trust.runtime.tier import Tier

FIGURE = "integrity"
DIRECTORY_START_MAX_MS_PER_MIB = 3.0  # 150 ms for an image of 50 MiB
_ROUNDS, _QUICK_ROUNDS = 15, 7
_ENGINE = "runc"
_LARGE = "usr/bin/caddy"
_TRUE = ("/bin/busybox", "true")
_CAT = ("/bin/busybox", "cat", f"/{_LARGE}")
_MIB = 1 << 20


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or refused.
    """
    busybox, caddy = Path(component("busybox")), Path(component("caddy"))
    mib = caddy.stat().st_size / _MIB
    with (
        docker_registry(setting, f"{FIGURE}.small.registry") as one_port,
        docker_registry(setting, f"{FIGURE}.large.registry") as other_port,
    ):
        small = _built(setting, "small", one_port, {"bin/busybox": busybox})
        large = _built(setting, "large", other_port, {"bin/busybox": busybox, _LARGE: caddy})
        tiers = [tier.value for tier in Tier if tier is Tier.DIRECTORY or why_not(tier) is None]
        commands = {}
        for tier in tiers:
            for what, built, command in (("small", small, _TRUE), ("large", large, _TRUE), ("read", large, _CAT)):
                words = ("run", "--engine", _ENGINE, "--integrity", tier, "--rm", built.image, *command)
                commands[f"{tier}, {what}"] = fixed(setting.trust, *words, environ=built.environ)
        timings = side_by_side(commands, rounds=_QUICK_ROUNDS if setting.is_quick else _ROUNDS)
    rows = []
    for tier in tiers:
        one, other, read = (timings[f"{tier}, {what}"] for what in ("small", "large", "read"))
        limit = DIRECTORY_START_MAX_MS_PER_MIB if tier == Tier.DIRECTORY.value else None
        rows += [
            timed(FIGURE, f"{tier}: start, {mib:.0f} MiB", other),
            _per_mib(f"{tier}: start, each MiB", other.median_ms - one.median_ms, mib, limit),
            _per_mib(f"{tier}: read, each MiB", read.median_ms - other.median_ms, mib, None),
        ]
    return rows


def _built(setting: Setting, name: str, port: int, files: dict[str, Path]) -> BuiltCollection:
    layer = layer_of(files, directories=("bin", "etc", "usr", "usr/bin"))
    return build_pushed(setting, f"{FIGURE}.{name}", host=f"127.0.0.1:{port}", layers=[layer])


def _per_mib(what: str, milliseconds: float, mib: float, limit: float | None) -> Row:
    return Row(figure=FIGURE, what=what, value=milliseconds / mib, unit="ms/MiB", limit=limit)
