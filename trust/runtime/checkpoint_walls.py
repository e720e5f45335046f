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
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from trust.errors import InputError, RefusedError
from trust.runtime.account import Account
from trust.runtime.checkpoint_images import (
    Fields,
    fields,
    message,
    number,
    numbers,
    records,
    signed,
    text,
    zigzag,
)
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
_TMPFS = re.compile(r"tmpfs-(?:dev-)?[0-9]+\.tar\.gz\.img")
# REG PIPE FIFO INETSK UNIXSK EVENTFD EVENTPOLL INOTIFY SIGNALFD TTY NETLINKSK TIMERFD MEMFD
_FILE_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 17, 18})
_NAMESPACES = range(5, 13)  # fields of task_kobj_ids_entry
_MASK = "/dev/null"  # what hides files of the kernel; the engine mounts it, at a second move with other flags
_TIME = 12  # CRIU resumes in one of its own, so that clocks go on: of no consequence, and there at the second move
_INHERITABLE, _PERMITTED, _EFFECTIVE, _BOUNDING, _AMBIENT = 9, 10, 11, 12, 19
_CAPABILITIES = (_INHERITABLE, _PERMITTED, _EFFECTIVE, _BOUNDING, _AMBIENT)
_NO_NEW_PRIVS = 18
_SECCOMP_MODE, _SECCOMP_FILTER = 11, 2
_FOR_ALL_THREADS = 1  # SECCOMP_FILTER_FLAG_TSYNC
_ORDINARY_POLICIES = frozenset({0, 3, 5})  # SCHED_OTHER, SCHED_BATCH, SCHED_IDLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount as a container sees it; of one that the engine brings (``key``), only where and how."""

    mountpoint: str
    parent: str
    fstype: int
    flags: int
    superblock_flags: int
    key: str
    root: str
    source: str
    options: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """What one thread may do. ``filters`` are its system call filters, the oldest first."""

    capabilities: tuple[int, ...]
    uids: frozenset[int]
    gids: frozenset[int]
    securebits: int
    has_no_new_privs: bool
    filters: tuple[bytes, ...]
    nice: int
    policy: int
    real_time_priority: int


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
        InputError: malformed. RefusedError: ``tampered``; a kind of image or open file that is not for containers.
    """
    for path in sorted(images.glob("*.img")):
        if not _KINDS.fullmatch(path.name):
            raise _refused(f"has an image of a kind that no container here has: {path.name[:80]}")
    for record in records(images / "files.img"):
        if number(record, 1) not in _FILE_TYPES:
            raise _refused(f"holds open a file of a kind that no container here has: type {number(record, 1)}")
    threads = tuple(_threads(images))
    if not threads:
        raise _refused("has no processes")
    leaders = [_core(images, number(process, 1)) for process in records(images / "pstree.img")]
    tasks = [message(core, 3, "core") for core in leaders]
    return Walls(
        own_namespaces=_own_namespaces(images),
        mounts=tuple(_mounts(images)),
        devices=frozenset(_devices(images)),
        threads=threads,
        limits=tuple(tuple(_limits(task)) for task in tasks),
        oom_score_adjs=tuple(signed(number(task, 14)) for task in tasks),
    )


def require_within(snapshot: Walls, yardstick: Walls, account: Account) -> None:
    """Return if ``snapshot`` asks for nothing that a container of this machine, run as ``account``, lacks.

    Raises:
        RefusedError: ``tampered``; it does.
    """
    if snapshot.own_namespaces | {_TIME} != yardstick.own_namespaces | {_TIME}:
        raise _refused("shares a namespace that a container has of its own")
    ours, theirs = Counter(yardstick.mounts), Counter(snapshot.mounts)
    different = next(iter(theirs - ours), None) or next(iter(ours - theirs), None)
    if different is not None:
        raise _refused(f"has other mounts than a container here: at {different.mountpoint[:80]}")
    if not snapshot.devices <= yardstick.devices:
        name, *_ = min(snapshot.devices - yardstick.devices)
        raise _refused(f"has a device that no container here has: {name[:80]}")
    measure = yardstick.threads[0]
    for thread in snapshot.threads:
        _require_thread_within(thread, measure, account)
    for limits in snapshot.limits:
        if len(limits) != len(yardstick.limits[0]) or any(
            mine > most for mine, most in zip(limits, yardstick.limits[0], strict=True)
        ):
            raise _refused("has resource limits above those of a container here")
    if min(snapshot.oom_score_adjs) < yardstick.oom_score_adjs[0]:
        raise _refused("is spared by the kernel where memory is short, more than a container here")


def _require_thread_within(thread: Thread, measure: Thread, account: Account) -> None:
    for mine, most in zip(thread.capabilities, measure.capabilities, strict=True):
        if mine & ~most:
            raise _refused(f"has capabilities that no container here has: {mine & ~most:#x}")
    if not thread.has_no_new_privs:
        raise _refused("may gain privileges: no_new_privs is not set")
    if thread.securebits != measure.securebits:
        raise _refused("has other secure bits than a container here")
    if not measure.filters or thread.filters[: len(measure.filters)] != measure.filters:
        raise _refused("lacks the filter of system calls that containers here have")
    gids = {account.gid, *account.additional_gids}
    if account.uid != 0 and (thread.uids != {account.uid} or not thread.gids <= gids):
        raise _refused(f"runs as another user than its image says: expected {account.uid}")
    if thread.nice < measure.nice or thread.policy not in _ORDINARY_POLICIES or thread.real_time_priority:
        raise _refused("has a higher priority than a container here")


def _own_namespaces(images: Path) -> frozenset[int]:
    """Return the kinds of namespaces that every process has apart from the host."""
    host = message(_one(images / "inventory.img"), 3, "inventory")
    pids = [number(record, 1) for record in records(images / "pstree.img")]
    every = [_one(images / f"ids-{pid}.img") for pid in pids]
    kinds = {tuple(number(ids, kind) for kind in _NAMESPACES) for ids in every}
    if len(kinds) != 1:
        raise _refused("has processes in different namespaces")
    (found,) = kinds
    return frozenset(kind for kind, one in zip(_NAMESPACES, found, strict=True) if one != number(host, kind))


def _mounts(images: Path) -> Iterator[Mount]:
    for path in images.glob("mountpoints-*.img"):
        found = list(records(path))
        places = {number(one, 2): text(one, 7) for one in found}
        for one in found:
            mountpoint, key = text(one, 7), text(one, 18)
            if number(one, 10) or number(one, 11) or number(one, 12):
                raise _refused(f"has a mount that is shared with others: at {mountpoint[:80]}")
            is_foreign = bool(key) or mountpoint == "/"  # the engine mounts these, from its own configuration
            yield Mount(
                mountpoint=mountpoint,
                parent=places.get(number(one, 4), ""),
                fstype=0 if is_foreign else number(one, 1),
                flags=0 if key == _MASK else number(one, 5),
                superblock_flags=0 if is_foreign else number(one, 17),
                key=key,
                root="" if is_foreign else text(one, 6),
                source="" if is_foreign else text(one, 8),
                options="" if is_foreign else text(one, 9),
            )


def _devices(images: Path) -> Iterator[tuple[str, int, int]]:
    for path in images.iterdir():
        if not _TMPFS.fullmatch(path.name):
            continue
        try:
            with tarfile.open(path, "r|gz") as archive:
                for entry in archive:
                    if entry.name.startswith("/") or ".." in entry.name.split("/"):
                        raise _refused(f"has a file outside its place: {entry.name[:80]}")
                    if entry.ischr() or entry.isblk():
                        yield entry.name, entry.devmajor, entry.devminor
        except (tarfile.TarError, OSError, EOFError) as err:
            raise InputError(f"checkpoint is malformed: {path.name}: {err}") from err


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """Filters of system calls, the oldest first; ``is_shared``: the oldest is for all threads of its process."""

    filters: tuple[bytes, ...]
    is_shared: bool


def _filters(path: Path) -> list[_Chain]:
    """Return the chain that ends with each filter."""
    if not path.exists():
        return []
    chains: list[_Chain] = []
    for record in records(path):
        for raw in record.get(1, []):
            one = fields(raw, path.name) if isinstance(raw, bytes) else {}
            previous, flags = number(one, 2, -1), number(one, 3)
            if previous >= len(chains):
                raise InputError(f"checkpoint is malformed: {path.name}: a filter follows none")
            code = one.get(1, [b""])[-1]
            own = code + b"|%d" % (flags & ~_FOR_ALL_THREADS) if isinstance(code, bytes) else b""
            before = chains[previous] if previous >= 0 else None
            filters = (*(before.filters if before else ()), own)
            is_shared = before.is_shared if before else bool(flags & _FOR_ALL_THREADS)
            chains.append(_Chain(filters=filters, is_shared=is_shared))
    return chains


def _threads(images: Path) -> Iterator[Thread]:
    """Yield every thread of every process; one that tells of no filter has its leader's, if that is shared."""
    chains = _filters(images / "seccomp.img")
    for process in records(images / "pstree.img"):
        leader = message(_core(images, number(process, 1)), 5, "core")
        for tid in dict.fromkeys([number(process, 1), *numbers(process, 5)]):
            core = message(_core(images, tid), 5, "core")
            told = core if _SECCOMP_MODE in core else leader
            at = number(told, 12, -1)
            chain = chains[at] if 0 <= at < len(chains) else None
            is_filtered = number(told, _SECCOMP_MODE) == _SECCOMP_FILTER
            if chain is None or not is_filtered or (told is not core and not chain.is_shared):
                chain = _Chain(filters=(), is_shared=False)
            yield _thread(core, chain.filters)


def _core(images: Path, tid: int) -> Fields:
    core = _one(images / f"core-{tid}.img")
    if 4 in core:  # noqa: PLR2004 - the namespaces in images of old, which CRIU would prefer
        raise _refused("tells of namespaces in two places")
    return core


def _thread(core: Fields, filters: tuple[bytes, ...]) -> Thread:
    creds = message(core, 10, "creds")
    return Thread(
        capabilities=tuple(_mask(numbers(creds, field)) for field in _CAPABILITIES),
        uids=frozenset(number(creds, field) for field in (1, 3, 5, 7)),
        gids=frozenset({*(number(creds, field) for field in (2, 4, 6, 8)), *numbers(creds, 14)}),
        securebits=number(creds, 13),
        has_no_new_privs=number(creds, _NO_NEW_PRIVS) == 1,
        filters=filters,
        nice=zigzag(number(core, 3)),
        policy=number(core, 4),
        real_time_priority=number(core, 5),
    )


def _mask(words: Iterable[int]) -> int:
    return sum(word << (32 * place) for place, word in enumerate(words))


def _limits(task: Fields) -> Iterator[int]:
    for raw in message(task, 8, "core").get(1, []):
        yield number(fields(raw, "rlimit") if isinstance(raw, bytes) else {}, 2)


def _one(path: Path) -> Fields:
    try:
        return next(records(path))
    except (StopIteration, FileNotFoundError) as err:
        raise InputError(f"checkpoint is malformed: it has no {path.name}") from err


def _refused(what: str) -> RefusedError:
    return RefusedError(f"checkpoint {what}", reason="tampered")
