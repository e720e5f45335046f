"""What a key file may look like: exactly what we wrote, and a message of its own for each thing that is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keys.errors import KeyDamagedError, KeyInputError, KeysError
from keys.key_file import parse_key_file
from keys.pem import MAX_BYTES, PemBlock, parse_pem
from keys.public_key import parse_public_key

LABELS = st.from_regex(r"[A-Z0-9][A-Z0-9 ]{0,20}[A-Z0-9]", fullmatch=True)


def refusal(data: bytes) -> str:
    with pytest.raises(KeyDamagedError) as caught:
        parse_key_file(data, where="web.key")
    assert str(caught.value).startswith("web.key: ")
    return str(caught.value)


@given(st.lists(st.builds(PemBlock, label=LABELS, der=st.binary(max_size=300)), min_size=1, max_size=4))
def test_pem_blocks_print_back_byte_for_byte(blocks: list[PemBlock]) -> None:
    data = b"".join(bytes(block) for block in blocks)
    assert parse_pem(data, where="f") == tuple(blocks)


@pytest.mark.parametrize("parse", [parse_pem, parse_key_file, parse_public_key])
@given(st.binary(max_size=400))
@example(b"-----BEGIN A-----\n-----END A-----\n")
@example(b"-----BEGIN A-----\nx: y\n\n-----END A-----\n")
def test_no_bytes_break_the_parsers(parse: Callable[..., object], data: bytes) -> None:
    with contextlib.suppress(KeysError):
        parse(data, where="f")


@settings(max_examples=300)
@given(st.data())
def test_a_key_file_prints_back_byte_for_byte_or_is_refused(ed25519_file: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(ed25519_file) - 1))
    changed = bytearray(ed25519_file)
    changed[position] = data.draw(st.integers(0, 127))
    try:
        key_file = parse_key_file(bytes(changed), where="f")
    except KeyDamagedError:
        return
    assert bytes(key_file) == changed


def test_windows_line_ends_in_a_public_key_file_are_read(p256_file: bytes) -> None:
    public = parse_key_file(p256_file, where="f").public
    assert parse_public_key(public.pem.replace(b"\n", b"\r\n"), where="f") == public


def test_empty_file_is_refused() -> None:
    assert "empty" in refusal(b"")


def test_file_above_64_kib_is_refused(ed25519_file: bytes) -> None:
    big = ed25519_file + b"\n" * (MAX_BYTES + 1 - len(ed25519_file))
    assert "too large: at most 65536 bytes, got 65537" in refusal(big)


def test_every_truncation_is_refused(ed25519_file: bytes) -> None:
    for length in range(1, len(ed25519_file)):
        message = refusal(ed25519_file[:length])
        assert "truncated" in message or "not PEM" in message, length


def test_file_cut_inside_a_block_says_so(ed25519_file: bytes) -> None:
    assert "truncated: ends inside its ENCRYPTED PRIVATE KEY block" in refusal(ed25519_file[:100])


def test_file_cut_between_the_blocks_says_so(ed25519_file: bytes) -> None:
    end = ed25519_file.index(b"-----BEGIN PUBLIC")
    assert "truncated: its PUBLIC KEY block is missing" in refusal(ed25519_file[:end])


def test_garbage_behind_the_key_is_refused(ed25519_file: bytes) -> None:
    assert "8 bytes of garbage behind its last block" in refusal(ed25519_file + b"garbage\n")


def test_garbage_before_and_between_is_refused(ed25519_file: bytes) -> None:
    assert "not as it was written" in refusal(b"garbage\n" + ed25519_file)
    between = ed25519_file.replace(b"-----BEGIN PUBLIC", b"garbage\n-----BEGIN PUBLIC")
    assert "not as it was written" in refusal(between)


def test_binary_file_is_refused() -> None:
    assert "not PEM: expected ASCII text" in refusal(b"\x30\x82\x00\x10")


def test_text_without_pem_is_refused() -> None:
    assert "not PEM" in refusal(b"hello\n")


def test_plain_private_key_is_refused(ed25519_file: bytes) -> None:
    plain = ed25519_file.replace(b"ENCRYPTED PRIVATE", b"PRIVATE")
    assert "holds PRIVATE KEY, expected ENCRYPTED PRIVATE KEY" in refusal(plain)


def test_wrong_pem_is_refused(ed25519_file: bytes) -> None:
    wrong = ed25519_file.replace(b"ENCRYPTED PRIVATE KEY", b"CERTIFICATE")
    assert "wrong blocks: expected ENCRYPTED PRIVATE KEY, PUBLIC KEY, got CERTIFICATE, PUBLIC KEY" in refusal(
        wrong
    )


def test_two_keys_in_one_file_are_refused(ed25519_file: bytes) -> None:
    assert "wrong blocks" in refusal(ed25519_file + ed25519_file)


def test_block_that_begins_and_ends_differently_is_refused(ed25519_file: bytes) -> None:
    assert "block does not match: BEGIN ENCRYPTED PRIVATE KEY, but END PUBLIC KEY" in refusal(
        ed25519_file.replace(b"END ENCRYPTED PRIVATE", b"END PUBLIC")
    )


def test_block_that_is_not_base64_is_refused(ed25519_file: bytes) -> None:
    assert "its ENCRYPTED PRIVATE KEY block is not base64" in refusal(ed25519_file.replace(b"\nMIG", b"\nM*G", 1))


def test_damaged_public_half_is_refused(p256_file: bytes) -> None:
    start = p256_file.index(b"-----BEGIN PUBLIC")
    changed = p256_file[:start] + p256_file[start:].replace(b"MFkw", b"MFkx")
    assert "its public half is damaged" in refusal(changed)


def test_public_key_file_with_a_private_key_is_refused(ed25519_file: bytes) -> None:
    with pytest.raises(
        KeyInputError, match="expected one PUBLIC KEY block, got ENCRYPTED PRIVATE KEY, PUBLIC KEY"
    ):
        parse_public_key(ed25519_file, where="f")
