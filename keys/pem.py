"""Owns PEM framing: bytes ⇄ labelled blocks of DER. Never interprets what the blocks hold.

Reading is as lax as RFC 7468 §2 asks of parsers (text between blocks, CRLF, RFC 1421 headers), because keys to
import come from many programs. ``key_file`` adds that our own files are canonical to the byte.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from keys.errors import KeyDamagedError

MAX_BYTES = 64 * 1024  # a key file is below 1 KiB; whoever sends more is not sending a key
_COLUMNS = 64
_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9][A-Z0-9 -]{0,60})-----")
_END = re.compile(r"-----END ([A-Z0-9][A-Z0-9 -]{0,60})-----")
_HEADER = re.compile(r"[A-Za-z0-9-]+:")


@dataclass(frozen=True, slots=True, kw_only=True)
class PemBlock:
    """One block: its label (``PUBLIC KEY``), its RFC 1421 header lines, its DER."""

    label: str
    der: bytes
    headers: tuple[str, ...] = ()

    def __bytes__(self) -> bytes:
        body = base64.b64encode(self.der).decode("ascii")
        lines = [body[start : start + _COLUMNS] for start in range(0, len(body), _COLUMNS)]
        text = "\n".join([f"-----BEGIN {self.label}-----", *lines, f"-----END {self.label}-----", ""])
        return text.encode("ascii")


def parse_pem(untrusted_data: bytes, *, where: str) -> tuple[PemBlock, ...]:
    """Return every block of ``untrusted_data``, at least one, in its order; ``where`` begins each message.

    Raises:
        KeyDamagedError: empty, above 64 KiB, not ASCII, no block, a block cut short or not base64.
    Source: RFC 7468 §2 and §3.
    """
    blocks: list[PemBlock] = []
    label: str | None = None
    body: list[str] = []
    for line in _lines(untrusted_data, where=where):
        if label is None:
            if found := _BEGIN.fullmatch(line):
                label, body = found[1], []
        elif found := _END.fullmatch(line):
            if found[1] != label:
                raise KeyDamagedError(f"{where}: block does not match: BEGIN {label}, but END {found[1]}")
            blocks.append(_block(label, body, where=where))
            label = None
        else:
            body.append(line)
    if label is not None:
        raise KeyDamagedError(f"{where}: truncated: ends inside its {label} block")
    if not blocks:
        raise KeyDamagedError(f"{where}: not PEM: expected a line -----BEGIN …-----, found none")
    return tuple(blocks)


def _lines(untrusted_data: bytes, *, where: str) -> list[str]:
    if not untrusted_data:
        raise KeyDamagedError(f"{where}: empty")
    if len(untrusted_data) > MAX_BYTES:
        raise KeyDamagedError(f"{where}: too large: at most {MAX_BYTES} bytes, got {len(untrusted_data)}")
    if not untrusted_data.isascii():
        raise KeyDamagedError(f"{where}: not PEM: expected ASCII text, got binary data")
    text = untrusted_data.decode("ascii")
    return [line.rstrip(" \t\r") for line in text.split("\n")]


def _block(label: str, body: list[str], *, where: str) -> PemBlock:
    headers: tuple[str, ...] = ()
    if body and _HEADER.match(body[0]) and "" in body:
        headers = tuple(body[: body.index("")])
        body = body[len(headers) :]
    try:
        der = base64.b64decode("".join(body), validate=True)
    except binascii.Error as err:
        raise KeyDamagedError(f"{where}: its {label} block is not base64: {err}") from err
    return PemBlock(label=label, headers=headers, der=der)
