"""Where metadata lives: a URL is opened into a store, the only dispatch by scheme.

file:DIR                    a directory
registry:                   beside the images: tag ``_trust`` of the repository, or of NAMESPACE/trust-metadata
registry://HOST/REPO:TAG    elsewhere in a registry
s3://BUCKET/PREFIX          an object store; gs://BUCKET/PREFIX and az://CONTAINER/PREFIX likewise
https://HOST/PATH           any static host or CDN, only read
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trust.errors import InputError
from trust.reference import RESERVED_TAG_PREFIX, Collection, Repository, parse_reference
from trust.stores.interface import Store

if TYPE_CHECKING:
    from trust.oci.http import Http
    from trust.oci.registry import Registry

SUPPORTED = (
    "file:DIR, registry:, registry://HOST/REPO:TAG, s3://, gs:// or az://BUCKET/PREFIX, or https://HOST/PATH"
)
NAMESPACE_REPOSITORY = "trust-metadata"  # many registries have no repository at a bare namespace


def open_store(
    url: str,
    collection: Collection,
    *,
    registry: Callable[[str], Registry],
    http: Callable[[], Http],
    environ: Mapping[str, str],
    pause: Callable[[float], None],
) -> Store:
    """Return the store at ``url``; nothing is read yet.

    ``registry`` and ``http`` are called for the door that the address needs; ``environ`` is where object stores
    have their endpoints from.

    Raises:
        InputError: a scheme that is not known, or a malformed address.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest:
        from trust.stores.file import FileStore  # noqa: PLC0415 - a run pays for one store only

        return FileStore(url, Path(rest.removeprefix("//")).absolute())
    if scheme == "registry":
        from trust.stores.registry import RegistryStore  # noqa: PLC0415 - a run pays for one store only
        from trust.stores.registry_view import Place  # noqa: PLC0415 - likewise

        repository, tag = metadata_place(rest, collection)
        return RegistryStore(url, registry(repository.host), Place(path=repository.path, tag=tag), pause)
    if scheme in {"s3", "gs", "az"}:
        from trust.stores.object_door import ObjectDoor  # noqa: PLC0415 - likewise
        from trust.stores.object_place import parse_place  # noqa: PLC0415
        from trust.stores.objects import ObjectStore  # noqa: PLC0415

        return ObjectStore(url, ObjectDoor(parse_place(url), environ))
    if scheme in {"https", "http"}:
        from trust.stores.static import StaticStore  # noqa: PLC0415 - likewise

        return StaticStore(url, http())
    raise InputError(f"metadata address is not supported: expected {SUPPORTED}, got {url!r}")


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
