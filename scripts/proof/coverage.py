"""Proves how much of what security rests on the tests reach: each line, and both ways of each branch.

What is counted is ``PARTS``: from a reference or a request to the verdict on it, without the doors to the outside
(``trust.oci``, ``trust.stores``). The tests are those beside it (``TESTS``), with ``--quick`` of the values alone;
processes that they start count too: commands, shims, workers. What cannot be reached is marked where it stands
(``pragma: no cover``), with its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.bench.result import Row
from scripts.bench.setting import CHECKOUT, BenchError, Setting
from scripts.proof.evidence import WORKERS
from scripts.proof.finding import Proof

SECTION = "coverage"
PARTS: Mapping[str, Sequence[str]] = {
    "values": (
        "trust/attestations.py", "trust/chain.py", "trust/deadline.py", "trust/digest.py", "trust/errors.py",
        "trust/instant.py", "trust/manifest.py", "trust/reference.py", "trust/strict_json.py", "trust/targets.py",
        "trust/toml_table.py", "trust/value.py", "trust/verdict.py",
    ),
    "rules": (
        "trust/attestation_document.py", "trust/decision.py", "trust/delegations.py", "trust/division.py",
        "trust/merge.py", "trust/naming.py", "trust/places.py", "trust/policy.py",
        "trust/policy_document.py", "trust/policy_files.py", "trust/relocation.py", "trust/roles.py",
        "trust/turns.py",
    ),
    "verifier": (
        "trust/canonical.py", "trust/client.py", "trust/database.py", "trust/descent.py", "trust/floors.py",
        "trust/judge.py", "trust/metadata.py", "trust/refresh.py", "trust/role_keys.py", "trust/row_writing.py",
        "trust/rows.py", "trust/state.py", "trust/verify.py", "trust/view_fetcher.py",
    ),
    "gate": (
        "registry_shim/answers.py", "registry_shim/cache.py", "registry_shim/closure.py",
        "registry_shim/fills.py", "registry_shim/freshness.py", "registry_shim/gate.py",
        "registry_shim/grants.py", "registry_shim/images.py", "registry_shim/listings.py",
        "registry_shim/policy_watch.py", "registry_shim/pull.py", "registry_shim/routes.py",
        "registry_shim/snapshot.py", "registry_shim/upstreams.py",
    ),
}  # fmt: skip
QUICK = ("tests/values",)
TESTS = (
    *QUICK,
    "tests/edges/test_database.py",
    "tests/delegation/test_bins.py", "tests/delegation/test_delegate.py",
    "tests/journeys/test_verify.py",
    "tests/attacks/test_delegations.py", "tests/attacks/test_freeze.py", "tests/attacks/test_malformed.py",
    "tests/attacks/test_removed_roles.py", "tests/attacks/test_revoked_from_above.py",
    "tests/attacks/test_rollback.py", "tests/attacks/test_roots.py", "tests/attacks/test_shim_content.py",
    "tests/attacks/test_shim_upstream.py", "tests/attacks/test_signatures.py",
    "tests/attacks/test_state.py", "tests/attacks/test_substitution.py", "tests/attacks/test_unreadable_roles.py",
    "tests/shim/test_cache.py", "tests/shim/test_closure.py", "tests/shim/test_counter.py",
    "tests/shim/test_fills.py", "tests/shim/test_freshness.py", "tests/shim/test_gate.py",
    "tests/shim/test_gate_metadata.py", "tests/shim/test_policy_watch.py", "tests/shim/test_pull.py",
    "tests/shim/test_routes.py",
)  # fmt: skip
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
_SEED = "--hypothesis-seed=0"  # the figure is not to hang on what examples come
_WHOLE = 100.0


def prove(setting: Setting) -> Proof:
    """Return how many percent of the lines and branches of each part were reached, and what was not.

    Raises:
        BenchError: the tests could not be run.
    """
    settings, report = written(setting.directory), setting.directory / "coverage.json"
    tests = QUICK if setting.is_quick else TESTS
    pytest = ("pytest", "-q", "-n", str(WORKERS), "-p", "no:cacheprovider", "--timeout", "0", _SEED, *tests)
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
        failures=tuple(
            line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))
        ),
    )


def written(directory: Path) -> Path:
    """Return the settings by which all that is reached is counted below ``directory``."""
    settings = directory / "coverage.rc"
    settings.write_text(_SETTINGS.format(data=directory / "data"), "utf-8")
    return settings


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
