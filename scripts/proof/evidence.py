"""Owns what tests say of themselves: a run of pytest, and what each test recorded by ``record_property``.

A test that counts something (points at which it killed, inputs that it tried) records the count under a name; a
section adds up what it wants. Nothing is read from what is printed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET  # written by pytest, on this disk

from scripts.bench.setting import CHECKOUT, BenchError, Setting

WORKERS = 2
_RAN = (0, 1)  # all passed, some failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A test that was run: its name with its parameters, whether it passed, and what it recorded, in its order."""

    name: str
    has_passed: bool
    recorded: tuple[tuple[str, str], ...]


def tried(
    setting: Setting,
    *nodes: str,
    environ: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    checkout: Path = CHECKOUT,
) -> tuple[Test, ...]:
    """Return the tests of ``nodes``, run; ``environ`` tells them how far to go.

    Raises:
        BenchError: there was nothing to run, or pytest itself failed.
    """
    report = setting.directory / f"report-{len(list(setting.directory.iterdir()))}.xml"
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-n", str(WORKERS), "-p", "no:cacheprovider",
            "--timeout", "0", "-o", "junit_family=xunit1", f"--junitxml={report}", *options, *nodes,
        ],
        cwd=checkout, env={**setting.environ, **(environ or {})}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in _RAN:
        raise BenchError(f"pytest ended with {done.returncode}: {_tail(done.stdout + done.stderr)}")
    return tuple(_read(report))


def total(tests: Iterable[Test], name: str) -> int:
    """Return the sum of what ``tests`` recorded under ``name``."""
    return sum(int(value) for test in tests for key, value in test.recorded if key == name)


def failed(tests: Iterable[Test]) -> tuple[str, ...]:
    """Return the names of those that failed."""
    return tuple(test.name for test in tests if not test.has_passed)


def _read(report: Path) -> Iterator[Test]:
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - written by pytest, just now
        if case.find("skipped") is not None:
            continue
        yield Test(
            name=f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}",
            has_passed=case.find("failure") is None and case.find("error") is None,
            recorded=tuple((one.get("name", ""), one.get("value", "")) for one in case.iter("property")),
        )


def _tail(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:])[-600:]
