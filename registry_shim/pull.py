"""Owns the journey of a pull: a ruling, the upstream asked by digest, verified bytes.

  1. a tag or a digest is ruled upon by the gate; a blob by the manifests that name it in this repository
  2. where the upstream's own login decides, it is asked, unless it was a moment ago
  3. content comes from the cache, else from the upstream by digest, hashed whole

Bytes of a refused image never get beyond step 1. Under ``audit`` a denied image is served by the upstream's word,
with a ``Warning``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from registry_shim.answers import Code, RefusedRequestError, denied
from registry_shim.bodies import Whole, send_fill, send_kept
from registry_shim.cache import Cache
from registry_shim.closure import Closure
from registry_shim.fills import Fills
from registry_shim.gate import Gate, Ruling
from registry_shim.images import Image, Images
from registry_shim.routes import BlobAsk, ManifestAsk
from registry_shim.upstreams import Upstreams, lacking, translated
from trust.digest import Digest
from trust.errors import TrustError
from trust.reference import Reference, Repository
from trust.verdict import Allowed, Denied, Reason

BLOB_TYPE = "application/octet-stream"
HOT_MAX = 10_000  # addresses whose answers are ready
WARNING_MAX_LENGTH = 500
_OK = 200
Report = Callable[[web.BaseRequest, str, Ruling], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hot:
    """An answer that holds until ``valid_until`` (UTC seconds) and the next epoch of the gate."""

    answer: Whole
    ruling: Ruling
    repository: Repository
    valid_until: float


class Pull:
    """Serves manifests and blobs.

    ``report`` is told each ruling, ``count`` what the cache did; ``clock`` gives UTC seconds.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        upstreams: Upstreams,
        closure: Closure,
        cache: Cache,
        report: Report,
        count: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._gate = gate
        self._upstreams = upstreams
        self._closure = closure
        self._cache = cache
        self._report = report
        self._count = count
        self._hot: dict[str, _Hot] = {}
        self._hot_epoch = 0
        self._images = Images(upstreams=upstreams, cache=cache, closure=closure, count=count)
        self._fills = Fills(cache, upstreams.executor, stored=self._stored)

    def hot(self, request: web.BaseRequest) -> Whole | None:
        """Return the answer to an address that was asked for before, where it is still the answer.

        That is: no standing has changed, the verdict has not run out, the login may still read the repository.
        """
        if self._hot_epoch != self._gate.epoch:
            self._hot.clear()
            self._hot_epoch = self._gate.epoch
            return None
        hot = self._hot.get(request.raw_path)
        if hot is None or self._clock() >= hot.valid_until:
            return None
        if not self._upstreams.shows(hot.repository, request.headers.get("Authorization")):
            return None
        self._report(request, "manifest", hot.ruling)
        self._count("hit")
        return hot.answer

    def _heat(self, request: web.BaseRequest, ruling: Ruling, allowed: Allowed, answer: Whole) -> None:
        if len(self._hot) >= HOT_MAX:
            self._hot.clear()
        self._hot[request.raw_path] = _Hot(
            answer=answer,
            ruling=ruling,
            repository=allowed.reference.repository,
            valid_until=allowed.valid_until.timestamp(),
        )

    async def manifest(self, request: web.BaseRequest, ask: ManifestAsk) -> Whole:
        """Return the signed manifest that ``ask`` names.

        Raises:
            RefusedRequestError: the answer that it gets instead.
        """
        repository = Repository(host=ask.upstream, path=ask.path)
        reference = _reference(repository, ask.reference)
        login = request.headers.get("Authorization")
        epoch, ruling = self._gate.epoch, self._gate.rule(reference)
        self._report(request, "manifest", ruling)
        verdict = ruling.verdict
        if isinstance(verdict, Allowed):
            answer = _answer(await self._images.get(repository, verdict.digest, verdict.size_bytes, login))
            if epoch == self._gate.epoch:
                self._heat(request, ruling, verdict, answer)
            return answer
        if not ruling.is_audited:
            raise denied(verdict)
        if reference.digest is not None:
            image = await self._images.get(repository, reference.digest, 0, login)
        else:
            image = await self._images.by_tag(repository, str(ask.reference), login)
        return _answer(image, _warning(verdict))

    async def blob(self, request: web.BaseRequest, ask: BlobAsk) -> web.StreamResponse:
        """Answer with the blob, or with the signed manifest: some clients ask for one here.

        Raises:
            RefusedRequestError: the answer that it gets instead.
        """
        repository = Repository(host=ask.upstream, path=ask.path)
        ruling = self._gate.rule(_reference(repository, ask.digest))
        if isinstance(ruling.verdict, Allowed):
            self._report(request, "blob", ruling)
            login = request.headers.get("Authorization")
            return _answer(await self._images.get(repository, ask.digest, ruling.verdict.size_bytes, login))
        if ruling.verdict.reason is Reason.REVOKED and not ruling.is_audited:
            self._report(request, "blob", ruling)  # whoever still names it: it was taken back, or is denied here
            raise denied(ruling.verdict)
        size_bytes, ruling = self._named(repository, ask.digest, ruling)
        self._report(request, "blob", ruling)
        headers = {
            "Content-Type": BLOB_TYPE,
            "Docker-Content-Digest": str(ask.digest),
            "ETag": f'"{ask.digest}"',
            "Server": "trust-shim",  # and no versions of what it is made of
        }
        if isinstance(ruling.verdict, Denied):
            if not ruling.is_audited or size_bytes is None:
                raise denied(ruling.verdict)
            headers |= _private(_warning(ruling.verdict))
        return await self._send_blob(request, repository, ask.digest, size_bytes or 0, headers)

    def _named(self, repository: Repository, digest: Digest, unsigned: Ruling) -> tuple[int | None, Ruling]:
        """Return a blob's size and the best ruling on the manifests that name it; no size where none does."""
        found: list[tuple[int, Ruling]] = []
        try:
            parts = self._closure.parts(repository, digest)
        except TrustError as err:
            raise RefusedRequestError(Code.DENIED, str(err), status=503) from err
        for part in parts:
            ruling = self._gate.rule(_reference(repository, part.manifest))
            if isinstance(ruling.verdict, Allowed):
                return part.size_bytes, ruling
            found.append((part.size_bytes, ruling))
        if found:
            return min(found, key=lambda each: not each[1].is_audited)
        return None, unsigned

    async def _send_blob(
        self,
        request: web.BaseRequest,
        repository: Repository,
        digest: Digest,
        size_bytes: int,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        login = request.headers.get("Authorization")
        kept = self._cache.open(digest)
        if kept is not None and kept.size_bytes != size_bytes:
            kept.file.close()  # a damaged disk, or a manifest that states another length: the upstream decides
            kept = None
        self._count("miss" if kept is None else "hit")
        if kept is not None:
            try:
                await self._upstreams.require_grant(repository, "blobs", digest, login)
            except BaseException:
                kept.file.close()
                raise
            return await send_kept(request, kept, headers)
        if request.method == "HEAD":
            await self._upstreams.require_blob(repository, digest, login)
            answer = web.StreamResponse(status=_OK, headers=headers)
            answer.content_length = size_bytes
            return answer
        login = self._upstreams.deciding(repository, login)
        source = self._upstreams.blob_source(repository, digest, size_bytes, login)
        fill = self._fills.follow((repository, digest, login), size_bytes, source)
        response = await translated(send_fill(request, self._fills, fill, headers))
        if response is None:
            raise lacking(Code.BLOB_UNKNOWN, repository, digest)
        self._upstreams.grant(repository, login)
        return response

    def _stored(self, size_bytes: int) -> None:
        """Count a blob that the cache has kept, and have the cache within its bound again."""
        if size_bytes:
            self._count("stored")
        if self._cache.wants_sweep:
            loop = asyncio.get_running_loop()
            with suppress(RuntimeError):  # a worker that ends takes no new work; the next one sweeps
                loop.run_in_executor(self._upstreams.executor, self._cache.sweep).add_done_callback(self._swept)

    def _swept(self, done: asyncio.Future[int]) -> None:
        if not done.cancelled() and done.exception() is None:
            for _ in range(done.result()):
                self._count("evicted")


def _reference(repository: Repository, text: str | Digest) -> Reference:
    if isinstance(text, Digest):
        return Reference(repository=repository, tag=None, digest=text)
    return Reference(repository=repository, tag=text, digest=None)


def _answer(image: Image, warning: str | None = None) -> Whole:
    headers = {
        "Content-Type": image.manifest.media_type,
        "Docker-Content-Digest": str(image.digest),
        "ETag": f'"{image.digest}"',
        "Docker-Distribution-Api-Version": "registry/2.0",
        **({} if warning is None else _private(warning)),
    }
    return Whole(_OK, headers, image.data)


def _private(warning: str) -> dict[str, str]:
    return {"Warning": warning, "Cache-Control": "no-store"}


def _warning(refused: Denied) -> str:
    said = f"{refused.reason.value}: {refused.detail}"[:WARNING_MAX_LENGTH]
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in said)
    return '299 trust-shim "' + plain.replace("\\", "").replace('"', "'") + '"'
