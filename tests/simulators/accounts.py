"""What is found in a user's files for a host: the credential alone, whichever entry had it."""

from __future__ import annotations

from trust.oci.credentials import Credential, Credentials


def credential_of(credentials: Credentials, host: str, path: str = "") -> Credential | None:
    account = credentials.account(host, path)
    return account.credential if account is not None else None
