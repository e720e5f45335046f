"""Owns control groups: where the kernel's controllers are, one container's own groups, and what it has used.

Three layouts are met: v1 (a hierarchy for each controller), v2 (one for all), and both at once. Root's OCI engines
make a container's groups themselves, ``trust/IDENTITY``. For bubblewrap, and for an ordinary user, they are made
here, and the container's first process is put there before its command begins. An ordinary user can do that only
below a group that was delegated to him: where he has none a limit is refused, never left out.

Source: Linux "Control Group v2" and "Control Groups version 1".
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from trust.errors import InputError, StateError
from trust.runtime.limits import CPU_PERIOD_MICROSECONDS, Limits
from trust.value import dataclass

ROOT_NAME = "trust"  # root's containers are below it
_OURS = "trust-own"  # on v2 a group that hands out controllers has no process of its own: ours wait here
_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
_PROCESSES = "cgroup.procs"
_REMOVAL_TRIES, _REMOVAL_PAUSE_SECONDS = 250, 0.02
_PLACE = (
    """pid=$(sed -n 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/p'); [ "$pid" ] || exit 1; """
    'for group; do echo "$pid" >"$group/cgroup.procs" || exit 1; done'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Where a tree of groups is mounted, and which group is seen at the mount point."""

    mount: Path
    root: str
    is_unified: bool

    def group(self, path: str) -> Path:
        """Return the directory of the group that ``/proc/PID/cgroup`` calls ``path``."""
        inner = path.removeprefix(self.root.rstrip("/"))
        return self.mount / inner.lstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """One container's own groups, with their limits set."""

    directories: tuple[Path, ...]

    def place(self, pid: int) -> None:
        """Have the process in the groups; its children begin there.

        Raises:
            StateError: the kernel refuses.
        """
        for directory in self.directories:
            _write(directory / _PROCESSES, str(pid))

    def hook(self) -> dict[str, object]:
        """Return an OCI hook that does so; it fails, and the start with it, where the kernel refuses."""
        return {"path": "/bin/sh", "args": ["sh", "-c", _PLACE, "sh", *map(str, self.directories)]}


class Controllers:
    """The controllers of this machine, as this process sees them."""

    def __init__(self, *, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        mounted = (proc / "self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        self.hierarchies = hierarchies_of(mounted)
        self._mounts = [mount.mount for mount, _ in _mounts(mounted)]

    def groups_of(self, pid: int | str) -> Mapping[str, Path]:
        """Return the directory of a process's group for each controller; empty where it has ended."""
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text(errors="surrogateescape").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return {}
        paths = {}
        for line in lines:
            _, names, path = line.split(":", 2)
            for name in names.split(",") if names else ("",):
                paths[name] = path
        return {
            name: hierarchy.group(paths["" if hierarchy.is_unified else name])
            for name, hierarchy in self.hierarchies.items()
            if ("" if hierarchy.is_unified else name) in paths
        }

    def make(self, identity: str, limits: Limits, *, is_root: bool) -> Groups:
        """Return new groups of a container that hold ``limits``.

        Raises:
            InputError: the kernel has no such controller, or an ordinary user was not given it.
            StateError: a group cannot be made.
        """
        made: dict[Path, Path] = {}
        for name in limits.controllers:
            hierarchy = self.hierarchies.get(name)
            if hierarchy is None:
                raise InputError(f"{name} cannot be limited: this kernel has no such controller")
            base = hierarchy.mount / ROOT_NAME if is_root else self._delegated(name)
            directory = base / (identity if is_root else f"{ROOT_NAME}-{identity}")
            try:
                if hierarchy.is_unified:
                    _hand_out(hierarchy.mount, base, name)
                directory.mkdir(parents=True, exist_ok=True)
                _set(directory, name, limits, is_unified=hierarchy.is_unified)
            except OSError as err:
                raise StateError(f"{name} cannot be limited: {err.strerror}: {err.filename}") from err
            made[directory] = directory
        return Groups(directories=tuple(made))

    def remove(self, identity: str) -> None:
        """Have no group of the container, wherever it can have had one, and no process in one.

        Raises:
            OSError: the kernel refuses.
        """
        for directory in self._possible(identity):
            if directory.is_dir():
                for path, _, _ in os.walk(directory, topdown=False):
                    _empty(Path(path))

    def _possible(self, identity: str) -> Iterator[Path]:
        for mount in self._mounts:  # an engine makes groups in those too that nobody asked about
            yield mount / ROOT_NAME / identity
        for own in set(self.groups_of("self").values()):
            yield _base(own) / f"{ROOT_NAME}-{identity}"

    def _delegated(self, name: str) -> Path:
        """Return the group below which this user may make groups with the controller ``name``."""
        own = self.groups_of("self").get(name)
        base = _base(own) if own else None
        if base is None or not os.access(base, os.W_OK) or not os.access(base / _PROCESSES, os.W_OK):
            raise InputError(
                f"{name} cannot be limited: no control group was delegated to this user",
                hint="systemd-run --user --scope -p Delegate=yes trust run …",
            )
        hierarchy = self.hierarchies[name]
        if hierarchy.is_unified and name not in _words(base / "cgroup.controllers"):
            raise InputError(f"{name} cannot be limited: the group delegated to this user is without it: {base}")
        return base


def hierarchies_of(mountinfo: str) -> Mapping[str, Hierarchy]:
    """Return where each controller of interest is; one that both layouts could have is where it is enabled."""
    found: dict[str, Hierarchy] = {}
    unified: Hierarchy | None = None
    for hierarchy, options in _mounts(mountinfo):
        if hierarchy.is_unified:
            unified = unified or hierarchy
        for name in _CONTROLLERS:
            if name in options and not hierarchy.is_unified:
                found.setdefault(name, hierarchy)
    if unified is not None:
        for name in _words(unified.mount / "cgroup.controllers"):
            if name in _CONTROLLERS:
                found.setdefault(name, unified)
        if found.get("cpu") == unified:
            found.setdefault("cpuacct", unified)
    return found


def _mounts(mountinfo: str) -> Iterator[tuple[Hierarchy, list[str]]]:
    """Yield every mounted tree of groups with its options, which name the controllers of v1."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            _, _, _, root, mount = before.split(" ")[:5]
            hierarchy = Hierarchy(
                mount=Path(_unescaped(mount)), root=_unescaped(root), is_unified=kind == "cgroup2"
            )
            yield hierarchy, options.split(",")


def _empty(group: Path) -> None:
    """Have no such group; what was killed a moment ago still keeps it busy for another."""
    for _ in range(_REMOVAL_TRIES):
        for pid in map(int, _words(group / _PROCESSES)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError as err:
            if err.errno != errno.EBUSY:
                raise
            select.select([], [], [], _REMOVAL_PAUSE_SECONDS)
        else:
            return
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(group))


def _base(own: Path) -> Path:
    return own.parent if own.name == _OURS else own


def _hand_out(mount: Path, base: Path, name: str) -> None:
    """Have the controller in the groups below ``base`` (v2)."""
    base.mkdir(exist_ok=True)
    for directory in (mount, base) if base.parent == mount else (base,):
        if name in _words(directory / "cgroup.subtree_control"):
            continue
        pids = _words(directory / _PROCESSES) if directory != mount else ()
        if pids:
            (directory / _OURS).mkdir(exist_ok=True)
        for pid in pids:
            with suppress(ProcessLookupError):
                (directory / _OURS / _PROCESSES).write_text(pid)
        (directory / "cgroup.subtree_control").write_text(f"+{name}")


def _set(directory: Path, name: str, limits: Limits, *, is_unified: bool) -> None:
    if name == "memory":
        file = "memory.max" if is_unified else "memory.limit_in_bytes"
        (directory / file).write_text(str(limits.memory_bytes))
    elif name == "pids":
        (directory / "pids.max").write_text(str(limits.pids))
    elif is_unified:
        (directory / "cpu.max").write_text(f"{limits.cpu_quota_microseconds} {CPU_PERIOD_MICROSECONDS}")
    else:
        (directory / "cpu.cfs_period_us").write_text(str(CPU_PERIOD_MICROSECONDS))
        (directory / "cpu.cfs_quota_us").write_text(str(limits.cpu_quota_microseconds))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as err:
        raise StateError(f"process cannot be put into its control group: {err.strerror}: {path}") from err


def _unescaped(text: str) -> str:
    """Return a path of ``mountinfo``, where blanks and backslashes are octal."""
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
