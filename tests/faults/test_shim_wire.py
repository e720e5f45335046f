"""The network on each side of the shim fails at every request, in every way, one at a time, and for a while.

Towards its clients, its upstream registry and the store of its metadata. After each fault: who got all bytes with
200 has what was signed, nothing that is not passes the gate, what was acknowledged is served, and the next request
works without anybody's help. ``TRUST_FAULTS=all`` tries every request, otherwise one for each fault.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.places import EVERYWHERE, Record, each_fault, number_of, record, requests, some
from tests.faults.street import PATH, REFUSED, Street, has_unsigned, is_true
from tests.simulators.command_line import Done, Zygote, plain_environment
from tests.simulators.faulty import FAULTS, HARMLESS, Fault
from tests.simulators.shim import Reply, policy_text, receive_all, until
from tests.simulators.upstream import Picture
from trust.digest import sha256

BROKEN_REQUESTS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-3],
    "cut in its first line": lambda data: data[:20],
    "corrupted in its address": lambda data: data.replace(b"acme", b"abme", 1),
    "corrupted in its method": lambda data: b"F" + data[1:],
    "corrupted in a header": lambda data: data.replace(b"Host:", b"Hos\x1f:", 1),
    "sent twice": lambda data: data + data,
    "without an end": lambda data: data + data[:30],
}


@pytest.fixture(scope="module")
def images(here: Street) -> Iterator[tuple[str, Picture]]:
    """Give images that the shim never had, each once."""

    def pool() -> Iterator[tuple[str, Picture]]:
        while True:
            signed = here.signed(33 if EVERYWHERE else 1 + len(FAULTS)).items()
            yield from list(signed)[:-1]  # the last one's manifest the shim has

    return pool()


@each_fault
def test_upstream_that_fails_costs_no_client_his_image_for_good(
    here: Street, images: Iterator[tuple[str, Picture]], fault: str, record_property: Record
) -> None:
    points, broken = requests(len(("manifest", "small layer", "layer")), fault), []  # all have one config
    for at, lasts in points:
        tag, image = next(images)
        here.upstream.set(FAULTS[fault], at, also_later=lasts == "on")
        got = here.pull(tag, image)
        assert here.upstream.count > at, "the fault was not met"
        is_whole = all(reply.body == data for reply, data in got) and len(got) == 1 + len(image.blobs)
        is_right = all(is_true(reply, data) for reply, data in got) and (is_whole or fault not in HARMLESS)
        keeps_shut = here.gives_nothing_unsigned()
        here.upstream.set(None)
        if not (is_right and keeps_shut and here.gives(tag, image)):
            broken.append((at, lasts, [(reply.status, reply.is_whole, len(reply.body)) for reply, _ in got]))
    record(record_property, len(points), broken)
    assert_cache_is_whole(here)


def assert_cache_is_whole(here: Street) -> None:
    for file in (here.shim.home / "cache/sha256").glob("*/*"):
        assert sha256(file.read_bytes()).hex == file.name


@dataclass(kw_only=True)
class Tag:
    """The tag ``moving``, which is one of two images in turn; learning that it has moved takes some requests."""

    new: Picture
    old: Picture
    requests: int = 0

    def move(self, here: Street, fault: Fault | None = None, at: int = 0, *, lasts: str = "once") -> None:
        """Move it; the shim's next request to its store is the first that may tell."""
        self.old, self.new = self.new, self.old
        with here.store.stopped():
            here.sign({"moving": self.new})
            here.store.set(fault, at, also_later=lasts == "on")


@pytest.fixture(scope="module")
def tag(here: Street) -> Tag:
    """Give the tag, once the shim has learned of a move."""
    one, other = here.signed(2).values()
    tag = Tag(new=one, old=other)
    tag.move(here)
    until(lambda: here.gives("moving", tag.new), "the shim knows the tag")
    tag.move(here)
    until(lambda: here.gives("moving", tag.new), "the shim learns that it has moved")
    tag.requests = min(here.store.count, 6)
    assert tag.requests >= 4, "the artifact, the timestamp, the snapshot and the targets"
    return tag


@each_fault
def test_store_that_fails_costs_the_shim_no_publish_that_was_acknowledged(
    here: Street, tag: Tag, fault: str, record_property: Record
) -> None:
    points, broken = requests(tag.requests, fault), []
    for at, lasts in points:
        tag.move(here, FAULTS[fault], at, lasts=lasts)
        said: list[Reply] = []
        while here.store.count <= at:
            said.append(here.head("moving"))
        said.append(here.head("moving"))
        digests = {str(tag.old.digest), str(tag.new.digest)}
        is_right = all(
            reply.status in REFUSED or reply.headers["docker-content-digest"] in digests for reply in said
        )
        keeps_shut = here.gives_nothing_unsigned()
        here.store.set(None)
        if not (is_right and keeps_shut and follows(here, tag.new)):
            broken.append((at, lasts, [reply.status for reply in said], here.head("moving")))
    record(record_property, len(points), broken)


def follows(here: Street, image: Picture) -> bool:
    """Tell whether the shim comes to serve what was published last, by itself."""
    try:
        return bool(until(lambda: here.gives("moving", image), "what was acknowledged is served"))
    except AssertionError:
        return False


class Client:
    """Who reaches nothing but the shim, over a wire: with our commands or with another's."""

    def __init__(self, here: Street, folder: Path, zygote: Zygote) -> None:
        self.here, self.folder, self.zygote = here, folder, zygote
        (folder / "tmp").mkdir(parents=True)
        (folder / "policy.toml").write_text(policy_text(here.behind()))
        self.environment = {
            **plain_environment(), "HOME": str(folder), "TMPDIR": str(folder / "tmp"),
            "TRUST_HOME": str(folder / "home"), "TRUST_POLICY": str(folder / "policy.toml"),
        }  # fmt: skip

    def verify(self) -> Done:
        argv = ("verify", "--json", f"{self.here.clients_host}/{PATH}:1")
        self.zygote.start(
            {"argv": argv, "env": self.environment, "uid": None, "file_bytes": None, "is_traced": False}
        )
        return self.zygote.finish()

    def copy(self, image: Picture) -> bool:
        """Return whether skopeo says that it has the image; require that it then has what was signed."""
        target = self.folder / "copied"
        source = f"docker://{self.here.clients_host}/{PATH}@{image.digest}"
        done = subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", source, f"dir:{target}"],
            env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            assert (target / "manifest.json").read_bytes() == image.manifest
            for blob in image.blobs:
                assert (target / sha256(blob).hex).read_bytes() == blob
        return done.returncode == 0


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@each_fault
def test_client_whose_way_to_the_shim_fails_gets_what_is_signed_or_an_error(
    here: Street, tmp_path: Path, zygote: Zygote, fault: str, record_property: Record
) -> None:
    image, total, broken = here.first, 0, []
    for program in some(("trust", "skopeo"), number_of(fault)):
        here.clients.set(None)
        assert asked(Client(here, tmp_path / program, zygote), program, image) == 0
        points = requests(here.clients.count, fault)
        for at, lasts in points:
            who = Client(here, tmp_path / f"{program}-{at}-{lasts}", zygote)
            here.clients.set(FAULTS[fault], at, also_later=lasts == "on")
            code = asked(who, program, image)
            assert here.clients.count > at, "the fault was not met"
            here.clients.set(None)
            if code not in ({0} if fault in HARMLESS else {0, 1, 3}) or asked(who, program, image) != 0:
                broken.append((program, at, lasts, code))
        total += len(points)
    record(record_property, total, broken)
    assert here.gives("1", image)


def asked(who: Client, program: str, image: Picture) -> int | None:
    """Return what the client says of the image, having required that what it believes is what was signed."""
    if program == "skopeo":
        return 0 if who.copy(image) else 3
    done = who.verify()
    assert "Traceback" not in done.said, done
    assert done.code != 0 or str(image.digest) in done.said, done
    return done.code


@pytest.mark.parametrize("how", BROKEN_REQUESTS)
def test_request_that_comes_broken_harms_nobody(here: Street, how: str, record_property: Record) -> None:
    targets = [f"/v2/{PATH}/manifests/1", f"/v2/{PATH}/manifests/evil", f"/v2/{PATH}/blobs/{here.first.layer}"]
    broken = []
    for target in targets:
        whole = f"GET {target} HTTP/1.1\r\nHost: {here.shim.host}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", here.shim.port), timeout=2) as connection:
            connection.sendall(BROKEN_REQUESTS[how](whole))
            connection.shutdown(socket.SHUT_WR)
            said = receive_all(connection)
        if has_unsigned(said) or not here.gives("1", here.first):
            broken.append((target, said))
    record(record_property, len(targets), broken)
