"""Owns the ground of one drill: a folder, its machines, a store, images; and what the way back has cost."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from scripts.drills.layout import write_layout
from scripts.drills.machine import DrillError, Machine
from scripts.keynote.lab import Lab

HOST = "registry.example.com"
TAGS = ("1.4", "2.0", "3.0", "evil")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a way back has cost: commands at the publisher's, files written, seconds, and consumers' commands."""

    commands: tuple[str, ...]
    files: int | None
    seconds: float
    consumers: tuple[str, ...]


@dataclass(kw_only=True)
class Yard:
    """A folder in which one drill takes place."""

    folder: Path
    lab: Lab
    host: str = HOST
    machines: dict[str, Machine] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    before: frozenset[str] = frozenset()
    cost: Cost | None = None  # of the way back, once it was gone

    def __post_init__(self) -> None:
        self.digests = write_layout(self.layout, TAGS)

    @property
    def collection(self) -> str:
        """The collection of the drill."""
        return f"{self.host}/acme/"

    @property
    def store(self) -> Path:
        """Where its metadata is, unless it is in a registry."""
        return self.folder / "metadata"

    @property
    def layout(self) -> Path:
        """Where its images are."""
        return self.folder / "layout"

    def machine(self, name: str) -> Machine:
        """Return the machine of that name, new if there was none."""
        if name not in self.machines:
            self.machines[name] = Machine(
                name=name, folder=self.folder / name, trust=self.lab.trust, path=self.lab.path
            )
        return self.machines[name]

    @property
    def publisher(self) -> Machine:
        """The machine that signs."""
        return self.machine("publisher")

    @property
    def consumer(self) -> Machine:
        """The machine that verifies; it has the policy alone."""
        return self.machine("consumer")

    def found(self, *options: str, url: str | None = None) -> None:
        """Have the collection, its first image, and a consumer that has verified it."""
        publisher = self.publisher
        publisher.does(
            "init", self.collection, "--metadata", url or f"file:{self.store}", "--targets-key", "targets",
            "--online-key", "online", "--write-policy", *(options or ("--root-key", "root")),
        )  # fmt: skip
        self.consumer.policy.write_text(publisher.policy.read_text("utf-8"), "utf-8")

    def signs(self, tag: str, *, by: Machine | None = None, image: str | None = None, code: int = 0) -> None:
        """Have ``tag`` signed as ``image`` (default: the image of that name)."""
        machine = by or self.publisher
        machine.does("sign", f"oci:{self.layout}:{image or tag}", "--as", f"{self.collection}web:{tag}", code=code)

    def verifies(self, tag: str, *, image: str | None = None, code: int = 0, says: str = "") -> None:
        """Have the consumer verify ``tag``."""
        source = f"oci:{self.layout}:{image or tag}"
        self.consumer.sees("verify", source, "--as", f"{self.collection}web:{tag}", code=code, says=says)

    def damage_is_done(self) -> None:
        """Count from here on: what follows is the way back."""
        self.before = self._files()
        for machine in self.machines.values():
            machine.is_counted = True

    def is_mended(self) -> None:
        """Count up to here: what follows only proves it."""
        publishers = [machine for name, machine in self.machines.items() if name.startswith("publisher")]
        self.cost = Cost(
            commands=tuple(command for machine in publishers for command in machine.typed),
            files=len(self._files() - self.before) if self.store.exists() else None,
            seconds=sum(machine.seconds for machine in self.machines.values()),
            consumers=tuple(self.consumer.typed),
        )
        for machine in self.machines.values():
            machine.is_counted = False

    def _files(self) -> frozenset[str]:
        found = [path for path in self.folder.glob("metadata*/*.json") if path.is_file()]
        return frozenset(f"{path.parent.name}/{path.name} {path.stat().st_mtime_ns}" for path in found)


def require(true: object, words: str) -> None:
    """Refuse a drill in which ``words`` do not hold."""
    if not true:
        raise DrillError(words)


def next_second() -> str:
    """Return a moment, spelled for ``--since``, after all that was signed until now."""
    time.sleep(1.1)  # what is signed carries whole seconds
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
