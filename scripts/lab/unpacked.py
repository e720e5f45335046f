"""The tree of unpacked packages (``.lab/root``) and, inside it, the record of what is whole there.

A package is recorded after its last byte, so one that a kill cut short is simply unpacked again.
"""

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.process import Runner

_PROGRAM_FOLDERS = ("usr/bin", "usr/sbin", "bin", "sbin")
_UNPACKERS = 2  # dpkg decompresses on one core


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What lies below ``root``, for the Debian ``release`` of this machine (``debian 12``)."""

    root: Path
    release: str

    @property
    def _record(self) -> Path:
        return self.root / "unpacked.json"

    def packages(self) -> frozenset[str]:
        """The packages that were asked for and are whole with all they need.

        None if the record is missing or damaged, or of another release.
        """
        try:
            recorded = json.loads(self._record.read_text("utf-8"))
            if recorded["release"] != self.release:
                return frozenset()
            return frozenset(map(str, recorded["packages"]))
        except (OSError, ValueError, KeyError, TypeError):
            return frozenset()

    def add(self, debs: Sequence[Path], runner: Runner) -> None:
        """Every file of ``debs`` lies below ``root``, and ``debs`` are gone."""
        self.root.mkdir(parents=True, exist_ok=True)

        def unpack(deb: Path) -> None:
            runner.run(f"unpacking {deb.name}", ["dpkg", "-x", deb, self.root])
            deb.unlink()

        biggest_first = sorted(debs, key=lambda deb: -deb.stat().st_size)
        with ThreadPoolExecutor(_UNPACKERS) as pool:
            for _ in pool.map(unpack, biggest_first):
                pass

    def remember(self, packages: Iterable[str]) -> None:
        """``packages`` and what they need are recorded as whole."""
        self.root.mkdir(parents=True, exist_ok=True)
        names = sorted(self.packages().union(packages))
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps({"release": self.release, "packages": names}), "utf-8")
        new.replace(self._record)

    def program(self, name: str) -> Path | None:
        """The executable called ``name``, or ``None``."""
        for folder in _PROGRAM_FOLDERS:
            path = self.root / folder / name
            if path.is_file() and os.access(path, os.X_OK):
                return path
        return None

    def library_folders(self) -> list[Path]:
        """The folders that hold shared libraries, for ``LD_LIBRARY_PATH``."""
        return [
            found for pattern in ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*") for found in self.root.glob(pattern)
        ]
