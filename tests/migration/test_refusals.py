"""A snapshot that is not what was signed, or not for this machine, is refused; the original runs on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.migration.harbour import CHECKOUT, COUNT, Machine, empty_cgroups, last, until
from tests.migration.test_walls import CAPABILITIES, SYS_ADMIN
from tests.simulators.registry import DockerRegistry
from trust.digest import Digest, parse_digest, sha256
from trust.runtime.checkpoint_document import IMAGES_TYPE
from trust.runtime.checkpoint_images import encoded

pytestmark = pytest.mark.root
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def counter(here: Machine) -> Iterator[Machine]:
    """Give the machine on which a counter counts."""
    here.start("counter", COUNT)
    until(lambda: last(here.output("counter")) > 5, "the counter")
    yield here
    runs_on(here)


def runs_on(machine: Machine) -> None:
    """Return if the counter counts without a gap."""
    seen = last(machine.output("counter"))
    until(lambda: last(machine.output("counter")) > seen + 2, "the original to run on")
    counted = [int(line) for line in machine.output("counter")]
    assert counted == list(range(1, len(counted) + 1))


def snapshot(machine: Machine, tag: str = "live") -> Digest:
    done = machine.run("checkpoint", "counter", machine.image(f"counter:{tag}"), "--leave-running")
    return parse_digest(done["digest"])


def manifest_of(registry: DockerRegistry, digest: Digest) -> dict[str, Any]:
    return dict(json.loads(registry.blob_file(digest.hex).read_bytes()))


def pages_with(registry: DockerRegistry, digest: Digest, pattern: bytes) -> tuple[Path, bytes]:
    """Return the stored chunk of memory that holds ``pattern``, and what it holds."""
    for one in manifest_of(registry, digest)["layers"]:
        if one["mediaType"].endswith("pages.v1+zstd"):
            path = registry.blob_file(one["digest"].partition(":")[2])
            content = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
            if pattern in content:
                return path, content
    raise AssertionError(f"no page holds {pattern!r}")


def refused(there: Machine, image: str, *, code: int, words: str, reason: str | None = None) -> None:
    """Restore in vain: one line, and nothing left."""
    before, cgroups = there.leftovers(), empty_cgroups()
    done = there.run("restore", image, code=code)
    lines = [line for line in done["said"].splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done["said"]
    assert words in lines[0]
    assert done["error"]["reason"] == reason
    assert there.leftovers() == before
    until(lambda: not empty_cgroups() - cgroups, "the cgroups to be gone")  # others' come and go meanwhile
    assert there.run("ps")["containers"] == []


def test_criu_itself_restores_edited_memory_without_complaint(counter: Machine, tmp_path: Path) -> None:
    images, work = tmp_path / "images", tmp_path / "work"
    images.mkdir()
    work.mkdir()
    pid, identity = counter.container("counter")["pid"], counter.container("counter")["id"]
    state = str(counter.home / "engines/runc")
    from trust.runtime.criu import dump_settings, restore_settings, streams_of  # noqa: PLC0415

    bundle = counter.directory_of("counter")
    streams = streams_of(pid)
    (bundle / "criu.conf").write_text(dump_settings(streams))
    where = ["--image-path", str(images), "--work-path", str(work)]
    subprocess.run(["runc", "--root", state, "checkpoint", *where, identity], check=True)
    counted = last(counter.output("counter"))
    edited = 0
    for pages in images.glob("pages-*.img"):
        content = pages.read_bytes()
        for at in (counted, counted + 1):
            edited += content.count(b"i=%d\0" % at)
            content = content.replace(b"i=%d\0" % at, b"i=%s\0" % (b"9" * len(str(at))))
        pages.write_bytes(content)
    assert edited
    # The engine mounts nothing: the same overlay is made by hand, in a mount namespace of its own.
    (bundle / "criu.conf").write_text(restore_settings(streams))
    (images / "descriptors.json").write_text('["/dev/null", "/dev/null", "/dev/null"]')
    config = json.loads((bundle / "config.json").read_text())
    record = json.loads((bundle / "record.json").read_text())
    tree = counter.home / "rootfs" / record["manifest"].replace(":", "/") / "rootfs"
    options = f"lowerdir={tree},upperdir={bundle}/upper,workdir={bundle}/work"
    script = f'mount -t overlay overlay -o {options} {config["root"]["path"]} && exec "$@"'
    subprocess.run(["runc", "--root", state, "delete", "--force", identity], check=True)
    command = ["runc", "--root", state, "restore", "--detach", *where, "--bundle", str(bundle), identity]
    with (bundle / "stdout.log").open("ab") as log:
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *command], check=True, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    until(lambda: last(counter.output("counter")) > counted + 5, "the forged count")
    forged = counter.output("counter")
    assert str(int("9" * len(str(counted))) + 1) in forged or "100" in forged
    counter.run("rm", "--force", "counter")
    counter.start("counter", COUNT)


def test_edited_memory_page_is_refused(counter: Machine, there: Machine, registry: DockerRegistry) -> None:
    digest = snapshot(counter)
    path, content = pages_with(registry, digest, b"/count")
    forged = content.replace(b"/count", b"/c0unt")
    path.write_bytes(zstandard.ZstdCompressor(level=1).compress(forged))
    refused(there, there.image("counter:live"), code=1, words="expected", reason="tampered")


def test_edited_configuration_is_refused(counter: Machine, there: Machine, registry: DockerRegistry) -> None:
    config = manifest_of(registry, snapshot(counter))["config"]
    path = registry.blob_file(config["digest"].partition(":")[2])
    forged = path.read_bytes().replace(b'"read_only":false', b'"read_only":null!'[:17])
    assert forged != path.read_bytes()
    path.write_bytes(forged)
    refused(there, there.image("counter:live"), code=1, words="expected sha256:", reason="tampered")


def test_snapshot_that_nobody_signed_is_refused(counter: Machine, there: Machine) -> None:
    done = counter.run("checkpoint", "counter", counter.image("counter:bare"), "--leave-running", "--no-sign")
    assert "trust sign" in done["said"]
    refused(there, there.image("counter:bare"), code=1, words="does not sign", reason="unsigned")
    counter.run("sign", f"{counter.image('counter:bare')}@{done['digest']}")
    there.run("restore", there.image("counter:bare"))


def test_image_is_no_snapshot_and_a_snapshot_no_image(counter: Machine, there: Machine) -> None:
    snapshot(counter)
    refused(there, there.image("web:1"), code=2, words="is no checkpoint")
    done = there.run("run", there.image("counter:live"), code=125)
    assert "not an image that can be run" in done["said"]


def republished(
    machine: Machine,
    registry: DockerRegistry,
    digest: Digest,
    tag: str,
    edit: Callable[[dict[str, Any]], None],
    *,
    images: bytes = b"",
) -> None:
    """Push and sign a snapshot whose document was edited, or CRIU's ``images``: its signer's own doing."""
    from trust.deadline import deadline_in  # noqa: PLC0415
    from trust.oci.credentials import Credentials  # noqa: PLC0415
    from trust.oci.http import Http  # noqa: PLC0415
    from trust.oci.registry import Registry  # noqa: PLC0415

    manifest = manifest_of(registry, digest)
    document = json.loads(registry.blob_file(manifest["config"]["digest"].partition(":")[2]).read_bytes())
    edit(document)
    if images:
        (layer,) = (one for one in manifest["layers"] if one["mediaType"] == IMAGES_TYPE)
        document["images"] = {"digest": str(sha256(images)), "size": len(images)}
        layer.update(document["images"])
    config = json.dumps(document).encode()
    manifest["config"].update(digest=str(sha256(config)), size=len(config))
    data = json.dumps(manifest).encode()
    with Http(environ={}) as http:
        door = Registry(
            machine.registry, http=http, credentials=Credentials(environ={}, home=Path("/nonexistent"))
        )
        for blob in (config, images):
            door.push_blob("acme/counter", sha256(blob), blob)
        import time  # noqa: PLC0415

        door.put_manifest("acme/counter", tag, data, MANIFEST_TYPE, deadline=deadline_in(30, time.monotonic))
    machine.run("sign", f"{machine.image(f'counter:{tag}')}@{sha256(data)}")


def test_snapshot_of_another_base_is_refused(counter: Machine, there: Machine, registry: DockerRegistry) -> None:
    other = registry.link_of_tag("acme/web", "2").read_text()
    republished(
        counter, registry, snapshot(counter), "base", lambda document: document["container"].update(digest=other)
    )
    refused(there, there.image("counter:base"), code=1, words="image: expected", reason="tampered")


def test_snapshot_of_another_platforms_image_is_refused(
    counter: Machine, there: Machine, registry: DockerRegistry
) -> None:
    """Its base is what it says, and its memory is of what that index has for others."""
    other = registry.link_of_tag("acme/web", "2").read_text()
    republished(
        counter, registry, snapshot(counter), "arm", lambda document: document["container"].update(manifest=other)
    )
    refused(there, there.image("counter:arm"), code=1, words="expected", reason="tampered")


def test_snapshot_that_brings_a_capability_is_refused_whoever_signed_it(
    counter: Machine, there: Machine, registry: DockerRegistry
) -> None:
    digest = snapshot(counter)
    (layer,) = (one for one in manifest_of(registry, digest)["layers"] if one["mediaType"] == IMAGES_TYPE)
    held = registry.blob_file(layer["digest"].partition(":")[2]).read_bytes()
    content = zstandard.ZstdDecompressor().decompressobj().decompress(held)
    plain, more = (encoded(11, CAPABILITIES | extra) for extra in (0, SYS_ADMIN))
    assert plain in content
    forged = zstandard.ZstdCompressor(level=1).compress(content.replace(plain, more))
    republished(counter, registry, digest, "mighty", lambda _document: None, images=forged)
    refused(there, there.image("counter:mighty"), code=1, words="has capabilities", reason="tampered")


def test_snapshot_of_a_revoked_base_is_refused(here: Machine, there: Machine) -> None:
    here.start("old", COUNT, image="web:2")
    until(lambda: last(here.output("old")) > 2, "the counter")
    here.run("checkpoint", "old", here.image("counter:old"), "--leave-running")
    digest = here.container("old")["digest"]
    here.run("revoke", f"{here.image('web')}@{digest}")
    refused(there, there.image("counter:old"), code=1, words="revoked", reason="revoked")


@pytest.mark.parametrize(
    ("fact", "value", "words"),
    [
        ("kernel", "5.4.0-of-another", "another kernel: expected 5.4.0-of-another"),
        ("criu", "3.17", "another CRIU: expected 3.17"),
        ("engine_version", "1.0.0", "another engine: expected runc 1.0.0"),
        ("architecture", "s390x", "another architecture: expected s390x"),
        ("cpu_vendor", "GenuineOther", "another processor: expected GenuineOther"),
        ("cpu_flags", ["avx1024", "sse"], "this one lacks avx1024"),
    ],
)
def test_snapshot_of_another_machine_is_refused(
    *, counter: Machine, there: Machine, registry: DockerRegistry, fact: str, value: object, words: str
) -> None:
    republished(
        counter, registry, snapshot(counter), "fact", lambda document: document["facts"].update({fact: value})
    )
    refused(there, there.image("counter:fact"), code=2, words=words)


def without_criu(machine: Machine, directory: Path) -> None:
    """Have a machine on which CRIU is not installed."""
    directory.mkdir()
    lab = Path(shutil.which("criu") or "").parent
    for program in lab.iterdir():
        if program.name != "criu":
            (directory / program.name).symlink_to(program)
    others = [each for each in os.environ["PATH"].split(":") if not Path(each, "criu").exists()]
    machine.path = ":".join([str(directory), *others])


def test_without_criu_nothing_is_frozen_and_nothing_resumed(
    counter: Machine, there: Machine, tmp_path: Path
) -> None:
    snapshot(counter)
    without_criu(there, tmp_path / "programs")
    refused(there, there.image("counter:live"), code=2, words="criu is not installed")
    whole, counter.path = counter.path, there.path
    try:
        done = counter.run("checkpoint", "counter", counter.image("counter:none"), code=2)
    finally:
        counter.path = whole
    assert "criu is not installed" in done["said"]


def test_registry_that_does_not_answer_leaves_the_original_running(counter: Machine) -> None:
    done = counter.run("checkpoint", "counter", "127.0.0.1:1/acme/counter:live", "--no-sign", code=3)
    assert len([line for line in done["said"].splitlines() if line.startswith("error:")]) == 1
    assert counter.leftovers()["checkpoints"] == []


def test_name_that_nobody_here_can_sign_freezes_nothing(
    counter: Machine, registry: DockerRegistry, tmp_path: Path
) -> None:
    keys = counter.home / "keys"
    keys.rename(tmp_path / "keys")
    try:
        done = counter.run("checkpoint", "counter", counter.image("counter:nokey"), code=3)
    finally:
        (tmp_path / "keys").rename(keys)
    assert len([line for line in done["said"].splitlines() if line.startswith("error:")]) == 1
    assert not registry.link_of_tag("acme/counter", "nokey").exists()
    done = counter.run("checkpoint", "counter", f"{counter.registry}/others/counter:live", code=2)
    assert "no collection known here covers" in done["said"]
    assert not registry.link_of_tag("others/counter", "live").exists()


def test_signature_that_fails_leaves_the_original_running_and_says_how_to_sign(
    counter: Machine, registry: DockerRegistry
) -> None:
    """The store of the metadata breaks after the rehearsal, while the container stands still."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trust", "checkpoint", "counter", counter.image("counter:late")],
        cwd=CHECKOUT, env=counter.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metadata = registry.storage / "docker/registry/v2/repositories/acme/trust-metadata/_manifests/tags"
    hidden = metadata.with_name("hidden")
    until(lambda: list((counter.home / "checkpoints").glob("*/frozen.json")), "the freezing")
    metadata.rename(hidden)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        hidden.rename(metadata)
    assert process.returncode == 3
    assert "not signed" in said
    assert f"hint: trust sign {counter.image('counter:late')}@sha256:" in said


def test_registry_that_goes_away_in_mid_restore_leaves_nothing(
    counter: Machine, there: Machine, registry: DockerRegistry
) -> None:
    digest = snapshot(counter, "gone")
    path, content = pages_with(registry, digest, b"/count")
    path.unlink()
    try:
        refused(there, there.image("counter:gone"), code=3, words="could not read the blob", reason="unreachable")
    finally:
        path.write_bytes(zstandard.ZstdCompressor(level=1).compress(content))


@contextmanager
def full_disk(machine: Machine, kilobytes: int) -> Iterator[None]:
    """Have no more room than this where checkpoints are kept."""
    place = machine.home / "checkpoints"
    place.mkdir(exist_ok=True, parents=True, mode=0o700)
    options = ["-o", f"size={kilobytes}k", "-t", "tmpfs"]
    subprocess.run(["mount", *options, "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_full_disk_leaves_the_original_running(counter: Machine) -> None:
    with full_disk(counter, 100):
        done = counter.run("checkpoint", "counter", counter.image("counter:full"), code=3)
        assert list((counter.home / "checkpoints").iterdir()) == []
    assert len([line for line in done["said"].splitlines() if line.startswith("error:")]) == 1
    assert "No space left" in done["said"]


def test_full_disk_leaves_nothing_of_a_restore(counter: Machine, there: Machine) -> None:
    snapshot(counter)
    with full_disk(there, 200):
        refused(there, there.image("counter:live"), code=3, words="No space left", reason="state-damaged")


def test_what_cannot_be_moved_is_left_alone(here: Machine) -> None:
    here.start("shared", COUNT, "--network", "host")
    done = here.run("checkpoint", "shared", here.image("counter:shared"), code=2)
    assert "the host's network" in done["said"]
    assert here.container("shared")["status"] == "running"
    here.run("stop", "-t", "0", "shared")
    done = here.run("checkpoint", "shared", here.image("counter:shared"), code=2)
    assert "is not running" in done["said"]


@pytest.mark.parametrize("engine", ["crun", "bubblewrap"])
def test_container_of_an_engine_that_cannot_bring_it_back_is_not_frozen(here: Machine, engine: str) -> None:
    here.start("other", COUNT, "--engine", engine)
    until(lambda: last(here.output("other")) > 2, "the counter")
    for words in (("checkpoint", "other", here.image("counter:other")), ("clone", "other", "dolly")):
        said = here.run(*words, code=2)["said"]
        assert f"error: {engine}'s containers cannot be moved: " in said
        assert "hint: start the container with --engine runc" in said
    seen = last(here.output("other"))
    until(lambda: last(here.output("other")) > seen + 2, "the original to run on")


def test_name_that_is_taken_is_refused_and_its_owner_left_alone(counter: Machine) -> None:
    snapshot(counter)
    done = counter.run("restore", counter.image("counter:live"), "--name", "counter", code=2)
    assert "name is taken" in done["said"]
    done = counter.run("clone", "counter", "counter", code=2)
    assert "name is taken" in done["said"]
    assert [one["name"] for one in counter.run("ps")["containers"]] == ["counter"]
