"""Owns a container's own writable root: an overlay over the shared tree where the kernel permits, else a copy.

The overlay is mounted in a mount namespace that only the container's processes keep: nothing is mounted where
others see it, and when the container is gone, by whatever end, so is the mount. The shared tree is the lower
layer, which the kernel never writes to. For an ordinary user that takes a user namespace, which must be made
before the engine starts and cannot be made by a program with threads: ``unshare`` does it, and the engine runs
as root of that namespace, which is nobody but the user.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trust.errors import StateError
from trust.runtime.copying import copy_tree
from trust.runtime.mounts import MountError, attach, idmapped_mount, last_error
from trust.runtime.user_namespace import user_namespace
from trust.value import dataclass, replace

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_SLAVE = 1 << 14, 1 << 19
IMAGE = "image"
_OPTIONS_MAX_BYTES = 4095  # mount(2) takes one page
_PROBE_TIMEOUT_SECONDS = 10.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "slave")
# Words: options, where, what to write a failure to, then the command.
_MOUNT_AND_EXEC = (
    'mount -t overlay overlay -o "$1" "$2" || '
    """{ echo '{"level":"error","msg":"overlay cannot be mounted"}' >>"$3"; exit 125; }; """
    'shift 3; exec "$@"'
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Where an overlay is mounted (``merged``) and from what; all but ``lower`` belong to one container.

    ``in_user_namespace``: an ordinary user's. ``image``: a mount of the image that is nowhere yet, a descriptor;
    it is put at ``lower`` first, which is the container's own then too. ``first_id``: the container's ids are the
    host's from there on; ``merged`` is then a directory of the host that these may reach.
    """

    lower: Path
    upper: Path
    work: Path
    merged: Path
    in_user_namespace: bool
    image: int | None = None
    first_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WritableRoot:
    """A container's root at ``path``; with an ``overlay`` it is there only for what ``start`` starts."""

    path: Path
    overlay: Overlay | None

    @property
    def has_user_namespace(self) -> bool:
        """Tell whether what is started is root of a user namespace, and needs to make none."""
        return self.overlay is not None and self.overlay.in_user_namespace

    def start(self, command: list[str], start: Callable[[list[str]], T], *, log: Path) -> T:
        """Return what ``start`` returns for a command that runs where the root is mounted.

        What hinders the mount after ``start`` has returned is written to ``log``, as an engine writes its errors.

        Raises:
            StateError: the overlay cannot be mounted; and what ``start`` raises.
        """
        overlay = self.overlay
        if overlay is None:
            return start(command)
        if overlay.in_user_namespace:
            return start([*_in_user_namespace(overlay, log), *command])

        def mount_and_start(namespace: int | None = None) -> T:
            _mount(overlay, namespace)
            return start(command)

        try:
            if overlay.first_id is None:
                return _in_own_mounts(mount_and_start)
            with user_namespace(overlay.first_id) as namespace:
                return _in_own_mounts(lambda: mount_and_start(namespace))
        except MountError as err:
            raise StateError(f"overlay cannot be mounted at {overlay.merged}: {err.strerror}") from err


def make_writable_root(
    shared: Path,
    directory: Path,
    *,
    user_namespaces: bool,
    image: int | None = None,
    mapped: tuple[Path, int] | None = None,
) -> WritableRoot:
    """Have a root of its own for one container in ``directory``, as ``shared`` is.

    ``user_namespaces``: the engine can be started as root of one. ``image``: a mount of the same content, to be
    used in its place: no copying then, and what hinders the overlay shows at the start. ``mapped`` is where
    the root of a container with ids of its own is, and the first of them: no copying either.

    Raises:
        OSError: it cannot be written.
    """
    root = directory / "rootfs"
    is_root = os.geteuid() == 0
    overlay = Overlay(
        lower=shared if image is None else directory / IMAGE,
        upper=directory / "upper",
        work=directory / "work",
        merged=root,
        in_user_namespace=not is_root,
        image=image,
    )
    if mapped is not None:
        root, first_id = mapped
        overlay = replace(overlay, merged=root, first_id=first_id)
    if image is not None or mapped is not None:
        (directory / IMAGE).mkdir()
        _make_layers(overlay, shared.stat() if image is None else os.stat(".", dir_fd=image))
        return WritableRoot(path=root, overlay=overlay)
    if is_root or user_namespaces:
        _make_layers(overlay, shared.stat())
        if _permitted(overlay):
            return WritableRoot(path=root, overlay=overlay)
        root.rmdir()
    copy_tree(shared, root)
    return WritableRoot(path=root, overlay=None)


def _make_layers(overlay: Overlay, root: os.stat_result) -> None:
    if overlay.first_id is None:
        overlay.merged.mkdir()
    overlay.work.mkdir()
    overlay.upper.mkdir()
    # The upper directory is what the container sees of its root.
    first = overlay.first_id or 0
    os.chown(overlay.upper, first + root.st_uid, first + root.st_gid)
    overlay.upper.chmod(root.st_mode & 0o7777)


def _permitted(overlay: Overlay) -> bool:
    """Tell whether the kernel mounts it here: not on another overlay, not in every sandbox."""
    if overlay.in_user_namespace:
        if any(character in str(path) for path in (overlay.lower, overlay.merged) for character in ',:"\\'):
            return False  # mount(8) has no spelling for these that all its versions read
        probe = [*_in_user_namespace(overlay, Path(os.devnull)), "true"]
        try:
            done = subprocess.run(
                probe, env={"PATH": _PATH}, capture_output=True, timeout=_PROBE_TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0
    try:
        _in_own_mounts(lambda: _mount(overlay))
    except MountError:
        return False
    return True


def _in_user_namespace(overlay: Overlay, log: Path) -> list[str]:
    """Return the words that make a command run as root of a namespace where the overlay is mounted."""
    options = f"lowerdir={overlay.lower},upperdir={overlay.upper},workdir={overlay.work},userxattr"
    script = f"PATH=$PATH:{_PATH}; {_MOUNT_AND_EXEC}"
    return [*_OWN_NAMESPACES, "sh", "-c", script, "sh", options, str(overlay.merged), str(log)]


def _in_own_mounts(action: Callable[[], T]) -> T:
    """Return what ``action`` returns, run in a thread with a mount namespace of its own.

    In Linux a thread can have one; the process's others keep theirs. The thread ends, its children stay inside.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            _leave_mounts()
            results.append(action())
        except BaseException as err:  # noqa: BLE001 - it is raised again where it is waited for
            failures.append(err)

    thread = threading.Thread(target=work, name="mounts")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _leave_mounts() -> None:
    """Give this thread a mount namespace from which nothing spreads to others."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise last_error()
    if libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_SLAVE), None) != 0:
        raise last_error()


def _mount(overlay: Overlay, namespace: int | None = None) -> None:
    """Have the overlay mounted in this thread's mount namespace; ``namespace`` is whose ids it has."""
    if overlay.image is not None:
        attach(overlay.image, overlay.lower)
    if namespace is not None:
        overlay = _mapped(overlay, namespace)
    options = b",".join(
        key + b"=" + _escaped(path, colons=key == b"lowerdir")
        for key, path in ((b"lowerdir", overlay.lower), (b"upperdir", overlay.upper), (b"workdir", overlay.work))
    )
    if len(options) > _OPTIONS_MAX_BYTES:
        raise MountError(errno.ENAMETOOLONG, "the paths are too long for a mount")
    libc = ctypes.CDLL(None, use_errno=True)
    where = os.fsencode(overlay.merged)
    if libc.mount(b"overlay", where, b"overlay", ctypes.c_ulong(0), options) != 0:
        raise last_error()


def _mapped(overlay: Overlay, namespace: int) -> Overlay:
    """Have the image with the namespace's ids where this container has its own; return the overlay over that.

    The upper directory stays as it is, since whoever mounts writes to it: what a container writes has its ids.
    """
    place = overlay.upper.with_name(IMAGE)
    image = idmapped_mount(overlay.lower, namespace)
    try:
        attach(image, place)
    finally:
        os.close(image)
    return replace(overlay, lower=place)


def _escaped(path: Path, *, colons: bool) -> bytes:
    """Return ``path`` as an option of the overlay: commas part options, colons part lower layers."""
    raw = os.fsencode(path).replace(b"\\", b"\\\\").replace(b",", b"\\,")
    return raw.replace(b":", b"\\:") if colons else raw
