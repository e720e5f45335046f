"""``scripts/benchmark``: every figure with its limit, as one table or one JSON document.

Exit status: 0 every limit is met, 1 one is missed (0 all the same with ``--no-fail``), 2 wrong usage, 3 a figure
could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.bench import (
    canonical,
    idle,
    integrity,
    keys,
    migrate,
    publishers,
    run_cached,
    scale,
    shim_blob,
    shim_manifest,
    shim_memory,
    shim_pulls,
    sign_one_tag,
    unchanged,
    unpack,
    unpack_second,
    verify_offline,
    verify_refresh,
)
from scripts.bench.result import Row, document, table
from scripts.bench.setting import BenchError, Setting, own_environ

Figures = Mapping[str, Callable[[Setting], Sequence[Row]]]

FIGURES: Figures = {
    verify_offline.FIGURE: verify_offline.measure,
    verify_refresh.FIGURE: verify_refresh.measure,
    unchanged.FIGURE: unchanged.measure,
    sign_one_tag.FIGURE: sign_one_tag.measure,
    run_cached.FIGURE: run_cached.measure,
    idle.FIGURE: idle.measure,
    unpack.FIGURE: unpack.measure,
    unpack_second.FIGURE: unpack_second.measure,
    integrity.FIGURE: integrity.measure,
    migrate.FIGURE: migrate.measure,
    shim_manifest.FIGURE: shim_manifest.measure,
    shim_blob.FIGURE: shim_blob.measure,
    shim_pulls.FIGURE: shim_pulls.measure,
    shim_memory.FIGURE: shim_memory.measure,
    publishers.FIGURE: publishers.measure,
    keys.FIGURE: keys.measure,
    canonical.FIGURE: canonical.measure,
    scale.FIGURE: scale.measure,
}


def main(argv: Sequence[str] | None = None, figures: Figures = FIGURES) -> int:
    """Measure what ``argv`` asks for (None: this process was), print it, and return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description="Measure the project's limits.")
    parser.add_argument(
        "figures", nargs="*", metavar="FIGURE", help=f"one of {', '.join(figures)}; all by default"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and the smaller sizes only, for CI")
    parser.add_argument("--full", action="store_true", help="pulls for ten minutes, before a release")
    parser.add_argument("--no-fail", action="store_true", help="exit 0 even if a limit is missed")
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.figures) - set(figures))
    if unknown:
        parser.error(f"no such figure: expected {', '.join(figures)}, got {', '.join(unknown)}")
    try:
        wanted = {name: figures[name] for name in arguments.figures or figures}
        rows = _measured(wanted, is_quick=arguments.quick, is_full=arguments.full)
    except BenchError as err:
        print(f"benchmark: {err}", file=sys.stderr)
        return 3
    if arguments.json:
        print(json.dumps(document(rows, is_quick=arguments.quick), indent=1))
    else:
        print(table(rows), end="")
    return 0 if arguments.no_fail or all(row.is_met for row in rows) else 1


def _measured(figures: Figures, *, is_quick: bool, is_full: bool) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="trust-bench-") as directory:
        environ = own_environ(os.environ)
        setting = Setting(directory=Path(directory), is_quick=is_quick, is_full=is_full, environ=environ)
        for name, measure in figures.items():
            print(f"benchmark: measuring {name}", file=sys.stderr, flush=True)
            rows.extend(measure(setting))
    return rows


if __name__ == "__main__":
    sys.exit(main())
