"""Owns how python-tuf's client reads a view, and what its errors mean here.

Every file is read whole, capped, and strictly before ngclient sees it; each error becomes one of ours, with the
stable reason that a gate gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tuf.api import exceptions
from tuf.api.metadata import Root
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface

from trust.canonical import signed_bytes
from trust.errors import InputError, RefusedError, StateError, UnreachableError
from trust.metadata import (
    ROOT_MAX_BYTES,
    SNAPSHOT_MAX_BYTES,
    TARGETS_MAX_BYTES,
    TIMESTAMP_MAX_BYTES,
    parse_metadata,
)
from trust.policy import Stanza
from trust.role_keys import Delegator
from trust.stores.interface import View
from trust.strict_json import strict_json
from trust.verdict import Reason

_CAPS = {"root": ROOT_MAX_BYTES, "timestamp": TIMESTAMP_MAX_BYTES, "snapshot": SNAPSHOT_MAX_BYTES}
_NOT_FOUND = 404


class EndOfRootsError(Exception):
    """The root walk asked for the timestamp: it is over."""


class ViewFetcher(FetcherInterface):
    """Lets ngclient read a view by file name, keeping what it read for the checks after it."""

    def __init__(self, view: View, *, roots_only: bool) -> None:
        self._view = view
        self._roots_only = roots_only
        self.fetched: dict[str, bytes] = {}
        self.last = ""
        self.roots_ended = False
        self.delegators: dict[str, Delegator] = {}  # of delegated roles, as they are asked for

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError(f"only whole files are read: {url}")

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return the untrusted bytes of the file that ``url`` names, read strictly."""
        name = url.removeprefix("view:/")
        self.last = name
        is_root = name.endswith(".root.json")
        # ngclient asks for any length that was signed: a stolen online key could fill this machine's memory.
        max_length = min(max_length, _CAPS.get(_role_of(name), TARGETS_MAX_BYTES))
        if self._roots_only and not is_root:
            raise EndOfRootsError
        data = None if is_root and not self._roots_only else self._view.read(name, max_length)
        if data is None:
            self.roots_ended = self.roots_ended or is_root
            raise exceptions.DownloadHTTPError(f"no such file: {name}", _NOT_FOUND)
        self.fetched[name] = data
        try:
            strict_json(data, max_bytes=max_length, what=name)
        except InputError as err:
            raise RefusedError(str(err), reason=Reason.TAMPERED.value) from err
        return data


@contextmanager
def refusing(fetcher: ViewFetcher, stanza: Stanza, roots: Mapping[int, bytes]) -> Iterator[None]:
    """Turn python-tuf's errors into ours, each with its stable reason."""
    collection = stanza.collection
    try:
        yield
    except exceptions.ExpiredMetadataError as err:
        hint = "the publisher must renew, or newer metadata is being withheld; check this clock too"
        raise RefusedError(f"collection {collection}: {err}", reason=Reason.EXPIRED.value, hint=hint) from err
    except exceptions.BadVersionNumberError as err:
        raise RefusedError(
            f"collection {collection}: {fetcher.last}: {err}", reason=Reason.ROLLED_BACK.value
        ) from err
    except exceptions.UnsignedMetadataError as err:
        reason = _signature_reason(fetcher, roots).value
        raise RefusedError(f"collection {collection}: {fetcher.last}: {err}", reason=reason) from err
    except exceptions.DownloadHTTPError as err:
        raise UnreachableError(
            f"collection {collection}: {err}", hint="the store is incomplete; try again"
        ) from err
    except (exceptions.RepositoryError, DeserializationError) as err:
        raise RefusedError(
            f"collection {collection}: {fetcher.last}: {err}", reason=Reason.TAMPERED.value
        ) from err
    except OSError as err:
        raise StateError(
            f"collection {collection}: no room for working files: {err.strerror}: {err.filename}",
            hint="nothing was changed; make room in the temporary directory, or name another in TMPDIR",
        ) from err


def _signature_reason(fetcher: ViewFetcher, roots: Mapping[int, bytes]) -> Reason:
    """Tell a foreign key from a broken signature and from too few: each asks something else of the user."""
    role = _role_of(fetcher.last)
    metadata = parse_metadata(fetcher.fetched[fetcher.last], role)
    delegator = fetcher.delegators.get(role) or _root_above(fetcher, role, roots)
    result = delegator.get_verification_result(role, signed_bytes(metadata), metadata.signatures)
    if metadata.signatures and not set(metadata.signatures) & {*result.signed, *result.unsigned}:
        return Reason.WRONG_SIGNER
    return Reason.TAMPERED if set(metadata.signatures) & set(result.unsigned) else Reason.BELOW_THRESHOLD


def _root_above(fetcher: ViewFetcher, role: str, roots: Mapping[int, bytes]) -> Root:
    """Return the root that the file read last had to be signed under."""
    number = fetcher.last.partition(".")[0]
    chain = {**roots, **{int(n.split(".")[0]): body for n, body in fetcher.fetched.items() if ".root." in n}}
    body = chain.get(int(number) - 1) if role == "root" else chain[max(chain)]
    root: Root = parse_metadata(body or chain[max(roots)], "root").signed
    return root


def _role_of(file_name: str) -> str:
    """Return the role of ``3.targets.json`` or ``timestamp.json``."""
    number, _, rest = file_name.removesuffix(".json").partition(".")
    return rest if number.isdigit() else file_name.removesuffix(".json")
