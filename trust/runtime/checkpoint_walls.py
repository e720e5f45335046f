"""Owns the question whether a snapshot asks for more than a container of this machine would have.

CRIU restores whatever its images say: capabilities, system call filters, mounts, namespaces, limits. So what they
say is compared, before CRIU starts, with the images of a *yardstick*: a container with the configuration that this
machine's own rules give, frozen here. A process may have given up rights since its start; it may not have gained
any. What is refused, in this order:
  1. a kind of image or open file that no such container has
  2. a namespace that it would not have of its own (it would be the host's)
  3. mounts other than the yardstick's; device nodes other than its
  4. for each thread: a capability, user, limit or priority above it, ``no_new_privs`` missing, or no filter of
     system calls that begins with the yardstick's own
Control groups are not compared but replaced (``checkpoint_cgroups``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from trust.runtime.account import Account
from trust.runtime.checkpoint_images import (
    Fields,
    above,
    fields,
    first_record,
    long_number,
    message,
    number,
    numbers,
    records,
    signed_number,
)
from trust.runtime.checkpoint_mounts import Mount, devices_of, mounts_of
from trust.runtime.checkpoint_threads import Thread, core_of, living, threads_of
from trust.value import dataclass

# What a container without a network leaves behind; others name devices, users, programs of the host.
_KINDS = re.compile(
    r"(?:cgroup|eventfd|eventpoll|eventpoll-tfd|fifo|fifo-data|files|fs-[0-9]+|fdinfo-[0-9]+|filelocks|core-[0-9]+"
    r"|ghost-file-[0-9a-f]+|ids-[0-9]+|inetsk|inotify|inotify-wd|inventory|ipcns-(?:var|shm|msg|sem)-[0-9]+"
    r"|itimers-[0-9]+|memfd|mm-[0-9]+|mountpoints-[0-9]+|netlinksk|pagemap-(?:shmem-)?[0-9]+|pages-[0-9]+|pipes"
    r"|pipes-data|posix-timers-[0-9]+|pstree|reg-files|remap-fpath|rlimit-[0-9]+|seccomp|signalfd|sk-opts|sk-queues"
    r"|tcp-stream-[0-9a-f]+|timens-[0-9]+|timerfd|tmpfs-dev-[0-9]+\.tar\.gz|tmpfs-[0-9]+\.tar\.gz|tty|tty-data"
    r"|tty-info|unixsk|utsns-[0-9]+)\.img"
)
_OF_A_PROCESS = ("core", "fs", "ids", "mm", "pagemap")
_MOUNTS = 9  # of task_kobj_ids_entry
_OLD_SECCOMP = (11, 12)  # of task_core_entry: what a thread's own fields have replaced
# REG PIPE FIFO INETSK UNIXSK EVENTFD EVENTPOLL INOTIFY SIGNALFD TTY NETLINKSK TIMERFD MEMFD
_FILE_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 17, 18})
_NAMESPACES = range(5, 13)  # fields of task_kobj_ids_entry
_TIME = 12  # CRIU resumes in one of its own, so that clocks go on: of no consequence, and there at the second move
_ORDINARY_POLICIES = frozenset({0, 3, 5})  # SCHED_OTHER, SCHED_BATCH, SCHED_IDLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """The confinement that a directory of CRIU images describes."""

    own_namespaces: frozenset[int]
    mounts: tuple[Mount, ...]
    devices: frozenset[tuple[str, int, int]]
    threads: tuple[Thread, ...]
    limits: tuple[tuple[int, ...], ...]  # the hardest of all processes: one tuple of maxima for each
    oom_score_adjs: tuple[int, ...]


def read_walls(images: Path) -> Walls:
    """Return the confinement of the images in a directory.

    Raises:
        InputError: malformed. RefusedError: ``tampered``; a kind of image or open file that is not for containers,
            or an image of a process that there is not.
    """
    for path in sorted(images.glob("*.img")):
        if not _KINDS.fullmatch(path.name):
            raise above(f"has an image of a kind that no container here has: {path.name[:80]}")
    for record in records(images / "files.img"):
        if number(record, 1) not in _FILE_TYPES:
            raise above(f"holds open a file of a kind that no container here has: type {number(record, 1)}")
    _require_no_strays(images)
    threads = tuple(threads_of(images))
    if not threads:
        raise above("has no processes")
    leaders = [core_of(images, number(process, 1)) for process in living(images)]
    tasks = [message(core, 3, "core") for core in leaders]
    if any(field in task for task in tasks for field in _OLD_SECCOMP):
        raise above("tells of filters of system calls in two places")
    return Walls(
        own_namespaces=_own_namespaces(images),
        mounts=tuple(mounts_of(images)),
        devices=frozenset(devices_of(images)),
        threads=threads,
        limits=tuple(tuple(_limits(task)) for task in tasks),
        oom_score_adjs=tuple(signed_number(task, 14) for task in tasks),
    )


def require_within(snapshot: Walls, yardstick: Walls, account: Account) -> None:
    """Return if ``snapshot`` asks for nothing that a container of this machine, run as ``account``, lacks.

    Raises:
        RefusedError: ``tampered``; it does.
    """
    if snapshot.own_namespaces | {_TIME} != yardstick.own_namespaces | {_TIME}:
        raise above("shares a namespace that a container has of its own")
    ours, theirs = Counter(yardstick.mounts), Counter(snapshot.mounts)
    different = next(iter(theirs - ours), None) or next(iter(ours - theirs), None)
    if different is not None:
        raise above(f"has other mounts than a container here: at {different.mountpoint[:80]}")
    if not snapshot.devices <= yardstick.devices:
        name, *_ = min(snapshot.devices - yardstick.devices)
        raise above(f"has a device that no container here has: {name[:80]}")
    measure = yardstick.threads[0]
    for thread in snapshot.threads:
        _require_thread_within(thread, measure, account)
    for limits in snapshot.limits:
        if len(limits) != len(yardstick.limits[0]) or any(
            mine > most for mine, most in zip(limits, yardstick.limits[0], strict=True)
        ):
            raise above("has resource limits above those of a container here")
    if min(snapshot.oom_score_adjs) < yardstick.oom_score_adjs[0]:
        raise above("is spared by the kernel where memory is short, more than a container here")


def _require_thread_within(thread: Thread, measure: Thread, account: Account) -> None:
    for mine, most in zip(thread.capabilities, measure.capabilities, strict=True):
        if mine & ~most:
            raise above(f"has capabilities that no container here has: {mine & ~most:#x}")
    if not thread.has_no_new_privs:
        raise above("may gain privileges: no_new_privs is not set")
    if thread.securebits != measure.securebits:
        raise above("has other secure bits than a container here")
    if not measure.filters or thread.filters[: len(measure.filters)] != measure.filters:
        raise above("lacks the filter of system calls that containers here have")
    gids = {account.gid, *account.additional_gids}
    if account.uid != 0 and (thread.uids != {account.uid} or not thread.gids <= gids):
        raise above(f"runs as another user than its image says: expected {account.uid}")
    if thread.nice < measure.nice or thread.policy not in _ORDINARY_POLICIES or thread.real_time_priority:
        raise above("has a higher priority than a container here")


def _require_no_strays(images: Path) -> None:
    """Return if every image of a process is of one that ``pstree.img`` names: what CRIU reads, is read here.

    Raises:
        RefusedError: ``tampered``; another is there, or the mounts of another namespace.
    """
    named: set[str] = set()
    for process in records(images / "pstree.img"):
        named |= {f"{kind}-{number(process, 1)}.img" for kind in _OF_A_PROCESS}
    for process in living(images):
        named |= {f"core-{tid}.img" for tid in numbers(process, 5)}
        ids = first_record(images / f"ids-{number(process, 1)}.img")
        named.add(f"mountpoints-{number(ids, _MOUNTS)}.img")
    for kind in (*_OF_A_PROCESS, "mountpoints"):
        for path in images.glob(f"{kind}-[0-9]*.img"):
            if path.name not in named:
                raise above(f"has an image of a process that it does not have: {path.name[:80]}")


def _own_namespaces(images: Path) -> frozenset[int]:
    """Return the kinds of namespaces that every process has apart from the host."""
    host = message(first_record(images / "inventory.img"), 3, "inventory")
    pids = [number(record, 1) for record in living(images)]
    every = [first_record(images / f"ids-{pid}.img") for pid in pids]
    kinds = {tuple(number(ids, kind) for kind in _NAMESPACES) for ids in every}
    if len(kinds) != 1 or any(set(ids) & set(_NAMESPACES) != set(every[0]) & set(_NAMESPACES) for ids in every):
        raise above("has processes in different namespaces")
    (found,) = kinds
    told = [(kind, one) for kind, one in zip(_NAMESPACES, found, strict=True) if kind in every[0]]
    return frozenset(kind for kind, one in told if one != number(host, kind))


def _limits(task: Fields) -> Iterator[int]:
    for raw in message(task, 8, "core").get(1, []):
        yield long_number(fields(raw, "rlimit") if isinstance(raw, bytes) else {}, 2)
