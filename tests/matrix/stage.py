"""One registry that is the attacker's, one shim before it, and a collection of its own for each attack.

Everything is real but the registry, which is a script that says what its owner wants; the clock is this machine's.
In each collection ``1`` was signed first as ``old`` and then as ``good``; ``evil`` is an image nobody signed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tuf.api.metadata import TargetFile

from tests.runtime.images import Layer, busybox_layer, file, image_bytes, layer
from tests.simulators.attacker import Attacker, Edit
from tests.simulators.command_line import Zygote
from tests.simulators.shim import Reply, Shim, ask, policy_text, until
from tests.simulators.teams import delegate
from tests.simulators.upstream import Picture, ScriptedRegistry
from tests.simulators.wire import WireServer
from tests.simulators.world import Consumer, Rows, World, file_store
from trust.digest import Digest
from trust.oci.layout import Layout
from trust.value import dataclass, replace

TEAM = "team"  # the role that signs the images, where they are delegated
KINDS = ("old", "good", "next", "evil")
ROWS = frozenset({"role", "target"})
SECRET = b"of this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The images of a collection: each prints its own name, and has a layer that no other has."""

    old: Picture
    good: Picture
    next: Picture  # not signed yet: what no gate has in a cache
    evil: Picture

    def name_of(self, digest: Digest) -> str:
        """Return which of them that is; "another" where it is none."""
        named = {getattr(self, kind).digest: kind for kind in KINDS}
        return named.get(digest, "another")


class Case:
    """The collection of one attack: in ``path`` of the registry, with keys, a store and consumers of its own."""

    def __init__(self, stage: Stage, number: int, *, is_delegated: bool, **world: Any) -> None:
        self.stage = stage
        self.name = f"{stage.server.host}/a{number}/"
        self.path = f"a{number}/web"
        self.folder = stage.folder / f"a{number}"
        self.wanted = "1"  # the tag or digest that every gate is asked for
        self.outside = self.folder / "outside"  # what no archive may reach
        self.pictures = Pictures(**{kind: stage.runnable(f"{kind} {number}") for kind in KINDS})
        self.world = World(self.folder, name=self.name, now=datetime.now(timezone.utc), **world)
        if is_delegated:
            delegate(self.world, TEAM, self.path)
        self.outside.mkdir()
        self.mend_outside()
        self.sign("1", self.pictures.old)
        self.before = self.attacker.files()
        self.sign("1", self.pictures.good)
        self.targets = self.attacker.current("targets").signed.targets

    @property
    def attacker(self) -> Attacker:
        return self.world.attacker

    @property
    def tag(self) -> str:
        """The reference that every gate is asked for."""
        return f"{self.stage.server.host}/{self.path}{'@' if ':' in self.wanted else ':'}{self.wanted}"

    @property
    def target(self) -> str:
        """The name of its target."""
        return f"{self.path}:1"

    def file_before(self, role: str) -> str:
        """Return the name of the file that held ``role`` when ``old`` was what is signed."""
        if role == "timestamp":
            return "timestamp.json"
        names = (name for name in self.before if name.endswith(f".{role}.json"))
        return max(names, key=lambda name: int(name.partition(".")[0]))

    def at(self, last: object, kind: str = "manifests") -> str:
        """Return an address in the repository."""
        return f"/v2/{self.path}/{kind}/{last}"

    def push(self, picture: Picture, tag: str | None = "1") -> None:
        """Have an image in the registry, as whoever can push there."""
        self.stage.registry.push(self.path, tag, picture)

    def lure(self, kind: str = "evil") -> None:
        """Have the tag of the registry be that image, as whoever can push there."""
        self.push(getattr(self.pictures, kind))

    def sign(self, tag: str, picture: Picture) -> None:
        """Have an image pushed and signed."""
        self.push(picture, tag)
        self.world.sign(tag, path=self.path, manifest=picture.manifest)

    def unprotected(self, last: object = None) -> Reply:
        """Return what a client gets that asks no gate."""
        return ask(self.stage.server.port, self.at(self.wanted if last is None else last))

    @property
    def is_outside_changed(self) -> bool:
        """Whether an archive got out: something more, something less or something else is there."""
        files = {path.name: path.read_bytes() for path in self.outside.iterdir()}
        return files != {"secret": SECRET}

    def mend_outside(self) -> None:
        """Have outside what was there at first."""
        for path in self.outside.iterdir():
            path.unlink()
        (self.outside / "secret").write_bytes(SECRET)

    def name_evil(self, targets: Any) -> None:
        """Have a targets role name the evil image, in every way that it can be asked for."""
        evil = self.pictures.evil
        size, hashes = len(evil.manifest), {"sha256": evil.digest.hex}
        for path, more in ((self.target, {}), (f"{self.path}@{evil.digest}", {"tags": ["1"]})):
            said = {"custom": {"signed": int(self.world.now.timestamp()), "by": [], **more}}
            targets.targets[path] = TargetFile(size, hashes, path, said)

    def steal(self, role: str = "targets", **how: Any) -> None:
        """Publish metadata that names the evil image; ``role`` of it is forged as ``how`` says.

        Whatever is below ``role`` is signed by its own keys, as if they had been stolen: one role alone is wrong.
        """
        self.lure()
        edit: Edit = how.pop("edit", lambda _said: None)
        if role == "targets":

            def both(said: Any) -> None:
                self.name_evil(said)
                edit(said)

            self.attacker.forge("targets", both, **how)
        else:
            self.attacker.forge("targets", self.name_evil)
            self.attacker.forge(role, edit, **how)

    @contextmanager
    def offstage(self) -> Iterator[None]:
        """Have what is done meanwhile seen by all at once: no gate looks between two steps of one move."""
        shown, hidden, store = self.world.directory, self.folder / "offstage", self.world.store
        hidden.mkdir(exist_ok=True)
        for path in shown.glob("*.json"):
            shutil.copy(path, hidden)
        self.world.directory, self.world.store = hidden, file_store(f"file:{hidden}")
        yield
        self.world.directory, self.world.store = shown, store
        left = {path.name for path in hidden.glob("*.json")}
        for name in sorted(left, key=lambda name: name == "timestamp.json"):  # last, as a publisher has it
            (hidden / name).rename(shown / name)
        for path in shown.glob("*.json"):
            if path.name not in left:
                path.unlink()

    def is_known_in(self, home: Path) -> bool:
        """Tell whether what was published last is what is trusted in ``home``."""
        newest = self.attacker.current("timestamp").signed.version
        return any(row[1:3] == ("timestamp", newest) for row in self.rows(home)["role"])

    def rows(self, home: Path) -> Rows:
        """Return what the trusted state in ``home`` holds of this collection."""
        consumer = Consumer(world=self.world, home=home, stanza=self.world.stanza)
        mine = str(self.world.stanza.root)
        return {
            table: [row for row in rows if any(mine in str(cell) or self.name in str(cell) for cell in row)]
            for table, rows in consumer.rows().items()
            if table in ROWS
        }


class Stage:
    """The registry, its collections and the shim before them all."""

    def __init__(self, folder: Path, server: WireServer, registry: ScriptedRegistry, zygote: Zygote) -> None:
        self.folder = folder
        self.policy = folder / "policy.toml"
        self.zygote = zygote
        self.server = server
        self.registry = registry
        self.layout = Layout.create(folder / "layout")
        self.cases: list[Case] = []
        self.denied: dict[str, list[str]] = {"digests": [], "keys": []}
        self._shim: Shim | None = None

    @property
    def shim(self) -> Shim:
        assert self._shim is not None, "the stage is not open yet"
        return self._shim

    def case(self, *, is_delegated: bool = False, **world: Any) -> Case:
        """Return a collection of its own for one attack; ``world`` are its keys and thresholds.

        ``is_delegated``: its images are signed by a role of their own, ``TEAM``.
        """
        case = Case(self, len(self.cases), is_delegated=is_delegated, **world)
        self.cases.append(case)
        return case

    def open(self) -> Shim:
        """Return the shim before all the collections, to be started."""
        upstream = {"name": self.server.host, "url": self.server.url}
        self._shim = Shim(folder=self.folder / "shim", policy=self._policy(), upstreams=[upstream])
        self._write_policy()
        return self._shim

    def deny(self, *, digests: Sequence[Digest] = (), keys: Sequence[str] = ()) -> None:
        """Have those on the local deny list of every gate, which is one for all collections."""
        self.denied["digests"] += map(str, digests)
        self.denied["keys"] += keys
        self.shim.write_policy(self._policy())
        self._write_policy()

    def _policy(self) -> str:
        stanzas = [replace(case.world.stanza, max_age=timedelta(seconds=1)) for case in self.cases]
        return policy_text(*stanzas, deny=self.denied)

    def _write_policy(self) -> None:
        """Write that of the command line, where nothing that was seen before spares the question."""
        self.policy.write_text(self._policy().replace('max_age = "1s"', 'max_age = "0s"'))

    def settle(self, case: Case) -> None:
        """Wait until the shim serves what is signed."""
        good = case.pictures.good.manifest
        until(lambda: self.shim.ask(case.at("1")).body == good, f"the shim serves {case.target}")

    def runnable(self, text: str, *layers: Layer, config: Mapping[str, object] | None = None) -> Picture:
        """Return an image that prints ``text``, of ``layers`` on top; ``config`` says what is run instead."""
        shown = {"Cmd": ["/bin/cat", "/mark"]} if config is None else config
        mark = layer(file("mark", text.encode()))
        manifest = image_bytes(self.layout, busybox_layer(), mark, *layers, config=shown)
        document = json.loads(manifest)
        blobs = [document["config"], *document["layers"]]
        return Picture(
            manifest=manifest,
            blobs=tuple((self.folder / "layout/blobs/sha256" / one["digest"][7:]).read_bytes() for one in blobs),
        )


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Give a registry without collections and without a shim."""
    registry = ScriptedRegistry()
    zygote = Zygote()
    try:
        with WireServer(script=registry.script) as server:
            yield Stage(folder, server, registry, zygote)
    finally:
        zygote.close()
