"""``scripts/prove``: every promise with its figure, as one table or one JSON document.

Exit status: 0 every figure is met, 1 one is missed, 2 wrong usage, 3 something could not be tried.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.bench.result import document, table
from scripts.bench.setting import BenchError, Setting, own_environ
from scripts.proof import coverage, faults, histories, inputs, load, matrix, mutants, survivors
from scripts.proof.finding import Proof

Sections = Mapping[str, Callable[[Setting], Proof]]

SECTIONS: Sections = {
    matrix.SECTION: matrix.prove,
    histories.SECTION: histories.prove,
    mutants.SECTION: mutants.prove,
    survivors.SECTION: survivors.prove,
    faults.SECTION: faults.prove,
    inputs.SECTION: inputs.prove,
    load.SECTION: load.prove,
    coverage.SECTION: coverage.prove,
}


def main(argv: Sequence[str] | None = None, sections: Sections = SECTIONS) -> int:
    """Prove what ``argv`` asks for (None: this process was), print it, and return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/prove", description="Prove what the project promises.")
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"one of {', '.join(sections)}; all by default"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="the short form, for CI")
    length.add_argument("--full", action="store_true", help="the long form, which takes hours")
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.sections) - set(sections))
    if unknown:
        parser.error(f"no such section: expected {', '.join(sections)}, got {', '.join(unknown)}")
    wanted = {name: sections[name] for name in arguments.sections or sections}
    try:
        proofs = _proved(wanted, is_quick=arguments.quick, is_full=arguments.full)
    except BenchError as err:
        print(f"prove: {err}", file=sys.stderr)
        return 3
    print(_document(proofs, is_quick=arguments.quick) if arguments.json else _text(proofs), end="")
    return 0 if all(proof.is_met for proof in proofs.values()) else 1


def _proved(sections: Sections, *, is_quick: bool, is_full: bool) -> dict[str, Proof]:
    proofs: dict[str, Proof] = {}
    for name, prove in sections.items():
        print(f"prove: {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="trust-prove-") as directory:
            environ = own_environ(os.environ)
            proofs[name] = prove(
                Setting(directory=Path(directory), is_quick=is_quick, is_full=is_full, environ=environ)
            )
    return proofs


def _text(proofs: Mapping[str, Proof]) -> str:
    parts = ["\n".join(proof.lines) + "\n\n" for proof in proofs.values() if proof.lines]
    parts.append(table(row for proof in proofs.values() for row in proof.rows))
    parts += [f"failed: {name}\n" for proof in proofs.values() for name in proof.failures]
    return "".join(parts)


def _document(proofs: Mapping[str, Proof], *, is_quick: bool) -> str:
    whole = document([row for proof in proofs.values() for row in proof.rows], is_quick=is_quick)
    whole["met"] = all(proof.is_met for proof in proofs.values())
    whole["sections"] = {
        name: {"lines": list(proof.lines), "failures": list(proof.failures)} for name, proof in proofs.items()
    }
    return json.dumps(whole, indent=1) + "\n"


if __name__ == "__main__":
    sys.exit(main())
