"""The benchmark's entry: what it prints, and the exit status by which CI knows that a limit was missed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.__main__ import main
from scripts.bench.measure import fixed, side_by_side
from scripts.bench.result import Row
from scripts.bench.setting import BenchError, Setting

CHECKOUT = Path(__file__).parents[2]
FIGURE = "start"
HOURS_MS = 3_600_000.0


def start_of_python(*, limit_ms: float) -> Callable[[Setting], Sequence[Row]]:
    """Return a figure that costs little: an interpreter that does nothing, as a whole process."""

    def measure(setting: Setting) -> Sequence[Row]:
        command = fixed(setting.python, "-I", "-S", "-c", "pass", environ=setting.environ)
        timing = side_by_side({"python": command}, rounds=setting.rounds)["python"]
        return [Row(figure=FIGURE, what="python", value=timing.median_ms, unit="ms", limit=limit_ms)]

    return measure


def measured(capsys: pytest.CaptureFixture[str], *options: str, limit_ms: float) -> tuple[int, dict[str, Any]]:
    status = main(["--quick", "--json", *options, FIGURE], {FIGURE: start_of_python(limit_ms=limit_ms)})
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, document


def test_missed_limit_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    status, document = measured(capsys, limit_ms=0.0)
    assert status == 1
    assert document["met"] is False
    assert [row["met"] for row in document["rows"]] == [False]


def test_missed_limit_that_may_be_missed_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    status, document = measured(capsys, "--no-fail", limit_ms=0.0)
    assert status == 0
    assert document["met"] is False


def test_kept_limit_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    status, document = measured(capsys, limit_ms=HOURS_MS)
    assert status == 0
    assert document["met"] is True
    assert document["quick"] is True


def test_figure_that_cannot_be_measured_ends_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(setting: Setting) -> Sequence[Row]:
        raise BenchError(f"nothing to measure with {setting.python}")

    assert main([FIGURE], {FIGURE: measure}) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert "nothing to measure" in said.err


def test_process_that_fails_is_not_timed(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(setting: Setting) -> Sequence[Row]:
        failing = fixed(setting.python, "-I", "-c", "raise SystemExit('no such thing')", environ=setting.environ)
        side_by_side({"failing": failing}, rounds=1)
        return []

    assert main([FIGURE], {FIGURE: measure}) == 3
    assert "failing ended with status 1, expected 0: no such thing" in capsys.readouterr().err


def test_unknown_figure_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["no-such-figure"])
    assert ended.value.code == 2
    assert "expected verify-offline, verify-refresh" in capsys.readouterr().err


def test_figure_is_measured_end_to_end() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench", "--quick", "--json", "verify-refresh"],
        cwd=CHECKOUT,
        env={**os.environ, "TRUST_HOME": "/nowhere", "TRUST_POLICY": "/nowhere"},  # a user's own, not looked at
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in {0, 1}, done.stderr
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["met"] else 1)
    values = {row["what"]: row["value"] for row in document["rows"]}
    assert values["metadata requests"] == 1
    assert 0 < values["metadata answers, headers included"] <= 1_000
    assert values["requests for the image's own tag"] == 1
    assert values["trust verify, refreshed over HTTP"] > 0


@pytest.mark.root
def test_idle_containers_have_one_process_of_ours_beside_all_of_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench", "--quick", "--json", "idle"],
        cwd=CHECKOUT, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stderr}{done.stdout}"
    values = {row["what"].partition(", ")[2] or row["what"]: row for row in json.loads(done.stdout)["rows"]}
    assert values["containers that run"]["value"] == 40
    assert values["processes of ours beside them"]["value"] == 1
    assert values["its processes"]["value"] > 0
