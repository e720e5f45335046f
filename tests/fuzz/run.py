"""Tries very many inputs on the parsers and writes what came of it: ``python -m tests.fuzz.run --help``.

  1. the parsers are imported with every branch of ``trust``, ``keys`` and ``registry_shim`` counted, by atheris
  2. each target is a child of this process, ``--jobs`` at a time, which libFuzzer feeds from the target's seeds;
     where there is no atheris, seeds are changed at random
  3. a child that finds something keeps the input and goes on; it ends when its share of the budget is spent

A child's processor time for one input has a limit, since a parser that can be made to think for a minute is one
that can be made to hang. Results are a JSON document; nothing is read from what libFuzzer prints.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.mutation import mutated, repaired
from tests.fuzz.target import Target

try:
    import atheris
except ImportError:  # no wheel for this machine
    atheris = None

INPUT_MAX_BYTES = 6000
INPUT_MAX_SECONDS = 5.0
FINDINGS_MAX = 20  # of one target: more are the same
_PACKAGES = ["trust", "keys", "registry_shim"]


class TooSlowError(Exception):
    """One input took more processor time than any honest one needs."""


def _targets() -> Sequence[Target]:
    if atheris is not None:
        with atheris.instrument_imports(include=_PACKAGES):
            from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - counted from here on
    else:
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - as above
    return TARGETS


class _Attempt:
    """What was tried on one target so far."""

    def __init__(self, target: Target, budget: int, found: Path, report: Path) -> None:
        self._target, self._budget, self._found, self._report = target, budget, found, report
        self._inputs = self._taken = 0
        self._findings: dict[str, dict[str, str]] = {}
        self._began = time.monotonic()
        self._ticked = -1
        signal.signal(signal.SIGVTALRM, self._tick)
        signal.setitimer(signal.ITIMER_VIRTUAL, INPUT_MAX_SECONDS, INPUT_MAX_SECONDS)

    def _tick(self, _number: int, _frame: object) -> None:
        """End an input that is still tried when the second tick comes."""
        if self._ticked == self._inputs:
            raise TooSlowError(f"more than {INPUT_MAX_SECONDS} s of processor time")
        self._ticked = self._inputs

    def __call__(self, untrusted: bytes) -> None:
        """Try one input; the process ends with the budget."""
        self._inputs += 1
        try:
            self._taken += self._target.answers(untrusted)
        except Exception as err:  # noqa: BLE001 - that is what is looked for
            self._keep(untrusted, err)
        if self._inputs >= self._budget:
            self.end()

    def _keep(self, untrusted: bytes, err: Exception) -> None:
        place = traceback.extract_tb(err.__traceback__)[-1]
        what = f"{type(err).__name__} at {Path(place.filename).name}:{place.lineno}"
        if what in self._findings or len(self._findings) >= FINDINGS_MAX:
            return
        path = self._found / f"{self._target.name}-{hashlib.sha256(untrusted).hexdigest()[:12]}"
        path.write_bytes(untrusted)
        kind = "wrong" if type(err).__name__ == "WrongAcceptError" else "crash"
        self._findings[what] = {"kind": kind, "what": f"{what}: {str(err)[:200]}", "input": str(path)}

    def end(self) -> None:
        """Write the report and end this process at once: libFuzzer would print and count as it likes."""
        document = {
            "target": self._target.name,
            "inputs": self._inputs,
            "taken": self._taken,
            "seconds": round(time.monotonic() - self._began, 1),
            "findings": list(self._findings.values()),
        }
        self._report.write_text(json.dumps(document))
        os._exit(0)


def _child(target: Target, budget: int, seed: int, found: Path, report: Path) -> None:
    out = os.open(report.with_suffix(".said"), os.O_WRONLY | os.O_CREAT, 0o600)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    tempfile.tempdir = str(report.parent)  # what a target writes goes with the parent's scratch
    attempt = _Attempt(target, budget, found, report)
    seeds = target.seeds()
    for each in seeds:
        attempt(each)
    corpus = report.with_suffix(".corpus")
    corpus.mkdir()
    for number, each in enumerate(seeds):
        (corpus / str(number)).write_bytes(each)
    if atheris is None:
        _change_at_random(target, attempt, seeds, random.Random(seed))  # noqa: S311 - no secret
        return
    atheris.Setup(
        ["fuzz", f"-seed={seed}", f"-max_len={INPUT_MAX_BYTES}", "-timeout=86400", "-rss_limit_mb=3072",
         "-verbosity=0", f"-artifact_prefix={corpus.parent}/", str(corpus)],
        attempt, custom_mutator=_mutator(target), internal_libfuzzer=True,
    )  # fmt: skip
    atheris.Fuzz()


def _mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311 - no secret
        if chance.random() < 0.5:
            return repaired(atheris.Mutate(data, max_size), target.form)[:max_size]
        return mutated(data, target.form, chance)[:max_size]

    return mutate


def _change_at_random(target: Target, attempt: _Attempt, seeds: list[bytes], chance: random.Random) -> None:
    pool = list(seeds)
    while True:
        changed = mutated(chance.choice(pool), target.form, chance)[:INPUT_MAX_BYTES]
        attempt(changed)
        if len(pool) < 500 and chance.random() < 0.01:
            pool.append(changed)


def _budgets(targets: Sequence[Target], inputs: int) -> dict[str, int]:
    shares = sum(target.share for target in targets)
    return {target.name: -(-inputs * target.share // shares) for target in targets}


def _all(targets: Sequence[Target], inputs: int, jobs: int, seed: int, found: Path) -> list[dict[str, Any]]:
    budgets, running, done = _budgets(targets, inputs), dict[int, tuple[Target, Path]](), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory(prefix="trust-fuzz-") as scratch:
        pending = list(targets)
        while pending or running:
            while pending and len(running) < jobs:
                target = pending.pop(0)
                report = Path(scratch) / f"{target.name}.json"
                child = os.fork()
                if child == 0:
                    try:
                        _child(target, budgets[target.name], seed, found, report)
                    finally:
                        os._exit(1)
                running[child] = target, report
            child, status = os.wait()
            target, report = running.pop(child)
            done.append(_result(target, report, status, found))
            print(f"{done[-1]['target']}: {done[-1]['inputs']} inputs, {len(done[-1]['findings'])} findings",
                  file=sys.stderr, flush=True)  # fmt: skip
    return done


def _result(target: Target, report: Path, status: int, found: Path) -> dict[str, Any]:
    if report.exists():
        result: dict[str, Any] = json.loads(report.read_text())
        return result
    said = report.with_suffix(".said").read_text(errors="replace")[-2000:]
    kept = found / f"{target.name}-died"
    kept.write_text(said)
    what = f"the process ended with {status}: {said[-200:]}"
    return {"target": target.name, "inputs": 0, "taken": 0, "seconds": 0.0,
            "findings": [{"kind": "crash", "what": what, "input": str(kept)}]}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Try what ``argv`` asks for; 0 nothing was found, 1 something was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Try inputs on the parsers.")
    parser.add_argument("targets", nargs="*", help="names of targets; all by default")
    parser.add_argument("--inputs", type=int, default=100_000, help="how many in all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--found", type=Path, required=True, help="directory for inputs that find something")
    parser.add_argument("--report", type=Path, help="where the results go as JSON")
    arguments = parser.parse_args(argv)
    arguments.found.mkdir(parents=True, exist_ok=True)
    targets = [one for one in _targets() if not arguments.targets or one.name in arguments.targets]
    results = _all(targets, arguments.inputs, arguments.jobs, arguments.seed, arguments.found)
    findings = [finding for result in results for finding in result["findings"]]
    if arguments.report is not None:
        document = {"is_guided": atheris is not None, "results": results}
        arguments.report.write_text(json.dumps(document, indent=1) + "\n")
    for finding in findings:
        print(f"{finding['kind']}: {finding['what']}\n  {finding['input']}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
