"""A real docker-registry (CNCF distribution), found on ``PATH``, with its own storage, on a free loopback port."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER, PASSWORD = "publisher", "open sesame"
_PASSWORD_LINE = "publisher:$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n"
_STARTS_IN_SECONDS = 20.0
_LISTENING = re.compile(r"listening on ([0-9.]+:[0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenService:
    """Whose tokens the registry takes: ``certificates`` is a PEM file of the signers."""

    realm: str
    service: str
    issuer: str
    certificates: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerRegistry:
    """A running registry: ``host`` is ``127.0.0.1:PORT``, ``storage`` its files, ``process_id`` its process."""

    host: str
    storage: Path
    process_id: int

    def link_of_tag(self, path: str, tag: str) -> Path:
        """Return the file that holds the digest of ``tag``: writing it moves the tag as its owner could."""
        return self.storage / f"docker/registry/v2/repositories/{path}/_manifests/tags/{tag}/current/link"

    def blob_file(self, hexadecimal: str) -> Path:
        """Return the file of a sha256 blob: writing it corrupts the content as its owner could."""
        return self.storage / f"docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"


@contextmanager
def docker_registry(
    directory: Path,
    *,
    login: bool = False,
    tokens: TokenService | None = None,
    tls: tuple[Path, Path] | None = None,
    delete: bool = True,
    within: Sequence[str] = (),
    address: str = "127.0.0.1",
) -> Iterator[DockerRegistry]:
    """Run a registry below ``directory`` meanwhile, with what another left there.

    ``login`` wants ``USER`` and ``PASSWORD`` by Basic, ``tokens`` wants tokens, ``tls`` is a certificate and its
    key. The port is the kernel's choice, read from the registry's log: two tests cannot race for one. ``within``
    is a command that leads into a network of the test's own, in which ``address`` is.
    """
    program = shutil.which("docker-registry")
    assert program is not None, "docker-registry is not on PATH: run the tests through scripts/test"
    storage, log_file = directory / "storage", directory / "registry.log"
    storage.mkdir(parents=True, exist_ok=True)
    http: dict[str, Any] = {"addr": f"{address}:0", "secret": "of the tests"}
    if tls is not None:
        http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": delete}},
        "http": http,
    }
    if login:
        passwords = directory / "htpasswd"
        passwords.write_text(_PASSWORD_LINE)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(passwords)}}
    if tokens is not None:
        config["auth"] = {
            "token": {
                "realm": tokens.realm,
                "service": tokens.service,
                "issuer": tokens.issuer,
                "rootcertbundle": str(tokens.certificates),
            }
        }
    config_file = directory / "config.yml"
    config_file.write_text(json.dumps(config))  # JSON is YAML
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*within, program, "serve", str(config_file)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    try:
        host = _listening(process, log_file)
        yield DockerRegistry(host=host, storage=storage, process_id=process.pid)
    finally:
        process.kill()
        process.wait()


def _listening(process: subprocess.Popen[bytes], log_file: Path) -> str:
    until = time.monotonic() + _STARTS_IN_SECONDS
    while time.monotonic() < until and process.poll() is None:
        match = _LISTENING.search(log_file.read_text(errors="replace"))
        if match is not None:
            return match[1]
        time.sleep(0.01)
    raise AssertionError(f"docker-registry did not start: {log_file.read_text(errors='replace')[-2000:]}")
