"""Owns what a service of ours tells systemd: ``sd_notify(3)``, without its library.

Without systemd every word goes nowhere, and the service runs as well. A word that cannot be delivered stops
nothing: systemd's own time-outs judge us.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from trust.value import dataclass

_LONGEST_STATUS = 500  # characters; a datagram must fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """Speaks to the service manager at ``address``: a path, ``@`` and a name for an abstract socket, or nobody."""

    address: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Return one for whoever started this process. Of several processes one alone speaks."""
        return cls(address=environ.get("NOTIFY_SOCKET", ""))

    def ready(self, status: str = "") -> bool:
        """Say that the service serves, after a start or a reload; return whether it was delivered."""
        return self._send("READY=1", *_status(status))

    def reloading(self) -> bool:
        """Say that the configuration is read anew, until ``ready``; ``Type=notify-reload`` needs the moment."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> bool:
        """Say that the service is about to end."""
        return self._send("STOPPING=1", *_status(status))

    def status(self, status: str) -> bool:
        """Say in words how the service is: ``systemctl status`` shows it."""
        return self._send(*_status(status))

    def alive(self) -> bool:
        """Say that the loop still turns, at least twice within ``watchdog_seconds``."""
        return self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> bool:
        if not self.address.startswith(("/", "@")):  # anything else is not ours to reach
            return False
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(0)  # the manager's full queue must not stop the service
                sender.connect(address)
                sender.send("\n".join(assignments).encode("utf-8", "replace"))
        except OSError:
            return False
        return True


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float:
    """Return within what time systemd wants to hear ``alive`` of this process; 0 if it does not."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(microseconds) / 1_000_000


def _status(status: str) -> list[str]:
    """Return the assignment, if any; a newline would begin another one, and words may come from a registry."""
    line = " ".join(status.split())[:_LONGEST_STATUS]
    return [f"STATUS={line}"] if line else []
