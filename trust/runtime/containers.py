"""Owns the records of containers: one directory each in ``TRUST_HOME/containers``, named by its identity.

    record.json   config.json   rootfs/ upper/ work/   stdout.log stderr.log   engine.log pid

A record says what was started; whether it runs is asked of the engine, each time. Whoever prepares a container
holds the lock on its directory. ``names/NAME`` links to the identity: making that link claims the name. A
container that is being removed is renamed first: one that begins with a dot is nobody's and is swept away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trust.errors import InputError, StateError
from trust.runtime.cgroup import Controllers
from trust.runtime.course import Course, is_wanted, read_course
from trust.runtime.disk import make_private_directory, read_document, write_document
from trust.runtime.ending import STOP_TIMEOUT_SECONDS, end
from trust.runtime.engine import Engine, Streams
from trust.runtime.execution import Execution, executed
from trust.runtime.followed import Followed, read_followed
from trust.runtime.following import read_following
from trust.runtime.leftovers import MAKING, discard, sweep
from trust.runtime.locks import RECORD, locked, made
from trust.runtime.names import bearer, bearers, claim, hand_over
from trust.runtime.options import is_name
from trust.runtime.record import Container, record_document, recorded
from trust.runtime.usage import Usage, usage_of
from trust.value import dataclass, replace

SHORT_LENGTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A container, its first process on the host (None where it does not run), and how it has fared, if known.

    ``followed`` is what came of the latest look at its tag, where it follows one.
    """

    container: Container
    pid: int | None
    course: Course | None
    followed: Followed | None = None

    @property
    def wants_care(self) -> bool:
        """Tell whether somebody should look after it."""
        return self.course is not None and (self.pid is not None or not self.course.is_over)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Where a detached container's output is."""

    stdout: Path
    stderr: Path


class Containers:
    """The containers of one ``TRUST_HOME``."""

    def __init__(self, home: Path, *, engine_named: Callable[[str], Engine]) -> None:
        self._directory = home / "containers"
        self._engine_named = engine_named

    def directory(self, identity: str) -> Path:
        """Return where the files of a container are."""
        return self._directory / identity

    @contextmanager
    def prepared(self, container: Container) -> Iterator[Path]:
        """Give the directory of a new container: recorded, its name claimed, locked meanwhile.

        Where what is done with it fails, nothing is left of the container.

        Raises:
            InputError: the name is taken.
        """
        make_private_directory(self._directory)
        directory = self._directory / container.identity
        with made(directory):
            try:
                (directory / MAKING).touch(mode=0o600)
                self.save(container)
                claim(self._directory, container.name, container.identity)
                yield directory
                (directory / MAKING).unlink(missing_ok=True)
            except BaseException:
                self.discard(container)
                raise

    @contextmanager
    def on_trial(self, container: Container) -> Iterator[Path]:
        """Give the directory of a container that bears no name yet, locked meanwhile: others leave it alone.

        Whoever gives it the name keeps it; otherwise nothing is left of it.
        """
        with made(self.directory(container.identity)):
            try:
                self.save(container)
                yield self.directory(container.identity)
            finally:
                if not self.is_named(container):
                    self.discard(container)

    def is_named(self, container: Container) -> bool:
        """Tell whether its name leads to it."""
        return bearer(self._directory, container.name) == container.identity

    @contextmanager
    def held(self, container: Container) -> Iterator[None]:
        """Hold the lock of a container: nobody removes it meanwhile, nor takes it for a leftover.

        Raises:
            InputError: it is not there any more.
        """
        with locked(self.directory(container.identity), wait=True) as is_there:
            if not is_there:
                raise InputError(f"container {container.name} is not there any more")
            yield

    def hand_over(self, old: Container, new: Container) -> bool:
        """Have ``new`` bear the name of ``old``; tell whether it does: the old one may have lost it meanwhile."""
        return hand_over(self._directory, old.name, old=old.identity, new=new.identity)

    def is_wanted(self, container: Container) -> bool:
        """Tell whether it is there, and its owner has not stopped it."""
        return is_wanted(self.directory(container.identity))

    def discard(self, container: Container) -> None:
        """Have nothing left of a container whose lock the caller holds.

        Raises:
            OSError: something of it cannot be removed.
        """
        discard(self._directory / container.identity, self._engine_named(container.engine), container.name)

    def save(self, container: Container) -> None:
        """Have the record say what ``container`` says."""
        write_document(self._directory / container.identity / RECORD, record_document(container))

    def all(self) -> tuple[Listed, ...]:
        """Return every container, the oldest first; each engine is asked once."""
        found = sorted(self._records(), key=lambda container: (container.created_at, container.identity))
        running: dict[str, int] = {}
        for name in {container.engine for container in found}:
            identities = [container.identity for container in found if container.engine == name]
            running.update(self._engine_named(name).running(identities))
        return tuple(self._listed(container, running.get(container.identity)) for container in found)

    def find(self, text: str) -> Container:
        """Return the container with this name, identity, or unambiguous beginning of an identity.

        Raises:
            InputError: there is none, or more than one.
        """
        named = bearer(self._directory, text) if is_name(text) else None
        if named is not None and (container := self._recorded(named)) is not None:
            return container
        found = [container for container in self._records() if text and container.identity.startswith(text)]
        if len(found) != 1:
            raise InputError(
                f"{'more than one' if found else 'no'} container is named {text[:140]!r}",
                hint="trust ps lists them",
            )
        return found[0]

    def logs(self, container: Container) -> Logs:
        """Return where the output of a detached container is.

        Raises:
            InputError: it ran in the foreground, and wrote to whoever started it.
        """
        if not container.is_detached:
            raise InputError(f"container {container.name} has no logs: it ran in the foreground")
        directory = self._directory / container.identity
        return Logs(stdout=directory / "stdout.log", stderr=directory / "stderr.log")

    def execute(self, container: Container, execution: Execution, streams: Streams) -> int:
        """Return the exit status of one more process in a container that runs.

        Raises:
            InputError: it does not run, or its engine knows no way in.
        """
        pid = self._running(container)
        directory = self._directory / container.identity
        process = executed(execution, directory=directory, pid=pid)
        return self._engine_named(container.engine).execute(directory, pid, process, streams)

    def usage(self, container: Container, controllers: Controllers) -> Usage:
        """Return what a container that runs uses.

        Raises:
            InputError: it does not run.
        """
        found = usage_of(container.identity, self._running(container), controllers)
        if found is None:
            raise InputError(f"container {container.name} has just ended")
        return found

    def stop(self, container: Container, *, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> bool:
        """Have the container not running: asked first, killed after the time; tell whether it ran.

        Raises:
            UnavailableError: it runs still.
        """
        engine = self._engine_named(container.engine)
        return end(container, self.directory(container.identity), engine, timeout_seconds=timeout_seconds)

    def remove(self, container: Container, *, force: bool = False) -> None:
        """Have nothing left of the container: record, root, logs, name, and what its engine kept.

        Raises:
            InputError: it runs, or is being started, and ``force`` is not set.
        """
        directory = self._directory / container.identity
        engine = self._engine_named(container.engine)
        if not force and container.identity in engine.running([container.identity]):
            raise InputError(f"container {container.name} is running", hint=f"trust stop {container.name}")
        if force:
            self.stop(container, timeout_seconds=0.0)
        try:
            with locked(directory, wait=force):
                self.discard(container)
        except OSError as err:
            raise StateError(f"container {container.name} cannot be removed: {err}") from err
        if force and (successor := self._successor(container)) is not None:
            self.remove(successor, force=True)  # it took over while the one before was removed

    def _successor(self, container: Container) -> Container | None:
        identity = bearer(self._directory, container.name)
        following = None if identity is None else read_following(self.directory(identity))
        if identity is None or following is None or following.replaces != container.identity:
            return None
        return self._recorded(identity)

    def _running(self, container: Container) -> int:
        pid = self._engine_named(container.engine).running([container.identity]).get(container.identity)
        if pid is None:
            raise InputError(f"container {container.name} is not running", hint="trust ps lists them")
        return pid

    def _listed(self, container: Container, pid: int | None) -> Listed:
        """Return a container with its exit status where it has ended and anybody knows it."""
        course = read_course(self._directory / container.identity)
        status = container.exit_status
        if pid is None and status is None and course is not None:
            status = course.exit_status
        if pid is None and status is None:
            status = self._engine_named(container.engine).ended_with(container.identity)
        known = container if status == container.exit_status else replace(container, exit_status=status)
        followed = read_followed(self.directory(container.identity))
        return Listed(container=known, pid=pid, course=course, followed=followed)

    def _records(self) -> Iterator[Container]:
        """Yield every container that can be called by its name; who is on trial, or was replaced, cannot."""
        for identity in bearers(self._directory):
            if (container := self._recorded(identity)) is not None:
                yield container

    def _recorded(self, identity: str) -> Container | None:
        document = read_document(self._directory / identity / RECORD)
        return None if document is None else recorded(identity, document)

    def sweep(self) -> None:
        """Have nothing here of what others began and did not finish, however they ended."""
        sweep(self._directory, self._engine_named)
