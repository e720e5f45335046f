"""Owns what a bundle is in bubblewrap's words: namespaces, capabilities, mounts, masks. Source: bwrap(1) 0.8."""

from __future__ import annotations

from pathlib import Path

from trust.runtime.bundle import CAPABILITIES, MASKED_PATHS, READ_ONLY_PATHS, Bundle


def options_of(bundle: Bundle) -> list[str]:
    """Return the options that give a container what its bundle says, and no more."""
    options = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--new-session"]
    options += ["--hostname", bundle.hostname]
    if bundle.network != "host":
        options.append("--unshare-net")
    if bundle.caller.is_root:
        options += ["--cap-drop", "ALL"]
        for capability in CAPABILITIES:
            if capability != "CAP_MKNOD":  # without a cgroup of devices it would open the host's disks
                options += ["--cap-add", capability]
    else:
        options += ["--unshare-user", "--disable-userns"]
        options += ["--uid", str(bundle.account.uid), "--gid", str(bundle.account.gid)]
    options += ["--bind", str(bundle.root), "/", "--proc", "/proc", "--dev", "/dev", "--mqueue", "/dev/mqueue"]
    options += _masks()
    for target, source in bundle.files.items():
        options += ["--bind", str(source), target]
    for one in bundle.tmpfs:
        options += ["--perms", "1777", "--size", str(one.size_bytes), "--tmpfs", one.target]
    for volume in bundle.volumes:
        options += ["--ro-bind" if volume.is_read_only else "--bind", str(volume.source), volume.target]
    if bundle.is_read_only:
        options += ["--remount-ro", "/"]
    options.append("--clearenv")
    for name, value in bundle.environment.items():
        options += ["--setenv", name, value]
    return [*options, "--chdir", bundle.working_directory]


def _masks() -> list[str]:
    """Return what hides the kernel's files, and what keeps root from writing to the others."""
    options = []
    for text in READ_ONLY_PATHS:
        if Path(text).exists():
            options += ["--ro-bind", text, text]
    for text in MASKED_PATHS:
        path = Path(text)
        if path.parts[1] == "proc" and path.exists():
            options += (
                ["--tmpfs", text, "--remount-ro", text] if path.is_dir() else ["--ro-bind", "/dev/null", text]
            )
    return options
