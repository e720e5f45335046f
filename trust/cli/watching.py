"""What ``trust publish --watch`` has of this machine: signals, the service manager, words, lines of JSON.

SIGTERM and SIGINT end it after what is under way, exit code 0. Under systemd (``Type=notify``) it says when the
first turn is over, and that it is alive.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone

from keys.errors import KeysError
from trust.approve import publish_pending
from trust.cli.published import EXIT_OK
from trust.cli.publishing import collect_old, publisher, warn_of_cut
from trust.cli.secrets import Keyring
from trust.cli.session import PUBLISH_SECONDS, Session
from trust.errors import StateError, TrustError
from trust.instant import format_utc
from trust.loaded import Loaded
from trust.notify import Notifier, watchdog_seconds
from trust.publish import Publisher
from trust.published import Published
from trust.reference import parse_collection
from trust.value import replace
from trust.watch import PERIODS, REST_MOST, Event, Watch

_WARNINGS = ("failed", "near")


def watch(run: Session, collections: tuple[str, ...], periods: Mapping[str, timedelta]) -> int:
    """Watch ``collections`` until a signal says that it is over; return the exit code."""
    stanzas = {name: run.stanza_of(parse_collection(name)) for name in collections}
    ring = Keyring(run.home / "keys")  # opened once: nobody types a passphrase every half day
    notifier, watchdog = Notifier.of(), watchdog_seconds()
    warned: set[str] = set()  # of periods that the root cuts: once is enough

    def open_publisher(name: str, now: datetime) -> Publisher:
        opened = publisher(run, stanzas[name], (), dry_run=False, periods={**PERIODS, **periods})
        return replace(opened, keyring=ring, now=now, deadline=run.deadline(PUBLISH_SECONDS))

    def tidy(publishing: Publisher, loaded: Loaded) -> None:
        if publishing.store.url not in warned:
            warned.add(publishing.store.url)
            warn_of_cut(run, loaded, periods, str(publishing.stanza.collection))
        collect_old(run, publishing, loaded)

    def report(event: Event) -> None:
        with suppress(StateError):  # a full disk under its output must not end what keeps the collection fresh
            _say(run, event)
        if event.kind == "ready":
            notifier.ready(event.text)
        elif event.kind == "ended":
            notifier.stopping()
        else:
            notifier.status(f"{event.collection}: {event.text}")
            notifier.alive()  # the first of many collections must not use up the time of all

    with _told_to_end() as ended:

        def wait(span: timedelta) -> bool:
            ends_at = time.monotonic() + span.total_seconds()
            while (left := ends_at - time.monotonic()) > 0:
                notifier.alive()
                if ended(min(left, watchdog / 2) if watchdog else left):
                    return True
            return ended(0)

        Watch(
            collections=collections,
            open_publisher=open_publisher,
            clock=lambda: datetime.now(timezone.utc),
            wait=wait,
            report=report,
            failures=(TrustError, KeysError, OSError),
            collect=tidy,
            publish_pending=_Waiting().publish,
        ).run()
    return EXIT_OK


class _Waiting:
    """What waited when it was last looked at: it is compared again when it changed, or an hour later."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[datetime, Mapping[str, bytes]]] = {}

    def publish(self, publishing: Publisher) -> Published:
        """Return what was published of the changes that wait; the last one, where there were several."""
        store, nothing = publishing.store, Published(changed=False, versions={})
        seen_at, seen = self._seen.get(store.url, (publishing.now - REST_MOST, {}))
        waiting = store.pending(deadline=publishing.deadline)
        if not waiting or (waiting == seen and timedelta(0) <= publishing.now - seen_at < REST_MOST):
            return nothing
        done = [each for each in publish_pending(publishing) if each.changed]
        self._seen[store.url] = publishing.now, store.pending(deadline=publishing.deadline)
        return done[-1] if done else nothing


@contextmanager
def _told_to_end() -> Iterator[Callable[[float], bool]]:
    """Give what waits some seconds for SIGTERM or SIGINT, and says whether one came, now or before.

    A signal interrupts nothing but the wait: a publish under way ends as it would have.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def told(_number: int, _frame: object) -> None:
        with suppress(BlockingIOError):  # it was told often enough
            os.write(writer, b".")

    before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda seconds: bool(select.select([reader], [], [], seconds)[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _say(run: Session, event: Event) -> None:
    document = {
        "event": event.kind,
        "at": format_utc(event.at),
        "collection": event.collection,
        "message": event.text,
        "hint": event.hint,
        "versions": dict(event.versions),
        "valid_until": format_utc(event.valid_until) if event.valid_until else None,
    }
    what = f"{event.collection}: {event.text}" if event.collection else event.text
    if run.common.json:
        run.output.result("publish", document, ())
    elif event.kind == "expired":
        run.output.problem(what, event.hint)
    elif event.kind in _WARNINGS:
        run.output.warn(what)
        if event.hint:
            run.output.hint(event.hint)
    elif event.collection:
        run.output.result("publish", document, [f"{event.kind} {what}"])
    else:
        run.output.note(what)
