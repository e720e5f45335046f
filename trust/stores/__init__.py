"""Where metadata lives: a URL is opened into a store, the only dispatch by scheme.

file:DIR                    a directory
registry:                   beside the images: tag ``_trust`` of the repository, or of NAMESPACE/trust-metadata
registry://HOST/REPO:TAG    elsewhere in a registry
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trust.errors import InputError
from trust.reference import RESERVED_TAG_PREFIX, Collection, Repository, parse_reference
from trust.stores.interface import Store

if TYPE_CHECKING:
    from trust.oci.registry import Registry

NAMESPACE_REPOSITORY = "trust-metadata"  # many registries have no repository at a bare namespace


def open_store(
    url: str,
    collection: Collection,
    *,
    registry: Callable[[str], Registry],
    pause: Callable[[float], None],
) -> Store:
    """Return the store at ``url``; nothing is read yet.

    Raises:
        InputError: a scheme that is not known, or a malformed address.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest:
        from trust.stores.file import FileStore  # noqa: PLC0415 - a run pays for one store only

        return FileStore(url, Path(rest.removeprefix("//")).absolute())
    if scheme == "registry":
        from trust.stores.registry import Place, RegistryStore  # noqa: PLC0415 - a run pays for one store only

        repository, tag = metadata_place(rest, collection)
        return RegistryStore(url, registry(repository.host), Place(path=repository.path, tag=tag), pause)
    raise InputError(
        f"metadata address is not supported: expected file:DIR, registry: or registry://HOST/REPO:TAG, got {url!r}"
    )


def metadata_place(rest: str, collection: Collection) -> tuple[Repository, str]:
    """Return the repository and tag that ``registry:REST`` names; an empty ``rest`` is beside the images.

    Raises:
        InputError: the tag is not a reserved one.
    """
    if rest:
        reference = parse_reference(rest.removeprefix("//"))
        if reference.tag is None or not reference.tag.startswith(RESERVED_TAG_PREFIX):
            raise InputError(f"metadata lives under a tag that begins with {RESERVED_TAG_PREFIX}: got {rest!r}")
        return reference.repository, reference.tag
    path = f"{collection.path}{NAMESPACE_REPOSITORY}" if collection.is_namespace else collection.path
    return Repository(host=collection.host, path=path), RESERVED_TAG_PREFIX
