"""Owns what containers need to know of this machine and its user."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from trust.cli.session import Session
from trust.runtime.bundle import Caller
from trust.runtime.content import machine_platform, parse_platform
from trust.runtime.host import Host

_RESOLVER = Path("/etc/resolv.conf")


def host_of(this: Session, wanted: str | None = None) -> Host:
    """Return this host; ``wanted`` is a platform other than its own.

    No container stands still on it for a ``trust checkpoint`` that was killed.
    """
    if (this.home / "checkpoints").exists():
        from trust.runtime.checkpoint_guard import thaw_abandoned  # noqa: PLC0415 - few have any

        thaw_abandoned(this.home, os.environ)
    return Host(
        home=this.home,
        caller=Caller(uid=os.geteuid(), gid=os.getegid()),
        platform=parse_platform(wanted) if wanted else machine_platform(platform.machine()),
        environ=os.environ,
        resolver=_RESOLVER.read_bytes() if _RESOLVER.exists() else b"",
    )
