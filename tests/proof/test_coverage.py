"""What the proof of coverage counts is what decides, and what it runs is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from scripts.bench.setting import CHECKOUT
from scripts.proof.coverage import PARTS, QUICK, TESTS, written

COUNTED = [name for names in PARTS.values() for name in names]
DOORS = ("trust.oci", "trust.stores")
# Of the shim: what moves bytes that were judged already, and what it is told at its start.
BESIDE_THE_GATE = {"registry_shim.bodies", "registry_shim.config", "registry_shim.upstream"}
IMPORTED = """
import sys
import trust.refresh, trust.verify, trust.policy_files, registry_shim.pull
print(*(name for name, module in sys.modules.items() if getattr(module, "__file__", None)))
"""

COMMAND = """
from tests.simulators.command_line import Zygote, plain_environment
zygote = Zygote()
order = {"argv": ["--version"], "env": plain_environment(), "uid": None, "file_bytes": None, "is_traced": False}
zygote.start(order)
print(zygote.finish().code)
zygote.close()
"""


@pytest.mark.parametrize("name", [*COUNTED, *TESTS])
def test_every_module_that_is_counted_and_every_test_that_is_run_is_there(name: str) -> None:
    assert (CHECKOUT / name).exists()


def test_every_module_counts_once_and_the_values_are_quick() -> None:
    assert max(Counter(COUNTED).values()) == 1
    assert set(QUICK) <= set(TESTS)


def test_every_module_that_has_a_part_in_a_verdict_is_counted() -> None:
    """One that is parted from another would be tried by nobody, and be missed by nobody."""
    command = [sys.executable, "-c", IMPORTED]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    named = {name for name in done.stdout.split() if name.startswith(("trust.", "registry_shim."))}
    wanted = {name for name in named - BESIDE_THE_GATE if not name.startswith(DOORS)}
    assert "trust.verify" in wanted
    assert sorted(wanted - {name.removesuffix(".py").replace("/", ".") for name in COUNTED}) == []


def test_whatever_is_not_counted_says_why() -> None:
    for name in COUNTED:
        for line in (CHECKOUT / name).read_text("utf-8").splitlines():
            if "pragma: no" in line:
                assert re.search(r"# pragma: no cover - \w.*\w", line), f"{name}: {line}"


def test_process_that_is_forked_from_one_that_a_test_starts_is_counted(tmp_path: Path) -> None:
    """Commands of tests and workers of a shim are such: uncounted, they look like tests that are missing."""
    (tmp_path / "program.py").write_text(COMMAND)
    said = []
    for words in (
        ("run", str(tmp_path / "program.py")),
        ("combine", "-q"),
        ("json", "-q", "-o", str(tmp_path / "j")),
    ):
        command = [sys.executable, "-m", "coverage", words[0], f"--rcfile={written(tmp_path)}", *words[1:]]
        environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=True)
        said.append(done.stdout)
    files = json.loads((tmp_path / "j").read_text("utf-8"))["files"]
    assert said[0] == "0\n"
    assert files["trust/start.py"]["functions"]["main"]["summary"]["covered_lines"] > 0
