"""Owns what a user types: image references and collection names, in Docker's grammar.

    reference := [host[:port]/]path[:tag][@digest]

Familiar names grow as Docker grows them (``nginx`` is ``docker.io/library/nginx:latest``); a canonical
reference prints back byte for byte. Source: distribution/reference, "Grammar".
"""

from __future__ import annotations

import re

from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.value import dataclass, replace

DEFAULT_HOST = "docker.io"
PATH_MAX_LENGTH = 255
RESERVED_TAG_PREFIX = "_trust"  # metadata lives there: never signed, never run

_HOST = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
    r"|\[[a-fA-F0-9:]+\])(?::[0-9]+)?",
    re.ASCII,
)
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_HEX_NAME_LENGTH = 64
_HEX = frozenset("0123456789abcdef")
_LOOPBACK = r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Repository:
    """One repository of one registry: ``host[:port]/path``."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image as its user named it; at least one of ``tag`` and ``digest`` is set."""

    repository: Repository
    tag: str | None
    digest: Digest | None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.repository}{tag}{digest}"

    def at(self, digest: Digest) -> Reference:
        """Return ``host/path@digest``: the same repository, by digest alone."""
        return Reference(repository=self.repository, tag=None, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Collection:
    """The prefix that one TUF repository covers: a repository, or a namespace with its closing slash.

    ``path`` is ``acme/web`` for a repository, ``acme/`` for a namespace, ``""`` for a whole registry.
    """

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def is_namespace(self) -> bool:
        """Tell whether the collection covers everything below a prefix."""
        return self.path == "" or self.path.endswith("/")

    def covers_path(self, path: str) -> bool:
        """Tell whether the repository ``path`` (no host) belongs to the collection, on ``/`` boundaries."""
        return path.startswith(self.path) if self.is_namespace else path == self.path


def parse_reference(text: str) -> Reference:
    """Return the reference that ``text`` spells; without tag and digest the tag is ``latest``.

    Raises:
        InputError: anything that Docker's grammar does not accept, each cause with its own message.
    """
    _reject_strange_characters(text)
    name, at, digest_text = text.partition("@")
    digest = parse_digest(digest_text) if at else None
    slash = name.rfind("/")
    colon = name.rfind(":")
    tag: str | None = None
    if colon > slash:
        name, tag = name[:colon], name[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise InputError(f"tag is malformed: expected [A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}, got {tag[:140]!r}")
    if tag is None and digest is None:
        tag = "latest"
    if len(name) == _HEX_NAME_LENGTH and _HEX.issuperset(name):
        raise InputError(f"a name of 64 hex digits looks like an image id: got {name!r}")
    return Reference(repository=_parse_repository(name), tag=tag, digest=digest)


def parse_collection(text: str) -> Collection:
    """Return the collection that ``text`` names: ``HOST/path`` or ``HOST/prefix/`` (with the slash).

    Raises:
        InputError: the name has a tag, a digest, or is no repository name.
    """
    _reject_strange_characters(text)
    if "@" in text or text.rfind(":") > text.find("/") > 0:
        raise InputError(f"a collection has no tag and no digest: got {text!r}")
    if text.endswith("/"):
        host, rest = _split_host(text)
        path = _checked_path(rest[:-1]) + "/" if rest else ""
        return Collection(host=_checked_host(host), path=path)
    repository = _parse_repository(text)
    return Collection(host=repository.host, path=repository.path)


def is_loopback(host: str) -> bool:
    """Tell whether ``host[:port]`` is this machine, where plain HTTP is allowed."""
    return re.fullmatch(_LOOPBACK, host, re.ASCII) is not None


def with_tag(reference: Reference, tag: str) -> Reference:
    """Return ``reference`` under ``tag`` alone."""
    return replace(reference, tag=tag, digest=None)


def _parse_repository(name: str) -> Repository:
    host, path = _split_host(name)
    if host == DEFAULT_HOST and path and "/" not in path:
        path = f"library/{path}"
    return Repository(host=_checked_host(host), path=_checked_path(path))


def _split_host(name: str) -> tuple[str, str]:
    """Return host and rest as Docker tells them apart: by a dot, a colon, ``localhost`` or upper case."""
    first, slash, rest = name.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first.lower() != first
    if not slash or not looks_like_host:
        return DEFAULT_HOST, name
    return (DEFAULT_HOST if first == "index.docker.io" else first), rest


def _checked_host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise InputError(f"registry host is malformed: expected host[:port], got {host[:140]!r}")
    return host


def _checked_path(path: str) -> str:
    if not path:
        raise InputError("repository name is empty: expected [HOST/]PATH")
    if len(path) > PATH_MAX_LENGTH:
        raise InputError(f"repository name is too long: expected at most {PATH_MAX_LENGTH}, got {len(path)}")
    if path != path.lower():
        raise InputError(f"repository name has upper case: expected lower case, got {path!r}")
    if ".." in path:
        raise InputError(f"repository name has '..': got {path!r}")
    if not _PATH.fullmatch(path):
        raise InputError(
            f"repository name is malformed: expected lower-case words joined by / . _ -, got {path!r}"
        )
    return path


def _reject_strange_characters(text: str) -> None:
    if not text:
        raise InputError("image name is empty: expected [HOST/]PATH[:TAG][@DIGEST]")
    if "\x00" in text:
        raise InputError("image name has a NUL byte")
    if "%" in text:
        raise InputError(f"image name is percent-encoded: expected plain characters, got {text[:140]!r}")
    if "://" in text:
        raise InputError(
            f"image name has a scheme: got {text[:140]!r}", hint="leave out https:// and name HOST/PATH:TAG"
        )
