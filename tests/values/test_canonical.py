"""Canonical JSON: byte for byte what securesystemslib makes, whichever way it was made."""

from __future__ import annotations

import enum
import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import SerializationError

from trust.canonical import CANONICAL, _quick, canonical_bytes, metadata_bytes
from trust.errors import InputError
from trust.strict_json import strict_json

DOCUMENTS = 120_000
EXPIRES = datetime(2031, 5, 1, 12, 0, 0, tzinfo=timezone.utc)

# Around the surrogates an order by UTF-16 would differ from one by code point.
CHARACTERS = "aZ09/:@.-_\u00e9\u07ff\u0800\u2028\ud7ff\ue000\ufffd\uffff\U00010000\U0001f600\U0010ffff\x7f"
ESCAPED = '"\\\x00\b\t\n\f\r\x1b\x1f'
INTEGERS = (0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**30)


def theirs(value: Any) -> bytes:
    text = encode_canonical(value)
    assert text is not None
    return text.encode()


class Documents:
    """Random JSON documents of every shape, the same ones at each run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def text(self) -> str:
        letters = CHARACTERS + (ESCAPED if self.random.random() < 0.04 else "")
        return "".join(self.random.choices(letters, k=int(self.random.random() * 7)))

    def document(self) -> dict[str, Any]:
        return {self.text(): self.value(depth=3) for _ in range(1 + int(self.random.random() * 6))}

    def value(self, depth: int) -> Any:
        kind = int(self.random.random() * (8 if depth else 4))
        makers: tuple[Callable[[], Any], ...] = (
            self.text,
            lambda: self.random.choice(INTEGERS[:8] if self.random.random() < 0.9 else INTEGERS),
            lambda: self.random.choice((True, False, None)),
            lambda: self.random.randrange(-(2**40), 2**40),
            lambda: [self.value(depth - 1) for _ in range(int(self.random.random() * 4))],
            lambda: tuple(self.value(depth - 1) for _ in range(int(self.random.random() * 3))),
        )
        if kind < len(makers):
            return makers[kind]()
        return {self.text(): self.value(depth - 1) for _ in range(int(self.random.random() * 6))}


def test_random_documents_become_the_bytes_that_securesystemslib_makes_of_them() -> None:
    documents = Documents(seed=11)
    quick = slow = 0
    for _ in range(DOCUMENTS):
        value = documents.document()
        made = canonical_bytes(value)
        assert made == theirs(value), repr(value)
        if _quick(value) is None:
            slow += 1
        else:
            quick += 1
    assert quick + slow == DOCUMENTS
    assert quick > DOCUMENTS // 2
    assert slow > DOCUMENTS // 20


texts = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.sampled_from(INTEGERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(value=values)
def test_any_document_of_text_and_integers_agrees(value: Any) -> None:
    assert canonical_bytes(value) == theirs(value)


class Text(str):
    __slots__ = ()


class Number(enum.IntEnum):
    ONE = 1


class Word(str, enum.Enum):
    A = "a"


@pytest.mark.parametrize(
    "value",
    [
        {"\U0001f600": 1, "\uffff": 2, "\ue000": 3, "\ud7ff": 4},
        {"": 1, "a": {"": 2}, "\x00": 3},
        {Text("key"): Text("text"), "another": 1},
        [Number.ONE, Word.A],
        *INTEGERS,
        *ESCAPED,
        {character: character for character in CHARACTERS + ESCAPED},
        True, False, None, [], {}, (), [[]], ({},), {"b": True, "a": None},
    ],
)  # fmt: skip
def test_value_at_an_edge_agrees(value: Any) -> None:
    assert canonical_bytes(value) == theirs(value)


@pytest.mark.parametrize("depth", [32, 253, 254, 255, 300])
@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_depth_agrees_on_both_sides_of_what_orjson_follows(depth: int, wrap: Callable[[Any], Any]) -> None:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    assert canonical_bytes(value) == theirs(value)


@dataclass
class Record:
    a: int = 1


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        1.0, 0.5, float("nan"), float("inf"), 1e300,
        "\ud800", "a\udfff", b"bytes", Record(), EXPIRES, EXPIRES.date(), uuid.UUID(int=1), {1, 2}, object(),
        [10**4400],
    ],
)  # fmt: skip
def test_value_without_canonical_json_is_refused_wherever_it_stands(value: Any) -> None:
    for document in (value, [value], ["a", (1, value)], {"a": {"b": [value]}}):
        with pytest.raises(InputError, match="value has no canonical JSON"):
            canonical_bytes(document)


@pytest.mark.parametrize(
    "value", [{1: 2}, {"1": 1, 1: 2}, {True: 1}, {None: 1}, {b"a": 1}, {"\ud800": 1}, endless()]
)
def test_key_that_is_no_text_and_value_without_end_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match="value has no canonical JSON"):
        canonical_bytes(value)


def test_refusal_does_not_repeat_the_document() -> None:
    with pytest.raises(InputError) as refused:
        canonical_bytes({"a": "x" * 10_000, "b": 0.5})
    assert len(str(refused.value)) < 300


def targets(note: object) -> Targets:
    file = TargetFile(7, {"sha256": "a" * 64}, "acme/web:1.4", {"custom": {"note": note}})
    return Targets(
        version=3, expires=EXPIRES, targets={file.path: file}, unrecognized_fields={"x-role": "targets"}
    )


@pytest.mark.parametrize("note", ["plain", "caf\u00e9 \U0001f600", 'quoted "twice" \\', "line\nline", 2**70, None])
def test_signature_over_our_bytes_is_valid_to_others_and_theirs_to_us(note: object) -> None:
    signer = CryptoSigner.generate_ed25519()
    root = Root(expires=EXPIRES + timedelta(days=1))
    root.add_key(signer.public_key, "targets")
    ours, others = (Metadata(targets(note)) for _ in range(2))
    ours.sign(signer, signed_serializer=CANONICAL)
    others.sign(signer)
    assert CANONICAL.serialize(ours.signed) == ours.signed_bytes
    read: Metadata[Targets] = Metadata.from_bytes(metadata_bytes(ours))
    assert read == ours
    root.verify_delegate("targets", read.signed_bytes, read.signatures)
    root.verify_delegate("targets", CANONICAL.serialize(others.signed), others.signatures)


def test_file_is_compact_sorted_and_strict() -> None:
    metadata = Metadata(targets("caf\u00e9\n"))
    data = metadata_bytes(metadata)
    assert strict_json(data, max_bytes=10_000, what="file") == metadata.to_dict()
    ordered = json.dumps(metadata.to_dict(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert data == ordered.encode()


def test_role_that_cannot_be_signed_is_an_error_of_serialization() -> None:
    with pytest.raises(SerializationError, match="role has no canonical JSON"):
        Metadata(targets(0.5)).sign(CryptoSigner.generate_ed25519(), signed_serializer=CANONICAL)
