"""Owns what stands for an image on the command line: a reference, or ``oci:DIR[:TAG]`` with ``--as``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trust.cli.session import Session
from trust.digest import Digest
from trust.errors import InputError, UnreachableError
from trust.reference import Reference, parse_reference
from trust.value import dataclass

if TYPE_CHECKING:
    from trust.oci.layout import Layout

LAYOUT = "oci:"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSource:
    """An OCI layout on disk, and the tag in it (None: its only manifest)."""

    directory: Path
    tag: str | None

    def open(self) -> Layout:
        """Return the layout."""
        from trust.oci.layout import Layout  # noqa: PLC0415 - only where there is one

        return Layout.open(self.directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedImage:
    """What the user typed: the reference it stands for, and the layout that holds it, if any."""

    reference: Reference
    layout: LayoutSource | None

    def digest_now(self, run: Session) -> Digest | None:
        """Return where the registry's tag, or the layout, points now; None where there is no such tag."""
        repository = self.reference.repository
        if self.layout is not None:
            return self.layout.open().resolve(self.layout.tag).digest
        if self.reference.tag is None:
            return self.reference.digest
        return run.registry(repository.host).tag_digest(
            repository.path, self.reference.tag, deadline=run.deadline()
        )

    def manifest(self, run: Session, digest: Digest) -> bytes:
        """Return the manifest bytes of ``digest``, untrusted until they are hashed.

        Raises:
            UnreachableError: it is not there.
        """
        if self.layout is not None:
            return self.layout.open().manifest(digest)
        repository = self.reference.repository
        fetched = run.registry(repository.host).manifest(repository.path, digest, deadline=run.deadline())
        data = getattr(fetched, "untrusted_bytes", None)
        if not isinstance(data, bytes):
            raise UnreachableError(
                f"the registry has no manifest {digest} in {repository}", hint="push the image, then sign it"
            )
        return data


def parse_image(text: str, stands_for: str | None = None) -> TypedImage:
    """Return the image that ``text`` names.

    Raises:
        InputError: malformed; a layout without ``--as``, or ``--as`` without a layout.
    """
    if not text.startswith(LAYOUT):
        if stands_for is not None:
            raise InputError("--as goes with an OCI layout: expected oci:DIR[:TAG] --as IMAGE")
        return TypedImage(reference=parse_reference(text), layout=None)
    if stands_for is None:
        raise InputError(
            f"a layout has no name of its own: got {text[:200]!r}",
            hint=f"say which image it stands for, before it: --as HOST/PATH:TAG {text}",
        )
    directory, _, tag = text.removeprefix(LAYOUT).partition(":")
    return TypedImage(
        reference=parse_reference(stands_for), layout=LayoutSource(directory=Path(directory), tag=tag or None)
    )
