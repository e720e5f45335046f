"""Does what a thief of keys would do: publish with a copied home, or count versions up to where they would end."""

import shutil
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

from scripts.drills.machine import Machine

LAST_VERSION = 2**31 - 1


def steal(victim: Machine, thief: Machine) -> None:
    """Let the thief have the home of ``victim``: keys, and where the metadata is written."""
    shutil.copytree(victim.home, thief.home, dirs_exist_ok=True)
    shutil.copy(victim.policy, thief.policy)


def count_up(store: Path, pem: bytes, passphrase: str, role: str) -> None:
    """Publish the last version of snapshot and timestamp, naming ``role`` in a version that nobody has."""
    private = load_pem_private_key(pem, passphrase.encode())
    signer = CryptoSigner(private)
    timestamp: Metadata[Timestamp] = Metadata.from_bytes((store / "timestamp.json").read_bytes())
    number = timestamp.signed.snapshot_meta.version
    snapshot: Metadata[Snapshot] = Metadata.from_bytes((store / f"{number}.snapshot.json").read_bytes())
    snapshot.signed.version = timestamp.signed.version = LAST_VERSION
    snapshot.signed.meta[f"{role}.json"] = MetaFile(version=LAST_VERSION)
    snapshot.sign(signer)
    body = snapshot.to_bytes()
    (store / f"{LAST_VERSION}.snapshot.json").write_bytes(body)
    timestamp.signed.snapshot_meta = MetaFile(version=LAST_VERSION, length=len(body))
    timestamp.sign(signer)
    (store / "timestamp.json").write_bytes(timestamp.to_bytes())
