"""A publisher's registry, another registry, and what a test asks of both."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.simulators.command_line import PASSPHRASE, Zygote, plain_environment
from tests.simulators.pushing import PATH, push_image, push_index
from tests.simulators.registry import DockerRegistry
from trust.deadline import Deadline, deadline_in
from trust.digest import Digest, sha256
from trust.manifest import OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import FetchedManifest, Registry

PLATFORMS = {"amd64": "for one machine", "arm64": "for another"}
EMPTY = b"{}"


@dataclass(frozen=True, kw_only=True)
class Places:
    """``single`` and ``multi`` (an index) are signed in the collection ``acme/`` at the source."""

    source: DockerRegistry
    there: DockerRegistry
    folder: Path
    zygote: Zygote
    single: Digest
    multi: Digest
    note: Digest

    def towards(self, there: DockerRegistry) -> Places:
        """Return the same with another destination."""
        return replace(self, there=there)

    def src(self, tag: str) -> str:
        """Return an image at the source."""
        return f"{self.source.host}/{PATH}:{tag}"

    def dst(self, path: str = PATH) -> str:
        """Return a repository at the destination."""
        return f"{self.there.host}/{path}"

    def run(self, *argv: str, code: int = 0, home: str = "home", policy: str = "policy.toml") -> str:
        """Return what a command said that ended with ``code``."""
        return run(self.zygote, self.folder, *argv, code=code, home=home, policy=policy)

    def json(self, *argv: str, **how: Any) -> dict[str, Any]:
        """Return the document that a command printed."""
        said = self.run(*argv, "--json", "--quiet", **how)
        document: dict[str, Any] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
        return document

    def consumer_of(self, stanza: str, name: str) -> dict[str, Any]:
        """Return how a consumer runs commands whose policy is ``stanza`` alone."""
        policy = self.folder / f"{name}.toml"
        policy.write_text(f"schema = 1\n\n{stanza}")
        return {"home": name, "policy": policy.name}


def founded(folder: Path, source: DockerRegistry, zygote: Zygote) -> Places:
    """Have a collection in ``source``; the publisher's keys and policy are below ``folder``."""
    host = source.host
    single = push_image(host, "single", "the publisher's")
    multi = push_index(host, "multi", PLATFORMS)
    note = push_referrer(host, PATH, single, b"a note")
    run(zygote, folder, "init", f"{host}/acme/", "--metadata", "registry:", "--write-policy")
    run(zygote, folder, "sign", f"{host}/{PATH}:single@{single}", f"{host}/{PATH}:multi@{multi}")
    return Places(source=source, there=source, folder=folder, zygote=zygote, single=single, multi=multi, note=note)


def run(
    zygote: Zygote, folder: Path, *argv: str, code: int = 0, home: str = "home", policy: str = "policy.toml"
) -> str:
    """Return what a command said that ended with ``code``, of the user whose everything is below ``folder``."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {
        **plain_environment(),
        "HOME": str(folder),
        "TRUST_HOME": str(folder / home),
        "TRUST_POLICY": str(folder / policy),
        "TRUST_PASSPHRASE": PASSPHRASE,
        "TMPDIR": str(temporary),
    }
    zygote.start({"argv": argv, "env": environment, "uid": None, "file_bytes": None, "is_traced": False})
    done = zygote.finish()
    assert done.code == code, (argv, done)
    return done.said


@contextmanager
def door(host: str) -> Iterator[Registry]:
    """Give a door to a registry."""
    with Http(environ={}) as http:
        yield Registry(host, http=http, credentials=Credentials(environ={}, home=Path("/nonexistent")))


def soon() -> Deadline:
    """Return a deadline that no honest registry reaches."""
    return deadline_in(30, time.monotonic)


def referrer_bytes(subject: Digest, content: bytes, *, subject_size: int = 1) -> bytes:
    """Return the manifest of an artifact that refers to ``subject``."""
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(sha256(EMPTY)), "size": len(EMPTY)}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "text/plain",
        "config": empty,
        "layers": [{"mediaType": "text/plain", "digest": str(sha256(content)), "size": len(content)}],
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(subject), "size": subject_size},
    }
    return json.dumps(document).encode()


def push_referrer(
    host: str, path: str, subject: Digest, content: bytes, *, listed: Digest | None = None
) -> Digest:
    """Return the digest of a new referrer, pushed and listed (under ``listed``, where that is another)."""
    with door(host) as registry:
        for blob in (EMPTY, content):
            registry.push_blob(path, sha256(blob), blob, deadline=soon())
        data = referrer_bytes(subject, content)
        digest = registry.put_manifest(path, sha256(data), data, OCI_MANIFEST, deadline=soon())
        registry.add_referrer(path, listed or subject, data, deadline=soon())
    return digest


def tags(host: str, path: str) -> set[str]:
    """Return the tags that a repository has, none where there is no repository."""
    with door(host) as registry:
        return set(registry.tags(path, deadline=soon()))


def manifest(host: str, path: str, reference: str | Digest) -> bytes | None:
    """Return a manifest that a registry has, or None."""
    with door(host) as registry:
        fetched = registry.manifest(path, reference, deadline=soon())
        return fetched.untrusted_bytes if isinstance(fetched, FetchedManifest) else None


def blob(host: str, path: str, content: bytes) -> bool:
    """Tell whether a repository has the blob."""
    with door(host) as registry:
        return registry.has_blob(path, sha256(content), deadline=soon())


def is_empty(registry: DockerRegistry) -> bool:
    """Tell whether nothing was ever written to a registry: not even a part of a blob."""
    return not any(path.is_file() for path in registry.storage.rglob("*"))
