"""The process of the command line: quick to start, quick to end.

A gate starts it before every pull. Two habits of the interpreter cost a sixth of a warm verification: collecting
garbage while modules are imported, and taking everything apart at the end. Whatever must be closed (transactions,
connections) is closed by then; what must be seen is flushed.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

COLLECT_EVERY = 50_000  # allocations: more than all imports make
# securesystemslib imports each of these where it is installed, 150 ms in all, for signers that hardly any command
# needs. None in ``sys.modules`` makes an import fail at once; ``keys.late_import`` takes it back where needed.
DEAR_TO_SIGNERS = ("azure.core", "boto3", "botocore", "google.cloud.kms", "hvac", "pkcs11")


def main() -> NoReturn:
    """Run the command line; the process ends with its exit code."""
    gc.set_threshold(COLLECT_EVERY)
    for name in DEAR_TO_SIGNERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is a word of the import machinery
    # Closed by whoever started us: nothing comes from there and nothing goes there, and the exit code still tells.
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole process
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    from trust.cli import main as run  # noqa: PLC0415 - after the line above, which it profits from

    code = 0
    try:
        run()
    except SystemExit as err:
        code = err.code if isinstance(err.code, int) else 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        code = code or 3  # whoever was to read it is gone
    os._exit(code)
