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
    return "".join(letter if letter.isprintable() or "\ud800" <= letter <= "\udfff" else "?" for letter in text)
