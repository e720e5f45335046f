"""The disk of a running shim fills up while it fills its cache, refreshes and logs; then there is room again."""

from __future__ import annotations

import resource

from tests.faults.places import Record, few, record
from tests.faults.street import Street, is_true
from tests.faults.test_shim_kills import has_whole_content, has_whole_log
from tests.simulators.shim import until

LIMITS = (0, 100, 600, 4_096, 20_000, 45_000, 100_000, 290_000)


def have_room(here: Street, size_bytes: int) -> None:
    """Let no process of the shim write a file beyond that size: a full disk, which root meets too."""
    for process in (here.shim.process_id, *here.shim.workers):
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def test_shim_on_a_full_disk_gives_what_is_signed_or_an_error_and_mends(
    here: Street, record_property: Record
) -> None:
    assert here.gives("1", here.first)
    limits, broken = few(LIMITS, 3), []
    images = iter(here.signed(len(limits) + 1).items())
    for limit in limits:
        tag, image = next(images)
        have_room(here, limit)
        got = here.pull(tag, image)
        here.sign({f"full-{limit}": here.first})
        keeps_shut = here.gives_nothing_unsigned()
        seen = [here.head(f"full-{limit}").status for _ in range(3)]
        have_room(here, resource.RLIM_INFINITY)
        is_right = all(is_true(reply, data) for reply, data in got) and keeps_shut and set(seen) <= {200, 403, 503}
        try:
            until(lambda: here.gives(f"full-{limit}", here.first), "what was published meanwhile is served")  # noqa: B023
            mends = here.gives(tag, image) and has_whole_content(here) and has_whole_log(here)
        except AssertionError:
            mends = False
        if not (is_right and mends):
            broken.append((limit, is_right, mends, seen, here.head("1"), here.shim.said[-1000:]))
    record(record_property, len(limits), broken)
