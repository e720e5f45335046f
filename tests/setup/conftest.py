"""A checkout of its own for each test: the scripts and locks of this one, nothing set up, no network needed."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_HERE = Path(__file__).parents[2]
_SOURCES = ("pyproject.toml", "requirements.lock", "requirements-dev.lock", "scripts/setup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A copy in ``home``; ``python`` stands in for any Python that set-up would start, and says that it was."""

    home: Path
    python: Path
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, script: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.home / script, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**self.environ, **changes},
            timeout=60,
        )

    def mark(self) -> str:
        """The mark of a checkout that is ready, computed as the documents say, not as the scripts do."""
        files = [self.home / name for name in _SOURCES]
        files += sorted(self.home.glob("scripts/lab/*.py"))
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
        digest.update(f"{os.geteuid()}\n{self.home.resolve()}\n{self.python}".encode())
        found = (self.home / ".venv/bin/python").stat()
        return f"{digest.hexdigest()} {found.st_ino} {found.st_size} {int(found.st_mtime)}"

    def make_ready(self, group: str, *notes: str) -> None:
        """What a finished set-up leaves for the next one to see."""
        (self.home / ".venv/bin").mkdir(parents=True)
        (self.home / ".venv/bin/python").symlink_to(self.python)
        (self.home / ".lab").mkdir()
        (self.home / ".lab/env.json").write_text("{}\n")
        (self.home / f".lab/ready.{group}").write_text("".join(f"{line}\n" for line in (self.mark(), *notes)))

    def started_python(self) -> bool:
        """Whether set-up left its fast path since this was asked last."""
        started = self.python.with_name("started")
        there = started.exists()
        started.unlink(missing_ok=True)
        return there


def minimal_environ(**changes: str) -> Mapping[str, str]:
    """This process's environment with the machine's own ``PATH``, and without what was set for its run."""
    return {
        **{name: value for name, value in os.environ.items() if name not in {"CI", "TEST_WORKERS"}},
        "PATH": "/usr/bin:/bin",
        **changes,
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    home = tmp_path / "a checkout"
    home.mkdir()
    for name in (*_SOURCES, "scripts/demo", "scripts/test"):
        (home / name).parent.mkdir(exist_ok=True)
        shutil.copy(_HERE / name, home / name)
    shutil.copytree(_HERE / "scripts/lab", home / "scripts/lab", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "python").mkdir()
    python = tmp_path / "python/python3"
    python.write_text(f"#!/bin/sh\n: >'{python.with_name('started')}'\nexit 1\n")
    python.chmod(0o755)
    return Checkout(home=home, python=python, environ=dict(minimal_environ(SETUP_PYTHON=str(python))))
