"""A running shim killed at every call that changes the disk, while it fills its cache and while it refreshes.

A worker is killed, and its keeper brings another; or all of it is, and it is started anew on the same directory.
After each: what is under a digest in the cache is whole, a client who got all bytes got what was signed, what was
acknowledged is served, and the chain of the decision log holds. ``TRUST_FAULTS=all`` tries each call, otherwise
two of each.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from tests.faults.places import Record, few, record
from tests.faults.street import Street, is_true
from tests.simulators.killing import CHANGING
from tests.simulators.shim import is_alive, until
from tests.simulators.upstream import Picture
from trust.digest import sha256

MIN_POINTS = 8
RESTARTED, REPLACED = "started anew", "replaced"


@contextmanager
def traced(processes: Sequence[int], *options: str) -> Iterator[None]:
    """Have every thread of ``processes`` under strace meanwhile."""
    strace = shutil.which("strace")
    assert strace is not None, "strace is not on PATH: run the tests through scripts/test"
    named = [word for process in processes for word in ("-p", str(process))]
    tracer = subprocess.Popen([strace, "-qq", "-f", *named, *options], stderr=subprocess.DEVNULL)
    try:
        until(lambda: all(_is_held(process) for process in processes), "the tracer holds them")
        yield
    finally:
        if all(is_alive(process) for process in processes):
            tracer.terminate()  # where one died it ends by itself; told to while it dies, it would wait for ever
        try:
            tracer.wait(5)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait()


def _is_held(process: int) -> bool:
    tasks = Path(f"/proc/{process}/task").glob("*/status")
    return all("TracerPid:\t0\n" not in task.read_text() for task in tasks)


def points_of(log: Path, folder: Path) -> list[tuple[str, int]]:
    """Return each call on a path below ``folder``, by its name and its number in the thread that made it."""
    seen: Counter[tuple[str, str]] = Counter()
    points: dict[tuple[str, int], None] = {}
    for line in log.read_text().splitlines():
        match = re.match(r"([0-9]+) +(\w+)\(", line)
        if match is not None:
            seen[match[1], match[2]] += 1
            if str(folder) in line:
                points[match[2], seen[match[1], match[2]]] = None
    return list(points)


def pulled(here: Street, tag: str, image: Picture) -> bool:
    """Tell whether a client got what was signed, or saw that it was not all."""
    with suppress(OSError, HTTPException):  # the connection broke: he has nothing that he could take for an image
        return all(is_true(reply, data) for reply, data in here.pull(tag, image))
    return True


def is_kept(here: Street, image: Picture) -> bool:
    """Tell whether all of an image is in the cache."""
    names = [sha256(data).hex for data in (image.manifest, *image.blobs)]
    return all((here.shim.home / "cache/sha256" / name[:2] / name).exists() for name in names)


def has_whole_content(here: Street) -> bool:
    """Tell whether everything in the cache is what its name says."""
    return all(sha256(file.read_bytes()).hex == file.name for file in here.shim.home.glob("cache/sha256/*/*"))


def is_whole(here: Street, tag: str, image: Picture, how: str) -> bool:
    """Tell whether the shim, which was killed, serves by itself or once it is started anew, as it should."""
    was_whole = has_whole_content(here)
    if how == RESTARTED:
        here.start_shim_anew()
    with suppress(AssertionError):
        until(lambda: serves(here, tag, image), "it serves")
        return was_whole and has_whole_content(here) and here.gives_nothing_unsigned() and has_whole_log(here)
    return False


def serves(here: Street, tag: str, image: Picture) -> bool:
    with suppress(OSError, HTTPException):
        return here.gives(tag, image)
    return False


def has_whole_log(here: Street) -> bool:
    """Tell whether the chain of the decision log holds."""
    program = str(Path(sys.executable).with_name("trust-shim"))
    argv = [program, "log", "check", str(here.shim.decision_log)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_worker_killed_while_it_fills_its_cache_leaves_whole_content_or_none(
    here: Street, tmp_path: Path, record_property: Record
) -> None:
    ((tag, image),) = list(here.signed(2).items())[:1]
    log, calls = tmp_path / "log", ",".join(f"?{call}" for call in CHANGING)
    with traced(here.shim.workers, "-y", "-o", str(log), "-e", f"trace={calls}"):
        assert here.gives(tag, image)
        until(lambda: is_kept(here, image), "it is kept")
    found = points_of(log, here.shim.folder)
    assert len(found) > MIN_POINTS, found
    points, broken = 0, []
    images = iter(here.signed(len(few(found, 2)) + 1).items())
    for number, (call, count) in enumerate(few(found, 2)):
        tag, image = next(images)
        (worker,) = here.shim.workers
        how = (RESTARTED, REPLACED)[number % 2]
        with traced([worker], "-o", str(tmp_path / "none"), "-e", f"inject={call}:signal=KILL:when={count}"):
            is_right = pulled(here, tag, image)
            until(lambda: not is_alive(worker) or is_kept(here, image), "it is dead or done")  # noqa: B023
            if is_alive(worker):
                continue  # another thread did it this time, with fewer such calls behind it
        points += 1
        if not (is_right and is_whole(here, tag, image, how)):
            broken.append((call, count, how, here.shim.said[-1000:]))
    record(record_property, points, broken)


def test_keeper_killed_while_it_refreshes_comes_back_with_what_was_published(
    here: Street, tmp_path: Path, record_property: Record
) -> None:
    log, calls = tmp_path / "log", ",".join(f"?{call}" for call in CHANGING)
    keeper = here.shim.process_id
    with traced([keeper], "-y", "-o", str(log), "-e", f"trace={calls}"):
        list(here.signed(1))
    found = points_of(log, here.shim.folder)
    assert len(found) > MIN_POINTS, found
    points, broken = 0, []
    for call, count in few(found, 2):
        keeper = here.shim.process_id
        image = here.first
        tag = f"{call}-{count}"
        with traced([keeper], "-o", str(tmp_path / "none"), "-e", f"inject={call}:signal=KILL:when={count}"):
            here.sign({tag: image})
            until(lambda: not is_alive(keeper) or serves(here, tag, image), "it is dead or done")  # noqa: B023
            if is_alive(keeper):
                continue
        points += 1
        if not is_whole(here, tag, image, RESTARTED):
            broken.append((call, count, here.shim.said[-1000:]))
    record(record_property, points, broken)
