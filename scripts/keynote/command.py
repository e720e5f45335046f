"""Runs command lines as one person would, each in a process of its own, and keeps what they said."""

import json
import os
import shlex
import subprocess
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scripts.keynote.lab import Lab
from scripts.keynote.story import Ran, Who

_LIMIT_SECONDS = 120
_KEPT = ("LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "XDG_RUNTIME_DIR", "USER", "LOGNAME")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a home of his own: trusted state, keys, policy and the login for the registry are in it."""

    who: Who
    home: Path
    lab: Lab
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def trust_home(self) -> Path:
        """``TRUST_HOME``."""
        return self.home / "trust"

    @property
    def policy(self) -> Path:
        """``TRUST_POLICY``."""
        return self.home / "policy.toml"

    def log_in(self, host: str, login: tuple[str, str]) -> None:
        """The registry ``host`` knows this person from now on, as ``docker login`` would have it."""
        self.home.mkdir(parents=True, exist_ok=True)
        auth = b64encode(":".join(login).encode()).decode()
        (self.home / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}), "utf-8")

    def at(self, home: Path) -> "Person":
        """The same person with another home."""
        return replace(self, home=home)

    def trust(self, *arguments: str) -> Ran:
        """What ``trust ARGUMENTS`` did."""
        return self.run([self.lab.trust, *arguments], shown=["trust", *arguments])

    def trust_later(self, span: str, *arguments: str) -> Ran:
        """The same on a clock that is ``span`` ahead (``8 days``)."""
        argv: list[str | Path] = [self.lab.faketime, span, self.lab.trust, *arguments]
        return self.run(argv, shown=["faketime", span, "trust", *arguments])

    def run(self, argv: Sequence[str | Path], *, shown: Sequence[str], folder: Path | None = None) -> Ran:
        """What ``argv`` did in ``folder``; ``shown`` is the same command line without paths of this machine.

        A file takes the output, not a pipe: a container that stays would hold a pipe open for ever.
        """
        started = time.monotonic()
        log = self.home / "output.log"
        with log.open("wb") as output:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environ(),
                cwd=folder,
                timeout=_LIMIT_SECONDS,
                check=False,
            )
        seconds = time.monotonic() - started
        text = log.read_text("utf-8", "replace").strip()
        log.unlink()
        return Ran(who=self.who, line=shlex.join(shown), output=text, exit_code=done.returncode, seconds=seconds)

    def _environ(self) -> dict[str, str]:
        """Nothing of the user's own keys, policy, logins or proxies takes part in the play."""
        return {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "PATH": self.lab.path,
            "HOME": str(self.home),
            "TRUST_HOME": str(self.trust_home),
            "TRUST_POLICY": str(self.policy),
            "DOCKER_CONFIG": str(self.home),
            "NO_COLOR": "1",
            **self.secrets,
        }
