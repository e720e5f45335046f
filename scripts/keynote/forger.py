"""The attacker on his best day: a stolen online key beside the password. He uses python-tuf, none of our code."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from scripts.keynote.image import Image
from scripts.keynote.plain import digest_of
from scripts.keynote.publisher import StolenKey
from scripts.keynote.shelf import METADATA_TAG, Shelf

_GENERATION = "dev.content-trust.generation"
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forger:
    """Somebody who may write to ``shelf`` and holds one stolen key."""

    shelf: Shelf
    key: StolenKey

    def sign_online_roles(self) -> None:
        """Snapshot and timestamp are new, signed with the stolen key; what they name is unchanged."""
        self._publish(None)

    def forge(self, image: Image) -> None:
        """The targets role says that the tag is ``image``, signed with the only key there is: the stolen one."""
        current = self._current()
        targets = Metadata[Targets].from_bytes(current.targets)
        path = f"{self.shelf.images.repository}:{self.shelf.tag}"
        entry = targets.signed.targets[path]
        targets.signed.targets[path] = TargetFile(
            length=len(image.manifest),
            hashes={"sha256": image.digest.removeprefix("sha256:")},
            path=path,
            unrecognized_fields=entry.unrecognized_fields,
        )
        targets.signed.version += 1
        targets.sign(_signer(self.key))
        self._publish(targets)

    def _publish(self, targets: Metadata[Targets] | None) -> None:
        current = self._current()
        files = dict(current.files)
        snapshot = Metadata[Snapshot].from_bytes(current.snapshot)
        timestamp = Metadata[Timestamp].from_bytes(current.files["timestamp.json"])
        if targets is not None:
            data = targets.to_bytes()
            files[f"{targets.signed.version}.targets.json"] = data
            snapshot.signed.meta["targets.json"] = _link(targets.signed.version, data)
        signer, now = _signer(self.key), datetime.now(timezone.utc).replace(microsecond=0)
        for online in (snapshot, timestamp):
            online.signed.version += 1
            online.signed.expires = now + _WEEK
        snapshot.sign(signer)
        snapshot_bytes = snapshot.to_bytes()
        files[f"{snapshot.signed.version}.snapshot.json"] = snapshot_bytes
        timestamp.signed.snapshot_meta = _link(snapshot.signed.version, snapshot_bytes)
        timestamp.sign(signer)
        files["timestamp.json"] = timestamp.to_bytes()
        self._put(current.manifest, files)

    def _current(self) -> "_Current":
        manifest, files = self.shelf.metadata.files(METADATA_TAG)
        return _Current(manifest=manifest, files=files)

    def _put(self, manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        kind = manifest["layers"][0]["mediaType"]
        for data in files.values():
            self.shelf.metadata.push_blob(data)
        layers = [
            {
                "mediaType": kind,
                "digest": digest_of(data),
                "size": len(data),
                "annotations": {"org.opencontainers.image.title": name},
            }
            for name, data in sorted(files.items())
        ]
        annotations = {**manifest["annotations"], _GENERATION: str(int(manifest["annotations"][_GENERATION]) + 1)}
        document = {**manifest, "layers": layers, "annotations": annotations}
        self.shelf.metadata.put_manifest(METADATA_TAG, json.dumps(document).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Current:
    manifest: dict[str, Any]
    files: dict[str, bytes]

    @property
    def snapshot(self) -> bytes:
        return self._newest("snapshot")

    @property
    def targets(self) -> bytes:
        return self._newest("targets")

    def _newest(self, role: str) -> bytes:
        versions = [int(name.split(".")[0]) for name in self.files if name.endswith(f".{role}.json")]
        return self.files[f"{max(versions)}.{role}.json"]


def _signer(key: StolenKey) -> CryptoSigner:
    private, _, _ = key.pem.partition(b"-----BEGIN PUBLIC KEY-----")
    return CryptoSigner(load_pem_private_key(private, key.passphrase.encode()))


def _link(version: int, data: bytes) -> MetaFile:
    return MetaFile(version=version, length=len(data), hashes={"sha256": digest_of(data).removeprefix("sha256:")})
