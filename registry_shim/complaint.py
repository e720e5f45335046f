"""Owns what a running shim says of itself on stderr: that nobody can hear it must not end what it serves.

Stderr may be a file on the disk that is full: then the words are lost, or come once there is room.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress


def complain(message: str) -> None:
    """Say what went wrong, in one line, where that can be said."""
    say(f"trust-shim: {message}")


def say(line: str = "") -> None:
    """Say ``line``, or only what was not yet written, where that can be said."""
    with suppress(OSError):
        if line:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def log_to_stderr() -> None:
    """Have the libraries' warnings among the complaints."""
    logging.raiseExceptions = False  # a line that cannot be written has a traceback that cannot be either
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="trust-shim: %(message)s")
