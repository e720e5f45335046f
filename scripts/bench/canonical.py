"""Figure ``canonical``: the canonical JSON of a targets role with 10,000 targets, beside securesystemslib's.

Side by side in one process: both encode the same value in each round, the bytes are compared, and the median of
one is divided by the median of the other. The role is as it was read from its file, which is what is checked and
what the next edition is made of; then one whose keys are in no order, which costs both a sort.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from securesystemslib.formats import encode_canonical
from tuf.api.metadata import TargetFile, Targets

from scripts.bench.measure import Timing
from scripts.bench.result import Row, ratio, timed
from scripts.bench.setting import BenchError, Setting
from trust.canonical import canonical_bytes
from trust.digest import sha256
from trust.manifest import OCI_MANIFEST
from trust.roles import COLLECTION_FIELD, ROLE_FIELD
from trust.targets import Target, digest_path, tag_path, target_custom

FIGURE = "canonical"
TARGETS = 10_000
LEAST_RATIO = 5.0
_REPOSITORY = "acme/web"
_SIGNED_AT = datetime(2031, 5, 1, 12, 0, 0, tzinfo=timezone.utc)


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: the bytes differ.
    """
    unsorted = _role(TARGETS).to_dict()
    written = canonical_bytes(unsorted)
    what = f"{TARGETS} targets, {len(written) / 1e6:.1f} MB"
    ours, theirs = _beside(json.loads(written), setting.rounds)
    ours_unsorted, theirs_unsorted = _beside(unsorted, setting.rounds)
    return [
        timed(FIGURE, f"{what}: ours", ours),
        timed(FIGURE, f"{what}: securesystemslib", theirs),
        ratio(FIGURE, "securesystemslib over ours, the same bytes", theirs.over(ours), floor=LEAST_RATIO),
        ratio(FIGURE, "the same, keys in no order", theirs_unsorted.over(ours_unsorted)),
    ]


def _beside(document: object, rounds: int) -> tuple[Timing, Timing]:
    """Return how long ours and theirs take, in turns, after one round unmeasured; their bytes are compared.

    Raises:
        BenchError: the bytes differ.
    """
    wall: tuple[list[float], list[float]] = ([], [])
    cpu: tuple[list[float], list[float]] = ([], [])
    for number in range(-1, rounds):
        made = []
        for place, encode in enumerate((canonical_bytes, _theirs)):
            began, began_cpu = time.perf_counter(), time.process_time()
            made.append(encode(document))
            if number >= 0:
                wall[place].append(time.perf_counter() - began)
                cpu[place].append(time.process_time() - began_cpu)
        if made[0] != made[1]:
            raise BenchError(f"the bytes differ: {sha256(made[0])}, expected {sha256(made[1])}")
    first, second = (Timing(wall=tuple(wall[place]), cpu=tuple(cpu[place])) for place in (0, 1))
    return first, second


def _theirs(document: Any) -> bytes:  # noqa: ANN401 - JSON is any shape
    return (encode_canonical(document) or "").encode()


def _role(count: int) -> Targets:
    """Return a targets role of ``count`` targets: tags, and the digests that they name."""
    files = {}
    for number in range(count // 2):
        digest = sha256(f"image {number}".encode())
        target = Target(
            digest=digest,
            size_bytes=1_000 + number,
            media_type=OCI_MANIFEST,
            signed_at=_SIGNED_AT,
            signed_by=(sha256(b"key").hex,),
            annotations={},
            tags=(f"v{number}",),
        )
        for path in (tag_path(_REPOSITORY, f"v{number}"), digest_path(_REPOSITORY, digest)):
            files[path] = TargetFile(
                target.size_bytes, {"sha256": digest.hex}, path, {"custom": target_custom(target)}
            )
    fields = {COLLECTION_FIELD: sha256(b"collection").hex[:32], ROLE_FIELD: "targets"}
    return Targets(version=1, expires=_SIGNED_AT + timedelta(days=90), targets=files, unrecognized_fields=fields)
