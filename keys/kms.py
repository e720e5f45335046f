"""Owns keys in a cloud's KMS or in Vault: a thin shell around securesystemslib's signers, which do the asking.

Each needs an extra of this package, named where it is missing. Credentials are the ambient ones of each client
(``AWS_…``, ``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_…``, ``VAULT_ADDR`` and ``VAULT_TOKEN``); none passes here.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
from dataclasses import dataclass
from typing import Any, Final

from securesystemslib.signer import Signer, SSlibKey

from keys.errors import KeyElsewhereError, KeyInputError, KeysUnavailableError
from keys.late_import import late_import, reveal
from keys.public_key import PublicKey
from keys.verified_signer import VerifiedSigner, public_half_of, tuf_key

_MESSAGE_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """Where a scheme's keys live: the extra, the libraries it brings, securesystemslib's module and class."""

    title: str
    extra: str
    libraries: tuple[str, ...]
    hidden: tuple[str, ...]
    module: str
    signer: str
    form: re.Pattern[str]
    example: str


_SERVICES: Final = {
    "awskms": _Service(
        title="AWS KMS",
        extra="aws",
        libraries=("boto3", "botocore"),
        hidden=("boto3", "botocore"),
        module="_aws_signer",
        signer="AWSSigner",
        form=re.compile(r"[A-Za-z0-9:/_-]{1,2048}"),
        example="awskms:alias/root",
    ),
    "gcpkms": _Service(
        title="Google Cloud KMS",
        extra="gcp",
        libraries=("google.cloud.kms",),
        hidden=("google.cloud.kms",),
        module="_gcp_signer",
        signer="GCPSigner",
        form=re.compile(
            r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+/cryptoKeyVersions/[0-9]+"
        ),
        example="gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1",
    ),
    "azurekms": _Service(
        title="Azure Key Vault",
        extra="azure",
        libraries=("azure.identity", "azure.keyvault.keys"),
        hidden=("azure.core", "azure.identity", "azure.keyvault.keys"),
        module="_azure_signer",
        signer="AzureSigner",
        form=re.compile(r"//[A-Za-z0-9-]+\.vault\.azure\.net/keys/[A-Za-z0-9-]+/[A-Za-z0-9]+"),
        example="azurekms://VAULT.vault.azure.net/keys/KEY/VERSION",
    ),
    "hv": _Service(
        title="Vault",
        extra="vault",
        libraries=("hvac",),
        hidden=("hvac",),
        module="_vault_signer",
        signer="VaultSigner",
        form=re.compile(r"[A-Za-z0-9_.-]+/[0-9]+"),
        example="hv:KEY/1",
    ),
}


def open_kms(uri: str, public: PublicKey | None) -> Signer:
    """Return the signer of the key ``uri``; its public half is asked for unless it is given.

    Raises:
        KeyInputError: malformed, or a type of key that is not used here.
        KeysUnavailableError: the extra is not installed.
        KeyElsewhereError: the service does not answer, or refuses.
    """
    scheme, _, rest = uri.partition(":")
    service = _SERVICES[scheme]
    if service.form.fullmatch(rest) is None:
        raise KeyInputError(f"not the URI of a key in {service.title}: expected {service.example}")
    signer_class = _signer_class(service)
    # boto3 logs a failure that is raised as well; one line for one failure.
    logging.getLogger("securesystemslib").setLevel(logging.CRITICAL)
    known = public or public_half_of(_asked(service, lambda: _import(uri, signer_class)))
    signer = _asked(service, lambda: signer_class.from_priv_key_uri(uri, tuf_key(known)))

    def sign(payload: bytes) -> bytes:
        signature: str = _asked(service, lambda: signer.sign(payload)).signature
        return bytes.fromhex(signature)

    return VerifiedSigner(known, sign, where=service.title)


def _signer_class(service: _Service) -> Any:  # noqa: ANN401 - one of four classes that share no base with import_
    for name in service.hidden:
        reveal(name)
    try:
        for library in service.libraries:
            late_import(library)
    except ImportError as err:
        raise KeysUnavailableError(
            f"keys in {service.title} need an extra that is not installed: {err}",
            hint=f"pip install 'content-trust[{service.extra}]'",
        ) from err
    name = f"securesystemslib.signer.{service.module}"
    # It looked for its library when it was imported, and did not see it: it looks again.
    module = importlib.reload(sys.modules[name]) if name in sys.modules else importlib.import_module(name)
    return getattr(module, service.signer)


def _import(uri: str, signer_class: Any) -> SSlibKey:  # noqa: ANN401 - as above
    scheme, _, rest = uri.partition(":")
    if scheme == "azurekms":
        _, _, host, _, name, _ = rest.split("/")
        found, key = signer_class.import_(host.partition(".")[0], name)
    else:
        found, key = signer_class.import_(rest.partition("/")[0] if scheme == "hv" else rest)
    if found != uri:
        raise KeyInputError(f"the newest version of this key is {found}, got {uri}")
    if not isinstance(key, SSlibKey):
        raise KeyInputError(f"not a usable key: {type(key).__name__}")
    return key


def _asked(service: _Service, question: Any) -> Any:  # noqa: ANN401 - what the four clients return
    """Return the answer; each client has its own tree of errors, all of them mean that it did not work out."""
    try:
        return question()
    except (KeyInputError, KeyElsewhereError):
        raise
    except Exception as err:
        said = " ".join(str(err).split())[:_MESSAGE_MAX_CHARACTERS] or type(err).__name__
        raise KeyElsewhereError(
            f"{service.title}: {said}", hint="check its address, your credentials and their rights; then repeat"
        ) from err
