"""Owns verified manifests: from memory, from the cache, or from the upstream by digest and hashed whole.

A manifest's closure is on disk before it is handed out; blobs are judged by it, also after a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry_shim.answers import failed
from registry_shim.cache import Cache
from registry_shim.closure import Closure
from registry_shim.upstreams import Upstreams
from trust.digest import Digest, sha256
from trust.errors import AmbiguousManifestError, InputError, RefusedError, TrustError
from trust.manifest import MANIFEST_MAX_BYTES, Index, Manifest, parse_manifest
from trust.reference import Repository
from trust.verdict import Reason

KEPT_MAX_BYTES = 64 * 1024 * 1024  # of manifests in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A manifest whose bytes are those of ``digest``, read in the one way that its types allow."""

    digest: Digest
    data: bytes
    manifest: Manifest | Index


class Images:
    """The manifests of one worker; ``count`` is told ``hit`` or ``miss``."""

    def __init__(
        self, *, upstreams: Upstreams, cache: Cache, closure: Closure, count: Callable[[str], None]
    ) -> None:
        self._upstreams = upstreams
        self._cache = cache
        self._closure = closure
        self._count = count
        self._kept: dict[Digest, Image] = {}
        self._kept_bytes = 0
        self._closed: set[tuple[Repository, Digest]] = set()

    async def get(self, repository: Repository, digest: Digest, size_bytes: int, login: str | None) -> Image:
        """Return the manifest of ``digest``; ``size_bytes`` is what was signed, 0 where nothing was.

        Raises:
            RefusedRequestError: the answer that the client gets instead.
        """
        image = self._kept.get(digest) or self._from_cache(digest)
        if image is None:
            self._count("miss")
            data, content_type = await self._upstreams.manifest(repository, digest, login)
            if not digest.matches(data):
                raise _refused(f"{repository}@{digest}: the upstream sent other bytes: got {sha256(data)}")
            image = self._read(data, content_type, digest, repository)
            self._cache.put(digest, data)
        else:
            self._count("hit")
            await self._upstreams.require_grant(repository, "manifests", digest, login)
        if size_bytes and len(image.data) != size_bytes:
            got = f"expected {size_bytes} bytes, got {len(image.data)}"
            raise _refused(f"{repository}@{digest}: it is not as long as was signed: {got}")
        return self._in_closure(repository, image)

    async def by_tag(self, repository: Repository, tag: str, login: str | None) -> Image:
        """Return what the upstream has under ``tag`` now, by its word alone: only where a policy merely watches.

        Raises:
            RefusedRequestError: the answer that the client gets instead.
        """
        data, content_type = await self._upstreams.manifest(repository, tag, login)
        return self._in_closure(repository, self._read(data, content_type, sha256(data), repository))

    def _in_closure(self, repository: Repository, image: Image) -> Image:
        if (repository, image.digest) not in self._closed:
            try:
                self._closure.add(repository, image.digest, image.manifest)
            except TrustError as err:
                raise failed(err) from err
            self._closed.add((repository, image.digest))
        return image

    def _from_cache(self, digest: Digest) -> Image | None:
        kept = self._cache.open(digest)
        if kept is None:
            return None
        with kept.file:
            data = kept.file.read(MANIFEST_MAX_BYTES + 1)
        try:
            if digest.matches(data):  # cheap for a manifest, and a disk may lie
                return self._remembered(Image(digest=digest, data=data, manifest=parse_manifest(data)))
        except InputError:
            pass  # a blob that is no manifest
        return None

    def _read(self, data: bytes, content_type: str | None, digest: Digest, repository: Repository) -> Image:
        try:
            manifest = parse_manifest(data, content_type=content_type)
        except AmbiguousManifestError as err:
            raise _refused(f"{repository}@{digest}: {err}", Reason.AMBIGUOUS) from err
        except InputError as err:
            raise _refused(f"{repository}@{digest}: {err}") from err
        return self._remembered(Image(digest=digest, data=data, manifest=manifest))

    def _remembered(self, image: Image) -> Image:
        if self._kept_bytes + len(image.data) > KEPT_MAX_BYTES:
            self._kept.clear()
            self._kept_bytes = 0
        self._kept_bytes += len(image.data)
        self._kept[image.digest] = image
        return image


def _refused(message: str, reason: Reason = Reason.TAMPERED) -> Exception:
    return failed(RefusedError(message, reason=reason.value))
