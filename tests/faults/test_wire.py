"""The network between our parts and a real registry fails at every request, in every way, one at a time.

After each fault: nothing that was acknowledged is lost, nothing other than what was signed is believed, and the
next command works without anybody's help. ``TRUST_FAULTS=all`` tries every request, otherwise the first, one in
the middle and the last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.runtime.images import busybox_layer, file, image_bytes, layer
from tests.simulators.command_line import PASSPHRASE, Done, Zygote, plain_environment
from tests.simulators.faulty import FAULTS, HARMLESS, FaultyWire
from tests.simulators.registry import DockerRegistry, docker_registry
from tests.simulators.wire import WireServer
from trust.deadline import deadline_in
from trust.digest import Digest, parse_digest, sha256
from trust.manifest import OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.layout import Layout
from trust.oci.registry import Registry

EVERYWHERE = os.environ.get("TRUST_FAULTS") == "all"
PATH = "acme/web"
CODES = {"verify": {0, 1, 3}, "run": {0, 125}, "sign": {0, 1, 3}}


class Town:
    """A real registry with images and metadata, and a wire to it on which things go wrong; a publisher."""

    def __init__(
        self, folder: Path, registry: DockerRegistry, wire: FaultyWire, host: str, zygote: Zygote
    ) -> None:
        self.folder = folder
        self.registry = registry
        self.wire = wire
        self.host = host
        self.zygote = zygote
        self.images = [self._push(f"image {number}", str(number + 1)) for number in range(3)]
        self.expect(0, "publisher", "init", f"{host}/acme/", "--metadata", "registry:", "--write-policy")
        self.sign("1", self.images[0])

    def command(self, home: Path, *argv: str) -> Done:
        """Return how a command of the user of ``home`` ended."""
        environment = {
            **plain_environment(), "TRUST_HOME": str(home), "TRUST_POLICY": str(self.folder / "policy.toml"),
            "TRUST_PASSPHRASE": PASSPHRASE,
            **{name: os.environ[name] for name in ("XDG_RUNTIME_DIR",) if name in os.environ},
        }  # fmt: skip
        order = {"argv": argv, "env": environment, "uid": None, "file_bytes": None, "is_traced": False}
        self.zygote.start(order)
        done = self.zygote.finish()
        assert "Traceback" not in done.said, done.said
        return done

    def expect(self, code: int, user: str, *argv: str) -> str:
        done = self.command(self.folder / user, *argv)
        assert done.code == code, (argv, done)
        return done.said

    def sign(self, tag: str, image: Digest, *, home: str = "publisher") -> Done:
        return self.command(self.folder / home, "sign", f"{self.host}/{PATH}:{tag}@{image}")

    def digest_of(self, tag: str, *, home: Path) -> Digest:
        """Return what a consumer who is not disturbed is told."""
        said = self.command(home, "resolve", "--json", f"{self.host}/{PATH}:{tag}").said
        (line,) = (line for line in said.splitlines() if line.startswith("{"))
        return parse_digest(json.loads(line)["digest"])

    def _push(self, text: str, tag: str) -> Digest:
        """Return the digest of a new image that prints ``text``, pushed past the wire as ``tag``."""
        layout = Layout.create(self.folder / "layout")
        config = {"Cmd": ["/bin/cat", "/mark"]}
        manifest = image_bytes(layout, busybox_layer(), layer(file("mark", text.encode())), config=config)
        document = json.loads(manifest)
        with Http(environ={}) as http:
            door = Registry(
                self.registry.host, http=http, credentials=Credentials(environ={}, home=Path("/nonexistent"))
            )
            until = deadline_in(60, lambda: 0.0)
            for blob in (document["config"], *document["layers"]):
                data = (self.folder / "layout/blobs/sha256" / blob["digest"][7:]).read_bytes()
                door.push_blob(PATH, sha256(data), data, deadline=until)
            return door.put_manifest(PATH, tag, manifest, OCI_MANIFEST, deadline=until)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    with ExitStack() as stack:
        registry = stack.enter_context(docker_registry(folder / "registry"))
        wire = FaultyWire(host=registry.host)
        server = stack.enter_context(WireServer(script=wire.script))
        zygote = Zygote()
        stack.callback(zygote.close)
        yield Town(folder, registry, wire, server.host, zygote)


def places(count: int) -> list[int]:
    """Return at which of ``count`` requests the fault is tried."""
    return list(range(count)) if EVERYWHERE else sorted({0, count // 2, count - 1})


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", ["verify", "run"])
def test_consumer_is_told_the_truth_or_nothing(
    town: Town, tmp_path: Path, command: str, fault: str, record_property: Callable[[str, object], None]
) -> None:
    argv = [command, *(["--rm"] if command == "run" else []), f"{town.host}/{PATH}:1"]
    town.wire.set(None)
    assert town.command(tmp_path / "rehearsal", *argv).code == 0
    requests, points = town.wire.count, 0
    assert requests > 4
    for at in places(requests):
        home = tmp_path / str(at)
        town.wire.set(FAULTS[fault], at)
        done = town.command(home, *argv)
        assert town.wire.count > at, "the fault was not met"
        assert done.code in ({0} if fault in HARMLESS else CODES[command]), (at, done)
        assert "image 0" in done.said if (command, done.code) == ("run", 0) else "image 1" not in done.said
        town.wire.set(None)
        assert town.command(home, *argv).code == 0, f"no recovery after {fault} at {at}: {done.said}"
        assert town.digest_of("1", home=home) == town.images[0]
        points += 1
    record_property("points", points)
    record_property("broken", 0)


@pytest.mark.parametrize("fault", FAULTS)
def test_publisher_loses_nothing_that_was_acknowledged(
    town: Town, tmp_path: Path, fault: str, record_property: Callable[[str, object], None]
) -> None:
    town.wire.set(None)
    town.sign("rehearsal", town.images[1])
    town.wire.set(None)
    assert town.sign("rehearsal", town.images[2]).code == 0
    requests, points = town.wire.count, 0
    assert requests > 8
    for at in places(requests):
        tag, consumer = f"{fault}-{at}", tmp_path / f"consumer-{at}"
        town.wire.set(FAULTS[fault], at)
        done = town.sign(tag, town.images[1])
        assert done.code in ({0} if fault in HARMLESS else CODES["sign"]), (at, done)
        town.wire.set(None)
        if done.code == 0:
            assert town.digest_of(tag, home=consumer) == town.images[1], "what was acknowledged is lost"
        assert town.digest_of("1", home=consumer) == town.images[0], "what was signed before is lost"
        assert town.sign(tag, town.images[2]).code == 0, f"no recovery after {fault} at {at}: {done.said}"
        assert town.digest_of(tag, home=consumer) == town.images[2]
        shutil.rmtree(consumer)
        points += 1
    record_property("points", points)
    record_property("broken", 0)
