"""Owns how the words of others are shown: as one line that reads as it is stored.

A registry, a delegate, whoever proposes a change chooses messages, names and notes, and somebody agrees to what he
reads there. Nothing of them drives a terminal, ends a line, is invisible, or has what follows read from right to
left ("Trojan Source", CVE-2021-42574).
"""

from __future__ import annotations


def plain(text: str) -> str:
    """Return ``text`` with ``?`` for each character that is not seen where it stands.

    Those are what Unicode calls controls, formats, private, unassigned, and separators but the space. Half of a
    surrogate pair is left: it is a byte of a file's name that is no UTF-8, which the output spells out.
    """
    if text.isprintable():
        return text
    return "".join(letter if _is_left(letter) else "?" for letter in text)


def plain_json(document: str) -> str:
    """Return ``document``, JSON on one line, with an escape for each character for which ``plain`` has ``?``.

    Whoever parses it has the same values; whoever looks at it on a terminal sees every letter where it stands.
    """
    if document.isprintable():
        return document
    return "".join(letter if _is_left(letter) else _escape(letter) for letter in document)


def _is_left(letter: str) -> bool:
    return letter.isprintable() or "\ud800" <= letter <= "\udfff"


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be")  # RFC 8259 §7: above U+FFFF the two of a surrogate pair
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
