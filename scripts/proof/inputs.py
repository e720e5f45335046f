"""Proves that bad input is answered: nothing crashes, nothing is taken that must not be, whatever comes.

Every parser of what comes from outside is fed by coverage, where atheris has a wheel for this machine, and by
Hypothesis. The running shim gets requests that no client would send, the unpacker layers that no builder would
write. Inputs that found something once are files below ``tests/fuzz/seeds``, and are tried first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from scripts.bench.result import Row
from scripts.bench.setting import CHECKOUT, BenchError, Setting
from scripts.proof.evidence import Test, failed, total, tried
from scripts.proof.finding import Proof

SECTION = "inputs"
KEPT = "tests/fuzz/test_parsers.py"
HTTP = "tests/fuzz/test_http.py"
LAYERS = "tests/fuzz/test_layers.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How many inputs of each kind; ``examples`` of Hypothesis for each parser, ``guided`` by coverage in all."""

    examples: int
    guided: int
    http: int
    archives: int


QUICK = Reach(examples=100, guided=0, http=2_000, archives=200)
USUAL = Reach(examples=300, guided=1_000_000, http=20_000, archives=2_000)
FULL = Reach(examples=1_000, guided=10_000_000, http=100_000, archives=10_000)


def prove(setting: Setting) -> Proof:
    """Return how many inputs there were, and how many of them found something."""
    reach = QUICK if setting.is_quick else FULL if setting.is_full else USUAL
    guided: dict[str, Any] = {"is_guided": False, "results": []}
    if reach.guided:
        guided = _guided(setting, reach.guided)
    environ = {
        "TRUST_FUZZ_EXAMPLES": str(reach.examples),
        "TRUST_FUZZ_HTTP": str(reach.http),
        "TRUST_FUZZ_LAYERS": str(reach.archives),
    }
    kept = tried(setting, KEPT, environ=environ)
    http = tried(setting, HTTP, environ=environ)
    archives = tried(setting, LAYERS, environ=environ)
    found = [finding for result in guided["results"] for finding in result["findings"]]
    return Proof(
        rows=(*_parsers(guided, found, kept, reach.guided), *_http(http, reach), *_archives(archives, reach)),
        lines=(_how(guided, reach), *(f"{one['kind']}: {one['what']}: {one['input']}" for one in found)),
        failures=failed([*kept, *http, *archives]),
    )


def _guided(setting: Setting, inputs: int) -> dict[str, Any]:
    """Return the report of the runner; what it finds is kept beside the checkout's other scratch.

    Raises:
        BenchError: it did not come to an end.
    """
    report = setting.directory / "guided.json"
    command = [
        sys.executable, "-W", "ignore", "-m", "tests.fuzz.run", "--inputs", str(inputs),
        "--found", str(CHECKOUT / ".lab/found"), "--report", str(report),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=CHECKOUT, env=dict(setting.environ), capture_output=True, check=False)
    if not report.exists():
        raise BenchError(f"inputs could not be tried: {done.stderr.decode(errors='replace')[-600:]}")
    document: dict[str, Any] = json.loads(report.read_text())
    return document


def _parsers(
    guided: dict[str, Any], found: list[dict[str, str]], kept: tuple[Test, ...], floor: int
) -> tuple[Row, ...]:
    inputs = sum(result["inputs"] for result in guided["results"]) + total(kept, "inputs")
    crashes = sum(1 for one in found if one["kind"] == "crash")
    return (
        _row("parsers tried", len({test.name.partition("[")[2] for test in kept} - {""})),
        _row("inputs to parsers", inputs, floor=max(floor, 1)),
        _row("of these, crashes", crashes, limit=0),
        _row("of these, wrong accepts", len(found) - crashes, limit=0),
    )


def _http(tests: tuple[Test, ...], reach: Reach) -> tuple[Row, ...]:
    return (
        _row("requests to the shim", total(tests, "http"), floor=reach.http),
        _row("of these, answered wrongly", total(tests, "wrong"), limit=0),
    )


def _archives(tests: tuple[Test, ...], reach: Reach) -> tuple[Row, ...]:
    return (
        _row("hostile images unpacked or refused", total(tests, "archives"), floor=reach.archives),
        _row("of these, escapes or caps passed", total(tests, "wrong"), limit=0),
        _row("of these, crashes", total(tests, "crashes"), limit=0),
    )


def _row(what: str, value: int, *, floor: int | None = None, limit: int | None = None) -> Row:
    return Row(figure=SECTION, what=what, value=value, unit="", floor=floor, limit=limit)


def _how(guided: dict[str, Any], reach: Reach) -> str:
    if guided["is_guided"]:
        return f"parsers: guided by coverage, and {reach.examples} examples of Hypothesis for each"
    why = (
        "the quick form"
        if not reach.guided
        else ""
        if find_spec("atheris")
        else "atheris has no wheel for this machine"
    )
    return f"parsers: not guided by coverage ({why}): seeds changed at random, and Hypothesis"
