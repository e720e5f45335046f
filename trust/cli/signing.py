"""Owns the question that comes before a signature: which digest, and who says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from trust.cli.images import TypedImage
from trust.cli.session import Session
from trust.digest import Digest, parse_digest
from trust.errors import InputError, TrustError, UnreachableError

_DIGEST_FILE_MAX_BYTES = 1 << 20
_BUILDX_FIELD = "containerimage.digest"


def read_digest_file(path: str) -> Digest:
    """Return the digest of a file that podman (``--digestfile``) or buildx (``--metadata-file``) wrote.

    Raises:
        InputError: the file holds neither a digest nor such a document.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(_DIGEST_FILE_MAX_BYTES).decode("utf-8").strip()
        if text.startswith("{"):
            text = str(json.loads(text)[_BUILDX_FIELD])
    except (OSError, ValueError, KeyError, RecursionError) as err:
        raise InputError(f"digest file {path} holds no digest: {err}") from err
    return parse_digest(text)


def settled_digest(run: Session, image: TypedImage, given: Digest | None, *, believe: bool) -> Digest:
    """Return the digest that the user, not the registry, wants signed.

    With a terminal a bare tag is looked up, shown and asked about; without one it is refused.

    Raises:
        InputError: no digest was given, or two that differ.
    """
    known = {digest for digest in (given, image.reference.digest) if digest is not None}
    if image.layout is not None:
        known.add(image.layout.open().resolve(image.layout.tag).digest)
    if len(known) > 1:
        raise InputError(f"two digests for {image.reference}: {', '.join(map(str, sorted(known)))}")
    if known:
        return known.pop()
    return _asked(run, image, believe=believe)


def _asked(run: Session, image: TypedImage, *, believe: bool) -> Digest:
    try:
        found = image.digest_now(run)
    except TrustError as err:
        if believe or sys.stdin.isatty():
            raise
        raise _bare_tag(image, None) from err
    if found is None:
        raise UnreachableError(f"the registry has no {image.reference}", hint="push the image, then sign it")
    if believe:
        return found
    if not sys.stdin.isatty():
        raise _bare_tag(image, found)
    click.confirm(f"the registry says that {image.reference} is {found}\nis this the image you built?",
                  abort=True, err=True)  # fmt: skip
    return found


def _bare_tag(image: TypedImage, found: Digest | None) -> InputError:
    digest = found or "sha256:…"
    return InputError(
        f"no digest for {image.reference}: a registry is not believed about what is signed",
        hint=f"if this is the digest your build printed: trust sign {image.reference}@{digest}",
    )
