"""A legitimate world in one folder: a collection in a ``file:`` store, its publisher, its consumers, its attacker.

Everything is real but the clock, which is ``World.now``. A test makes one move of the attacker's and asks what a
consumer then says; ``Consumer.rows`` is all that it keeps on disk.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Root

from tests.simulators.attacker import Attacker, Edit, Keys, signed, strangers
from tests.simulators.relay import Wire
from trust.ceremony import Born, init
from trust.chain import TOP_LEVEL_ROLES
from trust.database import DATABASE
from trust.deadline import Deadline, deadline_in
from trust.digest import Digest, sha256
from trust.editing import Edit as RoleEdit
from trust.editing import editing
from trust.first_edition import Role
from trust.loaded import Loaded
from trust.manifest import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST
from trust.policy import Policy, Stanza
from trust.publish import Publisher
from trust.published import Published
from trust.reference import parse_collection, parse_reference
from trust.revoke import Revocation, revoke
from trust.roles import DEFAULT_EXPIRY, Signature, attest
from trust.sign import Order, read_image, sign
from trust.state import TrustedState
from trust.stores.file import FileStore
from trust.stores.interface import Store
from trust.targets import Table, digest_path
from trust.verdict import Allowed, Denied, Verdict
from trust.verify import Verifier

NAME = "registry.test/acme/"
WEB = "registry.test/acme/web:1.4"
START = datetime(2031, 5, 1, 12, 0, 0, tzinfo=timezone.utc)  # far from the machine's clock, which must not matter
ONLINE = ("snapshot", "timestamp")
Rows = dict[str, list[tuple[Any, ...]]]


def manifest_bytes(text: str) -> bytes:
    """Return the manifest of an image that differs from others by ``text``."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": str(sha256(b"layer")), "size": 5}
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(sha256(b"{}")), "size": 2}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}
    return json.dumps({**document, "annotations": {"text": text}}).encode()


def index_bytes(*children: bytes, media_type: str = OCI_INDEX) -> bytes:
    """Return an index over the manifests or indexes ``children``."""
    manifests = [
        {"mediaType": json.loads(child)["mediaType"], "digest": str(sha256(child)), "size": len(child)}
        for child in children
    ]
    assert media_type in {OCI_INDEX, DOCKER_INDEX}
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).encode()


def file_store(url: str) -> Store:
    """Return the store of ``file:DIR``."""
    return FileStore(url, Path(url.removeprefix("file:")))


def soon(seconds: float = 30.0) -> Deadline:
    """Return a deadline that no honest journey reaches."""
    return deadline_in(seconds, time.monotonic)


class World:
    """One collection; each role has ``keys_each`` keys of its own of which ``threshold`` must sign."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = NAME,
        keys_each: int = 1,
        threshold: int = 1,
        keys: Mapping[str, Keys] | None = None,
        store: Store | None = None,
        now: datetime = START,
    ) -> None:
        self.folder = folder
        self.now = now
        self.keys = dict(keys or {role: strangers(keys_each) for role in TOP_LEVEL_ROLES})
        self.keys["timestamp"] = self.keys["snapshot"]  # one online key, as `trust init` has it
        self.threshold = threshold
        self.directory = folder / "metadata"
        self.home = folder / "publisher"
        self.store: Store = store or file_store(f"file:{self.directory}")
        self.images: dict[Digest, bytes] = {}
        self.collection = parse_collection(name)
        self.stanza = Stanza(collection=self.collection, root=sha256(b""), metadata=self.store.url)
        self.stanza = replace(self.stanza, root=self.init(self.home).root)

    @property
    def attacker(self) -> Attacker:
        """Whoever can write to the store, holding the keys of this world until told otherwise."""
        return Attacker(self.directory, self.keys)

    def later(self, **span: float) -> World:
        """Let time pass: ``later(days=8)``."""
        self.now += timedelta(**span)
        return self

    def keyring(self, keyids: Collection[str]) -> dict[str, Signer]:
        """Return the signers among ``keyids``; the publisher has every key."""
        every = {key.public_key.keyid: key for keys in self.keys.values() for key in keys}
        return {keyid: every[keyid] for keyid in keyids if keyid in every}

    def publisher(self, state: TrustedState, *, store: Store | None = None, dry_run: bool = False) -> Publisher:
        """Return the publisher of this moment."""
        return Publisher(
            stanza=self.stanza, state=state, store=store or self.store, keyring=self.keyring, now=self.now,
            deadline=soon(), pause=lambda _seconds: None, dry_run=dry_run,
        )  # fmt: skip

    def publish(self, journey: Callable[[Publisher], Published], *, store: Store | None = None) -> Published:
        """Return what ``journey`` published from the publisher's own home."""
        state = TrustedState(self.home)
        try:
            return journey(self.publisher(state, store=store))
        finally:
            state.close()

    def sign(
        self, tag: str | None = "1.4", *, path: str = "acme/web", manifest: bytes | None = None, **notes: str
    ) -> Digest:
        """Have ``path:tag`` signed as ``manifest`` (default: an image of that name); return its digest."""
        digest = self.push(manifest or manifest_bytes(f"{path}:{tag}"))
        order = Order(path=path, tag=tag, image=read_image(digest, self.images.__getitem__), annotations=notes)
        self.publish(lambda publisher: sign(publisher, [order]))
        return digest

    def push(self, *manifests: bytes) -> Digest:
        """Have ``manifests`` in the registry; return the digest of the last."""
        self.images |= {sha256(manifest): manifest for manifest in manifests}
        return sha256(manifests[-1])

    def revoke(self, tag: str | None = None, *, path: str = "acme/web", digest: Digest | None = None) -> Published:
        """Have the tag, or everything that names the digest, revoked."""
        revocation = Revocation(path=path, tag=tag, digest=digest)
        return self.publish(lambda publisher: revoke(publisher, [revocation]))

    def attest(self, kind: str, subject: Digest, *, path: str = "acme/web") -> Digest:
        """Have an attestation of ``subject`` signed; return its digest."""
        said = manifest_bytes(f"{kind} of {path}@{subject}")
        image = read_image(self.push(said), self.images.__getitem__)

        def edit(table: Table, signature: Signature) -> Table:
            return attest(table, path=path, subject=subject, kind=kind, attestation=image, signature=signature)

        def edits(loaded: Loaded) -> list[RoleEdit]:
            names = frozenset(digest_path(path, each) for each in (subject, image.digest))
            return [RoleEdit(role=loaded.found(digest_path(path, subject))[0], paths=names, apply=edit)]

        self.publish(lambda publisher: publisher.publish(editing(publisher, edits)))
        return image.digest

    def renew(self, *roles: str) -> Published:
        """Have the expiry of ``roles`` extended, and always that of snapshot and timestamp."""
        return self.publish(lambda publisher: publisher.renew(frozenset(roles)))

    def consumer(self, name: str = "consumer", **rules: Any) -> Consumer:
        """Return a consumer with trusted state of its own, whose policy is the pin and ``rules``."""
        return Consumer(world=self, home=self.folder / name, stanza=replace(self.stanza, **rules))

    def wire(self, read: Callable[[str, int, bytes | None], bytes | None]) -> Wire:
        """Return the store as it is read through ``read``."""
        return Wire(honest=self.store, read=read)

    def rotate(self, change: Edit | None = None, *, signers: Keys | None = None) -> None:
        """Publish the next root after ``change``, signed by ``signers`` (default: the root's keys)."""
        root = self.attacker.current("root")
        root.signed.version += 1
        root.signed.expires = self.now + DEFAULT_EXPIRY["root"]
        if change is not None:
            change(root.signed)
        data = signed(root, self.keys["root"] if signers is None else signers)
        self.attacker.put(f"{root.signed.version}.root.json", data)

    def replace_keys(self, *roles: str) -> Keys:
        """Rotate ``roles`` to one new key, and publish as its new owner; return the old keys of the first."""
        old, new = self.keys[roles[0]], strangers(len(self.keys[roles[0]]))

        def change(root: Root) -> None:
            for role in roles:
                for key in self.keys[role]:
                    root.revoke_key(key.public_key.keyid, role)
                for key in new:
                    root.add_key(key.public_key, role)

        self.rotate(change)
        self.keys |= dict.fromkeys(roles, new)
        return old

    def roles(self, keys: Mapping[str, Keys] | None = None) -> dict[str, Role]:
        """Return the roles as they were at the beginning, with ``keys`` instead where given."""
        keys = keys or self.keys
        return {
            role: Role(
                keys=tuple(key.public_key for key in keys[role]),
                threshold=self.threshold,
                period=DEFAULT_EXPIRY[role],
            )
            for role in TOP_LEVEL_ROLES
        }

    def init(self, home: Path, *, roles: Mapping[str, Role] | None = None, store: Store | None = None) -> Born:
        """Return what ``init`` says, from a publisher's ``home``."""
        state = TrustedState(home)
        try:
            return init(
                self.stanza, state=state, store=store or self.store, roles=roles or self.roles(),
                keyring=self.keyring, now=self.now, deadline=soon(), randomness=os.urandom,
            )  # fmt: skip
        finally:
            state.close()


@dataclass(kw_only=True)
class Consumer:
    """Somebody who pinned the root; each call is a command of its own, that opens the state and closes it."""

    world: World
    home: Path
    stanza: Stanza
    policy: Policy = field(default_factory=Policy)  # further rules: deny lists, pinned digests

    def verify(
        self,
        image: str = WEB,
        *,
        store: Store | None = None,
        offline: bool = False,
        deadline: Deadline | None = None,
    ) -> Verdict:
        """Return the verdict on ``image`` now, reading ``store`` (default: the world's)."""
        with self._verifier(store, deadline or soon(), offline=offline) as verifier:
            return verifier.verify(parse_reference(image))

    def vet(self, image: str, child: Digest) -> None:
        """Refuse the ``child`` of an index that is allowed, as whoever runs it does."""
        with self._verifier(None, soon(), offline=False) as verifier:
            allowed = verifier.verify(parse_reference(image))
            assert isinstance(allowed, Allowed), allowed
            verifier.vet(allowed, child)

    @contextmanager
    def _verifier(self, store: Store | None, deadline: Deadline, *, offline: bool) -> Iterator[Verifier]:
        state = TrustedState(self.home)
        try:
            yield Verifier(
                policy=replace(self.policy, stanzas=(self.stanza, *self.policy.stanzas)), state=state,
                open_store=lambda stanza: store or file_store(stanza.metadata), now=self.world.now,
                deadline=deadline, offline=offline,
            )  # fmt: skip
        finally:
            state.close()

    def allowed(self, image: str = WEB, **how: Any) -> Allowed:
        """Return the verdict on ``image``, which is that it may be used."""
        verdict = self.verify(image, **how)
        assert isinstance(verdict, Allowed), verdict
        return verdict

    def denied(self, image: str = WEB, **how: Any) -> Denied:
        """Return the denial of ``image`` by metadata that is trusted, and kept."""
        verdict = self.verify(image, **how)
        assert isinstance(verdict, Denied), verdict
        return verdict

    def refusal(self, image: str = WEB, **how: Any) -> Denied:
        """Return the denial of ``image``, which left the trusted state on disk as it was, row by row."""
        before = self.rows()
        verdict = self.denied(image, **how)
        assert self.rows() == before
        return verdict

    def rows(self) -> Rows:
        """Return every row of every table of the trusted state on disk; nothing where there is none."""
        path = self.home / DATABASE
        if not path.exists():
            return {}
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            tables = {name: list(connection.execute(f"SELECT * FROM {name}")) for name in names}  # noqa: S608
            return {name: sorted(rows, key=repr) for name, rows in tables.items() if rows}
        finally:
            connection.close()

    def versions(self) -> dict[str, int]:
        """Return the trusted version of each role."""
        return {row[1]: row[2] for row in self.rows()["role"]}
