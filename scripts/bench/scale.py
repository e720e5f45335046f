"""Figure ``scale``: what one more tag costs in collections of a thousand to a million, flat and in hash bins.

``trust sign`` as a whole process, of an image and of an index of four, side by side in all collections; a
collection grows by what is signed, by a few in a million. Beside the time: how many files were written, and their
bytes. Then what a consumer without any state reads over HTTP for one look-up in the largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.bench.collection import HOST, BuiltCollection, build_at_scale
from scripts.bench.counting_proxy import counting_proxy
from scripts.bench.measure import Command, Timing, run, side_by_side
from scripts.bench.result import Row, ratio, timed
from scripts.bench.server import static_server
from scripts.bench.setting import BenchError, Setting

FIGURE = "scale"
OVER_BEST_MAX = 1.5
COLD_BYTES_MAX = 250_000
_SMALLEST = 1_000
_LAYOUTS = ((1_000, 0), (1_000, 16), (10_000, 0), (10_000, 128), (100_000, 1_024), (1_000_000, 4_096))
_QUICK_LAYOUTS = _LAYOUTS[:4]
_KINDS = ("an image", "an index of four")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    tags: int
    bins: int
    built: BuiltCollection

    @property
    def name(self) -> str:
        return f"{self.tags:,} tags, {f'{self.bins:,} bins' if self.bins else 'one file'}"

    def argv(self, setting: Setting, kind: str, number: int) -> Sequence[str]:
        """Return the command that signs another tag."""
        layout = self.built.layout if kind == _KINDS[0] else self.built.index_layout
        tag = f"more{number}.{_KINDS.index(kind)}".replace("-", "w")
        return (setting.trust, "sign", f"oci:{layout}:v0", "--as", f"{HOST}/acme/r0:{tag}")


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something refused.
    """
    layouts = _QUICK_LAYOUTS if setting.is_quick else _LAYOUTS
    scales = [
        _Scale(
            tags=tags, bins=bins, built=build_at_scale(setting, f"{FIGURE}.{tags}.{bins}", tags=tags, bins=bins)
        )
        for tags, bins in layouts
    ]
    rows: list[Row] = []
    for kind in _KINDS:
        timings = side_by_side(
            {scale.name: _command(setting, scale, kind) for scale in scales}, rounds=max(3, setting.rounds // 2)
        )
        rows += [timed(FIGURE, f"one more, {kind}: {name}", timing) for name, timing in timings.items()]
        for scale in scales:
            rows += _written(setting, scale, kind)
        rows.append(_over_best(scales, timings, kind))
    return (*rows, *_cold(setting, scales[-1]))


def _command(setting: Setting, scale: _Scale, kind: str) -> Command:
    return Command(argv=lambda number: scale.argv(setting, kind, number), environ=scale.built.environ)


def _over_best(scales: Sequence[_Scale], timings: dict[str, Timing], kind: str) -> Row:
    best = min(
        (timings[scale.name] for scale in scales if scale.tags == _SMALLEST), key=lambda timing: timing.median_ms
    )
    what = f"{kind}: {scales[-1].name} / the best lay-out of {_SMALLEST:,}"
    return ratio(FIGURE, what, timings[scales[-1].name].over(best), limit=OVER_BEST_MAX)


def _written(setting: Setting, scale: _Scale, kind: str) -> Sequence[Row]:
    """Return how many files one more tag writes, and their bytes."""
    before = _files(scale.built.metadata)
    run(*scale.argv(setting, kind, 1_000_000), environ=scale.built.environ)
    after = _files(scale.built.metadata)
    new = {name: size for name, size in after.items() if before.get(name) != size or name == "timestamp.json"}
    what = f"one more, {kind}: {scale.name}"
    return (
        Row(figure=FIGURE, what=f"files signed for {what}", value=len(new), unit=""),
        Row(figure=FIGURE, what=f"bytes uploaded for {what}", value=sum(new.values()) / 1000, unit="KB"),
    )


def _files(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.glob("*.json")}


def _cold(setting: Setting, scale: _Scale) -> Sequence[Row]:
    """Return what a consumer who knows the pin alone reads for one look-up, and what the next one costs him."""
    with static_server(setting, scale.built.metadata) as port, counting_proxy(port) as proxy:
        consumer = replace(
            scale.built,
            directory=setting.fresh(f"{FIGURE}.cold"),
            environ={**scale.built.environ, "HOME": str(setting.directory / f"{FIGURE}.cold")},
        )
        consumer.policy.parent.mkdir(parents=True)
        address = f"http://127.0.0.1:{proxy.port}/"
        text = scale.built.policy.read_text("utf-8").replace(f"file:{scale.built.metadata}", address)
        if address not in text:
            raise BenchError("the policy that init wrote names another store than the benchmark's")
        consumer.policy.write_text(text, "utf-8")
        reads = []
        for _ in range(2):
            run(setting.trust, "resolve", f"{HOST}/acme/r0:v7", environ=consumer.environ)
            reads.append(proxy.taken())
    cold, warm = (sum(each.response_bytes for each in some) for some in reads)
    return (
        Row(
            figure=FIGURE, what=f"a cold look-up reads: {scale.name}", value=cold / 1000, unit="KB",
            limit=COLD_BYTES_MAX / 1000,
        ),
        Row(figure=FIGURE, what="requests of a cold look-up", value=len(reads[0]), unit=""),
        Row(figure=FIGURE, what="requests when nothing is new", value=len(reads[1]), unit="", limit=2),
        Row(figure=FIGURE, what="bytes when nothing is new", value=warm, unit="B", limit=1_000),
    )  # fmt: skip
