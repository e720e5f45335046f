"""What set-up hands over: ``.lab/bin``, ``.lab/env.json``, and the marks by which the next set-up is a no-op."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.lab.components import GROUPS, Component, Group
from scripts.lab.errors import SetupFailed
from scripts.lab.launcher import Places, font_configuration, launcher, podman_configuration
from scripts.lab.process import Runner
from scripts.lab.unpacked import Unpacked

_PROBES = 4
_PROBE_SECONDS = 60.0  # each answers in a tenth of one
_PROGRAM_HEADERS_BYTES = 4096  # a program names its loader within its first page


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, "utf-8")
    new.chmod(mode)
    new.replace(path)


def loader_of(program: Path, *, own: Path | None = None) -> Path | None:
    """The dynamic loader that ``program`` (ELF) names and this machine has; ``None`` for a static one.

    ``own`` is a tree of another release, which brings a loader of its own.
    """
    if own is not None:
        return next(own.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*"), None)
    with program.open("rb") as file:
        head = file.read(_PROGRAM_HEADERS_BYTES)
    start = head.find(b"/lib")
    found = Path(os.fsdecode(head[start : head.find(b"\0", start)])) if start >= 0 else None
    return found if found is not None and found.name.startswith("ld") and found.exists() else None


def elsewhere_on_path(program: str, lab: Path) -> Path | None:
    """``program`` on ``PATH``, our own launchers (which would start themselves) not counted."""
    folders = [folder for folder in os.get_exec_path() if Path(folder) != lab / "bin"]
    found = shutil.which(program, path=os.pathsep.join(folders))
    return Path(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Which components there are (name → executable), and why the others are not (name → reason)."""

    there: Mapping[str, Path]
    missing: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """The files below ``lab`` that the rest of the project reads."""

    lab: Path

    def withdraw(self) -> None:
        """No group is marked as ready any more; said before anything is changed."""
        for group in GROUPS:
            (self.lab / f"ready.{group}").unlink(missing_ok=True)

    def mark(self, group: Group, mark: str, notes: Sequence[str]) -> None:
        """``group`` is ready for as long as ``mark`` (one line) is what it is now.

        ``notes`` are lines that each later, idle set-up says again: what is left out is never silent.
        """
        _write(self.lab / f"ready.{group}", "".join(f"{line}\n" for line in (mark, *notes)))

    def marked(self, group: Group, mark: str) -> tuple[str, ...] | None:
        """The notes with which ``group`` was marked, if that was with just this ``mark``."""
        try:
            first, *notes = (self.lab / f"ready.{group}").read_text("utf-8").splitlines()
        except (OSError, ValueError):
            return None
        return tuple(notes) if first == mark else None

    def expose(
        self, components: Sequence[Component], unpacked: Unpacked, venv_bin: Path, runner: Runner
    ) -> Outcome:
        """Each component that starts here has a launcher in ``bin``, and the others are told with a reason.

        With apt's packages it is the unpacked program; where nothing was unpacked, one on ``PATH``.
        """
        there: dict[str, Path] = {}
        missing: dict[str, str] = {}
        for component in components:
            path = self.lab / "bin" / component.name
            tree = replace(unpacked, root=self.lab / component.release) if component.release else unpacked
            ours = tree.program(component.executable) if component.packages else None
            program = ours or (
                elsewhere_on_path(component.executable, self.lab)
                if component.packages
                else venv_bin / component.executable
            )
            if program is None or not program.exists():
                path.unlink(missing_ok=True)
                missing[component.name] = "no package of this release has it"
                continue
            places = Places(
                lab=self.lab,
                root=tree.root,
                libraries=tree.library_folders() if ours else (),
                loader=loader_of(program, own=tree.root if component.release else None) if ours else None,
            )
            _write(path, launcher(component.name, program, places), mode=0o755)
            there[component.name] = path
            if component.name == "podman":
                for file, text in podman_configuration(places).items():
                    _write(self.lab / "etc" / file, text)
            if component.name == "chromium-headless-shell":
                _write(self.lab / "etc/fonts.conf", font_configuration(places))
        missing |= self._probe([component for component in components if component.name in there], runner)
        return Outcome(there={name: path for name, path in there.items() if name not in missing}, missing=missing)

    def _probe(self, components: Sequence[Component], runner: Runner) -> dict[str, str]:
        """Why each of ``components`` that does not start does not."""

        def probe(component: Component) -> str:
            try:
                command: list[str | Path] = [self.lab / "bin" / component.name, *component.probe]
                if component.name == "criu":  # that it starts says nothing
                    command = [sys.executable, "-E", "-s", "-m", "scripts.lab.checkpoint_probe", command[0]]
                runner.run("it does not start", command, cwd=self.lab.parent, timeout_seconds=_PROBE_SECONDS)
            except SetupFailed as err:
                return str(err)
            return ""

        with ThreadPoolExecutor(_PROBES) as pool:
            said = list(pool.map(probe, components))
        return {component.name: why for component, why in zip(components, said, strict=True) if why}

    def publish(self, outcome: Outcome, left_out: Mapping[str, str]) -> None:
        """``env.json`` maps each component to its executable, ``left-out.json`` the others to why.

        What a larger group put there before stays: a demo beside running tests takes nothing from them.
        """
        absent = {**left_out, **outcome.missing}
        there = {
            name: path
            for name, path in self._published("env.json").items()
            if Path(path).parent == self.lab / "bin" and Path(path).exists()
        }
        there |= {name: str(path) for name, path in outcome.there.items()}
        there = {name: there[name] for name in sorted(there) if name not in absent}
        others = {name: why for name, why in self._published("left-out.json").items() if name not in there}
        _write(self.lab / "left-out.json", json.dumps(others | absent, indent=1) + "\n")
        _write(self.lab / "env.json", json.dumps(there, indent=1) + "\n")

    def _published(self, name: str) -> dict[str, str]:
        try:
            published = json.loads((self.lab / name).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return published if isinstance(published, dict) else {}
