"""Strict JSON: what is accepted has one meaning, here and in every other reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.errors import AmbiguousManifestError, InputError
from trust.strict_json import DEPTH_MAX, INTEGER_MAX, fields, one_spelling, strict_json

plain = st.text(st.characters(codec="utf-8", exclude_characters="[]{}"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-INTEGER_MAX + 1, INTEGER_MAX - 1) | plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain, inner, max_size=4),
    max_leaves=20,
)


def read(data: bytes) -> Any:
    return strict_json(data, max_bytes=10**6, what="document")


@given(value=values, ascii_only=st.booleans())
def test_ordinary_document_is_read_as_it_is(value: Any, *, ascii_only: bool) -> None:
    assert read(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(data=st.binary(max_size=60) | st.text('[]{}":,0123456789.eE+-truefalsn\\u ', max_size=40).map(str.encode))
def test_bytes_are_read_as_the_library_reads_them_or_refused(data: bytes) -> None:
    try:
        value = read(data)
    except InputError:
        return
    assert value == json.loads(data)
    assert read(json.dumps(value).encode()) == value


@given(where=values, key=plain, values_of_key=st.tuples(values, values))
def test_key_that_stands_twice_is_refused(where: Any, key: str, values_of_key: tuple[Any, Any]) -> None:
    name = json.dumps(key)
    first, second = map(json.dumps, values_of_key)
    data = f'[{json.dumps(where)},{{{name}:{first},"other":1,{name}:{second}}}]'
    with pytest.raises(InputError, match="not valid JSON"):
        read(data.encode())


@pytest.mark.parametrize(
    "text",
    ["1.0", "1e3", "1E-3", "-0.0", "NaN", "Infinity", "-Infinity", str(INTEGER_MAX), str(-INTEGER_MAX),
     "1" + "0" * 30, "9" * 5000, '{"a":1.5}', "[1,2,3.0]"],
)  # fmt: skip
def test_number_that_readers_disagree_about_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not valid JSON"):
        read(text.encode())


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, INTEGER_MAX - 1, -INTEGER_MAX + 1])
def test_integer_below_the_limit_is_exact(number: int) -> None:
    assert read(str(number).encode()) == number


@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_depth_is_bounded(bracket: str) -> None:
    def nested(depth: int) -> bytes:
        opening = '{"":' if bracket == "{}" else "["
        inner = "1" if bracket == "{}" else ""
        return (opening * depth + inner + bracket[1] * depth).encode()

    read(nested(DEPTH_MAX))
    for depth in (DEPTH_MAX + 1, 10**5):
        with pytest.raises(InputError, match="nested too deeply"):
            read(nested(depth))


def test_size_is_bounded_before_anything_is_read() -> None:
    assert strict_json(b"[1]", max_bytes=3, what="document") == [1]
    with pytest.raises(InputError, match="document is too large: expected at most 2 bytes, got 3"):
        strict_json(b"[1]", max_bytes=2, what="document")


@pytest.mark.parametrize(
    "data", [b"", b" ", b"{", b"[1,]", b"{'a':1}", b"nul", b"1 2", b"\xff", b'"\xff"', b"[1]//"]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="document is not valid JSON"):
        read(data)


@given(value=values, bits=st.sampled_from([16, 32]), order=st.sampled_from(["", "-le", "-be"]))
def test_document_in_another_encoding_is_refused(value: Any, bits: int, order: str) -> None:
    with pytest.raises(InputError, match=r"document is not valid JSON: expected UTF-8"):
        read(json.dumps([value]).encode(f"utf-{bits}{order}"))


def test_byte_order_mark_is_refused() -> None:
    with pytest.raises(InputError, match="without a byte order mark"):
        read(b"\xef\xbb\xbf[1]")


@pytest.mark.parametrize(
    "data",
    [
        rb'"\ud800"',
        rb'"\uDFFF"',
        rb'["a",{"b":"\ude00\ud83d"}]',
        rb'{"\uD83d":1}',
        rb'"\ud83d\\ude00"',  # a backslash, and no second half
        b'"\xed\xa0\x80"',  # what UTF-8 would be of U+D800
    ],
)
def test_lone_surrogate_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"document is not valid JSON: (a lone surrogate|expected UTF-8)"):
        read(data)


@pytest.mark.parametrize(("data", "text"), [(rb'"\ud83d\uDE00"', "\U0001f600"), (rb'"\\ud800"', "\\ud800")])
def test_character_by_its_two_escapes_and_an_escaped_backslash_are_text(data: bytes, text: str) -> None:
    assert read(data) == text


@pytest.mark.parametrize("keys", [(), ("User",), ("Cmd", "User"), ("other", "User"), ("Zeta", "alpha", "USERS")])
def test_table_with_known_keys_as_they_are_spelled_is_taken_as_it_is(keys: tuple[str, ...]) -> None:
    table = dict.fromkeys(keys)
    assert one_spelling(table, fields("User", "Cmd"), what="document") is table


@pytest.mark.parametrize("key", ["user", "USER", "uSer", "U\u017fer"])
@pytest.mark.parametrize("others", [(), ("User",), ("other", "Cmd")])
def test_key_that_readers_take_for_a_known_one_is_refused_wherever_it_stands(
    key: str, others: tuple[str, ...]
) -> None:
    """Go folds the long s to s, as it does capitals."""
    for keys in ((key, *others), (*others, key)):
        with pytest.raises(InputError) as caught:
            one_spelling(dict.fromkeys(keys), fields("User", "Cmd"), what="document")
        assert str(caught.value) == f"document is ambiguous: {key!r} is User to some readers"
    with pytest.raises(AmbiguousManifestError):
        one_spelling({key: 1}, fields("User"), what="document", error=AmbiguousManifestError)


def test_ambiguous_key_is_shown_no_longer_than_a_line_has_room() -> None:
    for count, shown in ((40, "S" * 40), (41, "S" * 40)):
        with pytest.raises(InputError) as caught:
            one_spelling({"S" * count: 1}, fields("s" * count), what="document")
        assert str(caught.value) == f"document is ambiguous: {shown!r} is {'s' * count} to some readers"
