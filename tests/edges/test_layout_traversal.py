"""Names from outside never become paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trust.digest import parse_digest
from trust.errors import InputError
from trust.manifest import OCI_MANIFEST
from trust.oci.layout import REF_NAME, Layout


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../../etc/passwd",
        "../sha256:" + "0" * 64,
        "sha256:" + "0" * 63 + "/",
        "sha256:" + "A" * 64,
        "sha256:%2e%2e%2f" + "0" * 55,
        "sha256:" + "0" * 63 + "\x00",
        "sha256:" + "0" * 63,
        "md5:" + "0" * 32,
        "/etc/passwd",
        "",
    ],
)
def test_digest_in_an_index_that_is_a_path_is_refused_cve_2024_3727(tmp_path: Path, digest: str) -> None:
    layout = Layout.create(tmp_path)
    entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1, "annotations": {REF_NAME: "1"}}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with pytest.raises(InputError, match="digest"):
        layout.resolve("1")
    with pytest.raises(InputError):
        parse_digest(digest)


@pytest.mark.parametrize("name", ["../1", "/etc/passwd", "..", "registry.example.com/acme/web:1", "a b"])
def test_tag_is_text_and_never_a_path(tmp_path: Path, name: str) -> None:
    layout = Layout.create(tmp_path / "layout")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="layout has no tag"):
        layout.resolve(name)
    assert sorted(tmp_path.rglob("*")) == before
