"""What is sealed opens whole, under its own key, in its own order, or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.identity import Identity
from trust.errors import InputError
from trust.runtime.checkpoint_envelope import INFO, Recipient, envelope_bytes, opened, parse_envelope
from trust.runtime.checkpoint_seal import SEGMENT_BYTES, Sealing, sealing_for

HEAD, SEGMENT = 40, SEGMENT_BYTES + 16
SEALING = Sealing(b"k" * 32)


def sealed(content: bytes, sealing: Sealing = SEALING) -> bytes:
    return b"".join(sealing.sealed(io.BytesIO(content)))


def unsealed(data: bytes, sealing: Sealing = SEALING, *, piece: int = 1 << 16) -> bytes:
    return b"".join(sealing.opened(data[at : at + piece] for at in range(0, len(data), piece)))


@settings(deadline=None)
@given(content=st.binary(max_size=300), piece=st.integers(min_value=1, max_value=400))
def test_what_is_sealed_opens_however_it_arrives(content: bytes, piece: int) -> None:
    assert unsealed(sealed(content), piece=piece) == content


@pytest.mark.parametrize("size", [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES])
def test_content_of_any_number_of_segments_opens(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert unsealed(sealed(content), piece=100_003) == content


def test_same_content_is_the_same_blob_under_one_key_and_another_under_another() -> None:
    assert sealed(b"page") == sealed(b"page")
    assert sealed(b"page")[HEAD:] != sealed(b"pagf")[HEAD:]
    assert sealed(b"page", Sealing(b"other" + bytes(27))) != sealed(b"page")


def moved(data: bytes) -> bytes:
    return (
        data[:HEAD]
        + data[HEAD + SEGMENT : HEAD + 2 * SEGMENT]
        + data[HEAD : HEAD + SEGMENT]
        + data[HEAD + 2 * SEGMENT :]
    )


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data[:-1],
        lambda data: data[: HEAD + SEGMENT],
        lambda data: data[: HEAD + 2 * SEGMENT],
        lambda data: data[:HEAD],
        lambda data: data[: HEAD - 1],
        lambda _data: b"",
        lambda data: data + b"x",
        lambda data: data[:HEAD] + data[HEAD + SEGMENT :],
        lambda data: data[: HEAD + SEGMENT] + data[HEAD:],
        moved,
        lambda data: b"X" + data[1:],
        lambda data: data[:8] + bytes([data[8] ^ 1]) + data[9:],
        lambda data: data[:HEAD] + bytes([data[HEAD] ^ 1]) + data[HEAD + 1 :],
        lambda data: sealed(b"another")[:HEAD] + data[HEAD:],
    ],
)
def test_blob_that_is_cut_moved_doubled_or_edited_does_not_open(edit: Callable[[bytes], bytes]) -> None:
    data = sealed(bytes(2 * SEGMENT_BYTES + 5))
    with pytest.raises(InputError, match="cannot be decrypted"):
        unsealed(edit(data))


def test_blob_does_not_open_under_another_key() -> None:
    with pytest.raises(InputError, match="cannot be decrypted"):
        unsealed(sealed(b"secret"), Sealing(bytes(32)))


def test_same_recipients_have_the_same_seal_and_the_secret_is_the_owners_alone(tmp_path: Path) -> None:
    a, b = b"a" * 32, b"b" * 32
    assert sealing_for(tmp_path, [a, b]).key == sealing_for(tmp_path, [b, a, a]).key
    assert sealing_for(tmp_path, [a]).key != sealing_for(tmp_path, [a, b]).key
    (other := tmp_path / "other").mkdir()
    assert sealing_for(other, [a]).key != sealing_for(tmp_path, [a]).key
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()] == [0o600]


def test_envelope_opens_for_each_recipient_and_for_nobody_else() -> None:
    keys = [X25519PrivateKey.generate() for _ in range(3)]
    recipients = [Recipient(key=key.public_key().public_bytes_raw()) for key in keys[:2]]
    data = envelope_bytes(b"document", SEALING, recipients)
    assert b'document"' not in data.replace(b'"document"', b"")
    for key in keys[:2]:
        document, sealing = opened(parse_envelope(data), partial(Identity(key).opened, info=INFO))
        assert document == b"document"
        assert unsealed(sealed(b"page"), sealing) == b"page"
    with pytest.raises(InputError, match="encrypted to others"):
        opened(parse_envelope(data), lambda one: Identity(keys[2]).opened(one, info=INFO))
    with pytest.raises(InputError, match="encrypted to others"):
        opened(parse_envelope(data), lambda one: Identity(keys[0]).opened(one, info=b"for something else"))
    with pytest.raises(InputError, match="is encrypted"):
        opened(parse_envelope(data), None)


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{}",
        b'{"schema":2,"keys":["AA=="],"document":"AA=="}',
        b'{"schema":1,"keys":[],"document":"AA=="}',
        b'{"schema":1,"keys":"AA==","document":"AA=="}',
        b'{"schema":1,"keys":["!"],"document":"AA=="}',
        b'{"schema":1,"keys":[1],"document":"AA=="}',
        b'{"schema":1,"keys":["AA=="]}',
        b'{"schema":1,"keys":[' + b",".join([b'"AA=="'] * 65) + b'],"document":"AA=="}',
    ],
)
def test_malformed_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_envelope(data)


def test_point_of_low_order_is_no_recipient() -> None:
    with pytest.raises(InputError, match="no usable key"):
        envelope_bytes(b"document", SEALING, [Recipient(key=bytes(32))])
