"""AWS KMS on loopback: moto's server, which speaks the real protocol to the real client.

One thing is added: moto says that it has no ``MessageType`` DIGEST yet, and hashes what is a digest already.
"""

from __future__ import annotations

import logging
from typing import Any

import boto3
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from moto.kms.utils import ECDSAPrivateKey
from moto.server import ThreadedMotoServer
from typing_extensions import Self

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "stand-in",
    "AWS_SECRET_ACCESS_KEY": "stand-in",
    "AWS_DEFAULT_REGION": "eu-central-1",
}


def _sign_digest(self: Any, message: bytes, signing_algorithm: str) -> bytes:
    algorithm = {"ECDSA_SHA_256": SHA256(), "ECDSA_SHA_384": SHA384()}[signing_algorithm]
    signature: bytes = self.private_key.sign(message, ECDSA(Prehashed(algorithm)))
    return signature


ECDSAPrivateKey.sign = _sign_digest  # type: ignore[method-assign]


class Aws:
    """Serves while it is entered."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def __enter__(self) -> Self:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request, on stderr
        self._server.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What a client has in its environment."""
        host, port = self._server.get_host_and_port()
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_MAX_ATTEMPTS": "1"}

    def create_key(self, spec: str = "ECC_NIST_P256") -> str:
        """Return the id of a new key that signs."""
        made = self._client().create_key(KeyUsage="SIGN_VERIFY", KeySpec=spec)
        return str(made["KeyMetadata"]["KeyId"])

    def name_key(self, alias: str, key_id: str) -> None:
        """Make ``alias/…`` stand for a key, whatever it stood for."""
        client = self._client()
        if alias in {each["AliasName"] for each in client.list_aliases()["Aliases"]}:
            client.update_alias(AliasName=alias, TargetKeyId=key_id)
        else:
            client.create_alias(AliasName=alias, TargetKeyId=key_id)

    def _client(self) -> Any:
        return boto3.client(
            "kms",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
            aws_access_key_id="stand-in",
            aws_secret_access_key="stand-in",
        )
