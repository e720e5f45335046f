"""Owns how the supervisor has a tag looked at: the command ``trust update``, which verifies as any other command.

The supervisor itself verifies nothing and holds no credentials. What such a command began and did not finish,
since it was killed, is a version on trial that nobody waits for, or one that was replaced: it is cleared up here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from trust.runtime.engine import Engine, engine_environment, engine_program
from trust.runtime.engines import engine_of
from trust.runtime.following import Following
from trust.runtime.leftovers import sweep
from trust.value import dataclass

AT_ONCE = 2  # each is a process of its own for a moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """Those of the containers of ``home``; ``environ`` is what commands get."""

    home: Path
    environ: Mapping[str, str]

    def become(self, identity: str, following: Following, *, stdout: int) -> None:
        """Be the command that looks at the tag of a container; what it says is written to ``stdout``.

        Raises:
            OSError: it cannot be started.
        """
        words = [sys.executable, "-m", "trust", "--home", str(self.home), "--json"]
        words += ["--policy", str(following.policy)] if following.policy is not None else []
        words += ["--plain-http"] if following.plain_http else []
        words += ["update", "--due", identity]
        os.dup2(stdout, 1)
        os.execve(words[0], words, dict(self.environ))  # noqa: S606 - the same program, in our own place

    def clear_up(self) -> None:
        """Have no version on trial that nobody waits for, and none that has been replaced.

        Raises:
            OSError: something cannot be removed.
        """
        sweep(self.home / "containers", self._engine)

    def _engine(self, name: str) -> Engine:
        _, program = engine_program(name, search_path=self.environ.get("PATH", ""))
        return engine_of(name, program, home=self.home, environment=engine_environment(self.environ))
