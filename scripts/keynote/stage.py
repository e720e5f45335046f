"""Sets the stage: the registry runs, everybody has a home and a password, the images are built."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from scripts.keynote import pages
from scripts.keynote.command import Person
from scripts.keynote.image import Image, image, program_layer
from scripts.keynote.lab import Lab
from scripts.keynote.machine import PlainMachine, TrustMachine
from scripts.keynote.password import new_password
from scripts.keynote.plain import PlainClient
from scripts.keynote.publisher import Publisher, passphrases
from scripts.keynote.pull import LOGIN
from scripts.keynote.registry import RealRegistry
from scripts.keynote.shelf import Shelf
from scripts.keynote.story import Who

NAMESPACE = "acme"
REPOSITORY = f"{NAMESPACE}/web"
METADATA_REPOSITORY = f"{NAMESPACE}/trust-metadata"
TAG = "latest"
_BUILD, _MACHINES = "build", "machines"  # users of the registry; the build job's password is what gets stolen


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What is ever served: the publisher's four versions, and the attacker's own."""

    spring: Image
    summer: Image
    autumn: Image
    winter: Image
    attackers: Image

    def names(self) -> dict[str, str]:
        """What each manifest is called, by its digest."""
        named = {"v1": self.spring, "v2": self.summer, "v3": self.autumn, "v4": self.winter}
        named["attacker"] = self.attackers
        return {each.digest: name for name, each in named.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everybody who takes part."""

    home: Path
    lab: Lab
    registry: RealRegistry
    images: Images
    shelf: Shelf
    publisher: Publisher
    plain_machine: PlainMachine
    trust_machine: TrustMachine

    @property
    def reference(self) -> str:
        """The image as everybody names it."""
        return self.shelf.reference


@contextmanager
def set_stage(lab: Lab) -> Iterator[Stage]:
    """The stage while it stands; behind it no process and no file is left."""
    with ExitStack() as stack:
        home = Path(mkdtemp(prefix="keynote-"))
        stack.callback(_remove, home)
        users = {_BUILD: new_password(), _MACHINES: new_password()}
        registry = RealRegistry(lab, home, users)
        stack.callback(registry.stop)
        host = registry.host
        build, machines = ((user, users[user]) for user in (_BUILD, _MACHINES))
        shelf = Shelf(
            images=PlainClient(host=host, repository=REPOSITORY, login=build),
            metadata=PlainClient(host=host, repository=METADATA_REPOSITORY, login=build),
            tag=TAG,
        )

        publishes = Person(who=Who.PUBLISHER, home=home / "publisher", lab=lab, secrets=passphrases())
        publishes.log_in(host, build)
        pulls = Person(who=Who.PLAIN_HOST, home=home / "plain", lab=lab, secrets={LOGIN: ":".join(machines)})
        pulls.log_in(host, machines)
        trusts = Person(who=Who.HOST, home=home / "host", lab=lab)
        trusts.log_in(host, machines)
        plain_machine = PlainMachine(pulls)
        stack.callback(plain_machine.close)
        trust_machine = TrustMachine(trusts)
        stack.callback(trust_machine.close)
        yield Stage(
            home=home,
            lab=lab,
            registry=registry,
            images=_built(lab),
            shelf=shelf,
            publisher=Publisher(person=publishes, shelf=shelf, collection=f"{host}/{NAMESPACE}/"),
            plain_machine=plain_machine,
            trust_machine=trust_machine,
        )


def _built(lab: Lab) -> Images:
    program = program_layer(lab.caddy.read_bytes())

    def built(page: str, caddyfile: str = pages.CADDYFILE) -> Image:
        return image(program, page=page, caddyfile=caddyfile, architecture=lab.architecture)

    return Images(
        spring=built(pages.SPRING),
        summer=built(pages.SUMMER),
        autumn=built(pages.AUTUMN),
        winter=built(pages.WINTER),
        attackers=built(pages.DEFACED, pages.BACK_DOORED_CADDYFILE),
    )


def _remove(home: Path) -> None:
    """Remove everything below ``home``, folders without permissions too: unpacked images may have such."""
    for folder, names, _ in os.walk(home):
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(home, ignore_errors=True)
