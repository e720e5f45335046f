"""The words of others on a terminal: every letter is seen, where it stands."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.plain import plain, plain_json


@pytest.mark.parametrize(
    "hidden",
    ["\x00", "\x1b", "\x9b", "\t", "\n", "\r", "\x85", "\u2028", "\u2029", "\xa0", "\xad", "\u061c", "\u200b",
     "\u200f", "\u202e", "\u2066", "\ufeff", "\U000e0041", "\ue000", "\U0010ffff"],
)  # fmt: skip
def test_letter_that_is_not_seen_where_it_stands_is_shown(hidden: str) -> None:
    assert plain(f"a{hidden}b") == "a?b", unicodedata.category(hidden)


@pytest.mark.parametrize("text", ["", "a b", "naïve", "日本", "שלום", "🔏", "?", "\\u202e"])
def test_what_is_seen_stays(text: str) -> None:
    assert plain(text) == text


def test_name_of_a_file_that_is_no_text_is_left_to_the_output() -> None:
    assert plain("a\udcff\n") == "a\udcff?"


@given(st.text())
def test_document_for_programs_says_the_same_and_hides_nothing(text: str) -> None:
    document = json.dumps({text: [text]}, ensure_ascii=False)
    shown = plain_json(document)
    assert json.loads(shown) == {text: [text]}
    assert shown.isprintable()
    assert plain_json(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x9b2J", r"\u009b2J"),
        ("\x7f", r"\u007f"),
        ("a\u202eb", r"a\u202eb"),
        ("\U000e0041", r"\udb40\udc41"),
        ("naïve 日本 שלום 🔏", "naïve 日本 שלום 🔏"),
    ],
)
def test_only_what_is_not_seen_is_escaped_for_programs(text: str, shown: str) -> None:
    assert plain_json(json.dumps(text, ensure_ascii=False)) == f'"{shown}"'
