"""An encrypted snapshot is for its recipients alone, and is verified before it is decrypted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.migration.harbour import COUNT, Machine, empty_cgroups, last, until
from tests.simulators.registry import DockerRegistry

pytestmark = pytest.mark.root
SECRET = "wolpertinger-9271"


def identity(directory: Path, name: str) -> tuple[str, str]:
    """Make an identity as anybody would; return its file, and its recipient's."""
    private, public = directory / f"{name}.pem", directory / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", str(private)], check=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True)
    private.chmod(0o600)
    return str(private), str(public)


def started(machine: Machine) -> None:
    machine.start("counter", f"x={SECRET}; {COUNT}", "-e", f"TOKEN={SECRET}")
    until(lambda: last(machine.output("counter")) > 5, "the counter")


def refused(there: Machine, *argv: str, code: int, words: str) -> None:
    """Restore in vain: one line, and nothing left."""
    before, cgroups = there.leftovers(), empty_cgroups()
    done = there.run("restore", *argv, code=code)
    lines = [line for line in done["said"].splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done["said"]
    assert words in lines[0]
    assert there.leftovers() == before
    until(lambda: not empty_cgroups() - cgroups, "the cgroups to be gone")


def blobs_of(registry: DockerRegistry, digest: str) -> list[bytes]:
    manifest = json.loads(registry.blob_file(digest.partition(":")[2]).read_bytes())
    names = [one["digest"].partition(":")[2] for one in (manifest["config"], *manifest["layers"])]
    return [registry.blob_file(name).read_bytes() for name in names]


def test_each_recipient_can_restore_and_nobody_else_reads_a_word(
    here: Machine, there: Machine, registry: DockerRegistry, tmp_path: Path
) -> None:
    first, first_public = identity(tmp_path, "first")
    second, second_public = identity(tmp_path, "second")
    stranger, _ = identity(tmp_path, "stranger")
    started(here)
    image = here.image("sealed:live")
    done = here.run("checkpoint", "counter", image, "--encrypt-to", first_public, "--encrypt-to", second_public)
    assert done["encrypted"] == 2
    stopped_at = last(here.output("counter"))
    for blob in blobs_of(registry, done["digest"]):
        assert not blob.startswith(b"\x28\xb5\x2f\xfd")  # zstd's mark
        assert SECRET.encode() not in blob
    refused(there, image, code=2, words="is encrypted: the identity")
    refused(there, image, "--identity", stranger, code=2, words="is encrypted to others")
    there.run("restore", image, "--name", "moved", "--identity", second)
    until(lambda: len(there.output("moved")) > 5, "the counter, moved")
    assert int(there.output("moved")[0]) == stopped_at + 1
    here.run("restore", image, "--name", "again", "--identity", first)


def test_memory_that_came_encrypted_is_not_pushed_in_the_clear_unless_asked_for(
    here: Machine, there: Machine, registry: DockerRegistry, tmp_path: Path
) -> None:
    private, public = identity(tmp_path, "mine")
    started(here)
    image, back = here.image("sealed:there"), here.image("sealed:back")
    here.run("checkpoint", "counter", image, "--encrypt-to", public)
    there.run("restore", image, "--name", "moved", "--identity", private)
    there.run("clone", "moved", "copy")
    for name in ("moved", "copy"):
        said = there.run("checkpoint", name, back, code=2)["said"]
        assert f"memory of {name} came here encrypted" in said
        assert "--encrypt-to" in said
    assert not registry.link_of_tag("acme/sealed", "back").exists()
    done = there.run("checkpoint", "copy", back, "--no-sign", "--in-the-clear")
    assert done["encrypted"] == 0
    done = there.run("checkpoint", "moved", back, "--no-sign", "--encrypt-to", public)
    assert done["encrypted"] == 1


def test_second_encrypted_snapshot_sends_only_what_changed_and_shares_nothing_with_a_plain_one(
    here: Machine, tmp_path: Path
) -> None:
    _, public = identity(tmp_path, "first")
    _, other = identity(tmp_path, "other")
    here.start("large", f"x=$(head -c 15000000 /dev/urandom | base64); {COUNT}")
    until(lambda: last(here.output("large")) > 3, "the memory")

    def sent(tag: str, *recipients: str) -> int:
        words = [word for one in recipients for word in ("--encrypt-to", one)]
        done = here.run("checkpoint", "large", here.image(f"large:{tag}"), "--leave-running", *words)
        return int(done["bytes"]["sent"])

    assert sent("plain") > 10_000_000
    assert sent("first", public) > 10_000_000
    assert sent("again", public) < 1_000_000
    assert sent("others", public, other) > 10_000_000  # who is a recipient of one reads nothing of the other


def test_encrypted_blob_that_was_edited_or_swapped_is_refused_before_it_is_decrypted(
    here: Machine, there: Machine, registry: DockerRegistry, tmp_path: Path
) -> None:
    private, public = identity(tmp_path, "first")
    started(here)
    done = here.run("checkpoint", "counter", here.image("sealed:edited"), "--encrypt-to", public)
    manifest = json.loads(registry.blob_file(done["digest"].partition(":")[2]).read_bytes())
    pages = [registry.blob_file(one["digest"].partition(":")[2]) for one in manifest["layers"][2:4]]
    whole = [path.read_bytes() for path in pages]
    for forged in ([whole[1], whole[0]], [whole[0][:-1] + b"x", whole[1]]):
        for path, content in zip(pages, forged, strict=True):
            path.write_bytes(content)
        refused(there, there.image("sealed:edited"), "--identity", private, code=1, words="expected")
    pages[0].write_bytes(whole[0][:-1])
    pages[1].write_bytes(whole[1])
    before = there.leftovers()
    there.run("restore", there.image("sealed:edited"), "--identity", private, code=1)
    assert there.leftovers() == before
    pages[0].write_bytes(whole[0])
    there.run("restore", there.image("sealed:edited"), "--identity", private)


def test_identity_that_others_can_read_is_not_used(there: Machine, tmp_path: Path) -> None:
    private, public = identity(tmp_path, "first")
    Path(private).chmod(0o644)
    done = there.run("restore", there.image("sealed:any"), "--identity", private, code=3)
    assert "others can read the identity" in done["said"]
    Path(public).chmod(0o600)
    done = there.run("restore", there.image("sealed:any"), "--identity", public, code=2)
    assert "expected one private key" in done["said"]


def test_recipient_that_is_a_private_or_a_signing_key_is_refused_and_the_container_runs_on(
    here: Machine, tmp_path: Path
) -> None:
    private, _ = identity(tmp_path, "first")
    signing = tmp_path / "signing.pem"
    made = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True)
    public = subprocess.run(["openssl", "pkey", "-pubout"], input=made.stdout, check=True, capture_output=True)
    signing.write_bytes(public.stdout)
    started(here)
    image = here.image("sealed:none")
    said = here.run("checkpoint", "counter", image, "--encrypt-to", private, code=2)["said"]
    assert "is no public key" in said
    said = here.run("checkpoint", "counter", image, "--encrypt-to", str(signing), code=2)["said"]
    assert "expected one of X25519" in said
    assert here.container("counter")["status"] == "running"
