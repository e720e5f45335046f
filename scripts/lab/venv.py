"""The virtual environment ``.venv``: made by this Python, filled from the hashed locks, never half believed.

Its record is written last. An environment without one, or of another Python, lock or path, is made anew; one
that holds a smaller group only grows.
"""

import hashlib
import json
import shutil
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scripts.lab.components import GROUPS, Group, groups_within
from scripts.lab.process import Runner

_RECORD = ".content-trust-setup.json"
_PIP = ("--disable-pip-version-check", "--no-input", "--quiet", "--root-user-action=ignore")
_INSTALL = (
    "--no-user",
    "--require-hashes",
    "--only-binary=:all:",
    "--no-deps",
    "--no-compile",
    "--no-warn-script-location",
)

Need = Literal["nothing", "more", "anew"]


def interpreter_mark(python: Path) -> str:
    """Inode, size in bytes and time of change (s) of the interpreter behind ``python``; empty if it is gone.

    The same text as ``stat -L -c '%i %s %Y'`` prints, by which ``scripts/setup`` compares it.
    """
    try:
        found = python.stat()
    except OSError:
        return ""
    return f"{found.st_ino} {found.st_size} {int(found.st_mtime)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The virtual environment in ``home``, for the text of all ``locks``."""

    home: Path
    locks: tuple[str, ...]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / "bin/python"

    def _identity(self) -> dict[str, str]:
        digest = hashlib.sha256("\0".join(self.locks).encode()).hexdigest()
        base = Path(sys._base_executable)  # type: ignore[attr-defined]  # noqa: SLF001 - the Python behind a venv
        return {"home": str(self.home), "python": interpreter_mark(base), "locks": digest}

    def need(self, group: Group) -> Need:
        """What has to be done before everything that ``group`` pins is here, for this path and this Python."""
        try:
            recorded = json.loads((self.home / _RECORD).read_text("utf-8"))
            whole = {name: recorded[name] for name in self._identity()}
            has = recorded["group"]
        except (OSError, ValueError, KeyError, TypeError):
            return "anew"
        if whole != self._identity() or interpreter_mark(self.python) != whole["python"] or has not in GROUPS:
            return "anew"
        return "nothing" if group in groups_within(has) else "more"

    def make(self) -> None:
        """An empty environment of this Python stands in ``home``; what was there is gone."""
        shutil.rmtree(self.home, ignore_errors=True)
        venv.EnvBuilder(symlinks=True, with_pip=False).create(self.home)

    def install(self, lock: Path, runner: Runner, *, pip: Path, cache: Path, extra: Mapping[str, str]) -> None:
        """Everything that the file ``lock`` pins is installed, its hashes checked; no package's code was run.

        pip (importable from the folder ``pip``) finds mirrors, indexes and certificates in the user's own
        configuration, as in any call of it; ``extra`` is added to its environment.

        Raises:
            SetupFailed: an index did not answer, has no wheel for this Python, or sent other bytes.
        """
        own_cache = {} if "PIP_CACHE_DIR" in runner.environ else {"PIP_CACHE_DIR": str(cache)}
        runner.run(
            "Python packages",
            [self.python, "-s", "-m", "pip", "install", *_PIP, *_INSTALL, "-r", lock],
            changes={**own_cache, **extra, "PYTHONPATH": str(pip)},
        )

    def compile(self, runner: Runner) -> None:
        """Every installed module has its bytecode; what is no Python of this version is left alone."""
        script = "import compileall, site; compileall.compile_dir(site.getsitepackages()[0], quiet=3, workers=0)"
        runner.run("compiling", [self.python, "-I", "-c", script])

    def remember(self, group: Group) -> None:
        """The environment is recorded as whole for ``group``; the caller has installed that."""
        new = self.home / (_RECORD + ".new")
        new.write_text(json.dumps(self._identity() | {"group": group}, indent=1), "utf-8")
        new.replace(self.home / _RECORD)
