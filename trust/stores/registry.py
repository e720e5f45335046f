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

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from trust.deadline import Deadline
from trust.digest import Digest, parse_digest, sha256
from trust.errors import ConflictError, InputError, LimitError, RefusedError, TrustError, UnreachableError
from trust.manifest import OCI_MANIFEST
from trust.oci.registry import NotModified, Registry
from trust.stores.artifact import EMPTY, Artifact, File, artifact_bytes, parse_artifact
from trust.stores.interface import TIMESTAMP, Publication, View, checked_name, is_versioned, require_removable
from trust.stores.parallel import for_each
from trust.stores.registry_pending import RegistryPending
from trust.value import dataclass, replace
from trust.verdict import Reason

SETTLE_SECONDS = 2.0
SETTLE_STEP_SECONDS = 0.25
CLAIMS_MAX = 1000
FILES_MAX = 4000  # one layer each; a manifest of more than 4,096 is refused by whoever reads it
_CLAIM = re.compile(r"\.([0-9]{10})\.[0-9a-f]{12}")
_PROBE = ".probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a registry the artifact lives."""

    path: str
    tag: str


class RegistryView:
    """One artifact; a view without one is a collection that does not exist yet."""

    def __init__(
        self, registry: Registry, place: Place, digest: Digest | None, artifact: Artifact, deadline: Deadline
    ) -> None:
        self._registry = registry
        self._place = place
        self._deadline = deadline
        self._claims: dict[str, Artifact] | None = None
        self.digest = digest
        self.artifact = artifact

    @property
    def token(self) -> str | None:
        """The digest of the artifact: a conditional request for it tells whether anything changed."""
        return str(self.digest) if self.digest else None

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Return the bytes of ``name`` or None; see ``View.read``."""
        file = self.artifact.files.get(checked_name(name))
        if file is None:
            return None
        if file.size_bytes > max_bytes:
            raise LimitError(f"metadata is too large: {name}: expected at most {max_bytes}, got {file.size_bytes}")
        return self._registry.blob_bytes(self._place.path, file.digest, file.size_bytes, deadline=self._deadline)

    def taken(self, name: str) -> bool:
        """Tell whether ``name`` stands in the artifact or in any open claim."""
        return name in self.artifact.files or any(name in claim.files for claim in self.claims().values())

    def claims(self) -> dict[str, Artifact]:
        """Return the claims above this artifact's parent, by tag: settled, open, or passed over."""
        if self._claims is None:
            self._claims = self._claims_now()
        return self._claims

    def lowest_claim(self, *, besides: Collection[str]) -> str | None:
        """Return the lowest tag of an open claim besides those, asked anew; as few claims as need be are read."""
        tags = sorted(set(self._claim_tags()) - set(besides))
        return next((tag for tag in tags if self._open_claim(tag)), None)

    def _claims_now(self) -> dict[str, Artifact]:
        found: dict[str, Artifact] = {}
        for tag in self._claim_tags():
            claim = self._open_claim(tag)
            if claim is not None:
                found[tag] = claim
            if len(found) > CLAIMS_MAX:
                raise LimitError(f"metadata has more than {CLAIMS_MAX} open claims in {self._place.path}")
        return found

    def _claim_tags(self) -> Iterator[str]:
        """Yield the tags of claims above this artifact's parent, but for its own."""
        prefix, own = self._place.tag, claim_tag(self._place.tag, self.artifact, self.digest)
        for tag in self._registry.tags(self._place.path, deadline=self._deadline):
            match = _CLAIM.fullmatch(tag.removeprefix(prefix)) if tag.startswith(prefix) else None
            if match is not None and int(match[1]) > self.artifact.parent_generation and tag != own:
                yield tag

    def _open_claim(self, tag: str) -> Artifact | None:
        claim = self._claim(tag)
        return None if claim is None or claim.withdrawn else claim

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return each claim that this artifact does not include, with the artifact that the claim was built on."""
        strays: list[tuple[View, View]] = []
        for claim in self.claims().values():
            base = _fetched(self._registry, self._place, claim.parent, self._deadline) if claim.parent else None
            if base is not None:
                view = RegistryView(self._registry, self._place, None, claim, self._deadline)
                strays.append((view, base))
        return tuple(strays)

    def _claim(self, tag: str) -> Artifact | None:
        """Return a claim; one that is gone or malformed claims nothing."""
        fetched = self._registry.manifest(self._place.path, tag, deadline=self._deadline)
        if fetched is None or isinstance(fetched, NotModified):
            return None
        try:
            return parse_artifact(fetched.untrusted_bytes)
        except InputError:
            return None


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
        artifact = _parsed(fetched.untrusted_bytes)
        return RegistryView(self._registry, self._place, fetched.digest, artifact, deadline)

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Publish by the steps of this module; see ``Store.publish``."""
        base = publication.base
        if not isinstance(base, RegistryView):
            raise TypeError("a publication is built on a view of its own store")
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
        current = _fetched(self._registry, self._place, self._place.tag, deadline)
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
        newest = max([base.artifact.generation, *(claim.generation for claim in base.claims().values())])
        return Artifact(
            generation=newest + 1,
            parent=base.digest,
            parent_generation=base.artifact.generation if publication.settles else base.artifact.parent_generation,
            files=files,
        )

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
        current = _fetched(self._registry, self._place, self._place.tag, deadline)
        if current is None or digest not in {current.digest, current.artifact.parent}:
            raise ConflictError(f"another publisher wrote over this change: {self.url}", hint="repeat the command")

    def _forget(self, claims: dict[str, Artifact], deadline: Deadline) -> None:
        for tag in claims:
            if not self._registry.delete_tag(self._place.path, tag, deadline=deadline):
                return

    def _current(self, deadline: Deadline) -> Digest | None:
        return self._registry.tag_digest(self._place.path, self._place.tag, deadline=deadline)


def claim_tag(prefix: str, artifact: Artifact, digest: Digest | None) -> str:
    """Return the tag under which ``artifact`` is claimed: ``_trust.0000000012.2d711642b726``."""
    return f"{prefix}.{artifact.generation:010}.{digest.hex[:12] if digest else ''}"


def _fetched(registry: Registry, place: Place, reference: str | Digest, deadline: Deadline) -> RegistryView | None:
    fetched = registry.manifest(place.path, reference, deadline=deadline)
    if fetched is None:
        return None
    if isinstance(fetched, NotModified):
        raise UnreachableError(f"the registry answered 'not modified' to nobody's question: {registry.host}")
    return RegistryView(registry, place, fetched.digest, _parsed(fetched.untrusted_bytes), deadline)


def _digest_of(token: str | None) -> Digest | None:
    """Return the digest that ``token`` is; None for that of another store, where the collection lived before."""
    try:
        return parse_digest(token) if token else None
    except InputError:
        return None


def _parsed(untrusted_bytes: bytes) -> Artifact:
    try:
        return parse_artifact(untrusted_bytes)
    except InputError as err:
        raise RefusedError(str(err), reason=Reason.TAMPERED.value) from err
