"""Owns what one container is: the values every engine needs, and the OCI runtime configuration made of them.

Pure but for reading the image's own ``passwd``, ``group`` and working directory inside its tree. The defaults are
the field's: its fourteen capabilities and no ambient or inheritable ones (CVE-2022-24769), ``no_new_privs``
always, masked and read-only kernel files, no device but the harmless ones. Source: OCI runtime-spec 1.0.2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trust.errors import InputError
from trust.runtime.account import FILE_MAX_BYTES, Account, resolve_account
from trust.runtime.command import require_own_command
from trust.runtime.image import KERNEL_DIRECTORIES, ImageConfig, is_text
from trust.runtime.limits import Limits
from trust.runtime.options import Network, RunOptions, Tmpfs, Volume
from trust.runtime.seccomp import seccomp_profile
from trust.runtime.user_namespace import RANGE_IDS
from trust.runtime.walk import Root
from trust.value import dataclass

CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
CRIU_CONFIG = "org.criu.config"  # what engines hand on to CRIU; written by whoever makes a checkpoint
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who runs containers: an ordinary user's are mapped to his own two ids, and have no cgroup."""

    uid: int
    gid: int

    @property
    def is_root(self) -> bool:
        """Tell whether it is root."""
        return self.uid == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One container to be run; ``root`` is its own writable root, ``directory`` where its files are.

    ``arguments`` is the whole command line, ``working_directory`` a path without links; ``files`` are small files
    of the host that the container sees, by their path in it. ``first_id`` is the host's id that is the container's
    0, where root's container has ids of its own.
    """

    identity: str
    directory: Path
    root: Path
    caller: Caller
    architecture: str
    account: Account
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str
    hostname: str
    network: Network
    is_read_only: bool
    volumes: tuple[Volume, ...]
    files: Mapping[str, Path]
    tmpfs: tuple[Tmpfs, ...] = ()
    limits: Limits = Limits()
    first_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What the image and the user together say is to be run."""

    account: Account
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    working_directory: str


def process_of(config: ImageConfig, options: RunOptions, *, tree: Path | int, hostname: str) -> Process:
    """Return the process of a container of the image whose tree is ``tree``, a path or a descriptor.

    Raises:
        InputError: no command, an unknown user, or a command or a working directory that is one of the kernel's
            (CVE-2019-5736, CVE-2024-21626).
    """
    arguments = (*config.entrypoint, *(options.command or config.command))
    if not arguments:
        raise InputError("image names no command: expected one after its name", hint="trust run IMAGE COMMAND")
    if not all(is_text(word) for word in arguments):
        raise InputError("command is not UTF-8 text")
    environment = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    environment.update(config.environment)
    environment.update(options.environment)
    with Root(tree) as root:
        account = resolve_account(
            config.user,
            untrusted_passwd=root.read((b"etc", b"passwd"), max_bytes=FILE_MAX_BYTES) or b"",
            untrusted_group=root.read((b"etc", b"group"), max_bytes=FILE_MAX_BYTES) or b"",
        )
        working_directory = _resolved(root, config.working_directory)
        require_own_command(root, arguments[0], working_directory=working_directory, search=environment["PATH"])
    environment = {"HOME": account.home, **environment}
    return Process(
        account=account, arguments=arguments, environment=environment, working_directory=working_directory
    )


def runtime_config(bundle: Bundle, *, has_user_namespace: bool = False) -> dict[str, Any]:
    """Return the OCI runtime configuration of ``bundle``.

    ``has_user_namespace``: the engine runs in one already, where an ordinary user is root.
    """
    account, caller = bundle.account, bundle.caller
    user: dict[str, Any] = {
        "uid": account.uid,
        "gid": account.gid,
        "additionalGids": list(account.additional_gids),
    }
    if not caller.is_root:
        user = {"uid": 0, "gid": 0}  # the one id that an ordinary user can give
    held = list(CAPABILITIES) if account.uid == 0 else []
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": user,
            "args": list(bundle.arguments),
            "env": [f"{name}={value}" for name, value in bundle.environment.items()],
            "cwd": bundle.working_directory,
            "capabilities": {
                "bounding": list(CAPABILITIES),
                "effective": held,
                "permitted": held,
                "inheritable": [],
                "ambient": [],
            },
            "noNewPrivileges": True,
        },
        "root": {"path": str(bundle.root), "readonly": bundle.is_read_only},
        "hostname": bundle.hostname,
        "mounts": _mounts(bundle),
        "annotations": {CRIU_CONFIG: str(bundle.directory / "criu.conf")},  # read if it is checkpointed
        "linux": {
            "namespaces": _namespaces(bundle, has_user_namespace=has_user_namespace),
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READ_ONLY_PATHS),
            "seccomp": seccomp_profile(bundle.architecture),
            **(_cgroup(bundle) if caller.is_root else {} if has_user_namespace else _mappings(caller)),
            **({} if bundle.first_id is None else _range(bundle.first_id)),
        },
    }


def executed_process(config: Mapping[str, Any], process: Process) -> dict[str, Any]:
    """Return ``process`` as the OCI runtime configuration has it, for a container configured by ``config``.

    The container's own process is the model: what it may not do, one that joins it may not do either.
    """
    own: dict[str, Any] = config["process"]
    account = process.account
    held = own["capabilities"]["bounding"] if account.uid == 0 else []
    return {
        **own,
        "user": {"uid": account.uid, "gid": account.gid, "additionalGids": list(account.additional_gids)},
        "args": list(process.arguments),
        "env": [f"{name}={value}" for name, value in process.environment.items()],
        "cwd": process.working_directory,
        "capabilities": {**own["capabilities"], "effective": held, "permitted": held},
    }


def container_files(bundle: Bundle, *, resolver: bytes) -> Mapping[str, bytes]:
    """Return what a container is told of names; ``resolver`` is the host's, for its network alone."""
    names = f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{bundle.hostname}\n"
    return {
        "/etc/hostname": f"{bundle.hostname}\n".encode(),
        "/etc/hosts": names.encode(),
        "/etc/resolv.conf": resolver if bundle.network == "host" else b"",
    }


def _resolved(root: Root, path: str) -> str:
    """Return where the working directory really lies; the image's links must not lead it to the kernel's."""
    try:
        with root.directory([os.fsencode(part) for part in path.split("/")]) as place:
            parts = [os.fsdecode(part) for part in place.path]
    except FileNotFoundError as err:
        raise InputError(f"working directory is not in the image: {path}") from err
    if parts and parts[0] in KERNEL_DIRECTORIES:
        raise InputError(f"working directory leads to /{'/'.join(parts)[:80]}, where the kernel's things are")
    return "/" + "/".join(parts)


def _namespaces(bundle: Bundle, *, has_user_namespace: bool) -> list[dict[str, str]]:
    kinds = ["pid", "ipc", "uts", "mount", "cgroup"]
    if bundle.network != "host":
        kinds.append("network")
    if bundle.first_id is not None or (not bundle.caller.is_root and not has_user_namespace):
        kinds.append("user")
    return [{"type": kind} for kind in kinds]


def _cgroup(bundle: Bundle) -> dict[str, Any]:
    """Return root's part: a cgroup of its own, in which making a device node gives no access to the device."""
    return {
        "cgroupsPath": f"/trust/{bundle.identity}",
        "resources": {"devices": [{"allow": False, "access": "rwm"}], **bundle.limits.resources()},
    }


def _mappings(caller: Caller) -> dict[str, Any]:
    return {
        "uidMappings": [{"containerID": 0, "hostID": caller.uid, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": caller.gid, "size": 1}],
    }


def _range(first: int) -> dict[str, Any]:
    ids = [{"containerID": 0, "hostID": first, "size": RANGE_IDS}]
    return {"uidMappings": ids, "gidMappings": ids}


def _mounts(bundle: Bundle) -> list[dict[str, Any]]:
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if bundle.caller.is_root:
        terminals.append("gid=5")
    mounts = [
        _mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", terminals),
        _mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),  # noqa: S108
        _mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ]
    if bundle.network == "host" and (bundle.first_id is not None or not bundle.caller.is_root):
        # The kernel mounts sysfs for whoever owns the network namespace; the host's can only be bound.
        mounts.append(_mount("/sys", "none", "/sys", ["rbind", "nosuid", "noexec", "nodev", "ro"]))
    else:
        mounts.append(_mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]))
    mounts.extend(
        _mount(target, "bind", str(source), ["bind", "rprivate", "nosuid", "nodev"])
        for target, source in bundle.files.items()
    )
    mounts.extend(
        _mount(one.target, "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=1777", f"size={one.size_bytes}"])
        for one in bundle.tmpfs
    )
    for volume in bundle.volumes:
        access = "ro" if volume.is_read_only else "rw"
        mounts.append(
            _mount(volume.target, "bind", str(volume.source), ["rbind", "rprivate", "nosuid", "nodev", access])
        )
    return mounts


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}
