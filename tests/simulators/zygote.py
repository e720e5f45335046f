"""A process that has imported the command line once and forks one process for each command.

Each command is a real process with its own exit status: it can be killed, limited, or run as another user. Reads
one JSON object for each on stdin (``argv``, ``env``, ``cwd``, ``out``, ``uid``, ``file_bytes``, ``is_traced``) and
answers with a line that holds its process id, then one with its exit status as ``waitpid`` knows it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

COMMANDS_IMPORT = (
    "keys.signers", "trust.cli.founding", "trust.cli.publishing", "trust.cli.verifying", "trust.oci.layout",
    "trust.refresh", "trust.start", "trust.stores.file",
)  # fmt: skip


def _wait_for_tracer() -> None:
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.001)


def _run(order: dict[str, Any]) -> NoReturn:
    out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["trust", *order["argv"]]
    if order["file_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_bytes"], order["file_bytes"]))
    if order["uid"] is not None:
        os.setgroups([])
        os.setgid(order["uid"])
        os.setuid(order["uid"])
    if order["is_traced"]:
        _wait_for_tracer()
    import_module("trust.start").main()
    raise AssertionError("a command does not return")


def serve() -> None:
    """Answer until stdin ends."""
    for module in COMMANDS_IMPORT:
        import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
