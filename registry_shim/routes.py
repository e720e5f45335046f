"""Owns the shim's addresses: a request line to a value, or the answer that it is none. Pure: text in, value out.

    /v2/                                   is this a registry?
    /v2/PATH/manifests/TAG|DIGEST
    /v2/PATH/blobs/DIGEST
    /v2/PATH/tags/list?n=&last=
    /v2/PATH/referrers/DIGEST?artifactType=

Which registry is meant: ``?ns=HOST`` (containerd), else ``PATH`` begins with the prefix of one (podman, CRI-O),
else the default. A registry that is not configured is refused: the shim is no open proxy.
Source: distribution-spec 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from registry_shim.answers import Code, RefusedRequestError
from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.oci.names import is_tag, repository_target

TARGET_MAX_LENGTH = 4096
TAGS_MAX = 1000  # in one page
QUERY_FIELDS_MAX = 16
_END = re.compile(r"(?:/(manifests|blobs|referrers)/([^/]*)|/(tags)/list)\Z")  # acme/blobs/web is a repository
_LOOKS_LIKE_HOST = re.compile(r"[a-z0-9-]*[.:][a-z0-9.:_-]*|localhost(?:[:_].*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """``GET /v2/``; ``upstream`` is the one whose login is asked for, or None."""

    upstream: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestAsk:
    """A manifest of ``path`` at ``upstream``, by exactly one of tag and digest."""

    upstream: str
    path: str
    reference: str | Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobAsk:
    """A blob of ``path`` at ``upstream``."""

    upstream: str
    path: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsAsk:
    """The tags of ``path`` above ``after``, at most ``count``; ``address`` and ``ns`` are as asked for."""

    upstream: str
    path: str
    count: int
    after: str
    address: str
    ns: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferrersAsk:
    """What refers to ``digest`` in ``path``, of ``artifact_type`` alone where that is not empty."""

    upstream: str
    path: str
    digest: Digest
    artifact_type: str


Ask = Ping | ManifestAsk | BlobAsk | TagsAsk | ReferrersAsk


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The registries that are configured: by name, by path prefix, and the default."""

    names: frozenset[str]
    prefixes: Mapping[str, str]
    default: str | None

    def parse(self, untrusted_target: str) -> Ask:
        """Return what ``untrusted_target`` (path and query as sent) asks for.

        Raises:
            RefusedRequestError: it is no address of a registry, or of one that is not configured.
        """
        if len(untrusted_target) > TARGET_MAX_LENGTH:
            raise RefusedRequestError(Code.NAME_INVALID, f"address is longer than {TARGET_MAX_LENGTH}")
        path, _, query_text = untrusted_target.partition("?")
        query = _query(query_text)
        host = query.get("ns")
        if path in {"/v2", "/v2/"}:
            return Ping(upstream=self._named(host) if host else self.default)
        match = _END.search(path)
        if not path.startswith("/v2/") or match is None or match.start() < len("/v2"):
            raise RefusedRequestError(Code.NAME_UNKNOWN, "no such address in a registry", status=404)
        upstream, repository = self._located(path[len("/v2/") : match.start()], host)
        kind, last = match[1] or match[3], match[2]
        if kind == "manifests":
            return ManifestAsk(upstream=upstream, path=repository, reference=_tag_or_digest(last))
        if kind == "blobs":
            return BlobAsk(upstream=upstream, path=repository, digest=_digest(last))
        if kind == "referrers":
            kind_wanted = query.get("artifactType", "")
            return ReferrersAsk(
                upstream=upstream, path=repository, digest=_digest(last), artifact_type=kind_wanted
            )
        return TagsAsk(
            upstream=upstream,
            path=repository,
            count=_count(query.get("n")),
            after=query.get("last", ""),
            address=path,
            ns=host or "",
        )

    def _located(self, path: str, host: str | None) -> tuple[str, str]:
        if host:
            return self._named(host), _repository(path)
        first, slash, rest = path.partition("/")
        if slash and first in self.prefixes:
            return self.prefixes[first], _repository(rest)
        if slash and _LOOKS_LIKE_HOST.fullmatch(first):
            return self._named(first), _repository(rest)
        if self.default is None:
            raise _not_configured("no registry named, and there is no default")
        return self.default, _repository(path)

    def _named(self, host: str) -> str:
        if host not in self.names:
            raise _not_configured(f"registry {host[:100]!r} is not configured here")
        return host


def _not_configured(message: str) -> RefusedRequestError:
    return RefusedRequestError(Code.DENIED, message, status=403, detail={"reason": "no-upstream"})


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError as err:
        raise RefusedRequestError(Code.NAME_INVALID, "query is malformed") from err
    if len({name for name, _ in pairs}) != len(pairs):
        raise RefusedRequestError(Code.NAME_INVALID, "query names something twice")
    return dict(pairs)


def _repository(path: str) -> str:
    try:
        repository_target(path)
    except InputError as err:
        raise RefusedRequestError(Code.NAME_INVALID, str(err)[:300]) from err
    return path


def _tag_or_digest(text: str) -> str | Digest:
    if ":" in text:
        return _digest(text)
    if not is_tag(text):
        raise RefusedRequestError(Code.MANIFEST_UNKNOWN, "tag is malformed", status=400)
    return text


def _digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except InputError as err:
        raise RefusedRequestError(Code.DIGEST_INVALID, str(err)[:300]) from err


def _count(text: str | None) -> int:
    if text is None:
        return TAGS_MAX
    if not (text.isascii() and text.isdecimal() and len(text) < 10):  # noqa: PLR2004 - more digits than any page
        raise RefusedRequestError(Code.UNSUPPORTED, "n is no number", status=400)
    return min(int(text), TAGS_MAX)
