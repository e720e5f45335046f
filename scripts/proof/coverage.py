"""Proves how much of what security rests on the tests reach: each line, and both ways of each branch.

The tests that are run here are those of values, rules, verifier and gate, with ``--quick`` of the values alone;
processes that they start count too. What cannot be reached is marked where it stands (``pragma: no cover``), with
its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.bench.result import Row
from scripts.bench.setting import CHECKOUT, BenchError, Setting
from scripts.proof.finding import Proof

SECTION = "coverage"
PARTS: Mapping[str, Sequence[str]] = {
    "values": (
        "trust/digest.py", "trust/reference.py", "trust/verdict.py", "trust/targets.py", "trust/chain.py",
        "trust/attestations.py", "trust/manifest.py", "trust/strict_json.py", "trust/instant.py",
        "trust/deadline.py",
    ),
    "rules": ("trust/policy.py", "trust/delegations.py", "trust/naming.py", "trust/roles.py", "trust/turns.py"),
    "verifier": (
        "trust/verify.py", "trust/client.py", "trust/refresh.py", "trust/descent.py", "trust/floors.py",
        "trust/metadata.py", "trust/view_fetcher.py", "trust/state.py", "trust/rows.py", "trust/row_writing.py",
    ),
    "gate": (
        "registry_shim/routes.py", "registry_shim/gate.py", "registry_shim/snapshot.py",
        "registry_shim/closure.py", "registry_shim/freshness.py", "registry_shim/pull.py",
    ),
}  # fmt: skip
TESTS = ("tests/values", "tests/delegation", "tests/shim", "tests/attacks", "tests/journeys/test_verify.py")
_LEFT_OUT = "not kill and not disk and not life and not fuzz"  # they repeat what others reach, for many minutes
_SETTINGS = """[run]
branch = True
parallel = True
sigterm = True
patch = subprocess, _exit
source = trust, registry_shim
data_file = {data}
[report]
exclude_also =
    if TYPE_CHECKING:
    class .*\\(Protocol\\):
"""
_WHOLE = 100.0


def prove(setting: Setting) -> Proof:
    """Return how many percent of the lines and branches of each part were reached, and what was not.

    Raises:
        BenchError: the tests could not be run.
    """
    settings, report = setting.directory / "coverage.rc", setting.directory / "coverage.json"
    settings.write_text(_SETTINGS.format(data=setting.directory / "data"), "utf-8")
    tests = TESTS[:1] if setting.is_quick else TESTS
    pytest = ("pytest", "-q", "-p", "no:cacheprovider", "--timeout", "0", "-k", _LEFT_OUT, *tests)
    done = _python(setting, "coverage", "run", f"--rcfile={settings}", "-m", *pytest)
    if done.returncode not in {0, 1}:
        raise BenchError(f"pytest ended with {done.returncode}: {done.stdout[-300:]}")
    for words in (("combine", "-q"), ("json", "-q", "-o", str(report))):
        done_after = _python(setting, "coverage", words[0], f"--rcfile={settings}", *words[1:])
        if done_after.returncode != 0:
            raise BenchError(f"coverage {words[0]} failed: {done_after.stdout[-300:]}{done_after.stderr[-300:]}")
    files = {Path(name): one for name, one in json.loads(report.read_text("utf-8"))["files"].items()}
    parts = {"values": PARTS["values"]} if setting.is_quick else PARTS
    wanted = {part: [(name, files[Path(name)]) for name in names] for part, names in parts.items()}
    return Proof(
        rows=tuple(_row(part, [one["summary"] for _, one in found]) for part, found in wanted.items()),
        lines=tuple(line for found in wanted.values() for name, one in found if (line := _missing(name, one))),
        failures=tuple(line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")),
    )


def _python(setting: Setting, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=CHECKOUT, env=dict(setting.environ), capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def _row(part: str, summaries: Sequence[Mapping[str, int]]) -> Row:
    tried = sum(one["num_statements"] + one["num_branches"] for one in summaries)
    reached = sum(one["covered_lines"] + one["covered_branches"] for one in summaries)
    return Row(figure=SECTION, what=f"lines and branches of the {part}", value=100 * reached / tried, unit="%",
               floor=_WHOLE)  # fmt: skip


def _missing(name: str, one: Mapping[str, Sequence[object]]) -> str:
    lines, branches = one["missing_lines"], one["missing_branches"]
    return f"not reached: {name}: lines {lines}, branches {branches}" if lines or branches else ""
