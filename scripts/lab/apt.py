"""Debian packages, downloaded with a private apt state.

The machine's sources, keys and proxies are used, and nothing of the machine is touched.

1. ``update`` writes the configuration and asks the machine's mirrors for their lists.
2. ``resolve`` lets apt itself find what the wanted packages need, and keeps those and their libraries.
3. ``download`` fetches them, apt checking every hash against the signed lists.
"""

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.base_status import base_status
from scripts.lab.errors import SetupFailed
from scripts.lab.process import Runner

_MACHINE_STATUS = Path("/var/lib/dpkg/status")
# `Acquire` holds proxies, time-outs and the like. The rest (hooks above all, which delete or log on the machine)
# is not ours to run.
_KEPT_SETTING = re.compile(
    r'^(?:Acquire::|APT::Default-Release |APT::Authentication::)[^"\n]*"[^"\\\n]*";$', re.MULTILINE
)
# The C library must be the one whose loader the machine runs. The drivers of graphics cards and the compiler in
# them (150 MB) are for screens: a browser without one paints by itself.
_NEVER = re.compile(r"^(libc6|libc-.*|lib.*-perl|libperl.*|.*-dev|libgl1-mesa-dri|libllvm.*|libz3-.*)$")
_URI_LINE = re.compile(r"^'[^']*' ([^_]+)_\S+\.deb ", re.MULTILINE)
_TRAITS = """\
Dir::State "{home}/state"; Dir::State::status "{home}/status"; Dir::Cache "{home}/cache";
Dir::Etc::main "/dev/null"; Dir::Etc::parts "/dev/null";
APT::Architecture "{architecture}"; APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false"; APT::Get::AllowUnauthenticated "false"; APT::Sandbox::User "root";
Acquire::Languages "none"; Acquire::IndexTargets::deb-src::Sources::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false"; Acquire::Retries "3";
"""


def kept_settings(dump: str) -> str:
    """The lines of ``apt-config dump`` that say how to reach the mirrors; hooks and directories are dropped."""
    return "".join(found[0] + "\n" for found in _KEPT_SETTING.finditer(dump))


def worth_unpacking(uris: str, wanted: Iterable[str]) -> tuple[str, ...]:
    """Package names in ``apt-get --print-uris`` output that are wanted, or a library one of them may need."""
    named = set(wanted)
    found = dict.fromkeys(_URI_LINE.findall(uris))
    return tuple(name for name in found if name in named or (name.startswith("lib") and not _NEVER.match(name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateApt:
    """apt with its state, cache and package status below ``home`` (``.lab/apt``)."""

    home: Path
    runner: Runner

    @staticmethod
    def is_here() -> bool:
        """Whether this machine has apt and dpkg."""
        return all(shutil.which(tool) for tool in ("apt-get", "apt-cache", "apt-config", "dpkg"))

    def _apt(self, what: str, *argv: str | Path, cwd: Path | None = None) -> str:
        changes = {"APT_CONFIG": str(self.home / "apt.conf"), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        return self.runner.run(what, argv, cwd=cwd, changes=changes)

    def update(self) -> None:
        """The lists of the machine's own sources are here and current.

        Raises:
            SetupFailed: no source answered.
        """
        architecture = self.runner.run("apt", ["dpkg", "--print-architecture"]).strip()
        dump = self.runner.run("apt", ["apt-config", "dump"], changes={"LC_ALL": "C"})
        for folder in ("state/lists/partial", "cache/archives/partial", "new"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        status = _MACHINE_STATUS.read_text("utf-8", "replace") if _MACHINE_STATUS.exists() else ""
        (self.home / "status").write_text(base_status(status, architecture), "utf-8")
        own = _TRAITS.format(home=self.home, architecture=architecture)
        (self.home / "apt.conf").write_text(kept_settings(dump) + own, "utf-8")
        self._apt("package lists", "apt-get", "update", "-qq")

    def known(self, packages: Iterable[str]) -> frozenset[str]:
        """Those of ``packages`` that this release has."""
        every = set(self._apt("package names", "apt-cache", "pkgnames").split())
        return frozenset(every.intersection(packages))

    def resolve(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """``wanted`` and the libraries that apt finds they need, base system excepted."""
        uris = self._apt("resolving packages", "apt-get", "install", "-qq", "-y", "--print-uris", *wanted)
        return worth_unpacking(uris, wanted)

    def download(self, packages: Sequence[str]) -> list[Path]:
        """The .deb files of ``packages``, complete and checked; the caller owns and deletes them.

        Raises:
            SetupFailed: a mirror did not answer, or sent other bytes than the signed lists name.
        """
        folder = self.home / "new" / packages[0]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._apt("downloading packages", "apt-get", "download", "-qq", *packages, cwd=folder)
        debs = sorted(folder.glob("*.deb"))
        if len(debs) != len(packages):
            raise SetupFailed(f"downloading packages: expected {len(packages)} files, got {len(debs)}")
        return debs
