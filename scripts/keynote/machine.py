"""The two machines that run the shop: one takes whatever a tag names, the other asks ``trust``.

Both update alike: the new container is started beside the old one, and the door leads to it once it answers.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scripts.keynote.command import Person
from scripts.keynote.door import Door
from scripts.keynote.lab import CHECKOUT
from scripts.keynote.process import answers, wait_until
from scripts.keynote.story import Ran
from scripts.ports import free_port

TILL_KEY = "brass-kettle-7"  # the secret that a back door would give away


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One that runs: its name, and the loopback port it listens on."""

    name: str
    port: int


class Machine(ABC):
    """What both have: somebody who types, a door, and the container behind it."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.door = Door()
        self._containers: list[Container] = []  # the last one is behind the door, or about to be
        self._updates = 0

    def update(self, image: str, tell: Callable[[Ran], None]) -> bool:
        """Whether the shop runs ``image`` anew; if not, what ran before goes on. ``tell`` hears each command."""
        self._updates += 1
        new = Container(name=f"shop-{self._updates}", port=free_port())
        self._containers.append(new)
        for ran in self._start(image, new):
            tell(ran)
            if ran.exit_code != 0:
                self._containers.remove(new)
                return False
        if not wait_until(lambda: answers(new.port)):
            self._end_all([new])
            return False
        self.door.leads_to = new.port
        self._end_all([old for old in self._containers if old is not new])
        return True

    def close(self) -> None:
        """Door and containers are gone."""
        self.door.close()
        self._end_all(list(self._containers))

    def _end_all(self, containers: list[Container]) -> None:
        for each in containers:
            self._end(each)
            self._containers.remove(each)

    @abstractmethod
    def _start(self, image: str, new: Container) -> Iterator[Ran]:
        """Run the commands that start ``new``, one after the other."""

    @abstractmethod
    def _end(self, container: Container) -> None:
        """Make ``container`` go away."""


class PlainMachine(Machine):
    """Pulls and runs, as machines do."""

    def _start(self, image: str, new: Container) -> Iterator[Ran]:
        bundle = self.person.home / new.name
        environ = ["env", f"PYTHONPATH={CHECKOUT}", f"PORT={new.port}", f"TILL_KEY={TILL_KEY}"]
        module = ["-m", "scripts.keynote.pull", image]
        yield self.person.run([*environ, sys.executable, *module, bundle], shown=["python", *module, new.name])
        line = ["run", "--detach", "--bundle", new.name, new.name]
        # What the container says goes to a file of its own: the command's words are runc's alone.
        script = 'exec "$@" >"$0.log" 2>&1'
        yield self.person.run(
            ["sh", "-c", script, new.name, *self._runc, *line], shown=["runc", *line], folder=self.person.home
        )

    def _end(self, container: Container) -> None:
        self.person.run([*self._runc, "delete", "--force", container.name], shown=["runc", "delete"])

    @property
    def _runc(self) -> list[str]:
        return [str(self.person.lab.runc), "--root", str(self.person.home / "runc")]


class TrustMachine(Machine):
    """Runs nothing that ``trust`` does not allow."""

    def _start(self, image: str, new: Container) -> Iterator[Ran]:
        settings = ["--network", "host", "-e", f"PORT={new.port}", "-e", f"TILL_KEY={TILL_KEY}"]
        yield self.person.trust("run", "-d", "--name", new.name, *settings, image)

    def _end(self, container: Container) -> None:
        self.person.trust("rm", "--force", container.name)
