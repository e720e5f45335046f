"""What a manifest says is kept as it was said, up to the last size, and nobody changes it afterwards."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from tests.values.test_manifest import PLATFORM, descriptor, image, index, parse
from trust.manifest import Index, Manifest, Platform


def values() -> list[object]:
    """Return one value of each kind that a manifest is read into."""
    manifest, several = parse(image()), parse(index())
    assert isinstance(manifest, Manifest)
    assert isinstance(several, Index)
    return [manifest, several, manifest.config, several.manifests[0].platform]


@pytest.mark.parametrize("size", [0, 2**62, 2**63 - 1])
def test_size_up_to_the_last_is_kept(size: int) -> None:
    manifest = parse(image(config=descriptor(size=size)))
    assert isinstance(manifest, Manifest)
    assert manifest.config.size_bytes == size


@pytest.mark.parametrize("value", values())
def test_what_was_read_cannot_be_changed_or_mixed_up(value: object) -> None:
    for name in type(value).__annotations__:
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)
    assert not hasattr(value, "__dict__")
    with pytest.raises(TypeError):
        type(value)(*(getattr(value, name) for name in type(value).__annotations__))


def test_platform_is_spelled_with_its_variant_where_it_has_one() -> None:
    assert str(Platform(**PLATFORM)) == "linux/arm64/v8"
    assert str(Platform(os="linux", architecture="amd64")) == "linux/amd64"
