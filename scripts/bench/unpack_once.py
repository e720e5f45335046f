"""``python -m scripts.bench.unpack_once LAYOUT HOME``: unpacks the image of a layout as ``trust run`` does."""

from __future__ import annotations

import sys
from pathlib import Path

from trust.digest import sha256
from trust.manifest import Manifest, parse_manifest
from trust.oci.layout import Layout
from trust.runtime.content import Image
from trust.runtime.image import parse_image_config
from trust.runtime.unpack import unpack


def image_of(layout: Layout) -> Image:
    """Return the one image of a layout."""
    descriptor = layout.resolve(None)
    data = layout.manifest(descriptor.digest)
    manifest = parse_manifest(data)
    if not isinstance(manifest, Manifest):
        raise TypeError("an index, expected an image")
    config = parse_image_config(layout.blob_bytes(manifest.config.digest, manifest.config.size_bytes))
    return Image(digest=sha256(data), manifest=manifest, config=config)


def main(layout: Path, home: Path) -> None:
    """Unpack."""
    store = Layout.open(layout)
    unpack(image_of(store), store=store, home=home)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
