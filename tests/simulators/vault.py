"""A stand-in for the part of Vault's transit HTTP API that securesystemslib's signer speaks: read a key, sign.

Written from Vault's API documentation; no test here has met a real Vault.
"""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typing_extensions import Self

TOKEN = "hvs.stand-in"


class Vault:
    """Serves on loopback while it is entered; ``keys`` are by name, each with its versions from 1 on."""

    def __init__(self) -> None:
        self.keys: dict[str, list[Ed25519PrivateKey]] = {}
        vault = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(vault._read(self.path))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(vault._sign(self.path, body))

            do_PUT = do_POST  # noqa: N815 - http.server's name

            def _answer(self, data: dict[str, Any] | None) -> None:
                is_known = self.headers.get("X-Vault-Token") == TOKEN
                status = 403 if not is_known else 404 if data is None else 200
                text = json.dumps(
                    {"data": data} if status == 200 else {"errors": ["permission denied"][: status == 403]}
                )
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this Vault has in its environment."""
        return {"VAULT_ADDR": f"http://127.0.0.1:{self._server.server_port}", "VAULT_TOKEN": TOKEN}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _read(self, path: str) -> dict[str, Any] | None:
        versions = self.keys.get(path.removeprefix("/v1/transit/keys/"))
        if versions is None:
            return None
        public = [b64encode(key.public_key().public_bytes_raw()).decode() for key in versions]
        return {"type": "ed25519", "keys": {str(n): {"public_key": text} for n, text in enumerate(public, 1)}}

    def _sign(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        versions = self.keys.get(path.removeprefix("/v1/transit/sign/").partition("/")[0])
        if versions is None:
            return None
        version = int(body.get("key_version") or len(versions))
        signature = versions[version - 1].sign(b64decode(body["input"]))
        return {"signature": f"vault:v{version}:{b64encode(signature).decode()}"}
