"""Publications of few bytes: to a store, files and bytes are all that metadata is."""

from __future__ import annotations

from collections.abc import Mapping

from tests.simulators.world import soon
from trust.deadline import Deadline
from trust.stores.interface import TIMESTAMP, Publication, Store, View


def now(store: Store, deadline: Deadline | None = None) -> View:
    """Return the store as it is."""
    view = store.view(known=None, deadline=deadline or soon())
    assert view is not None
    return view


def edition(
    view: View, number: int, *, by: str = "", files: Mapping[str, bytes] | None = None, kept: tuple[str, ...] = ()
) -> Publication:
    """Return edition ``number`` on what ``view`` shows; what ``by`` wrote differs from what others did."""
    if files is None:
        files = {f"{number}.{role}.json": f"{role} {number}{by}".encode() for role in ("targets", "snapshot")}
    return Publication(
        base=view,
        base_timestamp=view.read(TIMESTAMP, 1000),
        files=files,
        kept=kept,
        timestamp=f"timestamp {number}{by}".encode(),
    )


def publish(store: Store, number: int, *, by: str = "", kept: tuple[str, ...] = ()) -> None:
    """Publish edition ``number`` on what is there now."""
    store.publish(edition(now(store), number, by=by, kept=kept), deadline=soon())
