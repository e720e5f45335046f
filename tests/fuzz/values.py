"""The parsers of what is typed or stands in a field: digests, references, addresses, moments, words of options."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

from tuf.api.metadata import DelegatedRole

from keys.errors import KeyInputError
from keys.name import check_name
from keys.pkcs11_uri import parse_pkcs11_uri
from registry_shim.bodies import byte_range
from registry_shim.log_chain import parse_head
from tests.fuzz.target import Target, require, text_of
from trust.cli.images import parse_image
from trust.delegations import checked_pattern, checked_role, expanded, matches
from trust.digest import parse_digest
from trust.errors import InputError
from trust.gates.gate import parse_gate, parse_upstream
from trust.instant import format_utc, parse_duration, parse_utc
from trust.oci.names import manifest_target, repository_target
from trust.oci.url import Url, join_url, parse_url
from trust.pending import id_prefix
from trust.reference import Reference, parse_collection, parse_reference
from trust.runtime.account import resolve_account
from trust.runtime.content import parse_platform
from trust.runtime.health import parse_retries
from trust.runtime.image import parse_directory, parse_signal, parse_variable
from trust.runtime.limits import parse_cpus, parse_memory, parse_pids
from trust.runtime.options import parse_name, parse_network, parse_tmpfs, parse_volume
from trust.runtime.ports import parse_port
from trust.runtime.restart import parse_restart
from trust.runtime.tier import parse_tier
from trust.stores.interface import checked_name, checked_pending
from trust.stores.object_place import parse_place

# Written from distribution/reference's grammar and image-spec's "Digests", not from our own expressions.
_DIGEST = r"(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})"
_WORD = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_WORD}(?:\.{_WORD})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REST = rf"(?P<path>{_PART}(?:/{_PART})*)(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{{0,127}})?(?:@{_DIGEST})?"
_BASE = parse_url("https://registry.example.com/v2/acme/web/blobs/uploads/1?state=a")


def _is_reference(untrusted: bytes) -> bool | None:
    text = text_of(untrusted)
    first, slash, rest = text.partition("/")
    has_host = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    if has_host and not re.fullmatch(_DOMAIN, first, re.ASCII):
        return False
    found = re.fullmatch(_REST, rest if has_host else text, re.ASCII)
    if found is None:
        return False
    path = found["path"]
    if len(path) > 240:
        return None  # readers count differently
    return not (re.fullmatch("[a-f0-9]{64}", path) and not has_host)


def _reference(untrusted: bytes, found: Reference) -> None:
    require(parse_reference(str(found)) == found, "a reference prints back as itself")
    text = text_of(untrusted)
    if text.startswith("registry.example.com/") and (found.digest or ":" in text):
        require(str(found) == text, "a canonical reference prints back byte for byte")


def _url(_untrusted: bytes, found: Url) -> None:
    require(parse_url(str(found)) == found, "an address prints back as itself")
    second = urlsplit(str(found))
    require(second.username is None and second.hostname == found.host.strip("[]"), "two readers, one host")
    require((second.port or {"http": 80, "https": 443}[second.scheme]) == found.port, "two readers, one port")


def _joined(untrusted: bytes, found: Url) -> None:
    _url(untrusted, found)
    second = urlsplit(urljoin(str(_BASE), text_of(untrusted)))
    require(second.hostname == found.host.strip("[]"), "two readers, one host")


def _pattern(untrusted: bytes) -> tuple[str, str]:
    pattern, _, path = text_of(untrusted).partition("\n")
    if not path or not path.isascii():
        raise InputError("no path")
    return checked_pattern(pattern), path


def _matched(_untrusted: bytes, found: tuple[str, str]) -> None:
    pattern, path = found
    second = DelegatedRole._is_target_in_pathpattern(path, pattern)
    require(matches(pattern, path) == second, "python-tuf matches the same paths")


_PARSERS: tuple[Callable[[str], Any], ...] = (
    parse_signal, parse_variable, parse_directory, parse_memory, parse_pids, parse_cpus, parse_platform,
    parse_retries, parse_name, parse_network, parse_volume, parse_tmpfs, parse_restart, parse_port, parse_tier,
    parse_gate, parse_upstream, parse_place, parse_head, checked_role, checked_pattern, expanded, id_prefix,
    checked_name, checked_pending, parse_image, parse_duration, repository_target,
    lambda text: manifest_target("acme/web", text),
)  # fmt: skip


def _words(untrusted: bytes) -> Any:
    """The first byte says which parser the rest is for."""
    return _PARSERS[untrusted[0] % len(_PARSERS)](text_of(untrusted[1:])) if untrusted else None


def _range(untrusted: bytes) -> range | None:
    return byte_range(text_of(untrusted), 1000)


def _within(_untrusted: bytes, found: range | None) -> None:
    require(found is None or 0 <= found.start < found.stop <= 1000, "a range lies within the content")


def _account(untrusted: bytes) -> Any:
    spelled, passwd, group = (*untrusted.split(b"\x1e"), b"", b"", b"")[:3]
    return resolve_account(text_of(spelled), untrusted_passwd=passwd, untrusted_group=group)


def _owner(_untrusted: bytes, found: Any) -> None:
    ids = (found.uid, found.gid, *found.additional_gids)
    require(all(0 <= each < 2**32 - 1 for each in ids) and found.home.startswith("/"), "an account can be had")


def _same(parse: Callable[[str], Any], spell: Callable[[Any], str]) -> Callable[[bytes, Any], None]:
    def judge(_untrusted: bytes, found: Any) -> None:
        require(parse(spell(found)) == found, "it prints back as itself")

    return judge


def _byte_for_byte(spell: Callable[[Any], str]) -> Callable[[bytes, Any], None]:
    def judge(untrusted: bytes, found: Any) -> None:
        require(spell(found) == text_of(untrusted), "it prints back byte for byte")

    return judge


VALUES = (
    Target(
        name="digest", parse=lambda data: parse_digest(text_of(data)), refuses=(InputError,),
        judge=_byte_for_byte(str),
        opinion=lambda data: re.fullmatch(_DIGEST.encode(), data) is not None,
    ),
    Target(
        name="reference", parse=lambda data: parse_reference(text_of(data)), refuses=(InputError,),
        judge=_reference, opinion=_is_reference,
    ),
    Target(
        name="collection", parse=lambda data: parse_collection(text_of(data)), refuses=(InputError,),
        judge=_same(parse_collection, str),
    ),
    Target(name="url", parse=lambda data: parse_url(text_of(data)), refuses=(InputError,), judge=_url),
    Target(
        name="location", parse=lambda data: join_url(_BASE, text_of(data)), refuses=(InputError,), judge=_joined,
    ),
    Target(
        name="moment", parse=lambda data: parse_utc(text_of(data)), refuses=(InputError,),
        judge=_byte_for_byte(format_utc),
    ),
    Target(name="pattern", parse=_pattern, refuses=(InputError,), judge=_matched),
    Target(name="words", parse=_words, refuses=(InputError,), share=6),
    Target(name="range", parse=_range, refuses=(ValueError,), judge=_within),
    Target(name="account", parse=_account, refuses=(InputError,), judge=_owner),
    Target(
        name="pkcs11_uri", parse=lambda data: parse_pkcs11_uri(text_of(data)), refuses=(KeyInputError,),
        judge=_same(parse_pkcs11_uri, str),
    ),
    Target(
        name="key_name", parse=lambda data: check_name(text_of(data)), refuses=(KeyInputError,),
        opinion=lambda data: re.fullmatch(rb"[a-z0-9][a-z0-9._-]{0,63}", data) is not None and b".." not in data,
    ),
)  # fmt: skip
