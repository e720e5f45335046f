"""Owns the signatures of a role: made by the keys at hand, counted against what its delegators ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata

from trust.canonical import CANONICAL, signed_bytes
from trust.errors import UnavailableError
from trust.role_keys import Delegator, role_keys

Signers = Mapping[str, Signer]
Keyring = Callable[[Collection[str]], Signers]
"""Takes the key ids that may sign, returns the signers of those that are at hand."""


def sign_for(delegators: Iterable[Delegator], metadata: Metadata[Any], name: str, signers: Signers) -> None:
    """Add the signatures of those keys of ``name`` that are at hand.

    Raises:
        UnavailableError: a key is at hand and could not sign.
    """
    for keyid in dict.fromkeys(keyid for each in delegators for keyid in role_keys(each, name).keyids):
        if keyid not in signers or keyid in metadata.signatures:
            continue
        try:
            metadata.sign(signers[keyid], append=True, signed_serializer=CANONICAL)
        except UnsignedMetadataError as err:
            cause = err.__cause__ or err  # what a token or KMS said, without "Failed to sign"
            raise UnavailableError(
                f"key {keyid[:12]} could not sign {name}: {cause}", hint=getattr(cause, "hint", None)
            ) from err


def require_signed(delegators: tuple[Delegator, ...], metadata: Metadata[Any], name: str) -> None:
    """Refuse a role below the threshold that one of ``delegators`` has for it.

    Raises:
        UnavailableError: it is.
    """
    for delegator in delegators:
        role = role_keys(delegator, name)
        lacking = missing(delegator, metadata, name)
        if lacking:
            raise UnavailableError(
                f"role {name} needs {role.threshold} signatures, "
                f"{role.threshold - lacking} of its keys are at hand",
                hint=f"bring a key of: {', '.join(keyid[:12] for keyid in role.keyids)}",
            )


def missing(delegator: Delegator, metadata: Metadata[Any], name: str) -> int:
    """Return how many signatures ``metadata`` lacks as ``name`` under ``delegator``."""
    role = role_keys(delegator, name)
    result = delegator.get_verification_result(name, signed_bytes(metadata), metadata.signatures)
    return max(0, role.threshold - len(result.signed))
