"""Owns the control groups of a snapshot: whatever it says, its processes get those of the yardstick.

CRIU makes the groups that its images name, with the limits that they name, below those that the engine has made.
So that file is written anew: every process of the snapshot is in the one set that a container here is in.
"""

from __future__ import annotations

from pathlib import Path

from trust.errors import InputError
from trust.runtime.checkpoint_images import encoded, fields, message, number, records

_NAME = "cgroup.img"
_HEAD_BYTES = 8
_SETS, _CONTROLLERS = 1, 2  # of cgroup_entry
_ID, _MEMBERS = 1, 2  # of cg_set_entry


def take_cgroups(images: Path, yardstick_images: Path) -> None:
    """Have the yardstick's control groups for every process in ``images``.

    Raises:
        InputError: malformed.
    """
    path = yardstick_images / _NAME
    entry = next(records(path), None)
    first = entry[_SETS][0] if entry is not None and entry.get(_SETS) else None
    if entry is None or not isinstance(first, bytes):
        raise InputError("checkpoint is malformed: the yardstick has no control groups")
    members = b"".join(encoded(_MEMBERS, member) for member in fields(first, _NAME)[_MEMBERS])
    used = set()
    for core in images.glob("core-*.img"):
        for record in records(core):
            used |= {number(message(record, 3, "core"), 9), number(message(record, 5, "core"), 16)}
    body = b"".join(encoded(_SETS, encoded(_ID, one) + members) for one in sorted(used - {0}))
    body += b"".join(encoded(_CONTROLLERS, one) for one in entry.get(_CONTROLLERS, []))
    head = path.read_bytes()[:_HEAD_BYTES]
    (images / _NAME).write_bytes(head + len(body).to_bytes(4, "little") + body)
