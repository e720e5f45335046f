"""Owns a copy of the checkout with a warm process on it: tests of a variant begin within half a second."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.setting import BenchError, Setting
from scripts.proof.breakage import replaced
from scripts.proof.copies import Copy, copy
from scripts.proof.variants import Variant

_GREEN_SECONDS = 300
_PATIENCE = 3  # times as long as the unbroken tests took; what takes longer does not end
_PATIENCE_LEAST_SECONDS = 10.0
_PASSED = 0
_TAIL = 800


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmCopy:
    """A copy of the checkout, used by one at a time; ``said`` is the file of what its last tests said."""

    copy: Copy
    process: subprocess.Popen[str]
    said: Path

    def require_green(self, tests: Sequence[str]) -> float:
        """Require that ``tests`` pass on the unbroken copy; return how many seconds to give them later.

        Raises:
            BenchError: they do not.
        """
        started = time.monotonic()
        if self._status(tests, seconds=_GREEN_SECONDS, is_unbroken=True) != _PASSED:
            said = self.said.read_text(encoding="utf-8")
            raise BenchError(f"tests fail though nothing was broken: {' '.join(tests)}: {said[-_TAIL:]}")
        return max(_PATIENCE_LEAST_SECONDS, _PATIENCE * (time.monotonic() - started))

    def has_survived(self, variant: Variant, tests: Sequence[str], patience_seconds: float) -> bool:
        """Tell whether ``tests`` pass with ``variant`` in place of its module."""
        with replaced(self.copy.checkout / variant.path, variant.text):
            return self._status(tests, seconds=patience_seconds, is_unbroken=False) == _PASSED

    def close(self) -> None:
        """End the process."""
        self.process.communicate()

    def _status(self, tests: Sequence[str], *, seconds: float, is_unbroken: bool) -> int | None:
        if self.process.stdin is None or self.process.stdout is None:
            raise BenchError("the warm process has no pipes")
        order = {"tests": list(tests), "seconds": seconds, "is_unbroken": is_unbroken}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise BenchError(f"the warm process ended with {self.process.wait()}")
        status: int | None = json.loads(answer)
        return status


def warm_copy(setting: Setting, name: str) -> WarmCopy:
    """Return a new copy of the checkout below ``setting``'s directory, and start a process on it.

    Raises:
        BenchError: this is no checkout of git.
    """
    made = copy(setting, name)
    process = subprocess.Popen(
        [made.checkout / ".venv/bin/python", "-m", "scripts.proof.warm", made.directory],
        cwd=made.checkout, env=made.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return WarmCopy(copy=made, process=process, said=made.directory / "said")
