"""Owns the ways in and out for the engines that people have: push then sign, resolve then pull.

push   the image goes to the registry, and the digest that *was pushed* comes back: from the engine or the layout,
never from the registry's word about a tag
pull   the signed digest is pulled by digest, then tagged; a tag is never pulled
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from shutil import which
from typing import Literal

from trust.children import child_environment
from trust.digest import Digest, parse_digest
from trust.errors import InputError, UnavailableError
from trust.manifest import Descriptor
from trust.oci.image_copy import read_manifests
from trust.oci.layout import Layout
from trust.oci.layout_repository import LayoutRepository
from trust.oci.registry import Registry
from trust.oci.repositories import Soon
from trust.reference import Reference, is_loopback
from trust.value import dataclass, field
from trust.verdict import Allowed

EngineName = Literal["docker", "podman"]
ENGINES: tuple[EngineName, ...] = ("docker", "podman")
_PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64}) size: [0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngine:
    """A docker or podman on this machine, spoken to by its own command line."""

    name: EngineName
    program: str
    plain_http: bool
    environ: Mapping[str, str] = field(repr=False)

    def push(self, reference: Reference) -> Digest:
        """Return the digest of the local image ``reference``, which the registry has now.

        Raises:
            UnavailableError: the engine could not push it, or did not say what it pushed.
        """
        if self.name == "docker":
            said = self._run("push", str(reference))
            found = _PUSHED.search(said)
            if found is None:
                raise UnavailableError(f"docker did not say which digest it pushed: {said[-200:].strip()!r}")
            return parse_digest(found[1])
        with tempfile.TemporaryDirectory(prefix="trust-") as directory:
            file = Path(directory, "digest")
            self._run("push", *self._tls(reference), "--digestfile", str(file), str(reference))
            return parse_digest(file.read_text(encoding="ascii").strip())

    def pull(self, allowed: Allowed, *, terminal: int | None = None) -> None:
        """Make the allowed image, pulled by its signed digest, what the reference names in this engine.

        The engine shows its own progress on ``terminal``, a descriptor.
        """
        pinned = str(allowed.pinned)
        self._run("pull", *self._tls(allowed.reference), pinned, terminal=terminal)
        if allowed.reference.tag is not None and allowed.reference.digest is None:
            self._run("tag", pinned, str(allowed.reference))

    def _tls(self, reference: Reference) -> list[str]:
        local = is_loopback(reference.repository.host) or self.plain_http
        return ["--tls-verify=false"] if self.name == "podman" and local else []

    def _run(self, *arguments: str, terminal: int | None = None) -> str:
        # docker shows its progress on the output, podman on the error and the image's id on the output
        output = terminal if terminal is not None and self.name == "docker" else subprocess.PIPE
        error = subprocess.PIPE if terminal is None else terminal
        done = subprocess.run(
            [self.program, *arguments], stdout=output, stderr=error, text=True, errors="replace", check=False,
            env=child_environment(self.environ),
        )  # fmt: skip
        if done.returncode != 0:
            lines = [line for line in (done.stderr or "").splitlines() if line.strip()]
            lines = lines or ["it said nothing" if terminal is None else "it said why above"]
            raise UnavailableError(
                f"{self.name} {arguments[0]} failed with code {done.returncode}: {lines[-1].strip()}"
            )
        return done.stdout or ""


def find_engine(wanted: EngineName | None, *, plain_http: bool, environ: Mapping[str, str]) -> LocalEngine:
    """Return the engine ``wanted``, or the first that is installed.

    Raises:
        InputError: there is none.
    """
    for name in (wanted,) if wanted else ENGINES:
        program = which(name, path=environ.get("PATH"))
        if program:
            return LocalEngine(name=name, program=program, plain_http=plain_http, environ=environ)
    raise InputError(
        f"no {wanted or 'docker or podman'} on this machine",
        hint="an OCI layout needs none: trust push oci:DIR --as IMAGE",
    )


def push_layout(
    layout: Layout, tag: str | None, *, registry: Registry, reference: Reference, soon: Soon
) -> Digest:
    """Return the digest of the image in ``layout``; the registry has it now, with everything that it names, once.

    ``soon`` bounds each manifest; blobs are bounded by the time they stand still.

    Raises:
        InputError: the layout lacks a part, or is malformed. LimitError: nested too deeply, too many manifests.
    """
    digest, path = layout.resolve(tag).digest, reference.repository.path
    pushed: set[Digest] = set()
    for piece in read_manifests(LayoutRepository(layout), digest):
        for blob in piece.blobs:
            if blob.digest not in pushed:
                _push_blob(layout, blob, registry, path)
                pushed.add(blob.digest)
        under = reference.tag or digest if piece.digest == digest else piece.digest
        registry.put_manifest(path, under, piece.data, piece.media_type, deadline=soon())
    return digest


def _push_blob(layout: Layout, blob: Descriptor, registry: Registry, path: str) -> None:
    file = layout.blob_path(blob.digest)
    if not layout.has(blob.digest, blob.size_bytes):
        raise InputError(
            f"layout is malformed: {blob.digest} is not of {blob.size_bytes} bytes: {layout.directory}"
        )
    registry.push_blob(path, blob.digest, file)
