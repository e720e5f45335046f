"""Owns how an artifact in a registry is read: its files, and the claims beside it, open, settled or passed over.

A claim (``_trust.<generation>.<digest>``) is what a writer pushes before the tag moves: ``trust.stores.registry``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from trust.deadline import Deadline
from trust.digest import Digest
from trust.errors import InputError, LimitError, RefusedError, UnreachableError
from trust.oci.registry import NotModified, Registry
from trust.stores.artifact import Artifact, parse_artifact
from trust.stores.interface import View, checked_name
from trust.value import dataclass
from trust.verdict import Reason

CLAIMS_MAX = 1000
CLAIMS_LISTED_MAX = 10_000  # withdrawn ones among them, which stay where a registry deletes no tags
GENERATION_JUMP_MAX = 1000  # what claims that never came to be may have counted up; what is beyond is no claim
_CLAIM = re.compile(r"\.([0-9]{10})\.[0-9a-f]{12}")


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
        for tag in list(self._claim_tags()):  # counted before any of them is asked for
            claim = self._open_claim(tag)
            if claim is not None:
                found[tag] = claim
            if len(found) > CLAIMS_MAX:
                raise LimitError(f"metadata has more than {CLAIMS_MAX} open claims in {self._place.path}")
        return found

    def _claim_tags(self) -> Iterator[str]:
        """Yield the tags of claims above this artifact's parent, but for its own and what is far above itself.

        Raises:
            LimitError: more than ``CLAIMS_LISTED_MAX``; pages of them would fill the memory.
        """
        prefix, own, listed = self._place.tag, claim_tag(self._place.tag, self.artifact, self.digest), 0
        for tag in self._registry.tags(self._place.path, deadline=self._deadline):
            match = _CLAIM.fullmatch(tag.removeprefix(prefix)) if tag.startswith(prefix) else None
            if match is not None and self._counts(int(match[1])) and tag != own:
                listed += 1
                if listed > CLAIMS_LISTED_MAX:
                    raise LimitError(
                        f"too many tags of claims in {self._place.path}: expected at most {CLAIMS_LISTED_MAX}",
                        hint=f"delete tags that begin with {prefix}.: each publish needs the newest few alone",
                    )
                yield tag

    def _open_claim(self, tag: str) -> Artifact | None:
        claim = self._claim(tag)
        return None if claim is None or claim.withdrawn or not self._is_near(claim.generation) else claim

    def _counts(self, generation: int) -> bool:
        return generation > self.artifact.parent_generation and self._is_near(generation)

    def _is_near(self, generation: int) -> bool:
        """Tell whether a writer may be so far: one tag of the last number would leave none to all others."""
        return generation <= self.artifact.generation + GENERATION_JUMP_MAX

    def strays(self) -> tuple[tuple[View, View], ...]:
        """Return each claim that this artifact does not include, with the artifact that the claim was built on."""
        strays: list[tuple[View, View]] = []
        for claim in self.claims().values():
            base = (
                fetched_view(self._registry, self._place, claim.parent, self._deadline) if claim.parent else None
            )
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


def claim_tag(prefix: str, artifact: Artifact, digest: Digest | None) -> str:
    """Return the tag under which ``artifact`` is claimed: ``_trust.0000000012.2d711642b726``."""
    return f"{prefix}.{artifact.generation:010}.{digest.hex[:12] if digest else ''}"


def fetched_view(
    registry: Registry, place: Place, reference: str | Digest, deadline: Deadline
) -> RegistryView | None:
    """Return what stands under ``reference``, a tag or a digest; None where nothing does."""
    fetched = registry.manifest(place.path, reference, deadline=deadline)
    if fetched is None:
        return None
    if isinstance(fetched, NotModified):
        raise UnreachableError(f"the registry answered 'not modified' to nobody's question: {registry.host}")
    return RegistryView(registry, place, fetched.digest, parsed_artifact(fetched.untrusted_bytes), deadline)


def parsed_artifact(untrusted_bytes: bytes) -> Artifact:
    """Return the artifact of these bytes.

    Raises:
        RefusedError: they are none.
    """
    try:
        return parse_artifact(untrusted_bytes)
    except InputError as err:
        raise RefusedError(str(err), reason=Reason.TAMPERED.value) from err
