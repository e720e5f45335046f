"""Owns a collection to measure with, founded by the command line, warm: in files, or beside its image.

Its first image lies in an OCI layout, for ``trust sign`` or ``trust push`` to read. One in files is filled by the
library in one publish, with digests of nothing: what is measured is metadata, and the library signs what it is
told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from keys.signers import Sources, open_signer
from keys.store import KeyStore
from scripts.bench.layout import write_index_layout, write_layout
from scripts.bench.measure import run
from scripts.bench.setting import PASSPHRASE, BenchError, Setting
from trust.bins import binned
from trust.deadline import deadline_in
from trust.delegations import TARGETS, Delegation
from trust.digest import sha256
from trust.draft import Changes
from trust.loaded import Loaded
from trust.manifest import OCI_MANIFEST
from trust.policy import Policy, Stanza
from trust.policy_document import parse_policy
from trust.publish import Publisher
from trust.published import Published
from trust.reference import parse_reference
from trust.roles import Image
from trust.sign import Order, sign
from trust.state import TrustedState
from trust.stores.file import FileStore
from trust.targets import Content, Table, Target, digest_path, tag_path
from trust.value import replace

HOST = "registry.invalid"  # nobody is there: what asks it fails
REPOSITORY = "acme/web"
_PUBLISH_SECONDS = 600.0
_KEY_NAMES = ("root", "targets", "online")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCollection:
    """A collection whose user's home is ``directory``: keys, state and policy lie where they do by default."""

    directory: Path
    host: str
    environ: Mapping[str, str]

    @property
    def image(self) -> str:
        """The reference of a signed image."""
        return f"{self.host}/{REPOSITORY}:v0"

    @property
    def layout(self) -> Path:
        """An OCI layout with one image, whose tag is ``v0``."""
        return self.directory / "layout"

    @property
    def index_layout(self) -> Path:
        """An OCI layout with an index of four images, whose tag is ``v0``."""
        return self.directory / "index-layout"

    @property
    def home(self) -> Path:
        """Where keys and state are."""
        return self.directory / ".local/share/trust"

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.directory / ".config/trust/policy.toml"

    @property
    def metadata(self) -> Path:
        """The directory of the metadata files."""
        return self.directory / "metadata"

    @property
    def targets_key(self) -> Path:
        """The encrypted key that signs images."""
        return self.home / "keys/targets.key"


def build(setting: Setting, name: str, *, tags: int) -> BuiltCollection:
    """Return a new collection of ``tags`` signed images in files, which its own home has verified.

    Raises:
        BenchError: the command line refused.
    """
    built = _born(setting, name, host=HOST, metadata=lambda built: f"file:{built.metadata}")
    first = write_layout(built.layout)
    _sign(built, [first, *(_image(f"{number}") for number in range(1, tags))])
    # Not `verify`: that also asks the registry where its tag is now.
    run(setting.trust, "resolve", built.image, environ=built.environ)
    return built


def build_at_scale(setting: Setting, name: str, *, tags: int, bins: int) -> BuiltCollection:
    """Return a new collection of ``tags`` signed tags, each with its digest, in so many bins (0: in one file).

    Published in one edition; nobody has verified it. Its layouts hold an image, and an index of four.

    Raises:
        BenchError: the command line refused.
    """
    built = _born(setting, name, host=HOST, metadata=lambda built: f"file:{built.metadata}")
    write_layout(built.layout)
    write_index_layout(built.index_layout)

    def change(loaded: Loaded) -> Changes:
        role = loaded.targets
        whole = Content(table=_table(tags, by=loaded.keyids(role)))
        if not bins:
            return Changes(contents={TARGETS: whole})
        owner = Delegation(name=TARGETS, patterns=(), keyids=loaded.keyids(role), threshold=1)
        keys = loaded.keys(role)
        return Changes(contents=binned(whole, TARGETS, owner, keys, count=bins, generation=1))

    _publish(built, lambda publisher: publisher.publish(change))
    return built


def _table(tags: int, *, by: tuple[str, ...]) -> Table:
    """Return a table of ``tags`` tags in repositories of a thousand."""
    targets = {}
    at = datetime.now(timezone.utc).replace(microsecond=0)
    for number in range(tags):
        path, tag = f"acme/r{number // 1000}", f"v{number}"
        image = _image(str(number))
        target = Target(
            digest=image.digest, size_bytes=image.size_bytes, media_type=image.media_type, signed_at=at,
            signed_by=by, annotations={},
        )  # fmt: skip
        targets[tag_path(path, tag)] = target
        targets[digest_path(path, image.digest)] = replace(target, tags=(tag,))
    return Table(targets=targets, revoked={})


def build_pushed(setting: Setting, name: str, *, host: str, layers: Sequence[bytes] = ()) -> BuiltCollection:
    """Return a new collection of one image, pushed to the registry ``host`` with the metadata beside it, verified.

    Raises:
        BenchError: the command line refused.
    """
    built = _born(setting, name, host=host, metadata=lambda _built: "registry:")
    write_layout(built.layout, layers)
    run(setting.trust, "push", f"oci:{built.layout}:v0", "--as", built.image, environ=built.environ)
    run(setting.trust, "verify", built.image, environ=built.environ)
    return built


def consumer_through(setting: Setting, name: str, built: BuiltCollection, *, host: str) -> BuiltCollection:
    """Return another home, without keys, that has verified the image of ``built`` through its mirror ``host``.

    Raises:
        BenchError: it was refused there.
    """
    consumer = replace(
        built,
        directory=setting.fresh(name),
        host=host,
        environ={**built.environ, "HOME": str(setting.directory / name)},
    )
    consumer.policy.parent.mkdir(parents=True)
    # Signed paths are without the host: only the policy says where they are served.
    consumer.policy.write_text(built.policy.read_text("utf-8").replace(built.host, host), "utf-8")
    run(setting.trust, "verify", consumer.image, environ=consumer.environ)
    return consumer


def _born(
    setting: Setting, name: str, *, host: str, metadata: Callable[[BuiltCollection], str]
) -> BuiltCollection:
    """Return a new collection without images; the policy that pins it is written."""
    directory = setting.fresh(name)
    environ = {**setting.environ, "HOME": str(directory), "TRUST_PASSPHRASE": PASSPHRASE}
    built = BuiltCollection(directory=directory, host=host, environ=environ)
    keys = [word for key in _KEY_NAMES for word in (f"--{key}-key", key)]
    words = ("init", f"{host}/acme/", "--metadata", metadata(built), "--write-policy", *keys)
    run(setting.trust, *words, environ=environ)
    return built


def _sign(built: BuiltCollection, images: Iterable[Image]) -> None:
    """Publish ``images`` as tags v0, v1, … of the repository, in one edition."""
    orders = [
        Order(path=REPOSITORY, tag=f"v{number}", image=image, annotations={})
        for number, image in enumerate(images)
    ]
    _publish(built, lambda publisher: sign(publisher, orders))


def _publish(built: BuiltCollection, journey: Callable[[Publisher], Published]) -> None:
    """Have ``journey`` publish with the keys of the collection's home."""
    policy = parse_policy(built.policy.read_text("utf-8"), source="policy")
    signers = {}
    for name in _KEY_NAMES[1:]:
        signer = open_signer(
            name, store=KeyStore(built.home / "keys"), sources=Sources(passphrase=lambda _name: PASSPHRASE)
        )
        signers[signer.public_key.keyid] = signer
    publisher = Publisher(
        stanza=_only_stanza(policy),
        state=TrustedState(built.home),
        store=FileStore(f"file:{built.metadata}", built.metadata),
        keyring=lambda keyids: {keyid: signers[keyid] for keyid in keyids if keyid in signers},
        now=datetime.now(timezone.utc),
        deadline=deadline_in(_PUBLISH_SECONDS, time.monotonic),
        pause=time.sleep,
    )
    try:
        journey(publisher)
    finally:
        publisher.state.close()


def _only_stanza(policy: Policy) -> Stanza:
    match = policy.match(parse_reference(f"{HOST}/{REPOSITORY}:v0"))
    if match is None:
        raise BenchError(f"the policy that init wrote does not cover {HOST}/{REPOSITORY}")
    return match.stanza


def _image(content: str) -> Image:
    return Image(digest=sha256(content.encode()), size_bytes=1234, media_type=OCI_MANIFEST)
