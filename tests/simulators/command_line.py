"""The real command line over a ``file:`` store: a publisher's home, his policy and an OCI layout of images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulators.world import index_bytes, manifest_bytes
from trust.digest import Digest, sha256

CHECKOUT = Path(__file__).parents[2]
NAME = "registry.test/acme/"
PASSPHRASE = "correct horse"
TAGS = ("1.4", "2.0", "3.0", "multi")
COUNTED_BY = "COVERAGE_PROCESS_CONFIG"  # by which ``scripts/prove coverage`` counts what a process reaches


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that ended: its exit code, or None where it was killed, and all that it said."""

    code: int | None
    said: str


class Zygote:
    """Runs commands as forks of one warm process; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.simulators.zygote"], cwd=CHECKOUT, text=True, env=plain_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def start(self, order: Mapping[str, Any]) -> int:
        """Start a command; return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def finish(self) -> Done:
        """Return how the command that was started ended."""
        answer = json.loads(self._line())
        status = answer["status"]
        return Done(code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None, said=answer["said"])

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the warm process died"
        return line


def plain_environment() -> dict[str, str]:
    """Return what a command needs of this process's environment, and none of the user's own files."""
    counted = {COUNTED_BY: os.environ[COUNTED_BY]} if COUNTED_BY in os.environ else {}
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/nonexistent", **counted}


class CommandLine:
    """One user: everything of his below ``folder``."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder = folder
        self.zygote = zygote
        self.home = folder / "home"
        self.metadata = folder / "metadata"
        self.layout = folder / "layout"

    @property
    def environment(self) -> dict[str, str]:
        """What every command of this user finds."""
        return {
            **plain_environment(),
            "TRUST_HOME": str(self.home),
            "TRUST_POLICY": str(self.folder / "policy.toml"),
            "TRUST_PASSPHRASE": PASSPHRASE,
            "TMPDIR": str(self.folder / "user-tmp"),
        }

    def found(self) -> None:
        """Make the layout, the collection and its first signed image."""
        write_layout(self.layout)
        (self.folder / "user-tmp").mkdir()
        self.expect(0, *self.init())
        self.expect(0, *self.sign("1.4"))
        self.expect(0, *self.verify("1.4"))

    def init(self, *more: str) -> list[str]:
        """Return the command that makes the collection."""
        return ["init", NAME, "--metadata", f"file:{self.metadata}", "--write-policy", *more]

    def copy(self, folder: Path) -> CommandLine:
        """Return the same user in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        for path in (*folder.glob("policy.toml"), *folder.glob("home/collections.toml")):
            path.write_text(path.read_text().replace(str(self.folder), str(folder)))
        return CommandLine(folder, self.zygote)

    def digest(self, tag: str) -> Digest:
        """Return the digest of the image ``tag`` of the layout."""
        return sha256(_images()[tag][-1])

    def sign(self, tag: str) -> list[str]:
        """Return the command that signs the image ``tag``."""
        return ["sign", f"oci:{self.layout}:{tag}", "--as", f"{NAME}web:{tag}"]

    def verify(self, tag: str, *more: str) -> list[str]:
        """Return the command that verifies the image ``tag``."""
        return ["verify", f"oci:{self.layout}:{tag}", "--as", f"{NAME}web:{tag}", *more]

    def run(self, *argv: str, file_bytes: int | None = None, uid: int | None = None) -> Done:
        """Run one command to its end."""
        self._start(argv, file_bytes=file_bytes, uid=uid)
        return self.zygote.finish()

    def expect(self, code: int, *argv: str) -> str:
        """Run one command that ends with ``code``; return what it said."""
        done = self.run(*argv)
        assert done.code == code, (argv, done)
        return done.said

    def traced(self, options: list[str], *argv: str) -> Done:
        """Run one command under strace with ``options``."""
        process_id = self._start(argv, is_traced=True)
        strace = shutil.which("strace")
        assert strace is not None, "strace is not on PATH: run the tests through scripts/test"
        tracer = subprocess.Popen([strace, "-qq", "-p", str(process_id), *options], stderr=subprocess.DEVNULL)
        done = self.zygote.finish()
        tracer.wait()
        return done

    def _start(
        self,
        argv: tuple[str, ...],
        *,
        file_bytes: int | None = None,
        uid: int | None = None,
        is_traced: bool = False,
    ) -> int:
        order = {"argv": argv, "env": self.environment, "uid": uid,
                 "file_bytes": file_bytes, "is_traced": is_traced}  # fmt: skip
        return self.zygote.start(order)


def _images() -> dict[str, list[bytes]]:
    children = [manifest_bytes("amd64"), manifest_bytes("arm64")]
    return {
        **{tag: [manifest_bytes(tag)] for tag in TAGS if tag != "multi"},
        "multi": [*children, index_bytes(*children)],
    }


def write_layout(directory: Path) -> None:
    """Write an OCI layout with one image for each of ``TAGS``."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entries = []
    for tag, manifests in _images().items():
        for data in manifests:
            (blobs / sha256(data).hex).write_bytes(data)
        last = manifests[-1]
        annotations = {"org.opencontainers.image.ref.name": tag}
        media_type = json.loads(last)["mediaType"]
        entries.append(
            {"mediaType": media_type, "digest": str(sha256(last)), "size": len(last), "annotations": annotations}
        )
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
