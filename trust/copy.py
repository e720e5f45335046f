"""Owns the journey of an image to another registry, with all that belongs to it and what vouches for it.

1. the source is verified by the policy here; denied, and nothing is written
2. the whole metadata of its collection is read, and is what the verdict rests on; the destination's is looked at
3. manifests, blobs and referrers of the *signed* digest go over: where the source's tag points is of no interest
4. the metadata goes over, forward only; then the tag, so that nobody there finds it before what vouches for it
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from trust.deadline import Deadline
from trust.errors import ConflictError, UnreachableError
from trust.oci.image_copy import Piece, Sent, read_pieces, send
from trust.oci.repositories import Sink, Source
from trust.policy import Match, Policy, Stanza
from trust.reference import Reference
from trust.replica import Replica, Step, plan_move, publish_replica, read_replica
from trust.state import TrustedState
from trust.stores.interface import Store
from trust.value import dataclass, replace
from trust.verdict import Allowed, Denied
from trust.verify import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where an image goes: the repository, the tag or None, and the store of trust metadata beside it, if any."""

    sink: Sink
    tag: str | None
    store: Store | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy did, or would have done: the verdict it rests on, what was sent, and the metadata's step."""

    allowed: Allowed
    sent: Sent
    step: Step | None
    tagged: bool

    @property
    def changed(self) -> bool:
        """Tell whether the destination is, or would be, other than before."""
        return self.sent.changed or self.tagged or self.step in {Step.NEW, Step.FORWARD}


def asking_now(policy: Policy) -> Policy:
    """Return ``policy`` without ``max_age``: what is carried away must be what the store shows now."""
    return replace(policy, stanzas=tuple(replace(each, max_age=timedelta(0)) for each in policy.stanzas))


def copy(
    verifier: Verifier,
    reference: Reference,
    *,
    source: Source,
    destination: Callable[[Match | None], Destination],
    soon: Callable[[], Deadline],
    dry_run: bool,
) -> Copied | Denied:
    """Return what was copied by the steps of this module, or why nothing was.

    ``destination`` is asked once the verdict is known; it takes the collection that decided, None for a pinned
    digest, which no metadata speaks for.

    Raises:
        ConflictError: the metadata at the destination is another collection's, or has gone another way.
        UnavailableError: it could not be done as a whole; what has arrived is not sent again next time.
    """
    verdict = verifier.verify(reference)
    if isinstance(verdict, Denied):
        return verdict
    match = verifier.policy.match(reference)
    goal = destination(match)
    move = None
    if match is not None and goal.store is not None:
        replica = current_replica(match.stanza, verifier.state, verifier.open_store(match.stanza), soon())
        move = plan_move(match.stanza, replica, goal.store, deadline=soon())
    attestations = {digest for digests in verdict.attestations.values() for digest in digests}
    pieces = read_pieces(source, verdict.digest, wanted=attestations)
    sent = send(pieces, source, goal.sink, dry_run=dry_run)
    if move is not None and goal.store is not None and not dry_run:
        publish_replica(move, goal.store, deadline=soon())
    step = move.step if move else None
    tagged = set_tag(pieces, verdict, goal.sink, tag_for(goal, step), dry_run=dry_run)
    return Copied(allowed=verdict, sent=sent, step=step, tagged=tagged)


def current_replica(stanza: Stanza, state: TrustedState, store: Store, deadline: Deadline) -> Replica:
    """Return the whole metadata of the collection, which is what the trusted state rests on.

    Raises:
        UnreachableError: the publisher went on meanwhile.
    """
    view = store.view(known=None, deadline=deadline)
    if view is None:
        raise UnreachableError(f"the store answered 'not modified' to nobody's question: {store.url}")
    replica = read_replica(stanza, view)
    if replica.timestamp != state.body(stanza.root, "timestamp"):
        raise ConflictError(
            f"collection {stanza.collection} was published anew while it was read", hint="repeat the command"
        )
    return replica


def set_tag(pieces: tuple[Piece, ...], allowed: Allowed, sink: Sink, tag: str | None, *, dry_run: bool) -> bool:
    """Have ``tag`` stand for the signed digest at the sink; tell whether it did not before."""
    if tag is None or sink.tagged(tag) == allowed.digest:
        return False
    image = next(piece for piece in pieces if piece.digest == allowed.digest)
    if not dry_run:
        sink.put_tag(tag, image.data, image.media_type)
    return True


def tag_for(goal: Destination, step: Step | None) -> str | None:
    """Return the tag that is to be set: none where the destination's newer metadata may have moved it on."""
    is_behind = step is Step.AHEAD and goal.tag is not None and goal.sink.tagged(goal.tag) is not None
    return None if is_behind else goal.tag
