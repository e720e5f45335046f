"""Owns one metadata file on its way to a publisher: read, held to what names it, verified under its delegator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile

from trust.errors import RefusedError, UnreachableError
from trust.metadata import parse_metadata
from trust.role_keys import Delegator, require_distinct_keys
from trust.stores.interface import View
from trust.verdict import Reason


def read_file(view: View, name: str, max_bytes: int) -> bytes:
    """Return the bytes of a file that has to be there.

    Raises:
        UnreachableError: it is not.
    """
    data = view.read(name, max_bytes)
    if data is None:
        raise UnreachableError(f"metadata has no {name}", hint="was the collection initialised there?")
    return data


def linked(
    delegator: Delegator, name: str, link: MetaFile, view: View, max_bytes: int, *, kind: str
) -> tuple[Metadata[Any], bytes]:
    """Return role ``name``, which the role above it names by ``link`` and ``delegator`` trusts, and its bytes.

    Raises:
        RefusedError: it is not that. UnreachableError: it is not there.
    """
    data = read_file(view, f"{link.version}.{name}.json", min(max_bytes, link.length or max_bytes))
    require_linked(name, link, data)
    metadata = verified(delegator, name, data, kind=kind)
    if metadata.signed.version != link.version:  # a stolen online key could name old targets by a new number
        raise RefusedError(
            f"role {name} is of another version: expected {link.version}, got {metadata.signed.version}",
            reason=Reason.ROLLED_BACK.value,
        )
    return metadata, data


def require_linked(name: str, link: MetaFile, data: bytes) -> None:
    """Refuse bytes that are not of the length and hash that ``link`` names; bins have neither."""
    try:
        link.verify_length_and_hashes(data)
    except RepositoryError as err:
        raise RefusedError(f"role {name} version {link.version}: {err}", reason=Reason.TAMPERED.value) from err


def verified(delegator: Delegator, name: str, data: bytes, *, kind: str) -> Metadata[Any]:
    """Return role ``name`` if it is a role of ``kind``, signed up to the threshold by keys of ``delegator``."""
    metadata = parse_metadata(data, name)
    if metadata.signed.type != kind:
        raise RefusedError(f"role {name} holds a {metadata.signed.type}", reason=Reason.TAMPERED.value)
    require_distinct_keys(delegator, metadata, name)
    return metadata


def require_floor(name: str, version: int, floors: Mapping[str, int]) -> None:
    """Refuse a version below what was published from here, or what the policy demands."""
    if version < floors.get(name, 0):
        raise RefusedError(
            f"role {name} is older than what was published from here, or than the policy's floor: "
            f"expected at least version {floors[name]}, got {version}",
            reason=Reason.ROLLED_BACK.value,
            hint="somebody set the store back; find out who before signing anything",
        )
