"""A collection on a real registry with one of everything that a gate must tell apart, and who published it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.runtime.images import busybox_layer
from tests.simulators.command_line import PASSPHRASE, Zygote, plain_environment
from tests.simulators.pushing import push_image, push_index
from tests.simulators.registry import DockerRegistry
from trust.digest import Digest
from trust.runtime.content import machine_platform

METADATA = ("acme/trust-metadata", "_trust")
HERE = machine_platform(os.uname().machine).architecture
ELSEWHERE = "riscv64"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is in the registry, by tag.

    ``single`` and ``multi`` are signed, ``unsigned`` is not; ``moved`` is signed as ``moved``, and then somebody
    with the registry's password had its tag point to the unsigned image.
    """

    registry: DockerRegistry
    folder: Path
    zygote: Zygote
    single: Digest
    multi: Digest
    moved: Digest
    unsigned: Digest

    def policy(self, host: str) -> str:
        """Return the policy of a consumer who knows the registry as ``host``."""
        return (self.folder / "policy.toml").read_text().replace(self.registry.host, host)

    def sign_more(self, tag: str) -> None:
        """Have another edition of the metadata."""
        trust(self.zygote, self.folder, "sign", f"{self.registry.host}/acme/web:{tag}@{self.single}")


def trust(zygote: Zygote, folder: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    """Run a command of the user whose everything is below ``folder``; return what it said."""
    found = {
        **plain_environment(),
        "HOME": str(folder),
        "TRUST_HOME": str(folder / "home"),
        "TRUST_POLICY": str(folder / "policy.toml"),
        "TRUST_PASSPHRASE": PASSPHRASE,
        **environment,
    }
    zygote.start({"argv": arguments, "env": found, "uid": None, "file_bytes": None, "is_traced": False})
    done = zygote.finish()
    assert done.code == code, (arguments, done)
    return done.said


def publish(registry: DockerRegistry, folder: Path, zygote: Zygote) -> Published:
    """Have it all in ``registry``; the publisher's keys and policy are below ``folder``."""
    folder.mkdir(parents=True)
    host = registry.host
    single = push_image(host, "single", busybox_layer().blob)
    multi = push_index(host, "multi", {HERE: "for this machine", ELSEWHERE: "for another"})
    moved = push_image(host, "moved", "the publisher's")
    trust(zygote, folder, "init", f"{host}/acme/", "--metadata", "registry:", "--write-policy")
    signed = {"single": single, "multi": multi, "moved": moved}
    trust(zygote, folder, "sign", *(f"{host}/acme/web:{tag}@{digest}" for tag, digest in signed.items()))
    unsigned = push_image(host, "unsigned", "the attacker's")
    assert push_image(host, "moved", "the attacker's") == unsigned
    return Published(registry=registry, folder=folder, zygote=zygote, unsigned=unsigned, **signed)
