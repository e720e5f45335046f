"""What the tests of attacks do to a change that waits, as whoever can write to the store does."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulators.team import Member, waiting
from tests.simulators.world import World, soon
from trust.pending import Pending, PendingRole, parse_pending, pending_bytes
from trust.proposal import Waiting


def sent(member: Member) -> Waiting:
    """Return a change that waits: ``member`` has signed ``acme/web:2.0``."""
    waits = member.sign("2.0").waits
    assert waits is not None
    return waits


def tamper(
    world: World, edit: Callable[[PendingRole], object], *, place: str = "targets", signer: Member | None = None
) -> Pending:
    """Change what waits, as whoever can write to the store does; ``signer`` signs it, where he takes part."""
    data = waiting(world)[place]
    pending = parse_pending(data)
    for role in pending.roles:
        edit(role)
        if signer is not None:
            role.metadata.signatures.clear()
            role.metadata.sign(signer.keys[0], append=True)
    world.store.set_pending(place, pending_bytes(pending), replaces=data, deadline=soon())
    return parse_pending(pending_bytes(pending))
