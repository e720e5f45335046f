"""Owns the way to an object store: one object read, put on a condition, listed or deleted through ``obstore``.

5xx, 429 and broken connections are asked again with back-off by
obstore; each call runs beside the caller, who leaves when his deadline is over (and is interruptible meanwhile).

Every error of obstore becomes one line of ours: what failed, the status, the store's own code. Never the address,
which in Azure may carry a token.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from trust.deadline import Deadline
from trust.errors import InputError, LimitError, UnreachableError
from trust.stores.interface import TIMESTAMP, MissingPlaceError
from trust.stores.object_place import CREDENTIALS, Place, allows_http, code_of, opened, own_hosts, said
from trust.stores.remote import Fetched, Mark, Unchanged
from trust.value import dataclass

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta

    from trust.stores.object_place import Bucket

T = TypeVar("T")

READ_SECONDS = 20  # then it is asked again; what is read is small
WRITE_SECONDS = 90  # a role at its limit of 32 MB, over half a megabyte a second
LISTED_MAX = 1_000_000
# A 404 with another code, or with none, is one of the bucket, or of a machine between: no word on the object.
_ABSENT = frozenset({"NoSuchKey", "BlobNotFound"})
_CACHING = {True: "no-cache", False: "public, max-age=31536000, immutable"}


class UnsureError(UnreachableError):
    """The store may or may not have done what it was asked: ask what stands there now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object of a listing."""

    name: str
    size_bytes: int


class ObjectDoor:
    """The objects of one place; usable from several threads. ``name`` is below the place's prefix."""

    def __init__(self, place: Place, environ: Mapping[str, str]) -> None:
        self.place = place
        self._allow_http = allows_http(place, environ)
        self._hosts = own_hosts(place, environ)
        self._opened: dict[int, Bucket] = {}

    def get(
        self, name: str, max_bytes: int, *, unless: str | None = None, deadline: Deadline
    ) -> Fetched | Unchanged | None:
        """Return the object; see ``Door.get``."""
        import obstore  # noqa: PLC0415 - 15 ms and 16 MB, for these stores alone
        from obstore.exceptions import NotModifiedError  # noqa: PLC0415

        def read() -> Fetched | Unchanged | None:
            try:
                found = obstore.get(self._bucket(), name, options={"if_none_match": unless} if unless else None)
                data = self._whole(name, found, max_bytes)
            except NotModifiedError:
                return Unchanged()
            except FileNotFoundError as err:
                self._require_absent(name, err)
                return None
            return Fetched(untrusted_bytes=data, mark=_mark(found.meta))

        return self._run(f"read {name}", read, deadline)

    def _whole(self, name: str, found: GetResult, max_bytes: int) -> bytes:
        """Return the object's bytes as they come: a chunked answer is longer than its header says, if it likes."""
        size = found.meta["size"]
        if size <= max_bytes:
            data = bytearray()
            for chunk in found.stream(min_chunk_size=1):
                data += chunk
                if len(data) > max_bytes:
                    break
            size = len(data)
        if size > max_bytes:
            raise LimitError(
                f"metadata is too large: {self.place}: {name}: expected at most {max_bytes}, got at least {size}"
            )
        return bytes(data)

    def has(self, name: str, *, deadline: Deadline) -> bool:
        """Tell whether there is such an object; see ``Door.has``. A missing bucket has none."""
        import obstore  # noqa: PLC0415 - as above

        def look() -> bool:
            try:
                obstore.head(self._bucket(), name)
            except FileNotFoundError:
                return False
            return True

        return self._run(f"look for {name}", look, deadline)

    def put(self, name: str, data: bytes, *, replaces: Mark | None, deadline: Deadline) -> bool:
        """Have ``data`` under ``name`` if what stands there is ``replaces`` (None: nothing); tell whether it was.

        Raises:
            UnsureError: it may or may not be there now. UnreachableError: it is not.
        """
        import obstore  # noqa: PLC0415 - as above
        from obstore.exceptions import AlreadyExistsError, PreconditionError  # noqa: PLC0415

        mode: Any = "create" if replaces is None else self._update(replaces)
        attributes = {"Content-Type": "application/json", "Cache-Control": _CACHING[name == TIMESTAMP]}

        def write() -> bool:
            try:
                # In parts, the condition would hold for the last of them only.
                obstore.put(
                    self._bucket(WRITE_SECONDS), name, data, mode=mode, attributes=attributes, use_multipart=False
                )
            except (AlreadyExistsError, PreconditionError):
                return False
            except FileNotFoundError as err:
                raise self._missing_place() from err
            return True

        return self._run(f"write {name}", write, deadline)

    def list(self, folder: str | None, *, deadline: Deadline) -> list[Listed]:
        """Return the objects of the place, or of a folder in it, by their names there.

        Raises:
            LimitError: more than ``LISTED_MAX``.
        """
        import obstore  # noqa: PLC0415 - as above

        def walk() -> Iterator[Listed]:
            start = len(folder) + 1 if folder else 0
            for chunk in obstore.list(self._bucket(), folder, chunk_size=1000):
                for each in chunk:
                    yield Listed(name=each["path"][start:], size_bytes=each["size"])

        def collect() -> list[Listed]:
            found: list[Listed] = []
            for each in walk():
                found.append(each)
                if len(found) > LISTED_MAX:
                    raise LimitError(f"too many objects in {self.place}: expected at most {LISTED_MAX}")
            return found

        return self._run("list what is there", collect, deadline)

    def delete(self, names: Sequence[str], *, deadline: Deadline) -> None:
        """Have none of the objects ``names``; one that somebody else deleted meanwhile is none."""
        import obstore  # noqa: PLC0415 - as above

        def drop() -> None:
            try:
                obstore.delete(self._bucket(), list(names))
            except FileNotFoundError:  # Google and Azure say so, and go on with the others
                return

        self._run("delete old files", drop, deadline)

    def _bucket(self, seconds: int = READ_SECONDS) -> Bucket:
        if seconds not in self._opened:
            self._opened[seconds] = opened(
                self.place, allow_http=self._allow_http, hosts=self._hosts, request_seconds=seconds
            )
        return self._opened[seconds]

    def _run(self, doing: str, call: Callable[[], T], deadline: Deadline) -> T:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError  # noqa: PLC0415

        try:
            return _within(deadline, call)
        except (PermissionDeniedError, UnauthenticatedError) as err:
            raise UnreachableError(
                f"{self.place}: could not {doing}: {said(err)}",
                hint=f"credentials come from {CREDENTIALS[self.place.scheme]}; they must allow listing as well: "
                "without that S3 forbids what is merely absent",
            ) from err
        except BaseError as err:
            raise UnsureError(f"{self.place}: could not {doing}: {said(err)}", hint="try again later") from err
        except ValueError as err:
            raise InputError(f"{self.place}: could not {doing}: {said(err)}") from err

    def _require_absent(self, name: str, err: FileNotFoundError) -> None:
        """Return if what is not there is the object, and not its bucket."""
        code = code_of(err)
        if code not in _ABSENT:
            raise (self._missing_place() if code else self._not_sure(name)) from err

    def _not_sure(self, name: str) -> UnreachableError:
        return UnreachableError(
            f"{self.place}: could not read {name}: expected it, or that there is no such key, got 404 alone",
            hint="does the endpoint lead to an object store?",
        )

    def _missing_place(self) -> MissingPlaceError:
        return MissingPlaceError(
            f"bucket is missing: {self.place.scheme}://{self.place.bucket}",
            hint="buckets are made by their owner; is it spelled so, in this region and account?",
        )

    def require_mark(self, mark: Mark) -> None:
        """Return if a swap can name what it replaces.

        Raises:
            InputError: the server gave neither an ETag nor a version.
        """
        if mark.etag is None and mark.version is None:
            raise InputError(
                f"{self.place}: the server gives no ETag: two publishers could not be told apart",
                hint="use a store with conditional writes, or file:DIR served by a web server",
            )

    def _update(self, mark: Mark) -> dict[str, str]:
        self.require_mark(mark)
        given = {"e_tag": mark.etag, "version": mark.version}
        return {name: value for name, value in given.items() if value is not None}


def _within(deadline: Deadline, call: Callable[[], T]) -> T:
    """Return what ``call`` does; past the deadline it is left to itself, and ends by its own timeouts."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(call())
        except BaseException as err:  # noqa: BLE001 - it is raised where it is waited for
            failed.append(err)

    thread = threading.Thread(target=run, daemon=True, name="object-store")
    seconds = deadline.remaining_seconds()
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise LimitError("deadline passed: the object store answered too slowly", hint="try again later")
    return done[0]


def _mark(meta: ObjectMeta) -> Mark:
    return Mark(etag=meta["e_tag"], version=meta["version"])
