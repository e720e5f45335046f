"""Owns the policy's spelling: TOML text to ``Policy`` values and back, every error reported at once.

    schema = 1
    deny = { digests = ["sha256:…"], keys = ["<key id>"] }

    [[collection]]
    name = "registry.example.com/acme/"        # a repository, or a namespace with its slash
    root = "sha256:…"                           # the pinned first root, as `trust init` prints it
    metadata = "registry:"                      # where the metadata is read
    publish = "…"                               # where it is written, if elsewhere
    registries = ["mirror.example.com"]         # further hosts that serve the images
    rewrite = { from = "hub/acme/", to = "acme/" }
    roles = ["targets"]                         # roles that may sign; none named: any
    attestations = ["spdx"]                     # types that must be signed for an image; none named: none
    digests = "signed"                          # or "current"
    fresh = "allow"                             # or "deny": no first use without trusted state
    mode = "enforce"                            # or "audit", which only the shim knows
    max_age = "60s"
    floors = { root = 1, timestamp = 120 }      # lowest versions a fresh consumer accepts

    [[pinned]]
    image = "registry.k8s.io/pause@sha256:…"
    until = "2027-01-01T00:00:00Z"

Pure: text in, values out. An unknown key is an error: a misspelt rule must not fall open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import combinations, product, starmap

from trust.chain import TOP_LEVEL_ROLES
from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.instant import parse_duration, parse_utc
from trust.policy import Pinned, Policy, Rewrite, Stanza
from trust.reference import parse_collection, parse_reference
from trust.targets import ATTESTATION_TYPES
from trust.toml_table import TableReader, load_toml, one_of, table, tables

SCHEMA = 1
POLICY_MAX_BYTES = 4 * 1024 * 1024

_STANZA_KEYS = (
    "name", "root", "metadata", "publish", "registries", "rewrite", "roles", "attestations", "digests", "fresh",
    "mode", "max_age", "floors",
)  # fmt: skip


def parse_policy(text: str, *, source: str) -> Policy:
    """Return the policy that ``text`` spells; ``source`` names the file in messages.

    Raises:
        InputError: one line with every error of the document.
    """
    document = load_toml(text, what=f"policy {source}", max_bytes=POLICY_MAX_BYTES)
    errors: list[str] = []
    top = TableReader("top level", document, errors)
    top.unknown(("schema", "deny", "collection", "pinned"))
    if document.get("schema") != SCHEMA or type(document["schema"]) is not int:
        errors.append(f"top level: schema: expected {SCHEMA}, got {document.get('schema')!r}")
    stanzas = [_stanza(reader) for reader in tables(document, "collection", errors)]
    pinned = [_pinned(reader) for reader in tables(document, "pinned", errors)]
    deny = TableReader("deny", table(document, "deny", errors), errors)
    deny.unknown(("digests", "keys"))
    denied_digests = deny.texts("digests", parse_digest)
    denied_keys = deny.texts("keys", _keyid)
    if errors:
        hint = "see docs/policy.md; `trust policy check` reads it again"
        raise InputError(f"policy {source} is wrong: {'; '.join(errors)}", hint=hint)
    return Policy(
        stanzas=tuple(stanza for stanza in stanzas if stanza),
        pinned=tuple(pin for pin in pinned if pin),
        denied_digests=frozenset(denied_digests),
        denied_keys=frozenset(denied_keys),
    )


def join_policies(policies: Iterable[tuple[str, Policy]]) -> Policy:
    """Return all policies as one.

    Raises:
        InputError: two files speak of the same collection, or two collections of the same images: it is not ours
            to choose.
    """
    seen: dict[str, str] = {}
    joined = list(policies)
    for source, policy in joined:
        for stanza in policy.stanzas:
            name = str(stanza.collection)
            if name in seen:
                raise InputError(f"collection {name} stands twice in the policy: in {seen[name]} and {source}")
            seen[name] = source
    stanzas = tuple(stanza for _, policy in joined for stanza in policy.stanzas)
    require_one_voice(stanzas)
    return Policy(
        stanzas=stanzas,
        pinned=tuple(pin for _, policy in joined for pin in policy.pinned),
        denied_digests=frozenset().union(*(policy.denied_digests for _, policy in joined)),
        denied_keys=frozenset().union(*(policy.denied_keys for _, policy in joined)),
    )


def require_one_voice(stanzas: Iterable[Stanza]) -> None:
    """Refuse two collections with equally long paths that are served below the same prefix of one registry.

    Raises:
        InputError: there are two.
    """
    by_host: dict[str, list[Stanza]] = {}
    for stanza in stanzas:
        for host in dict.fromkeys((stanza.collection.host, *stanza.registries)):
            by_host.setdefault(host, []).append(stanza)
    for host, some in by_host.items():
        for one, other in combinations(some, 2):
            both = product(one.prefixes(host), other.prefixes(host))
            if len(one.collection.path) == len(other.collection.path) and any(starmap(_is_overlapping, both)):
                raise InputError(
                    f"collections {one.collection} and {other.collection} both speak for the same images at "
                    f"{host}: their order would decide between two roots",
                    hint="take the registry from one of them, or give it a rewrite of its own",
                )


def _is_overlapping(one: str, other: str) -> bool:
    return one == other or any(
        short.endswith("/") and long.startswith(short) for short, long in ((one, other), (other, one))
    )


def _stanza(reader: TableReader) -> Stanza | None:
    reader.unknown(_STANZA_KEYS)
    before = len(reader.errors)
    collection = reader.text("name", parse_collection)
    root = reader.text("root", _sha256)
    metadata = reader.text("metadata", str)
    options = {
        "publish": reader.text("publish", str, default="") or None,
        "registries": reader.texts("registries", _host),
        "rewrites": _rewrites(reader),
        "roles": reader.texts("roles", str),
        "attestations": reader.texts("attestations", one_of(*ATTESTATION_TYPES)),
        "digests": reader.text("digests", one_of("signed", "current"), default="signed"),
        "fresh": reader.text("fresh", one_of("allow", "deny"), default="allow"),
        "mode": reader.text("mode", one_of("enforce", "audit"), default="enforce"),
        "max_age": reader.text("max_age", _age, default=timedelta(0)),
        "floors": _floors(reader),
    }
    if collection is None or root is None or metadata is None or len(reader.errors) > before:
        return None
    return Stanza(collection=collection, root=root, metadata=metadata, **options)  # type: ignore[arg-type]


def _pinned(reader: TableReader) -> Pinned | None:
    reader.unknown(("image", "until"))
    reference = reader.text("image", parse_reference)
    until = reader.text("until", parse_utc)
    if reference is None or until is None:
        return None
    if reference.digest is None:
        reader.errors.append(f"{reader.where}: image has no digest: expected HOST/PATH@sha256:…, got {reference}")
        return None
    return Pinned(reference=reference, until=until)


def _rewrites(reader: TableReader) -> tuple[Rewrite, ...]:
    value = reader.table.get("rewrite", [])
    found = []
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, dict) or set(entry) != {"from", "to"} or not _all_text(entry):
            reader.errors.append(f"{reader.where}: rewrite: expected {{ from = …, to = … }}")
            continue
        if not all(_is_prefix(entry[side]) for side in ("from", "to")):
            reader.errors.append(f"{reader.where}: rewrite: expected prefixes with their slash, got {entry}")
            continue
        found.append(Rewrite(source=entry["from"], to=entry["to"]))
    return tuple(found)


def _floors(reader: TableReader) -> dict[str, int]:
    value = reader.table.get("floors", {})
    valid = isinstance(value, dict) and all(type(number) is int and number > 0 for number in value.values())
    if not valid or not set(value) <= set(TOP_LEVEL_ROLES):
        roles = ", ".join(TOP_LEVEL_ROLES)
        reader.errors.append(f"{reader.where}: floors: expected versions above zero of {roles}, got {value!r}")
        return {}
    return dict(value)


def _all_text(entry: Mapping[str, object]) -> bool:
    return all(isinstance(value, str) for value in entry.values())


def _age(text: str) -> timedelta:
    return timedelta(0) if text in {"0", "0s"} else parse_duration(text)


def _keyid(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise InputError(f"expected a key id of 64 lower-case hex, got {text[:80]!r}")
    return text


def _host(text: str) -> str:
    if (found := parse_collection(f"{text}/")).host != text or found.path:
        raise InputError(f"expected a registry as HOST[:PORT], got {text[:80]!r}")
    return text


def _is_prefix(text: str) -> bool:
    """Tell whether ``text`` ends where a path may be cut: ``hub/acme`` would rewrite ``hub/acmeweb`` too."""
    return text == "" or (text.endswith("/") and not text.startswith("/"))


def _sha256(text: str) -> Digest:
    digest = parse_digest(text)
    if digest.algorithm != "sha256":
        raise InputError(f"a root pin is sha256, got {digest.algorithm}")
    return digest
