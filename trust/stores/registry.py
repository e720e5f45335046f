"""Owns ``registry:``, metadata in the registry beside the images: one artifact under the reserved tag ``_trust``.

Moving the tag is the commit point, and registries ignore ``If-Match`` on it: with naive writing half of two
writers' acknowledged changes were lost. So a writer claims first (``_trust.<generation>.<digest>``):

  1. claims that are open when it starts get a while to be settled
  2. the files and the claim are pushed, then the claims are listed: a new one of a lower tag, and it withdraws; of
     higher ones, and it waits until they have withdrawn
  3. the tag is re-read: it must still be what the edit began with
  4. the tag is moved and read back: it must be this edition, or one built upon it

Of two claims at once the later always sees the earlier, so both move the tag only if one stalls between 3 and 4
for longer than the other waited in 1. That cannot be excluded here; it is detected: the claim that was passed over
is a *stray* of the view, and the next publisher merges it (``trust.publish``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from trust.deadline import Deadline
from trust.digest import Digest, parse_digest, sha256
from trust.errors import ConflictError, InputError, LimitError, TrustError
from trust.manifest import OCI_MANIFEST
from trust.oci.registry import NotModified, Registry
from trust.stores.artifact import EMPTY, GENERATION_MAX, Artifact, File, artifact_bytes
from trust.stores.interface import TIMESTAMP, Publication, View, is_versioned, require_removable
from trust.stores.parallel import for_each
from trust.stores.registry_pending import RegistryPending
from trust.stores.registry_view import Place, RegistryView, claim_tag, fetched_view, parsed_artifact
from trust.value import replace

SETTLE_SECONDS = 2.0
SETTLE_STEP_SECONDS = 0.25
FILES_MAX = 4000  # one layer each; a manifest of more than 4,096 is refused by whoever reads it
_PROBE = ".probe"


class RegistryStore:
    """The artifact under one tag of one repository."""

    def __init__(self, url: str, registry: Registry, place: Place, pause: Callable[[float], None]) -> None:
        self.url = url
        self._registry = registry
        self._place = place
        self._pause = pause
        self._pending = RegistryPending(url, registry, place)

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        """Return the artifact that the tag names now; None where it is ``known``: one conditional request."""
        path, tag = self._place.path, self._place.tag
        digest = _digest_of(known)
        fetched = self._registry.manifest(path, tag, deadline=deadline, known=digest)
        if isinstance(fetched, NotModified):
            return None
        if fetched is None:
            nothing = Artifact(generation=0, parent=None, parent_generation=0, files={})
            return RegistryView(self._registry, self._place, None, nothing, deadline)
        artifact = parsed_artifact(fetched.untrusted_bytes)
        return RegistryView(self._registry, self._place, fetched.digest, artifact, deadline)

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Publish by the steps of this module; see ``Store.publish``."""
        base = publication.base
        if not isinstance(base, RegistryView):
            raise TypeError("a publication is built on a view of its own store")
        self._require_new(publication, base)
        known = base.claims()
        self._settle(base, deadline)
        artifact = self._pushed(publication, base, deadline)
        data = artifact_bytes(artifact)
        digest, path = sha256(data), self._place.path
        tag = claim_tag(self._place.tag, artifact, digest)
        self._registry.put_manifest(path, tag, data, OCI_MANIFEST, deadline=deadline)
        if not self._is_alone(base, tag, deadline):
            self._withdraw(tag, artifact, deadline)
            raise ConflictError(f"another publisher was first: {self.url} has moved on")
        self._registry.put_manifest(path, self._place.tag, data, OCI_MANIFEST, deadline=deadline)
        self._require_included(digest, deadline)
        self._forget(known, deadline)

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        """Return what waits beside the metadata; see ``Store.pending``."""
        return self._pending.read(deadline)

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        """Replace what waits, as far as a registry can promise it: see ``trust.stores.registry_pending``."""
        self._pending.set(name, data, replaces=replaces, deadline=deadline)

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        """Return the versioned files that the current artifact names."""
        current = fetched_view(self._registry, self._place, self._place.tag, deadline)
        return frozenset(filter(is_versioned, current.artifact.files)) if current else frozenset()

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        """Do nothing: a file goes when the next artifact does not name it, and its bytes are the registry's."""
        deadline.remaining_seconds()
        require_removable(names)

    def probe(self, *, deadline: Deadline) -> None:
        """Return if tags can be pushed and moved; immutable tags would break the commit point."""
        tag = f"{self._place.tag}{_PROBE}"
        self._registry.push_blob(self._place.path, sha256(EMPTY), EMPTY, deadline=deadline)
        try:
            for generation in (1, 2):
                probe = Artifact(generation=generation, parent=None, parent_generation=0, files={})
                data = artifact_bytes(probe)
                self._registry.put_manifest(self._place.path, tag, data, OCI_MANIFEST, deadline=deadline)
        except TrustError as err:
            if generation == 1:
                raise
            raise InputError(
                f"the registry does not move tags: {self._registry.host}/{self._place.path}:{tag}: {err}",
                hint=f"allow tags that begin with {self._place.tag} to be overwritten",
            ) from err
        self._registry.delete_tag(self._place.path, tag, deadline=deadline)

    def _require_new(self, publication: Publication, base: RegistryView) -> None:
        """Return if no versioned file of ``publication`` stands in the artifact with other bytes."""
        for name, data in publication.files.items():
            standing = base.artifact.files.get(name)
            if standing is not None and standing.digest != sha256(data):
                raise ConflictError(f"a version never has two contents: {name} in {self.url} is another's")

    def _settle(self, base: RegistryView, deadline: Deadline) -> None:
        """Give the writers of open claims a while; the tag moving on is a conflict, silence means they died."""
        waited = 0.0
        open_claims = [claim for claim in base.claims().values() if claim.generation > base.artifact.generation]
        while open_claims and waited < SETTLE_SECONDS:
            self._pause(SETTLE_STEP_SECONDS)
            waited += SETTLE_STEP_SECONDS
            if self._current(deadline) != base.digest:
                raise ConflictError(f"another publisher was first: {self.url} has moved on")

    def _pushed(self, publication: Publication, base: RegistryView, deadline: Deadline) -> Artifact:
        generation = self._generation_after(base)
        contents = {**publication.files, TIMESTAMP: publication.timestamp}
        count = len({*publication.kept, *contents})
        if count > FILES_MAX:
            raise InputError(
                f"too many metadata files for a registry: expected at most {FILES_MAX}, got {count}",
                hint="use fewer bins, or an object store: docs/stores.md",
            )

        def push(data: bytes) -> None:
            self._registry.push_blob(self._place.path, sha256(data), data, deadline=deadline)

        push(EMPTY)  # first, and alone: a login that one of many asks for is asked for by all
        for_each(contents.values(), push)
        files = {name: base.artifact.files[name] for name in publication.kept}
        files |= {name: File(digest=sha256(data), size_bytes=len(data)) for name, data in contents.items()}
        return Artifact(
            generation=generation,
            parent=base.digest,
            parent_generation=base.artifact.generation if publication.settles else base.artifact.parent_generation,
            files=files,
        )

    def _generation_after(self, base: RegistryView) -> int:
        newest = max([base.artifact.generation, *(claim.generation for claim in base.claims().values())])
        if newest >= GENERATION_MAX:
            raise LimitError(
                f"metadata has no number left for another edition: {self.url}: got {newest}",
                hint=f"somebody with the right to push counted it up: delete the tag {self._place.tag}, "
                "then trust publish --rebuild",
            )
        return newest + 1

    def _is_alone(self, base: RegistryView, tag: str, deadline: Deadline) -> bool:
        """Tell whether the tag may be moved: nobody else has a new claim, and it is where the edit began.

        Of many who see each other the lowest tag waits until the others have withdrawn; without that, all did.
        """
        known, waited = base.claims(), 0.0
        while True:
            other = base.lowest_claim(besides={*known, tag})
            if self._current(deadline) != base.digest:
                return False
            if other is None or other < tag or waited >= SETTLE_SECONDS:
                return other is None
            self._pause(SETTLE_STEP_SECONDS)
            waited += SETTLE_STEP_SECONDS

    def _withdraw(self, tag: str, artifact: Artifact, deadline: Deadline) -> None:
        """Have nobody wait for the claim: without its tag, or, many registries delete none, by what it says."""
        if self._registry.delete_tag(self._place.path, tag, deadline=deadline):
            return
        data = artifact_bytes(replace(artifact, withdrawn=True))
        self._registry.put_manifest(self._place.path, tag, data, OCI_MANIFEST, deadline=deadline)

    def _require_included(self, digest: Digest, deadline: Deadline) -> None:
        current = fetched_view(self._registry, self._place, self._place.tag, deadline)
        if current is None or digest not in {current.digest, current.artifact.parent}:
            raise ConflictError(f"another publisher wrote over this change: {self.url}", hint="repeat the command")

    def _forget(self, claims: dict[str, Artifact], deadline: Deadline) -> None:
        for tag in claims:
            if not self._registry.delete_tag(self._place.path, tag, deadline=deadline):
                return

    def _current(self, deadline: Deadline) -> Digest | None:
        return self._registry.tag_digest(self._place.path, self._place.tag, deadline=deadline)


def _digest_of(token: str | None) -> Digest | None:
    """Return the digest that ``token`` is; None for that of another store, where the collection lived before."""
    try:
        return parse_digest(token) if token else None
    except InputError:
        return None
