"""The blobs of a snapshot: what they hold is what was put in, and never more than was said."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from trust.errors import InputError
from trust.runtime.checkpoint_blobs import content_of


def stored(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(content)


@given(content=st.binary(max_size=300), missing=st.integers(1, 50))
def test_content_is_whole_at_its_size_and_refused_above_it(content: bytes, missing: int) -> None:
    assert b"".join(content_of([stored(content)], bytes_max=len(content), seal=None)) == content
    if len(content) >= missing:
        with pytest.raises(InputError, match="holds more than"):
            b"".join(content_of([stored(content)], bytes_max=len(content) - missing, seal=None))


def test_bomb_is_refused_before_it_fills_the_memory() -> None:
    bomb = stored(bytes(1 << 30))
    pieces = [bomb[at : at + 4096] for at in range(0, len(bomb), 4096)]
    content, held = content_of(pieces, bytes_max=10**6, seal=None), list[int]()
    with pytest.raises(InputError, match="holds more than 1000000 bytes"):
        held.extend(map(len, content))
    assert sum(held) <= 10**6
