"""The drill as a person starts it: every way back of docs/recovery.md comes out, and is said to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.recovery_drill import DRILLS

CHECKOUT = Path(__file__).parents[2]
MINUTES = 4
FREE = frozenset({  # consumers do nothing
    "online key lost", "targets key stolen", "online key stolen, versions counted up",
    "root keys lost below the threshold", "store lost (registry)",
})  # fmt: skip


def _start(scratch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CHECKOUT / "scripts/recovery_drill.py", *arguments], check=False, capture_output=True,
        text=True, timeout=MINUTES * 60, env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip


@pytest.mark.parametrize("name", DRILLS)
def test_way_back_comes_out_as_the_documents_promise(tmp_path: Path, name: str) -> None:
    done = _start(tmp_path, "--json", "--only", name)
    assert done.returncode == 0, done.stdout + done.stderr
    (drill,) = json.loads(done.stdout)["drills"]
    assert (drill["drill"], drill["broken"]) == (name, None)
    assert (not drill["consumers"]) == (name in FREE)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
    text = (CHECKOUT / "docs/recovery.md").read_text(encoding="utf-8")
    typed = [each for each in (*drill["commands"], *drill["consumers"]) if each.startswith("trust ")]
    assert bool(typed) == (name != "consumer's state lost")  # there a file is copied, and no command is typed
    missing = [command for command in map(_as_documented, typed) if command not in text]
    assert [command for command in missing if " oci:" not in command] == []


def _as_documented(command: str) -> str:
    """Return a command that was typed as docs/recovery.md spells it."""
    command = re.sub(r"[0-9a-f]{64}", "KEYID", command)
    command = re.sub(r"[0-9]{4}-[0-9-]*T[0-9:]*Z", "TIME", command)
    command = re.sub(r"127\.0\.0\.1:[0-9]+", "registry.example.com", command)
    return re.sub(r"file:\S+", "URL", command)


def test_drill_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    done = _start(tmp_path, "--only", "no such drill")
    assert done.returncode == 2
    assert "no drill has these words" in done.stderr
