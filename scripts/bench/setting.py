"""Owns what every figure is measured in: a scratch directory, the programs, the number of rounds, an environment.

Programs are taken from ``.lab`` where set-up put them, and from ``PATH`` otherwise; what a launcher of set-up
would add in front of a program (a shell, a millisecond) is left out, since it would flatter us beside a peer.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PASSPHRASE = "correct horse"  # noqa: S105 - of keys that live as long as a scratch directory

# Would slow a start down, or bend it; a user's shell has none of them.
_NOT_OURS = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PYTHONUNBUFFERED", "TRUST_LOG")


class BenchError(Exception):
    """A figure could not be measured; the message says what was missing or failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a figure is measured.

    ``is_quick`` is for CI: fewer rounds, the smaller sizes only; ``is_full`` takes the time that a release takes.
    """

    directory: Path
    is_quick: bool
    environ: Mapping[str, str]
    is_full: bool = False

    @property
    def rounds(self) -> int:
        """How often each process is started, after the warm-up."""
        return 9 if self.is_quick else 31

    @property
    def python(self) -> str:
        """The interpreter that runs the installed command, and this benchmark."""
        return sys.executable

    @property
    def trust(self) -> str:
        """The installed command ``trust``, beside the interpreter.

        Raises:
            BenchError: it is not installed there.
        """
        found = Path(sys.executable).with_name("trust")
        if not found.exists():
            raise BenchError(f"no command trust beside {sys.executable}: expected scripts/setup to have made it")
        return str(found)

    def fresh(self, name: str) -> Path:
        """Return a new, empty directory ``name`` below the scratch directory."""
        path = self.directory / name
        path.mkdir(parents=True)
        return path


def own_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without what slows Python down or leads to the user's own state: for what is timed.

    ``PATH`` begins with set-up's launchers: the engine that ``trust run`` starts is found there.
    """
    own = {
        name: value
        for name, value in environ.items()
        if name not in _NOT_OURS and not name.startswith(("TRUST_", "NOTARY_", "XDG_"))
    }
    return {**own, "PATH": f"{CHECKOUT / '.lab/bin'}{os.pathsep}{own.get('PATH', os.defpath)}"}


def launcher(setting: Setting, name: str, *, is_needed: bool) -> str | None:
    """Return the program that the command line too starts as ``name``: set-up's launcher, else that of ``PATH``.

    Engines need what set-up's launchers add (crun a mount namespace), and both sides of a comparison pay for it.

    Raises:
        BenchError: there is none and it ``is_needed``.
    """
    found = shutil.which(name, path=setting.environ.get("PATH"))
    if found is None and is_needed:
        raise BenchError(f"no {name}: expected it below .lab/bin or on PATH; scripts/setup --for bench fetches it")
    return found


def component(name: str) -> str:
    """Return the path of the real component ``name``.

    Raises:
        BenchError: neither set-up nor ``PATH`` has it.
    """
    unpacked = [CHECKOUT / ".lab/root" / folder for folder in ("usr/bin", "usr/sbin", "bin")]
    for folder in (*unpacked, Path(sys.executable).parent):  # those from PyPI lie beside the interpreter
        found = folder / name
        if found.is_file() and os.access(found, os.X_OK):
            return str(found)
    on_path = shutil.which(name)
    if on_path is None:
        raise BenchError(f"no {name}: expected it below .lab or on PATH; scripts/setup --for bench fetches it")
    return on_path
