"""Owns a machine of a drill: a home of its own, the real command line, and a count of what was typed there."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LIMIT_SECONDS = 120
PASSPHRASE = "a drill's passphrase"  # noqa: S105 - the keys it opens live for a minute
_KEPT = ("LANG", "LC_ALL", "TMPDIR")


class DrillError(Exception):
    """Something did not come out as the documents promise."""


@dataclass(kw_only=True)
class Machine:
    """A publisher, a consumer or a thief; everything is below ``folder``.

    Between the damage and the end, ``typed`` are the commands of the way back and ``seconds`` what they took;
    looking does not count.
    """

    name: str
    folder: Path
    trust: Path
    path: str
    is_counted: bool = False
    typed: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "home").mkdir(exist_ok=True)

    @property
    def home(self) -> Path:
        """``TRUST_HOME``."""
        return self.folder / "home"

    @property
    def policy(self) -> Path:
        """``TRUST_POLICY``."""
        return self.folder / "policy.toml"

    def does(self, *argv: str | Path, code: int = 0, stdin: str | None = None) -> str:
        """Run a command that counts; return what it said. It ends with ``code``."""
        started = time.monotonic()
        said = self._run(argv, code, stdin)
        if self.is_counted:
            self.typed.append(shlex.join(["trust", *map(str, argv)]))
            self.seconds += time.monotonic() - started
        return said

    def sees(self, *argv: str | Path, code: int = 0, says: str = "") -> str:
        """Run a command that only looks; it ends with ``code`` and says ``says``."""
        said = self._run(argv, code, None)
        if says not in said:
            raise DrillError(f"{self.name}: {shlex.join(map(str, argv))}: expected {says!r}, got {said!r}")
        return said

    def document(self, *argv: str | Path) -> dict[str, Any]:
        """Run a command that only looks; return its JSON."""
        found: dict[str, Any] = json.loads(self._run([*argv, "--json"], 0, None).splitlines()[0])
        return found

    def edits(self, what: str) -> None:
        """Count a change that is made by hand."""
        if self.is_counted:
            self.typed.append(f"# {what}")

    def key_file(self, name: str) -> Path:
        """Return the file of a key."""
        (found,) = (self.home / "keys").glob(f"{name}.*")
        return found

    def keyid(self, name: str) -> str:
        """Return the id of a key."""
        return str(self.document("key", "show", name)["keyid"])

    def _run(self, argv: Sequence[str | Path], code: int, stdin: str | None) -> str:
        environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environ |= {
            "PATH": self.path,
            "HOME": str(self.folder),
            "TRUST_HOME": str(self.home),
            "TRUST_POLICY": str(self.policy),
            "TRUST_PASSPHRASE": PASSPHRASE,
        }
        done = subprocess.run(
            [self.trust, *argv], input=stdin or "", env=environ, timeout=_LIMIT_SECONDS, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode != code:
            raise DrillError(
                f"{self.name}: trust {shlex.join(map(str, argv))}: expected exit code {code}, "
                f"got {done.returncode}: {done.stdout.strip()}"
            )
        return done.stdout
