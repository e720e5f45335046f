"""Owns the journey ``update``: a container that follows its tag becomes what the tag is signed to be now.

1. the tag is verified, as any other image; whatever is refused leaves the version that runs as it is
2. a new digest is pulled, unpacked and started beside the old version, without its name and ports
3. it is on trial: until it is healthy, or for as long as one without a health check must stay up
4. the name is handed over, which the kernel does at once; then the ports, in the supervisor
5. the old version is asked to end, and removed

Killed at any step, exactly one version bears the name: the other is a leftover, which whoever comes next removes.
A version that was revoked runs on, loudly: what serves is stopped by its owner and by nobody else. Nothing is
verified here; the verdict comes from the one verifier.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from trust.deadline import Deadline
from trust.digest import Digest, parse_digest
from trust.errors import ConflictError, InputError, RefusedError, StateError, TrustError, UnavailableError
from trust.prepare import furnish, readied
from trust.reference import Reference
from trust.runtime.containers import Containers
from trust.runtime.course import want_stopped
from trust.runtime.engine import Engine
from trust.runtime.followed import Followed, Outcome, hand_on_log, read_followed, record_followed
from trust.runtime.following import Following, write_following
from trust.runtime.host import Host, open_containers
from trust.runtime.record import Container
from trust.runtime.source import Source
from trust.runtime.supervision import ask, attend
from trust.runtime.trial import Trial
from trust.value import dataclass, replace
from trust.verdict import UNDECIDED, Allowed, Denied, Reason, Verdict, reason_of

LONGEST_PAUSE_SECONDS = 86_400.0  # between two trials of a version that has failed
_LOCK = "updating"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an update needs from outside; ``identity`` is random, the new version's.

    ``verdict_on`` asks the verifier. ``is_due``: the interval has passed and nobody asked by hand, so that a
    version which has failed is tried again after a pause only.
    """

    host: Host
    engine: Engine
    source: Source
    verdict_on: Callable[[Reference], Verdict]
    identity: str
    now: datetime
    deadline: Deadline
    trial: Trial
    vet: Callable[[Allowed, Digest], None]
    is_due: bool = False


def update(container: Container, following: Following, tag: Reference, here: Surroundings) -> Followed:
    """Return what came of a look at ``tag``, which ``container`` follows; it is recorded, and its log has it.

    Raises:
        InputError: the container is stopped, or somebody updates it now.
        ConflictError: it was stopped or removed meanwhile; the old version is as its owner left it.
    """
    containers = open_containers(here.host)
    directory = containers.directory(container.identity)
    with _alone(directory, container):
        if not containers.is_wanted(container):
            raise InputError(f"container {container.name} is stopped", hint="trust rm, then trust run")
        followed = _looked(container, following, here.verdict_on(tag), here)
        if followed.outcome != "updated":
            followed = replace(followed, revoked=_revoked(container, tag, followed, here))
            record_followed(directory, followed, running=container.digest)
        return followed


def _looked(container: Container, following: Following, verdict: Verdict, here: Surroundings) -> Followed:
    match verdict:
        case Denied():
            outcome: Outcome = "undecided" if verdict.reason in UNDECIDED else "refused"
            return Followed(outcome=outcome, at=here.now, reason=verdict.reason.value, detail=verdict.detail)
        case Allowed() if str(verdict.digest) == container.digest:
            return Followed(outcome="current", at=here.now, digest=container.digest)
        case Allowed():
            return _tried(container, following, verdict, here)


def _tried(container: Container, following: Following, allowed: Allowed, here: Surroundings) -> Followed:
    """Return what came of the new version; one that has failed is left alone for longer each time."""
    digest = str(allowed.digest)
    before = read_followed(open_containers(here.host).directory(container.identity))
    tries = before.tries if before is not None and before.digest == digest else 0
    if before is not None and tries and here.is_due:
        pause = min(following.every_seconds * 2 ** min(tries, 16), LONGEST_PAUSE_SECONDS)
        if (here.now - before.at).total_seconds() < pause:
            return before
    failed = Followed(outcome="refused", at=here.now, digest=digest, tries=tries + 1)
    try:
        why = _replaced(container, following, allowed, here)
    except ConflictError:
        raise
    except (RefusedError, StateError) as err:
        outcome: Outcome = "refused" if isinstance(err, RefusedError) else "undecided"
        return replace(failed, outcome=outcome, reason=reason_of(err).value, detail=str(err))
    except (InputError, UnavailableError) as err:
        return replace(failed, reason="cannot-start", detail=str(err))
    except TrustError as err:
        return replace(failed, outcome="undecided", reason=reason_of(err).value, detail=str(err), tries=tries)
    if why is not None:
        return replace(failed, reason="unhealthy", detail=why)
    return Followed(outcome="updated", at=here.now, digest=digest)


def _replaced(container: Container, following: Following, allowed: Allowed, here: Surroundings) -> str | None:
    """Return why the new version failed its trial; None where it has taken over."""
    containers, host = open_containers(here.host), here.host
    with readied(
        allowed,
        identity=here.identity,
        options=replace(following.options, name=container.name),
        host=host,
        engine=here.engine,
        source=here.source,
        now=here.now,
        deadline=here.deadline,
        vet=partial(here.vet, allowed),
    ) as ready, containers.on_trial(ready.container) as directory:  # fmt: skip
        _check_wanted(containers, container)
        write_following(directory, replace(following, replaces=container.identity))
        furnish(ready, directory, host=host, engine=here.engine)
        ask(host.home, "start", here.identity, host.environ, mount=ready.shared.mount)
        why = here.trial.failure(
            directory, ready.care.health, following.trial_seconds, lambda: _go_on(containers, container, here)
        )
        if why is None:
            with _held(containers, container):
                _hand_over(containers, container, ready.container, directory, here)
                _end(containers, container)
    return why


def _go_on(containers: Containers, container: Container, here: Surroundings) -> None:
    """Have somebody look after the new version, whoever is killed, while the old one is wanted."""
    _check_wanted(containers, container)
    attend(here.host.home, here.host.environ)


def _hand_over(
    containers: Containers, old: Container, new: Container, directory: Path, here: Surroundings
) -> None:
    """Have ``new`` bear the name, and answer at the ports."""
    done = Followed(outcome="updated", at=here.now, digest=new.digest)
    hand_on_log(containers.directory(old.identity), directory)
    record_followed(directory, done, running=old.digest)
    if not containers.hand_over(old, new):
        _check_wanted(containers, old)
        raise ConflictError(f"container name {old.name} is another's by now")
    if not containers.is_wanted(old):  # its owner had the old one in hand when the name went over
        want_stopped(directory)
        containers.stop(new)
        raise ConflictError(f"container {old.name} was stopped while it was updated")
    with suppress(TrustError):  # a supervisor finds the name by itself, a moment later
        ask(here.host.home, "watch", new.identity, here.host.environ)


@contextmanager
def _held(containers: Containers, old: Container) -> Iterator[None]:
    """Hold the old version, which is nameless for a moment and no leftover.

    Raises:
        ConflictError: it has been removed.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(containers.held(old))
        except (InputError, FileNotFoundError) as err:
            raise ConflictError(f"container {old.name} was removed while it was updated") from err
        yield


def _end(containers: Containers, old: Container) -> None:
    """Have nothing of the version before; asked first, killed after its time."""
    with suppress(TrustError, OSError):  # nameless by now, it is swept away by whoever comes next
        containers.stop(old)
        containers.discard(old)


def _check_wanted(containers: Containers, container: Container) -> None:
    if not containers.is_wanted(container) or not containers.is_named(container):
        raise ConflictError(f"container {container.name} was stopped or removed while it was updated")


def _revoked(container: Container, tag: Reference, followed: Followed, here: Surroundings) -> str | None:
    """Return what is said of the running version where it is revoked; who cannot be asked changes nothing."""
    if followed.outcome == "current":
        return None
    if followed.outcome == "undecided":
        before = read_followed(open_containers(here.host).directory(container.identity))
        return before.revoked if before is not None else None
    verdict = here.verdict_on(tag.at(parse_digest(container.digest)))
    if isinstance(verdict, Denied) and verdict.reason is Reason.REVOKED:
        return f"{container.digest} is revoked and runs on: {verdict.detail}"
    return None


@contextmanager
def _alone(directory: Path, container: Container) -> Iterator[None]:
    """Hold back whoever else would update the container.

    Raises:
        InputError: somebody does.
    """
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as err:
        raise InputError(f"container {container.name} is being updated") from err
    finally:
        os.close(lock)
