"""Owns a collection to measure with: founded by the command line, filled by the library in one publish, warm.

Its first image lies in an OCI layout, for ``trust sign`` to read; the others are digests of nothing. What is
measured is metadata, and the library signs what it is told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from keys.signers import open_signer
from keys.store import KeyStore
from scripts.bench.measure import run
from scripts.bench.setting import PASSPHRASE, BenchError, Setting
from trust.deadline import deadline_in
from trust.digest import sha256
from trust.policy import Policy, Stanza
from trust.policy_document import parse_policy
from trust.publish import Publisher
from trust.reference import parse_reference
from trust.roles import Image
from trust.sign import Order, sign
from trust.state import TrustedState
from trust.stores.file import FileStore

HOST = "registry.invalid"  # nobody is there: what asks it fails
REPOSITORY = "acme/web"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_PUBLISH_SECONDS = 600.0
_KEY_NAMES = ("root", "targets", "online")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltCollection:
    """A collection whose user's home is ``directory``: keys, state and policy lie where they do by default."""

    directory: Path
    environ: Mapping[str, str]

    @property
    def image(self) -> str:
        """The reference of a signed image."""
        return f"{HOST}/{REPOSITORY}:v0"

    @property
    def layout(self) -> Path:
        """An OCI layout with one image, whose tag is ``v0``."""
        return self.directory / "layout"

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
    """Return a new collection of ``tags`` signed images, which its own home has verified.

    Raises:
        BenchError: the command line refused.
    """
    directory = setting.fresh(name)
    built = BuiltCollection(
        directory=directory,
        environ={
            **setting.environ,
            "HOME": str(directory),
            "TRUST_PASSPHRASE": PASSPHRASE,
        },
    )
    keys = [word for key in _KEY_NAMES for word in (f"--{key}-key", key)]
    address = f"file:{built.metadata}"
    run(
        setting.trust,
        "init",
        f"{HOST}/acme/",
        "--metadata",
        address,
        "--write-policy",
        *keys,
        environ=built.environ,
    )
    first = _write_layout(built.layout)
    _sign(built, [first, *(_image(f"{number}") for number in range(1, tags))])
    # Not `verify`: that also asks the registry where its tag is now.
    run(setting.trust, "resolve", built.image, environ=built.environ)
    return built


def _sign(built: BuiltCollection, images: Iterable[Image]) -> None:
    """Publish ``images`` as tags v0, v1, … of the repository, in one edition."""
    policy = parse_policy(built.policy.read_text("utf-8"), source="policy")
    signers = {}
    for name in _KEY_NAMES[1:]:
        signer = open_signer(name, store=KeyStore(built.home / "keys"), passphrase=lambda _name: PASSPHRASE)
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
    orders = [
        Order(path=REPOSITORY, tag=f"v{number}", image=image, annotations={})
        for number, image in enumerate(images)
    ]
    try:
        sign(publisher, orders)
    finally:
        publisher.state.close()


def _only_stanza(policy: Policy) -> Stanza:
    match = policy.match(parse_reference(f"{HOST}/{REPOSITORY}:v0"))
    if match is None:
        raise BenchError(f"the policy that init wrote does not cover {HOST}/{REPOSITORY}")
    return match.stanza


def _image(content: str) -> Image:
    return Image(digest=sha256(content.encode()), size_bytes=1234, media_type=_MANIFEST)


def _write_layout(directory: Path) -> Image:
    """Return the image that is now in the OCI layout ``directory`` under the tag ``v0``."""
    (directory / "blobs/sha256").mkdir(parents=True)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": str(sha256(config)), "size": len(config)},
            "layers": [],
        }
    ).encode()
    for content in (config, manifest):
        (directory / "blobs/sha256" / sha256(content).hex).write_bytes(content)
    descriptor = {
        "mediaType": _MANIFEST,
        "digest": str(sha256(manifest)),
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "v0"},
    }
    index = {"schemaVersion": 2, "manifests": [descriptor]}
    (directory / "index.json").write_text(json.dumps(index), "utf-8")
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', "utf-8")
    return Image(digest=sha256(manifest), size_bytes=len(manifest), media_type=_MANIFEST)
