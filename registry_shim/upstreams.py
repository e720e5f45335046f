"""Owns the asking of upstreams from the loop: on threads, one answer for each fault, grants remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

from registry_shim.answers import Code, RefusedRequestError, failed
from registry_shim.grants import Grants
from registry_shim.upstream import Upstream
from trust.digest import Digest
from trust.errors import TrustError
from trust.oci.content import VerifiedChunks
from trust.reference import Repository

T = TypeVar("T")


class Upstreams:
    """The configured registries, by name. ``login`` is the client's ``Authorization``, or None.

    Every coroutine raises:
        RefusedRequestError: the answer that the client gets instead.
    """

    def __init__(self, upstreams: Mapping[str, Upstream], grants: Grants, executor: Executor) -> None:
        self._upstreams = upstreams
        self._grants = grants
        self.executor = executor

    async def ping(self, name: str, login: str | None) -> None:
        """Return if the registry ``name`` lets ``login`` in, or if that is not its to say."""
        if self._upstreams[name].forwards and not self._grants.holds(name, "", login):
            await self._ask(self._upstreams[name].ping, login)
            self._grants.add(name, "", login)

    async def manifest(
        self, repository: Repository, reference: str | Digest, login: str | None
    ) -> tuple[bytes, str | None]:
        """Return the untrusted bytes of a manifest and the type it was sent as."""
        found = await self._ask(self._upstreams[repository.host].manifest, repository.path, reference, login)
        if found is None:
            raise lacking(Code.MANIFEST_UNKNOWN, repository, reference)
        self.grant(repository, login)
        return found

    async def referrers(self, repository: Repository, digest: Digest, login: str | None) -> bytes | None:
        """Return the untrusted index of what refers to ``digest``; None where the registry has no such thing."""
        return await self._ask(self._upstreams[repository.host].referrers, repository.path, digest, login)

    async def require_blob(self, repository: Repository, digest: Digest, login: str | None) -> None:
        """Return if the registry has the blob."""
        if not await self._ask(self._upstreams[repository.host].has, repository.path, "blobs", digest, login):
            raise lacking(Code.BLOB_UNKNOWN, repository, digest)

    def blob_source(
        self, repository: Repository, digest: Digest, size_bytes: int, login: str | None
    ) -> Callable[[], VerifiedChunks | None]:
        """Return what brings the blob, to be called on a thread; None where the registry lacks it."""
        upstream = self._upstreams[repository.host]
        return lambda: upstream.blob(repository.path, digest, size_bytes, login)

    async def require_grant(self, repository: Repository, kind: str, digest: Digest, login: str | None) -> None:
        """Return if the registry shows ``login`` its ``kind`` (``manifests``, ``blobs``), or has no say in it."""
        if self.shows(repository, login):
            return
        upstream = self._upstreams[repository.host]
        if not await self._ask(upstream.has, repository.path, kind, digest, login):
            raise lacking(Code.MANIFEST_UNKNOWN if kind == "manifests" else Code.BLOB_UNKNOWN, repository, digest)
        self.grant(repository, login)

    async def require_listing(self, repository: Repository, login: str | None, *, may_be_absent: bool) -> None:
        """Return if the registry shows the repository's tags to ``login``, or if that is not its to say.

        ``may_be_absent``: a repository that it does not have holds nothing private either.
        """
        if self.shows(repository, login):
            return
        upstream = self._upstreams[repository.host]
        if await self._ask(upstream.may_list, repository.path, login):
            self.grant(repository, login)
        elif not may_be_absent:
            raise RefusedRequestError(Code.NAME_UNKNOWN, f"{repository.host} has no repository {repository.path}")

    def shows(self, repository: Repository, login: str | None) -> bool:
        """Tell whether ``login`` may read the repository without asking the registry again."""
        return not self._upstreams[repository.host].forwards or self._grants.holds(
            repository.host, repository.path, login
        )

    def deciding(self, repository: Repository, login: str | None) -> str | None:
        """Return the login that the registry decides by: the client's, or None where the shim sends its own."""
        return login if self._upstreams[repository.host].forwards else None

    def grant(self, repository: Repository, login: str | None) -> None:
        """Note that the registry has just shown the repository to ``login``."""
        self._grants.add(repository.host, repository.path, login)

    def close(self) -> None:
        """Close every idle connection."""
        for upstream in self._upstreams.values():
            upstream.close()

    async def _ask(self, call: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - those of ``call``
        return await translated(asyncio.get_running_loop().run_in_executor(self.executor, call, *arguments))


async def translated(result: Awaitable[T]) -> T:
    """Return what ``result`` brings; what went wrong on the way becomes the client's answer."""
    try:
        return await result
    except TrustError as err:
        raise failed(err) from err


def lacking(code: Code, repository: Repository, what: str | Digest) -> RefusedRequestError:
    """Return the answer where the upstream truly has no such thing."""
    return RefusedRequestError(
        code, f"{repository.host} does not have {repository}{'@' if isinstance(what, Digest) else ':'}{what}"
    )
