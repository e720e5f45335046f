"""A token server that a real docker-registry believes: it signs what its script grants.

Source: distribution "Token Authentication Implementation".
"""

from __future__ import annotations

import json
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.simulators.registry import PASSWORD, USER
from tests.simulators.wire import Exchange

SERVICE, ISSUER = "tests", "tests issuer"
REFRESH_TOKEN = "a refresh token"


class TokenIssuer:
    """Grants pull to everybody and everything to ``USER``; a ``WireServer`` speaks for it."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificates = certificate
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded
        der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
        self._chain = [b64encode(der).decode()]

    def script(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method == "POST":
            fields = parse_qs(request.body.decode())
            is_user = fields.get("refresh_token") == [REFRESH_TOKEN]
        else:
            fields = parse_qs(urlsplit(request.target).query)
            expected = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            is_user = request.headers.get("authorization") == expected
            if "authorization" in request.headers and not is_user:
                exchange.answer(401, b'{"details": "wrong password"}')
                return
        access = []
        for scope in fields.get("scope", ()):
            kind, name, actions = scope.split(":")
            granted = [a for a in actions.split(",") if is_user or a == "pull"]
            access.append({"type": kind, "name": name, "actions": granted})
        token = self._token(access)
        exchange.answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    def _token(self, access: Sequence[Mapping[str, object]]) -> str:
        now = int(time.time())
        head = {"typ": "JWT", "alg": "ES256", "x5c": self._chain}
        claims = {
            "iss": ISSUER,
            "sub": "",
            "aud": SERVICE,
            "nbf": now - 60,
            "exp": now + 300,
            "iat": now,
            "jti": "1",
            "access": access,
        }
        signed = f"{_packed(json.dumps(head).encode())}.{_packed(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_packed(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _packed(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
