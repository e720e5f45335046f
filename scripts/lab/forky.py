"""CRIU from a newer Debian than this machine's, with every library it needs, C library and loader included.

What this machine's release has (3.17 in bookworm, 4.1.1 in trixie) fails here on any process with a socket. The
packages come from the mirror that the machine uses, signed by the key of its own keyring, and lie in a tree of
their own: their libraries are for this one program, started through its own loader.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.errors import SetupFailed
from scripts.lab.process import Runner

RELEASE = "forky"
PACKAGES = ("criu", "libcriu2")  # crun loads the library
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TRAITS = """\
Dir::State "{home}/state"; Dir::State::status "{home}/status"; Dir::Cache "{home}/cache";
Dir::Etc::main "/dev/null"; Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "{home}/sources.list"; Dir::Etc::sourceparts "/dev/null";
APT::Install-Recommends "false"; APT::Get::AllowUnauthenticated "false"; APT::Sandbox::User "root";
Acquire::Languages "none"; Acquire::Check-Valid-Until "false"; Acquire::Retries "3";
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRelease:
    """The tree of packages of ``RELEASE`` at ``root``; ``home`` is for apt's files while it is filled."""

    root: Path
    home: Path
    runner: Runner

    def program(self, name: str) -> Path | None:
        """The executable ``name``, or ``None``."""
        path = self.root / "usr/sbin" / name
        return path if path.is_file() else None

    def fetch(self, settings: str, packages: Sequence[str] = PACKAGES) -> None:
        """``packages`` and all they need lie below ``root``; ``settings`` are apt's for reaching mirrors.

        Raises:
            SetupFailed: this machine names no mirror, or it has no such release.
        """
        if self.program(packages[0]) is not None:
            return
        shutil.rmtree(self.home, ignore_errors=True)
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (self.home / folder).mkdir(parents=True)
        source = f"deb [signed-by={_KEYRING}] {self._mirror()} {RELEASE} main\n"
        (self.home / "sources.list").write_text(source, "utf-8")
        (self.home / "status").write_text("", "utf-8")
        (self.home / "apt.conf").write_text(settings + _TRAITS.format(home=self.home), "utf-8")
        self._apt("update", "-qq")
        self._apt("install", "-y", "-qq", "--download-only", *packages)
        new = self.root.with_name(f"{self.root.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        for deb in sorted(self.home.glob("cache/archives/*.deb")):
            self.runner.run(f"unpacking {deb.name}", ["dpkg", "-x", deb, new])
        shutil.rmtree(self.root, ignore_errors=True)
        new.rename(self.root)
        shutil.rmtree(self.home, ignore_errors=True)

    def _mirror(self) -> str:
        asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
        found = [line for line in self.runner.run("apt", asked).split() if "security" not in line]
        if not found:
            raise SetupFailed(f"{RELEASE}: this machine's apt sources name no mirror")
        return found[0]

    def _apt(self, *words: str) -> None:
        changes = {"APT_CONFIG": str(self.home / "apt.conf"), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        self.runner.run(f"packages of {RELEASE}", ["apt-get", *words], changes=changes)
