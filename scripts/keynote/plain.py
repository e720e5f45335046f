"""A plain registry client, as an attacker, a build job or an unguarded machine has one. It verifies no publisher.

What it does check is what every client checks: that content has the digest by which it was asked for.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import requests

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_TIMEOUT_SECONDS = 30


def digest_of(data: bytes) -> str:
    """``sha256:<64 hex>`` of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainClient:
    """One repository of one registry, as the user ``login`` (name, password)."""

    host: str
    repository: str
    login: tuple[str, str]

    def manifest(self, reference: str) -> bytes:
        """The manifest under a tag or digest."""
        return self._ask("GET", f"manifests/{reference}", headers={"Accept": MANIFEST}).content

    def blob(self, digest: str) -> bytes:
        """The blob of that digest, hashed."""
        data = self._ask("GET", f"blobs/{digest}").content
        if digest_of(data) != digest:
            raise OSError(f"blob is damaged: expected {digest}, got {digest_of(data)}")
        return data

    def push_blob(self, data: bytes) -> str:
        """The registry has ``data``; returns its digest."""
        digest = digest_of(data)
        if self._answer("HEAD", f"blobs/{digest}").status_code != requests.codes.ok:
            place = self._ask("POST", "blobs/uploads/").headers["Location"]
            self._request("PUT", place, params={"digest": digest}, data=data).raise_for_status()
        return digest

    def put_manifest(self, reference: str, data: bytes) -> str:
        """``reference`` names the manifest ``data`` from now on; returns its digest."""
        self._ask("PUT", f"manifests/{reference}", data=data, headers={"Content-Type": MANIFEST})
        return digest_of(data)

    def delete_manifest(self, digest: str) -> None:
        """The registry has no such manifest any more."""
        self._ask("DELETE", f"manifests/{digest}")

    def files(self, reference: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The manifest of an artifact, and its layers by their titles."""
        manifest = json.loads(self.manifest(reference))
        titles = {layer["annotations"]["org.opencontainers.image.title"]: layer for layer in manifest["layers"]}
        return manifest, {title: self.blob(layer["digest"]) for title, layer in titles.items()}

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:  # noqa: ANN401 - requests' own
        answer = self._answer(method, path, **options)
        answer.raise_for_status()
        return answer

    def _answer(self, method: str, path: str, **options: Any) -> requests.Response:  # noqa: ANN401
        return self._request(method, f"http://{self.host}/v2/{self.repository}/{path}", **options)

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:  # noqa: ANN401
        return requests.request(method, url, auth=self.login, timeout=_TIMEOUT_SECONDS, **options)
