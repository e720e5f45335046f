"""Owns what a collection is called at another registry: its ``rewrite``, its place for metadata, its stanza. Pure.

Signatures name the repository path and no host, so a move to another host changes nothing. A path that changes
has to be led back to the signed one by the policy's ``rewrite``, which exchanges a prefix: the last part of the
path, at least, has to stay.
"""

from __future__ import annotations

from trust.errors import InputError
from trust.policy import Rewrite, Stanza
from trust.reference import RESERVED_TAG_PREFIX, Collection, Repository
from trust.value import dataclass

_METADATA = "trust-metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """A collection whose repository ``signed_path`` is served as ``there``; ``rewrite`` is None where it stays."""

    stanza: Stanza
    there: Repository
    rewrite: Rewrite | None

    @property
    def metadata_url(self) -> str:
        """Where the metadata lives beside the images at the new place."""
        collection, rewrite = self.stanza.collection, self.rewrite or Rewrite(source="", to="")
        if not collection.is_namespace:
            return f"registry://{self.there}:{RESERVED_TAG_PREFIX}"
        prefix = rewrite.source
        if collection.path.startswith(rewrite.to):
            prefix += collection.path[len(rewrite.to) :]
        return f"registry://{self.there.host}/{prefix}{_METADATA}:{RESERVED_TAG_PREFIX}"

    def consumer_stanza(self, metadata: str) -> Stanza:
        """Return what the policy of a consumer at the new place says."""
        name, registries = self.stanza.collection, [self.there.host]
        if self.there.host == name.host:
            registries = []
        elif self.rewrite is not None and not self.rewrite.source:
            # This rewrite would change every path, those of the old host too: the new host alone can have it.
            name, registries = Collection(host=self.there.host, path=name.path), []
        rewrites = (self.rewrite,) if self.rewrite else ()
        return Stanza(
            collection=name,
            root=self.stanza.root,
            metadata=metadata,
            registries=tuple(registries),
            rewrites=rewrites,
        )


def relocate(stanza: Stanza, signed_path: str, there: Repository) -> Relocation:
    """Return how consumers of ``there`` are led to ``signed_path``.

    Raises:
        InputError: no rewrite leads there.
    """
    signed, served = signed_path.split("/"), there.path.split("/")
    common = 0
    while common < min(len(signed), len(served)) and signed[-1 - common] == served[-1 - common]:
        common += 1
    if common == 0:
        raise InputError(
            f"a copy keeps its name: expected a repository that ends in {signed[-1]!r}, got {there}",
            hint="trust promote signs it under another name, in a collection of the destination's own",
        )
    source = "".join(f"{part}/" for part in served[: len(served) - common])
    to = "".join(f"{part}/" for part in signed[: len(signed) - common])
    rewrite = Rewrite(source=source, to=to) if source != to else None
    return Relocation(stanza=stanza, there=there, rewrite=rewrite)
