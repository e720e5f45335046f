"""Owns what CRIU's images tell of threads: capabilities, users, filters of system calls, priority."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from trust.errors import InputError
from trust.runtime.checkpoint_images import (
    Fields,
    above,
    fields,
    first_record,
    message,
    number,
    numbers,
    records,
    zigzag,
)
from trust.value import dataclass

_INHERITABLE, _PERMITTED, _EFFECTIVE, _BOUNDING, _AMBIENT = 9, 10, 11, 12, 19
_CAPABILITIES = (_INHERITABLE, _PERMITTED, _EFFECTIVE, _BOUNDING, _AMBIENT)
_NO_NEW_PRIVS = 18
_DEAD = 2  # of task_state, by which CRIU decides whether there is anything to resume
_SECCOMP_MODE, _SECCOMP_FILTER = 11, 2
_FOR_ALL_THREADS = 1  # SECCOMP_FILTER_FLAG_TSYNC


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
class _Chain:
    """Filters of system calls, the oldest first; ``is_shared``: the oldest is for all threads of its process."""

    filters: tuple[bytes, ...]
    is_shared: bool


def living(images: Path) -> Iterator[Fields]:
    """Yield every process that lives; one that has ended and waits for its parent comes back as just that.

    It has no rights and no thread, and what CRIU writes where its threads would be is no number of any.
    """
    for process in records(images / "pstree.img"):
        task = message(core_of(images, number(process, 1)), 3, "core")
        if number(task, 1) != _DEAD:
            yield process


def _filters(path: Path) -> list[_Chain]:
    """Return the chain that ends with each filter."""
    if not path.exists():
        return []
    chains: list[_Chain] = []
    read = list(records(path))
    if len(read) > 1:
        raise InputError(f"checkpoint is malformed: {path.name}: expected one record, got {len(read)}")
    for record in read:
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


def threads_of(images: Path) -> Iterator[Thread]:
    """Yield every thread of every process; one that tells of no filter has its leader's, if that is shared."""
    chains = _filters(images / "seccomp.img")
    for process in living(images):
        leader = message(core_of(images, number(process, 1)), 5, "core")
        for tid in dict.fromkeys([number(process, 1), *numbers(process, 5)]):
            core = message(core_of(images, tid), 5, "core")
            told = core if _SECCOMP_MODE in core else leader
            at = number(told, 12, -1)
            chain = chains[at] if 0 <= at < len(chains) else None
            is_filtered = number(told, _SECCOMP_MODE) == _SECCOMP_FILTER
            if chain is None or not is_filtered or (told is not core and not chain.is_shared):
                chain = _Chain(filters=(), is_shared=False)
            yield _thread(core, chain.filters)


def core_of(images: Path, tid: int) -> Fields:
    """Return what is told of one thread.

    Raises:
        RefusedError: ``tampered``; it tells of namespaces too.
    """
    core = first_record(images / f"core-{tid}.img")
    if 4 in core:  # noqa: PLR2004 - the namespaces in images of old, which CRIU would prefer
        raise above("tells of namespaces in two places")
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
