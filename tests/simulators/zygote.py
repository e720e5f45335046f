"""A process that has imported the command line once and forks one process for each command.

Each command is a real process with its own exit status: it can be killed, limited, or run as another user. Reads
one JSON object for each on stdin (``argv``, ``env``, ``uid``, ``file_bytes``, ``is_traced``) and answers with a
line that holds its process id, then one with its exit status as ``waitpid`` knows it and with all that it said.
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
    "keys.signers", "trust.cli.founding", "trust.cli.publishing", "trust.cli.rotating",
    "trust.cli.verifying", "trust.oci.layout",
    "trust.refresh", "trust.start", "trust.stores.file",
)  # fmt: skip


def _wait_for_tracer() -> None:
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.001)


def _run(order: dict[str, Any], out: int) -> NoReturn:
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    os.close(out)
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
        said, out = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(said)
            _run(json.loads(line), out)
        os.close(out)
        _answer(child)
        with open(said, encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor has no path
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        _answer({"status": status, "said": text})


def _answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
