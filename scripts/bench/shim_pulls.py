"""Figure ``shim-pulls``: 64 clients pull at once, signed and unsigned, and every answer is checked.

What is signed must come as it was signed, also where the registry's own tag was moved to something else. What is
not, and what belongs to another repository, must be refused. Meanwhile layers vanish from the cache, so that they
are fetched anew, and the memory of all processes of the shim is watched: it may not grow.

20 seconds; ten minutes with ``--full``, eight seconds with ``--quick``.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench.checked import Ask, pulled
from scripts.bench.collection import REPOSITORY, BuiltCollection, build_pushed
from scripts.bench.gateway import Shim, shim
from scripts.bench.layout import manifest_in, write_layout
from scripts.bench.load import question
from scripts.bench.measure import run
from scripts.bench.processes import resident_bytes
from scripts.bench.result import Row
from scripts.bench.server import docker_registry
from scripts.bench.setting import Setting, launcher
from trust.digest import parse_digest, sha256

FIGURE = "shim-pulls"
CLIENTS = 64
GROWTH_MAX = 1.2  # of memory, from after the warm-up to the end
_OTHER = "acme/other"
_SECONDS, _QUICK_SECONDS, _FULL_SECONDS = 20.0, 8.0, 600.0
_WARM_SHARE, _WARM_MAX_SECONDS = 0.25, 30.0
_LAYER_BYTES = 1 << 20
_MIB = 1 << 20


@dataclass(slots=True, kw_only=True)
class Watch:
    """Memory over time; once in a while a file of the cache goes."""

    shim: Shim
    warm_seconds: float
    removed: int = 0
    seen: list[int] = field(default_factory=list)
    warm: int = 0

    def look(self, passed_seconds: float) -> None:
        """Take note of the memory now, and have a layer fetched again."""
        now = resident_bytes(self.shim.server.process_id)
        self.seen.append(now)
        if passed_seconds < self.warm_seconds:
            self.warm = max(self.warm, now)
        files = sorted((self.shim.cache / "sha256").glob("*/*"))
        large = [path for path in files if _size(path) >= _LAYER_BYTES]
        if large:
            random.Random(len(self.seen)).choice(large).unlink(missing_ok=True)  # noqa: S311 - no secret
            self.removed += 1


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or refused.
    """
    seconds = _FULL_SECONDS if setting.is_full else _QUICK_SECONDS if setting.is_quick else _SECONDS
    with scene(setting) as (ours, _, asks):
        start = resident_bytes(ours.server.process_id)
        watch = Watch(shim=ours, warm_seconds=min(seconds * _WARM_SHARE, _WARM_MAX_SECONDS))
        outcome = pulled(ours.server.port, asks, clients=CLIENTS, seconds=seconds, each_moment=watch.look)
        end = resident_bytes(ours.server.process_id)
    for said in outcome.said:
        print(f"benchmark: {FIGURE}: wrong: {said}", file=sys.stderr)
    total = sum(outcome.answers.values())
    return (
        Row(figure=FIGURE, what=f"{CLIENTS} clients for {seconds:.0f} s, answers", value=total, unit="answers"),
        *(
            Row(figure=FIGURE, what=kind, value=count, unit="answers", floor=1)
            for kind, count in sorted(outcome.answers.items())
        ),
        Row(figure=FIGURE, what="layers that vanished meanwhile", value=watch.removed, unit="layers", floor=1),
        Row(figure=FIGURE, what="wrong answers", value=outcome.wrong, unit="answers", limit=0),
        *(
            Row(figure=FIGURE, what=f"memory of the shim, {when}", value=size / _MIB, unit="MiB")
            for when, size in (("start", start), ("warm", watch.warm), ("peak", max(watch.seen)), ("end", end))
        ),
        Row(figure=FIGURE, what="memory, end / warm", value=end / watch.warm, unit="x", limit=GROWTH_MAX),
    )


@contextmanager
def scene(setting: Setting, *, max_age: str = "60s") -> Iterator[tuple[Shim, BuiltCollection, Sequence[Ask]]]:
    """Yield a shim before a registry, the collection that it goes by, and what clients ask for.

    Raises:
        BenchError: something could not be started, or refused.
    """
    with docker_registry(setting, f"{FIGURE}.registry") as port:
        built = build_pushed(setting, f"{FIGURE}.trust", host=f"127.0.0.1:{port}", layers=[_layer()])
        asks = _asks(setting, built)
        with shim(setting, f"{FIGURE}.shim", built, auth="own", max_age=max_age) as ours:
            for ask in asks:
                if ask.signed is not None and "/manifests/" in ask.path:  # who knows a blob has its manifest
                    question(ours.server.port, ask.path)
            yield ours, built, asks


def _asks(setting: Setting, built: BuiltCollection) -> Sequence[Ask]:
    """Return what is asked for, once it is all in the registry."""
    directory = setting.fresh(f"{FIGURE}.images")
    more, moved, other, unsigned = (directory / name for name in ("more", "moved", "other", "unsigned"))
    for layout in (more, moved, other, unsigned):
        write_layout(layout, [_layer()])
    for layout, name in ((more, f"{REPOSITORY}:v1"), (moved, f"{REPOSITORY}:moved"), (other, f"{_OTHER}:v0")):
        run(setting.trust, "push", f"oci:{layout}:v0", "--as", f"{built.host}/{name}", environ=built.environ)
    for name in (f"{REPOSITORY}:unsigned", f"{REPOSITORY}:moved"):  # by someone with the registry's password
        run(
            launcher(setting, "skopeo", is_needed=True) or "",
            *("copy", "--insecure-policy", "--dest-tls-verify=false", f"oci:{unsigned}:v0"),
            f"docker://{built.host}/{name}",
            environ=setting.environ,
        )
    signed = [
        ask
        for layout, tag in ((built.layout, "v0"), (more, "v1"), (moved, "moved"))
        for ask in _signed(layout, tag)
    ]
    return [*signed, *signed, *_refused(unsigned, "unsigned"), *_refused(other, "of another repository")]


def _signed(layout: Path, tag: str) -> Sequence[Ask]:
    manifest = manifest_in(layout)
    digest = sha256(manifest)
    kind = "signed, its tag moved" if tag == "moved" else "signed"
    return (
        Ask(kind=f"{kind}: by tag", path=f"/v2/{REPOSITORY}/manifests/{tag}", signed=digest),
        Ask(kind=f"{kind}: by digest", path=f"/v2/{REPOSITORY}/manifests/{digest}", signed=digest),
        *(
            Ask(kind=f"{kind}: blob", path=f"/v2/{REPOSITORY}/blobs/{blob}", signed=parse_digest(blob))
            for blob in _blobs(manifest)
        ),
    )


def _refused(layout: Path, why: str) -> Sequence[Ask]:
    manifest = manifest_in(layout)
    tags = ("unsigned", "no-such-tag") if why == "unsigned" else ()
    names = [*tags, str(sha256(manifest))]
    return (
        *(Ask(kind=f"{why}: manifest", path=f"/v2/{REPOSITORY}/manifests/{name}", signed=None) for name in names),
        *(
            Ask(kind=f"{why}: blob", path=f"/v2/{REPOSITORY}/blobs/{blob}", signed=None)
            for blob in (*_blobs(manifest), str(sha256(manifest)))
        ),
    )


def _blobs(manifest: bytes) -> Sequence[str]:
    document = json.loads(manifest)
    return [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]


def _layer() -> bytes:
    return os.urandom(_LAYER_BYTES)


def _size(path: Path) -> int:
    with suppress(OSError):  # it has just gone
        return path.stat().st_size
    return 0
