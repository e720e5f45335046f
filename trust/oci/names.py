"""Owns names inside registry addresses: nothing but a repository path, a tag or a digest becomes part of one."""

from __future__ import annotations

import re

from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.oci.errors import tampered
from trust.oci.message import Headers

_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*", re.ASCII)
_PATH_MAX_LENGTH = 255
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


def manifest_target(path: str, reference: str | Digest) -> str:
    """Return ``/v2/PATH/manifests/REFERENCE``.

    Raises:
        InputError: ``path`` is no repository name, or ``reference`` no tag.
    """
    if isinstance(reference, str) and not is_tag(reference):
        raise InputError(
            f"tag is malformed: expected [A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}, got {reference[:140]!r}"
        )
    return f"{repository_target(path)}/manifests/{reference}"


def repository_target(path: str) -> str:
    """Return ``/v2/PATH``.

    Raises:
        InputError: ``path`` is no repository name.
    """
    if len(path) > _PATH_MAX_LENGTH or not _PATH.fullmatch(path):
        raise InputError(
            f"repository name is malformed: expected lower-case words joined by / . _ -, got {path!r}"
        )
    return f"/v2/{path}"


def is_tag(text: str) -> bool:
    """Tell whether ``text`` is a tag."""
    return _TAG.fullmatch(text) is not None


def stated_digest(headers: Headers, what: str) -> Digest | None:
    """Return what ``Docker-Content-Digest`` says, None where it is not there.

    Raises:
        RefusedError: ``tampered``; it is there and no digest.
    """
    text = headers.get("docker-content-digest")
    if not text:
        return None
    try:
        return parse_digest(text)
    except InputError as err:
        raise tampered(f"{what}: the registry states no digest that can be read: {err}") from err
