"""A process that has imported what tests need of libraries, and forks one run of pytest for each order.

Reads one JSON object for each on stdin: ``tests``, files or node ids, ``seconds``, after which the run is ended,
and ``is_unbroken``. Answers with a line: the exit status of pytest, or null for a run that was ended. Nothing of
the product is imported here, so that each run reads it as it stands on the disk by then; compiled code is written
by runs of the unbroken product alone.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from hypothesis import settings

LIBRARIES = (
    "aiohttp.web", "cryptography.hazmat.primitives.serialization", "hypothesis.strategies", "orjson", "pytest",
    "securesystemslib.signer", "tomli_w", "tomlkit", "tuf.api.metadata", "tuf.ngclient",
)  # fmt: skip
_PROFILE, _EXAMPLES = "survivors", 30
_MEMORY_BYTES = 4 << 30  # of a variant that never has enough


def serve(directory: Path) -> None:
    """Answer until stdin ends; ``directory`` is for what tests write and say."""
    for module in LIBRARIES:
        import_module(module)
    # The same inputs each time, and few: what only luck notices is not noticed.
    settings.register_profile(_PROFILE, deadline=None, derandomize=True, database=None, max_examples=_EXAMPLES)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(order["tests"], directory, is_unbroken=order["is_unbroken"])
        status = _ended(child, order["seconds"])
        print(json.dumps(status), flush=True)


def _run(tests: Sequence[str], directory: Path, *, is_unbroken: bool) -> NoReturn:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = os.open(directory / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.dont_write_bytecode = not is_unbroken
    pytest = import_module("pytest")
    status = pytest.main(
        [
            "-q", "-x", "-p", "no:cacheprovider", "--timeout", "0", "--basetemp", str(directory / "t"),
            "--hypothesis-profile", _PROFILE, "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests,
        ]
    )  # fmt: skip
    sys.stdout.flush()
    os._exit(int(status))


def _ended(child: int, seconds: float) -> int | None:
    """Return the exit status of ``child``; None where it took longer or died, and all of its session are ended."""
    until = time.monotonic() + seconds
    pid = status = 0
    while not pid and time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.005)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not pid:
        os.waitpid(child, 0)
        return None
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
