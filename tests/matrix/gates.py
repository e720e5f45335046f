"""The gates that stand between a registry and who uses its images, each asked from the outside as its users do.

``verify`` is the command line in a pipeline, ``shim`` the registry that clients pull through, ``run`` the runtime.
A gate answers with what came through it, by name, or with the reason of its refusal; and can be searched for bytes
that it should not have let in.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Protocol

from tests.matrix.stage import Case
from tests.simulators.command_line import Done, plain_environment
from tests.simulators.upstream import Picture
from trust.digest import Digest, parse_digest, sha256
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a gate said: the ``image`` that came through it, or the ``reason`` of its refusal."""

    image: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return f"gives {self.image}" if self.reason is None else self.reason


class Gate(Protocol):
    """One of the gates; it serves every collection of a stage."""

    name: str

    def ask(self, case: Case) -> Answer:
        """Return what the gate says of the tag of ``case``."""

    def home(self, case: Case) -> Path:
        """Return where the gate keeps its trusted state."""

    def holds(self, case: Case, picture: Picture) -> bool:
        """Tell whether anything came past the gate that is in ``picture`` and in no other image."""


class Verify:
    """``trust verify``: exit status and document."""

    name = "verify"

    def ask(self, case: Case) -> Answer:
        done = _trust(case, self.home(case), "verify", case.tag)
        (verdict,) = _document(done)["verdicts"]
        assert done.code == {"allowed": 0, "denied": 1, "undecided": 3}[verdict["verdict"]], done
        if verdict["verdict"] == "allowed":
            return Answer(image=case.pictures.name_of(parse_digest(verdict["digest"])))
        return Answer(reason=verdict["reason"])

    def home(self, case: Case) -> Path:
        return case.stage.folder / self.name

    def holds(self, case: Case, picture: Picture) -> bool:
        return _has_file(self.home(case), picture)


class Run:
    """``trust run``: the image prints its own name, and where it is refused nothing of it is on the disk."""

    name = "run"

    def ask(self, case: Case) -> Answer:
        done = _trust(case, self.home(case), "run", "--rm", case.tag)
        if done.code == 0:
            (line,) = (line for line in done.said.splitlines() if not line.startswith(("note: ", "warning: ")))
            return Answer(image=line.split()[0])
        assert done.code == _COULD_NOT_RUN, done
        return Answer(reason=_document(done)["error"]["reason"] or "malformed")

    def home(self, case: Case) -> Path:
        return case.stage.folder / self.name

    def holds(self, case: Case, picture: Picture) -> bool:
        home = self.home(case)
        return _has_file(home, picture) or _has_device(home) or case.is_outside_changed


class Through:
    """The shim: a client that pulls by tag, and then all that the manifest names."""

    name = "shim"

    def ask(self, case: Case) -> Answer:
        reply = case.stage.shim.ask(case.at(case.wanted))
        if reply.status != 200:
            return Answer(reason=reply.reason)
        for blob in json.loads(reply.body)["layers"]:
            layer = case.stage.shim.ask(case.at(blob["digest"], "blobs"))
            if layer.status != 200:  # it is signed, and so no refusal but an absence, which has no reason
                return Answer(reason="unknown" if layer.status == _UNKNOWN else layer.reason)
            if not layer.is_whole:
                return Answer(reason="broken")
            assert str(sha256(layer.body)) == blob["digest"], "a short or wrong success"
        return Answer(image=case.pictures.name_of(sha256(reply.body)))

    def home(self, case: Case) -> Path:
        return case.stage.shim.home

    def holds(self, case: Case, picture: Picture) -> bool:
        asked = [(digest, "blobs") for digest in (picture.digest, *own_blobs(picture))]
        replies = [case.stage.shim.ask(case.at(*one)) for one in [(picture.digest, "manifests"), *asked]]
        secrets = (picture.manifest, *own_blobs(picture).values())
        return any(reply.status == 200 or any(data in reply.body for data in secrets) for reply in replies)


GATES: tuple[Gate, ...] = (Verify(), Through(), Run())
_COULD_NOT_RUN = 125
_UNKNOWN = 404


def own_blobs(picture: Picture) -> dict[Digest, bytes]:
    """Return the blobs of an image that it shares with no other: its configuration and its last layer."""
    return {sha256(blob): blob for blob in (picture.blobs[0], picture.blobs[-1])}


def _trust(case: Case, home: Path, *argv: str) -> Done:
    environment = {
        **plain_environment(),
        "TRUST_HOME": str(home),
        "TRUST_POLICY": str(case.stage.policy),
        **{name: os.environ[name] for name in ("XDG_RUNTIME_DIR",) if name in os.environ},
    }
    command, *rest = argv
    zygote = case.stage.zygote
    zygote.start(
        {
            "argv": [command, "--json", *rest],
            "env": environment,
            "uid": None,
            "file_bytes": None,
            "is_traced": False,
        }
    )
    done = zygote.finish()
    assert "Traceback" not in done.said, done.said
    return done


def _document(done: Done) -> dict[str, Any]:
    (line,) = (line for line in done.said.splitlines() if line.startswith('{"schema"'))
    document: dict[str, Any] = json.loads(line)
    return document


def _has_file(home: Path, picture: Picture) -> bool:
    own = {picture.manifest, *own_blobs(picture).values()}
    sizes = {len(data) for data in own}
    files = (path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    return any(path.read_bytes() in own for path in files if path.stat().st_size in sizes)


def _has_device(home: Path) -> bool:
    """Tell whether a device node of an image is below ``home``; an overlay's own marks have the number 0."""
    found = (path.lstat() for path in home.rglob("*"))
    return any((stat.S_ISCHR(one.st_mode) or stat.S_ISBLK(one.st_mode)) and one.st_rdev for one in found)
