"""No layer, however made, changes anything outside of its tree, takes more than its caps, or ends in a crash.

``TRUST_FUZZ_LAYERS`` says how many archives; ``scripts/prove inputs`` unpacks 10,000.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fuzz.layers import hostile_layer
from tests.runtime.conftest import Workshop
from trust.errors import InputError, LimitError, RefusedError
from trust.runtime.disk import remove_tree
from trust.runtime.layer import Budget

ARCHIVES = int(os.environ.get("TRUST_FUZZ_LAYERS", "120"))
SEED = int(os.environ.get("TRUST_FUZZ_SEED", "1"))
BYTES_MAX = 1024 * 1024
ENTRIES_MAX = 24
SHOWN = 5
IN_ONE_PLACE = 50  # then a new one: images that are there are looked through for files to share

Record = Callable[[str, object], None]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "place"
    remove_tree(tmp_path / "place")


def test_hostile_layers_stay_inside_and_within_their_caps(place: Path, record_property: Record) -> None:
    wrong: list[str] = []
    unpacked = crashes = 0
    for number in range(ARCHIVES):
        if number % IN_ONE_PLACE == 0:
            remove_tree(place)
            place.mkdir()
            workshop = Workshop(place)
            before = _outside(place)
        chance = random.Random(f"{SEED}.{number}")  # noqa: S311 - no secret
        layers = [hostile_layer(chance, workshop.outside) for _ in range(chance.choice((1, 1, 1, 2)))]
        budget = Budget(bytes_max=BYTES_MAX, entries_max=ENTRIES_MAX, ratio_free_bytes=BYTES_MAX // 2)
        try:
            tree = workshop.unpack(*layers, budget=budget)
        except (InputError, LimitError, RefusedError):
            pass
        except Exception as err:  # noqa: BLE001 - that is what is looked for
            crashes += 1
            wrong.append(f"archive {number}: {err!r}")
        else:
            unpacked += 1
            wrong += [f"archive {number}: {what}" for what in _beyond(tree)]
        if (after := _outside(place)) != before:
            wrong.append(f"archive {number}: outside: {set(after) ^ set(before)}")
            before = after
        wrong += [f"archive {number}: left {one}" for one in workshop.leftovers()]
    record_property("archives", ARCHIVES)
    record_property("unpacked", unpacked)
    record_property("crashes", crashes)
    record_property("wrong", len(wrong) - crashes)
    assert not wrong, "\n".join(wrong[:SHOWN])
    assert ARCHIVES < 100 or ARCHIVES / 50 < unpacked < ARCHIVES, "some are unpacked, some refused"


def _outside(place: Path) -> list[tuple[str, int, int, int, bytes]]:
    """Return all that lies beside the home, and what in the home is no tree."""
    found = []
    for path in sorted([place, *place.glob("*"), *place.glob("outside/**/*"), *place.glob("home/*")]):
        state = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
        if path.name not in ("rootfs", "home"):
            links = state.st_nlink if stat.S_ISREG(state.st_mode) else 0
            found.append((str(path), stat.S_IMODE(state.st_mode), state.st_uid, links, content))
    return found


def _beyond(tree: Path) -> Iterator[str]:
    """Yield what a tree has that no cap and no rule allows."""
    size = entries = 0
    for folder, names, files in os.walk(tree):
        for name in (*names, *files):
            state = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - names of any bytes
            entries += 1
            size += state.st_size if stat.S_ISREG(state.st_mode) else 0
            if stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode):
                yield f"a device: {name!r}"
    if size > BYTES_MAX:
        yield f"{size} bytes"
    if entries > ENTRIES_MAX * 7:  # a name of some parts makes the directories above it
        yield f"{entries} entries"
