"""The commands of docs/ceremony.md, run as they stand there, each on a machine of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.simulators.command_line import PASSPHRASE, TAGS, plain_environment, write_layout
from trust.policy_document import parse_policy

CHECKOUT = Path(__file__).parents[2]
NAME = "registry.example.com/acme/"
MACHINES = {"ann", "bob", "eve", "zoe", "publisher", "consumer"}
_COMMAND = re.compile(r"(?P<machine>[a-z]+)\$ (?P<line>.*?)(?:\s+# exit code (?P<code>[0-9]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command of the document, the machine on which it is typed, and the exit code that it promises."""

    machine: str
    line: str
    code: int


def _steps() -> list[Step]:
    """Return every command of the document, in its order; a line in a block of commands that is none fails."""
    text = (CHECKOUT / "docs/ceremony.md").read_text(encoding="utf-8")
    steps = []
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        for line in block.splitlines():
            match = _COMMAND.fullmatch(line)
            assert match is not None, line
            steps.append(Step(machine=match["machine"], line=match["line"], code=int(match["code"] or 0)))
    assert {step.machine for step in steps} < MACHINES
    return steps


class Room:
    """Machines that share nothing but a stick."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pin = ""
        (folder / "media/stick").mkdir(parents=True)
        (folder / "srv").mkdir()
        write_layout(folder / "layout")

    def run(self, step: Step) -> str:
        """Run a command of the document; return what it said."""
        return self.type(step.machine, step.line, code=step.code)

    def type(self, machine: str, line: str, *, code: int = 0) -> str:
        """Type ``line`` on ``machine``; return what it said."""
        home = self.folder / machine
        home.mkdir(exist_ok=True)
        line = line.replace("/media/", f"{self.folder}/media/").replace("/srv/", f"{self.folder}/srv/")
        environ = {
            **plain_environment(), "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(home), "TRUST_HOME": str(home / "trust"), "TRUST_POLICY": str(home / "policy.toml"),
            "TRUST_PASSPHRASE": f"{PASSPHRASE} {machine}", "PIN": self.pin,
        }  # fmt: skip
        done = subprocess.run(
            ["sh", "-c", line], env=environ, check=False, text=True, timeout=60,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == code, (machine, line, done)
        known = home / "trust/collections.toml"
        if machine == "publisher" and known.exists():
            self.pin = str(parse_policy(known.read_text(), source="known").stanzas[0].root)
        return done.stdout

    def sign(self, tag: str) -> None:
        """Have the publisher sign, as every day."""
        self.type("publisher", f"trust sign oci:{self.folder}/layout:{tag} --as {NAME}web:{tag}")

    def verify(self, tag: str) -> None:
        """Have a consumer verify, who got the pin once and nothing since."""
        if not (self.folder / "consumer/policy.toml").exists():
            self.type("consumer", f"trust policy add {NAME} --root $PIN --metadata file:/srv/metadata")
        self.type("consumer", f"trust verify oci:{self.folder}/layout:{tag} --as {NAME}web:{tag}")

    def expect_no_secret_on_the_stick(self) -> None:
        """Fail where a private key, even an encrypted one, leaves its machine."""
        for path in (self.folder / "media").rglob("*"):
            assert not path.is_file() or b"PRIVATE KEY" not in path.read_bytes(), path

    def root_version(self) -> int:
        """Return the newest root in the store."""
        return len(list((self.folder / "srv/metadata").glob("*.root.json")))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Give the machines of the document."""
    return Room(tmp_path)


def test_ceremony_goes_as_it_is_written_with_no_secret_on_the_stick_and_no_change_at_consumers(room: Room) -> None:
    tags, version = iter(TAGS), 0
    for step in _steps():
        room.run(step)
        room.expect_no_secret_on_the_stick()
        store = room.folder / "srv/metadata/timestamp.json"
        if store.exists() and room.root_version() > version:  # a ceremony is over: work goes on under the new root
            version = room.root_version()
            tag = next(tags)
            room.sign(tag)
            room.verify(tag)
            room.verify("1.4")
    assert version == 3
    ids = {name: _keyid(room, name) for name in ("ann", "bob", "eve", "zoe")}
    said = room.type("publisher", f"trust inspect {NAME} --json")
    assert ids["zoe"] in said
    assert ids["eve"] not in said


def _keyid(room: Room, name: str) -> str:
    said = room.type(name, f"trust key show {name}-root --json")
    match = re.search(r'"keyid": "([0-9a-f]{64})"', said)
    assert match is not None
    return match[1]
