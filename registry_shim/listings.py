"""Owns what the shim lists: signed tags, signed referrers, and a collection's own metadata; no upstream's word.

Tags come from the snapshot. Referrers come from the upstream, which cannot add to them: each must be signed. The
metadata under the reserved tag is the shim's verified copy, so that a consumer behind it can verify for itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web

from registry_shim.answers import Code, RefusedRequestError, denied
from registry_shim.bodies import Whole
from registry_shim.gate import Gate, Ruling
from registry_shim.routes import BlobAsk, ManifestAsk, ReferrersAsk, TagsAsk
from registry_shim.upstreams import Upstreams
from trust.digest import Digest
from trust.errors import InputError
from trust.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Index, parse_manifest
from trust.reference import RESERVED_TAG_PREFIX, Reference, Repository
from trust.strict_json import strict_json
from trust.verdict import Allowed, Denied, Reason

_OK, _NOT_MODIFIED = 200, 304
_JSON = "application/json"
# Of an entry. Not ``annotations``, ``data`` or ``urls``: nobody signed what an upstream writes there.
_ENTRY_FIELDS = ("mediaType", "digest", "size", "artifactType")
_METADATA_BLOB = "application/octet-stream"


class Listings:
    """Serves what lists; ``report`` is told each ruling."""

    def __init__(
        self, *, gate: Gate, upstreams: Upstreams, report: Callable[[web.BaseRequest, str, Ruling], None]
    ) -> None:
        self._gate = gate
        self._upstreams = upstreams
        self._report = report

    async def tags(self, request: web.BaseRequest, ask: TagsAsk) -> Whole:
        """Return the signed tags of a repository, a page of them."""
        repository = Repository(host=ask.upstream, path=ask.path)
        tags = self._gate.tags(repository)
        if isinstance(tags, Denied):
            self._report(request, "tags", Ruling(verdict=tags))
            raise denied(tags)
        login = request.headers.get("Authorization")
        await self._upstreams.require_listing(repository, login, may_be_absent=False)
        rest = [tag for tag in tags if tag > ask.after]
        page = rest[: ask.count]
        headers = {"Content-Type": _JSON}
        if len(rest) > len(page) > 0:
            where = f"&ns={quote(ask.ns)}" if ask.ns else ""
            headers["Link"] = f'<{ask.address}?n={ask.count}&last={quote(page[-1])}{where}>; rel="next"'
        return Whole(_OK, headers, json.dumps({"name": ask.path, "tags": page}).encode())

    async def referrers(self, request: web.BaseRequest, ask: ReferrersAsk) -> Whole:
        """Return the signed manifests that refer to a signed one."""
        repository = Repository(host=ask.upstream, path=ask.path)
        subject = Reference(repository=repository, tag=None, digest=ask.digest)
        ruling = self._gate.rule(subject)
        self._report(request, "referrers", ruling)
        if isinstance(ruling.verdict, Denied) and not ruling.is_audited:
            raise denied(ruling.verdict)
        login = request.headers.get("Authorization")
        found = await self._upstreams.referrers(repository, ask.digest, login)
        shown = []
        for entry, descriptor in _entries(found):
            verdict = self._gate.rule(subject.at(descriptor.digest)).verdict
            kind = entry.get("artifactType", "")
            is_signed = isinstance(verdict, Allowed) and verdict.size_bytes in {0, descriptor.size_bytes}
            if is_signed and isinstance(kind, str) and ask.artifact_type in {"", kind}:
                shown.append({name: entry[name] for name in _ENTRY_FIELDS if name in entry})
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown}
        filters = {"OCI-Filters-Applied": "artifactType"} if ask.artifact_type else {}
        return Whole(_OK, {"Content-Type": OCI_INDEX, **filters}, json.dumps(document).encode())

    async def metadata(self, request: web.BaseRequest, ask: ManifestAsk | BlobAsk) -> Whole | None:
        """Return the collection's metadata where ``ask`` is for it; None where it is for an image.

        Raises:
            RefusedRequestError: a reserved tag that is not that of the metadata; or the collection is refused.
        """
        repository = Repository(host=ask.upstream, path=ask.path)
        name = ask.reference if isinstance(ask, ManifestAsk) else ask.digest
        is_tag = not isinstance(name, Digest)
        if is_tag and not str(name).startswith(RESERVED_TAG_PREFIX):
            return None
        metadata = self._gate.metadata(repository, str(name) if is_tag else None)
        if isinstance(metadata, Denied) and is_tag:
            raise denied(metadata)
        if metadata is None or isinstance(metadata, Denied):
            if is_tag:
                raise denied(_reserved(repository, str(name)))
            return None
        if is_tag or name == metadata.digest:
            body, digest, kind = metadata.manifest, metadata.digest, OCI_MANIFEST
        elif isinstance(ask, BlobAsk) and (file := self._gate.metadata_file(repository, ask.digest)) is not None:
            body, digest, kind = file, ask.digest, _METADATA_BLOB
        else:
            return None
        await self._upstreams.require_listing(repository, request.headers.get("Authorization"), may_be_absent=True)
        headers = {"Content-Type": kind, "Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}
        if request.headers.get("If-None-Match") == f'"{digest}"':
            return Whole(_NOT_MODIFIED, headers, b"")
        return Whole(_OK, headers, body)


def _entries(untrusted_index: bytes | None) -> list[tuple[dict[str, object], Descriptor]]:
    """Return the entries of the upstream's answer, as sent and as read.

    Raises:
        RefusedRequestError: it is no index.
    """
    if untrusted_index is None:
        return []
    try:
        index = parse_manifest(untrusted_index)
        document = strict_json(untrusted_index, max_bytes=len(untrusted_index), what="referrers")
    except InputError as err:
        raise RefusedRequestError(
            Code.DENIED, f"unreachable: the upstream's list of referrers cannot be read: {err}", status=503
        ) from err
    if not isinstance(index, Index) or not isinstance(document, dict):
        return []
    return list(zip(document["manifests"], index.manifests, strict=True))


def _reserved(repository: Repository, tag: str) -> Denied:
    return Denied(
        reference=Reference(repository=repository, tag=tag, digest=None),
        reason=Reason.UNSIGNED,
        detail=f"tag {tag} is reserved for trust metadata, and none of this policy lives there",
    )
