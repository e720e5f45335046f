"""Owns the programs that the product is measured beside: a real Notary 0.7 server, and its client's repositories.

The server keeps its metadata in memory, signs with local keys and speaks plain HTTP on the loopback device: less
work than any server in production, which is in the peer's favour.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.measure import run
from scripts.bench.server import serving
from scripts.bench.setting import PASSPHRASE, Setting, component
from scripts.ports import free_port

_ROLES = ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotaryRepository:
    """A trusted collection of Notary, its keys and cache in ``directory``; its targets are v0 and so on."""

    directory: Path
    url: str
    environ: Mapping[str, str]
    name: str

    def argv(self, *words: str) -> Sequence[str]:
        """Return the command line of the client that runs ``words`` against the server."""
        return (component("notary"), "-s", self.url, "-d", str(self.directory / "trust"), *words)

    def lookup(self) -> Sequence[str]:
        """Return the command that looks one target up, asking the server for anything newer."""
        return self.argv("lookup", self.name, "v0")

    def add(self, target: str) -> Sequence[str]:
        """Return the command that adds and publishes one more target."""
        return self.argv("add", "-p", self.name, target, str(self.directory / "content"))


@contextmanager
def notary_server(setting: Setting, name: str) -> Iterator[str]:
    """Yield the URL of a Notary server that answers; it has ended when the context is left.

    Raises:
        BenchError: it did not answer in time.
    """
    directory = setting.fresh(name)
    port = free_port()
    configuration = {
        "server": {"http_addr": f"127.0.0.1:{port}"},
        "trust_service": {"type": "local", "hostname": "", "port": "", "key_algorithm": "ecdsa"},
        "storage": {"backend": "memory"},
        "logging": {"level": "error"},
    }
    (directory / "server.json").write_text(json.dumps(configuration), "utf-8")
    argv = (component("notary-server"), "-config", str(directory / "server.json"))
    with serving(*argv, port=port, log=directory / "log", environ=setting.environ):
        yield f"http://127.0.0.1:{port}"


def notary_repository(setting: Setting, url: str, name: str, *, targets: int) -> NotaryRepository:
    """Return a new collection of ``targets`` on the server at ``url``, which its client has looked up.

    Raises:
        BenchError: the client refused.
    """
    directory = setting.fresh(name)
    (directory / "content").write_text("content\n", "utf-8")
    passphrases = {f"NOTARY_{role}_PASSPHRASE": PASSPHRASE for role in _ROLES}
    repository = NotaryRepository(
        directory=directory,
        url=url,
        environ={**setting.environ, **passphrases},
        name=f"registry.invalid/acme/{name}",
    )
    environ = repository.environ
    run(*repository.argv("init", repository.name), environ=environ)
    for number in range(targets):
        run(*repository.argv("add", repository.name, f"v{number}", str(directory / "content")), environ=environ)
    run(*repository.argv("publish", repository.name), environ=environ)
    run(*repository.lookup(), environ=environ)
    return repository
