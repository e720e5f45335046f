"""Owns copies of the checkout that may be broken: each has an interpreter of its own, which imports the copy.

Tests start ``trust`` and ``trust-shim`` as processes with an environment of their own, so that no variable leads
those to a copy: the interpreter itself must. The components of set-up and the libraries are shared by links.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.setting import CHECKOUT, BenchError, Setting

_SECONDS_EACH = 60  # for one test that a mutant makes hang; most take less than three
_TAIL = 800
_PASSED, _NOTICED, _NOTHING_RUN = 0, 1, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of the checkout below ``directory``, used by one at a time."""

    directory: Path
    setting: Setting

    @property
    def checkout(self) -> Path:
        """The copy's own root."""
        return self.directory / "checkout"

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which the copy's own programs are found first."""
        programs = (self.checkout / ".lab/bin", self.checkout / ".venv/bin", self.setting.environ["PATH"])
        return {**self.setting.environ, "PATH": os.pathsep.join(map(str, programs))}

    def has_passed(self, tests: Sequence[str], *, options: Sequence[str] = ()) -> bool | None:
        """Return whether ``tests`` pass; None where this user may run none of them.

        Raises:
            BenchError: pytest could not say.
        """
        done = subprocess.run(
            [
                self.checkout / ".venv/bin/python", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                "--timeout", str(_SECONDS_EACH), f"--basetemp={self.directory / 't'}", *options, *tests,
            ],
            cwd=self.checkout, env=self.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self._end_leftovers()
        said = done.stdout + done.stderr
        if done.returncode not in (_PASSED, _NOTICED, _NOTHING_RUN):
            raise BenchError(f"pytest {' '.join(tests)} ended with {done.returncode}: {said[-_TAIL:]}")
        return None if done.returncode == _NOTHING_RUN else done.returncode == _PASSED

    def _end_leftovers(self) -> None:
        """End what a broken program left running, a shim or a restore that should not have started.

        Each names a path of this copy's, for its interpreter or for what it works on, or works in one.
        """
        ours = os.fsencode(f"{self.directory}/")
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended by itself, or is another user's
                words, place = (process / "cmdline").read_bytes(), os.fsencode((process / "cwd").readlink())
                if ours in words or place.startswith(ours):
                    os.kill(int(process.name), signal.SIGKILL)


def copy(setting: Setting, name: str) -> Copy:
    """Return a new copy of what git knows of the checkout, as it stands on the disk.

    Raises:
        BenchError: this is no checkout of git.
    """
    made = Copy(directory=setting.fresh(name), setting=setting)
    for file in _known_files():
        target = made.checkout / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / file, target, follow_symlinks=False)
    (made.checkout / ".lab").symlink_to(CHECKOUT / ".lab")
    _make_interpreter(made.checkout)
    return made


def _known_files() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the files of the checkout are not known: {done.stderr.strip()}")
    return [name for name in done.stdout.split("\0") if name and (CHECKOUT / name).is_file()]


def _make_interpreter(checkout: Path) -> None:
    real, own = Path(sys.prefix), checkout / ".venv"
    (own / "bin").mkdir(parents=True)
    shutil.copy2(real / "pyvenv.cfg", own)
    libraries = Path(sysconfig.get_path("purelib"))
    packages = own / libraries.relative_to(real)
    packages.mkdir(parents=True)
    # Lines of such a file are paths; the files of the same kind in the libraries, which lead to the original, are
    # not read in their turn.
    (packages / "copy.pth").write_text(f"{checkout}\n{libraries}\n", encoding="utf-8")
    for program in (real / "bin").iterdir():
        _make_program(program, own / "bin" / program.name, real=real, own=own)


def _make_program(program: Path, target: Path, *, real: Path, own: Path) -> None:
    """Make ``target`` what ``program`` is, but a script of Python is one of the copy's interpreter."""
    if program.name.startswith("python"):
        target.symlink_to(program.resolve())
        return
    with program.open("rb") as file:
        shebang = f"#!{real}/bin/".encode()
        is_script = file.read(len(shebang)) == shebang
    if not is_script:
        target.symlink_to(program)
        return
    target.write_bytes(program.read_bytes().replace(shebang, f"#!{own}/bin/".encode(), 1))
    target.chmod(0o755)
