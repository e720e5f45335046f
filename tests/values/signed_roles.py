"""Roles as values for the tests of metadata: keys of either kind, what delegates to a role, and who signed it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from trust.roles import EXPIRY_FIELD

EXPIRES = datetime(2031, 5, 1, tzinfo=timezone.utc)
ONE, OTHER = sorted((CryptoSigner.generate_ed25519() for _ in range(2)), key=lambda each: each.public_key.keyid)
IDS = [ONE.public_key.keyid, OTHER.public_key.keyid]


def pem() -> str:
    """Return a new ECDSA key."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def key(keyid: str, public: str, kind: str = "ecdsa") -> SSlibKey:
    return SSlibKey(keyid, kind, {"ecdsa": "ecdsa-sha2-nistp256", "ed25519": "ed25519"}[kind], {"public": public})


def targets(*roles: DelegatedRole, keys: list[Key] | None = None) -> Targets:
    found = {each.keyid: each for each in keys or []}
    return Targets(version=1, expires=EXPIRES, delegations=Delegations(found, {role.name: role for role in roles}))


def role(name: str, keyids: list[str], **how: Any) -> DelegatedRole:
    return DelegatedRole(name, keyids, 1, terminating=True, **how)


def twin(signer: CryptoSigner) -> Any:
    """Return the key of ``signer`` under another id, in capitals."""
    return key("twin", signer.public_key.to_dict()["keyval"]["public"].upper(), "ed25519")


def delegator(*keyids: str, threshold: int = 1, period: object = None) -> Targets:
    fields = {} if period is None else {EXPIRY_FIELD: period}
    found = role("acme.web", list(keyids), paths=["acme/web:*"], unrecognized_fields=fields)
    found.threshold = threshold
    return targets(found, keys=[ONE.public_key, OTHER.public_key, twin(ONE)])


def signed(*signers: CryptoSigner, twins: bool = False) -> Metadata[Any]:
    metadata = Metadata(Targets(version=3, expires=EXPIRES))
    for signer in signers:
        metadata.sign(signer, append=True)
    if twins:
        metadata.signatures["twin"] = metadata.signatures[ONE.public_key.keyid]
    return metadata
