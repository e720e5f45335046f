"""Starts the demo as a user does, with a temporary directory of its own: what it leaves behind would be seen."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The demo of ``checkout``, started by ``python``; its temporary files go to ``scratch``."""

    python: Path
    checkout: Path
    scratch: Path

    def start(self, *arguments: str | Path, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, self.checkout / "scripts/compromised_update.py", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.scratch), **environ},
        )

    def run(self, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **environ) as child:
            stdout, stderr = child.communicate(timeout=240)
        return subprocess.CompletedProcess(child.args, child.returncode, stdout, stderr)

    @property
    def left_behind(self) -> list[str]:
        return [path.name for path in self.scratch.iterdir()]


@pytest.fixture
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(python=Path(sys.executable), checkout=CHECKOUT, scratch=tmp_path_factory.mktemp("scratch"))
