"""A registry of the tests that is honest until a script says otherwise; everything that it is asked is recorded.

It keeps manifests and blobs in memory, asks for a login where a repository is private, and says for single
addresses exactly what an attacker would.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.simulators.wire import Exchange, Script, WireServer
from trust.digest import Digest, sha256
from trust.manifest import OCI_INDEX, OCI_MANIFEST

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


def basic(user: str) -> str:
    """Return the ``Authorization`` of a user's login."""
    return "Basic " + b64encode(f"{user}:secret".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image whole: the bytes of its manifest, and every blob that it names."""

    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> Digest:
        return sha256(self.manifest)

    @property
    def layer(self) -> Digest:
        """The digest of its last layer."""
        return sha256(self.blobs[-1])


def picture(*layers: bytes, **more: Any) -> Picture:
    """Return an image of ``layers``; ``more`` are further fields of its manifest."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                         "history": [len(layer) for layer in layers]}).encode()  # fmt: skip
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG_TYPE, config),
        "layers": [descriptor(LAYER_TYPE, layer) for layer in layers],
        **more,
    }
    return Picture(manifest=json.dumps(document).encode(), blobs=(config, *layers))


def descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    """Return the descriptor of ``data``."""
    return {"mediaType": media_type, "digest": str(sha256(data)), "size": len(data), **more}


@dataclass(kw_only=True)
class ScriptedRegistry:
    """What is in the registry, and its script for a ``WireServer``.

    ``rules`` maps an address (``/v2/acme/web/manifests/1``, without its query) to what is done instead of the
    honest answer. ``logins`` maps a repository to the ``Authorization`` that may read it.
    """

    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    referrers: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    rules: dict[str, Script] = field(default_factory=dict)
    logins: dict[str, set[str]] = field(default_factory=dict)

    def push(self, path: str, tag: str | None, *pictures: Picture, index: bytes | None = None) -> Digest:
        """Have images in ``path``, and under ``tag`` the last of them or the ``index`` over them."""
        for each in pictures:
            self.manifests[path, str(each.digest)] = each.manifest
            for blob in each.blobs:
                self.blobs[path, str(sha256(blob))] = blob
        top = index if index is not None else pictures[-1].manifest
        self.manifests[path, str(sha256(top))] = top
        if tag is not None:
            self.manifests[path, tag] = top
        return sha256(top)

    def script(self, exchange: Exchange) -> None:
        request = exchange.request
        address = urlsplit(request.target).path
        rule = self.rules.get(address)
        if rule is not None:
            rule(exchange)
            return
        if address == "/v2/":
            exchange.answer(200, b"{}")
            return
        path, kind, last = _parts(address)
        if path in self.logins and request.headers.get("authorization") not in self.logins[path]:
            exchange.answer(401, _unauthorized(), WWW_Authenticate='Basic realm="tests"')
            return
        self._answer(exchange, path, kind, last)

    def _answer(self, exchange: Exchange, path: str, kind: str, last: str) -> None:
        found: bytes | None = None
        media_type = "application/octet-stream"
        document: dict[str, Any]
        if kind == "manifests" and (path, last) in self.manifests:
            found = self.manifests[path, last]
            media_type = json.loads(found).get("mediaType", OCI_MANIFEST)
        elif kind == "blobs":
            found = self.blobs.get((path, last))
        elif kind == "tags":
            tags = sorted(tag for place, tag in self.manifests if place == path and ":" not in tag)
            known = any(place == path for place, _ in (*self.manifests, *self.blobs))
            document, media_type = {"name": path, "tags": tags}, "application/json"
            found = json.dumps(document).encode() if known else None
        elif kind == "referrers":
            entries = self.referrers.get((path, last), [])
            document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
            found, media_type = json.dumps(document).encode(), OCI_INDEX
        if found is None:
            exchange.answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}')
        elif exchange.request.method == "HEAD":
            exchange.answer(200, b"", Content_Length=str(len(found)), Content_Type=media_type)
        else:
            exchange.answer(200, found, Content_Type=media_type)


def _parts(address: str) -> tuple[str, str, str]:
    words = address.removeprefix("/v2/").split("/")
    return "/".join(words[:-2]), words[-2], words[-1]


def _unauthorized() -> bytes:
    return b'{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}'


def serving(registry: ScriptedRegistry) -> WireServer:
    """Return a server that speaks for ``registry``."""
    return WireServer(script=registry.script)
