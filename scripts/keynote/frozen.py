"""Two acts with a running container: its memory is edited in the registry, and it is cloned. They need root.

The shop of these acts has a network of its own: it is visited from inside, by whoever may enter there.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.keynote.command import Person
from scripts.keynote.lab import Lab
from scripts.keynote.machine import TILL_KEY
from scripts.keynote.process import wait_until
from scripts.keynote.story import Saw, Who

if TYPE_CHECKING:
    from scripts.keynote.acts import Scene

NEED_ROOT = "Acts five and six are left out: to freeze a container takes root, and CRIU."
_PORT = 8080
_DENIED = 1
_OK, _NO_ANSWER = 200, 0
_FETCH = (
    "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=5).read(65536).decode())"
)
_ZSTD = b"\x28\xb5\x2f\xfd"
_SHOP, _DOLLY = "tea-shop", "dolly"


def can_freeze(lab: Lab) -> bool:
    """Whether the acts can be given here."""
    return os.geteuid() == 0 and shutil.which("criu", path=lab.path) is not None


def edited_memory(scene: "Scene") -> None:
    """The shop moves to the host; on the way somebody edits its memory."""
    stage, act = scene.stage, scene.act
    publisher, host = stage.publisher.person, stage.trust_machine.person
    image = _image(scene)
    with _removed(publisher, _SHOP):
        # CRIU knows no MPTCP, by which programs of a current Go listen unless they are told otherwise.
        settings = ["-e", f"PORT={_PORT}", "-e", f"TILL_KEY={TILL_KEY}", "-e", "GODEBUG=multipathtcp=0"]
        act.add(publisher.trust("run", "-d", "--engine", "runc", "--name", _SHOP, *settings, stage.reference))
        act.check("the shop serves on Acme's own machine", kept=_serves(publisher, _SHOP))
        frozen = publisher.trust("checkpoint", _SHOP, image)
        act.add(frozen)
        gone = frozen.exit_code == 0 and _container(publisher, _SHOP).get("pid") is None
        act.check("it is frozen, pushed, signed, and runs there no more", kept=gone)
    chunk = _chunk_with(stage.home / "registry", TILL_KEY)
    act.said(
        Who.ATTACKER, "owns the registry's disk: he finds the till's key in the memory and puts another there"
    )
    whole = chunk.read_bytes()
    chunk.write_bytes(_with_another_key(whole))
    refused = host.trust("restore", image, "--name", _SHOP)
    act.add(refused)
    reason = json.loads(host.trust("restore", image, "--json", "--quiet").output.splitlines()[0])["error"][
        "reason"
    ]
    kept = refused.exit_code == _DENIED and reason == "tampered"
    act.check("restore says tampered, before a byte of it is resumed", kept=kept)
    act.check("nothing of it runs", kept=not _container(host, _SHOP))
    chunk.write_bytes(whole)


def dolly(scene: "Scene") -> None:
    """The snapshot that was signed is resumed, and cloned: one shop, then two."""
    act, host = scene.act, scene.stage.trust_machine.person
    with ExitStack() as stack:
        stack.enter_context(_removed(host, _SHOP))
        act.add(host.trust("restore", _image(scene), "--name", _SHOP))
        saw = _visit(host, _SHOP)
        act.add(saw)
        act.check("the shop goes on serving where it was frozen", kept="winter menu" in " ".join(saw.excerpt))
        stack.enter_context(_removed(host, _DOLLY))
        cloned = host.trust("clone", _SHOP, _DOLLY)
        act.add(cloned)
        act.check("two shops serve side by side", kept=_serves(host, _SHOP) and _serves(host, _DOLLY))
        act.check("and whoever did it is told that secrets are doubled", kept="every secret" in cloned.output)


def _image(scene: "Scene") -> str:
    return f"{scene.stage.publisher.collection}live:monday"


@contextmanager
def _removed(person: Person, name: str) -> Iterator[None]:
    """Have no such container afterwards, whatever happens."""
    try:
        yield
    finally:
        person.trust("rm", "--force", name)


def _container(person: Person, name: str) -> dict[str, Any]:
    listed = json.loads(person.trust("ps", "--json").output)["containers"]
    return next((one for one in listed if one["name"] == name), {})


def _serves(person: Person, name: str) -> bool:
    return wait_until(lambda: _visit(person, name).status == _OK)


def _visit(person: Person, name: str) -> Saw:
    """What a visitor sees who stands in the container's own network."""
    url = f"http://127.0.0.1:{_PORT}/"
    inside = ["nsenter", "-t", str(_container(person, name).get("pid")), "-n"]
    done = subprocess.run(
        [*inside, sys.executable, "-I", "-c", _FETCH, url], capture_output=True, text=True, timeout=20, check=False
    )
    return Saw(who=Who.VISITOR, url=url, status=_NO_ANSWER if done.returncode else _OK, body=done.stdout)


def _chunk_with(registry: Path, text: str) -> Path:
    """The newest blob of the registry whose content, a chunk of memory, holds ``text``."""
    blobs = registry.glob("docker/registry/v2/blobs/sha256/*/*/data")
    for path in sorted(blobs, key=lambda path: -path.stat().st_mtime_ns):
        content = path.read_bytes()
        if content.startswith(_ZSTD) and text.encode() in _plain(content):
            return path
    raise FileNotFoundError(f"no chunk of memory in {registry} holds the till's key")


def _with_another_key(chunk: bytes) -> bytes:
    import zstandard  # noqa: PLC0415 - these acts alone need it

    another = b"0" * len(TILL_KEY)
    return zstandard.ZstdCompressor(level=1).compress(_plain(chunk).replace(TILL_KEY.encode(), another))


def _plain(chunk: bytes) -> bytes:
    import zstandard  # noqa: PLC0415 - as above

    return zstandard.ZstdDecompressor().decompressobj().decompress(chunk)
