"""The publisher: pushes an image, then signs the digest that the build printed."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from scripts.keynote.command import Person
from scripts.keynote.image import Image
from scripts.keynote.shelf import Shelf
from scripts.keynote.story import Ran

ROOT_KEY, TARGETS_KEY, ONLINE_KEY = "acme-root", "acme-release", "acme-online"


def passphrases() -> dict[str, str]:
    """A passphrase for each key, in the environment by which ``trust`` looks for it."""
    return {_variable(key): secrets.token_urlsafe(12) for key in (ROOT_KEY, TARGETS_KEY, ONLINE_KEY)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StolenKey:
    """A key as a thief has it: the file and its passphrase."""

    pem: bytes
    passphrase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Acme: fills the ``shelf`` and owns the ``collection`` (``HOST/acme/``)."""

    person: Person
    shelf: Shelf
    collection: str

    @property
    def key_folder(self) -> Path:
        """Where the encrypted keys are."""
        return self.person.trust_home / "keys"

    def found(self) -> Ran:
        """The collection exists, its keys are made, its root is pinned in the publisher's policy."""
        keys = ("--root-key", ROOT_KEY, "--targets-key", TARGETS_KEY, "--online-key", ONLINE_KEY)
        return self.person.trust("init", self.collection, "--metadata", "registry:", *keys, "--write-policy")

    def sign(self, image: Image) -> Ran:
        """The tag is ``image`` for everybody who asks ``trust``."""
        return self.person.trust("sign", f"{self.shelf.reference}@{image.digest}")

    def lose_online_key(self) -> StolenKey:
        """What a thief finds in the job that renews the timestamp."""
        return StolenKey(
            pem=(self.key_folder / f"{ONLINE_KEY}.key").read_bytes(),
            passphrase=self.person.secrets[_variable(ONLINE_KEY)],
        )


def _variable(key: str) -> str:
    return "TRUST_PASSPHRASE_" + key.upper().replace("-", "_")
