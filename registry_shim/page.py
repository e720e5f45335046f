"""Owns the page of the shim: what each collection is, and what was decided last. Pure text from values.

One document, nothing fetched, readable without script. Every word that comes from outside (names of images are
chosen by attackers) passes ``escape``; none stands in a script, a style, an address or an unquoted attribute.

The parts are drawn apart, since the live page replaces them one by one: ``now``, ``collections``, ``decisions``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from registry_shim.page_script import SCRIPT
from registry_shim.page_style import STYLE
from registry_shim.status import CollectionStatus, Decided, RoleStatus
from registry_shim.words import (
    OUTCOMES,
    condition,
    level,
    moment,
    sentence,
    short_digest,
    short_key,
    time_ago,
    time_left,
)
from trust.instant import format_utc
from trust.value import dataclass

RENEWED_SECONDS = 10  # without script
_MARKS = {"allowed": "✓", "denied": "✗", "undecided": "…"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What is to be shown: ``decisions`` newest first, by running number; ``counts`` since the start."""

    now: float
    is_ready: bool
    why: str
    collections: Sequence[CollectionStatus]
    decisions: Sequence[tuple[int, Decided]]
    counts: Mapping[str, int]
    version: str


def document(board: Board, *, nonce: str) -> str:
    """Return the page; ``nonce`` is that of the response's Content-Security-Policy."""
    parts = {name: f'<div id="{name}">{text}</div>' for name, text in parts_of(board).items()}
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Registry shim</title>
<noscript><meta http-equiv="refresh" content="{RENEWED_SECONDS}"></noscript>
<style nonce="{escape(nonce)}">{STYLE}</style>
</head>
<body>
<header>
<p class="house">Registry shim</p>
<p id="link" role="status" class="still">shown as of {_clock_time(board.now)} UTC</p>
{parts["now"]}
</header>
<main>
<section aria-labelledby="h-collections">
<h2 id="h-collections">Collections</h2>
{parts["collections"]}
</section>
<section aria-labelledby="h-decisions">
<h2 id="h-decisions">Decisions</h2>
<p id="said" class="unseen" aria-live="polite"></p>
{parts["decisions"]}
</section>
</main>
<footer><p>content-trust {escape(board.version)} · times are UTC · <a href="metrics">metrics</a></p></footer>
<script nonce="{escape(nonce)}">{SCRIPT}</script>
</body>
</html>
"""


def parts_of(board: Board) -> dict[str, str]:
    """Return the HTML of each part that the live page replaces."""
    return {"now": _now(board), "collections": _collections(board), "decisions": _decisions(board)}


def _now(board: Board) -> str:
    watched = [each.name for each in board.collections if each.mode == "audit"]
    if not board.is_ready:
        kind, said = "denied", f"Not ready: {board.why or 'no reason was given'}"
    elif watched:
        kind, said = "audited", "Serving, but only watching"
    else:
        kind, said = "allowed", "Serving what is signed, and nothing else"
    names = ", ".join(f"<b>{escape(name)}</b>" for name in watched)
    audit = (
        f'<p class="audit"><strong>Audit mode.</strong> Of {names} everything is served, '
        "whatever the verdict; what would be denied is only written down.</p>"
        if watched
        else ""
    )
    counts = "".join(
        f'<div class="{outcome}"><dt>{words}</dt><dd>{board.counts.get(outcome, 0):,}</dd></div>'
        for outcome, (_, words) in OUTCOMES.items()
    )
    return f'<h1 class="{kind}">{escape(said)}</h1>{audit}<dl class="counts">{counts}</dl>'


def _collections(board: Board) -> str:
    if not board.collections:
        return '<p class="none">The policy names no collection: everything is denied.</p>'
    return "".join(_collection(each, board.now) for each in board.collections)


def _collection(collection: CollectionStatus, now: float) -> str:
    kind, word, meaning = condition(collection, now)
    mode = (
        '<p class="mode watching">! audit: denied images are served</p>'
        if collection.mode == "audit"
        else '<p class="mode">enforced</p>'
    )
    detail = f'<p class="detail">{escape(collection.detail)}</p>' if collection.detail else ""
    checked = time_ago(now - collection.checked_at) if collection.checked_at else "never"
    periods = [role.period_seconds for role in collection.roles if role.expires == collection.valid_until]
    period = max(periods, default=0.0)
    valid = _expiry(collection.valid_until, now, period) if collection.valid_until else "never read"
    facts = (
        ("valid", valid),
        ("checked", escape(checked)),
        ("signed names", f"{collection.targets:,}"),
        ("root pinned", _short(short_digest(collection.pin), collection.pin)),
    )
    listed = "".join(f"<div><dt>{term}</dt><dd>{fact}</dd></div>" for term, fact in facts)
    return (
        f'<article class="{kind}"><div class="title"><h3>{escape(collection.name)}</h3>'
        f'<p class="state">{_MARKS[kind]} {word}</p>{mode}</div>'
        f'<p class="meaning">{escape(meaning)}</p>{detail}<dl>{listed}</dl>{_roles(collection, now)}</article>'
    )


def _roles(collection: CollectionStatus, now: float) -> str:
    if not collection.roles:
        return ""
    rows = "".join(_role(role, now) for role in collection.roles)
    heads = "".join(
        f'<th scope="col" role="columnheader">{head}</th>' for head in ("Role", "Version", "Signed by", "Expires")
    )
    return (
        f'<table role="table" class="roles"><caption class="unseen">Roles of {escape(collection.name)}</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table>'
    )


def _role(role: RoleStatus, now: float) -> str:
    keys = " ".join(_short(short_key(keyid), keyid) for keyid in role.signers) or "nobody"
    of = f'<span class="threshold">{role.threshold} needed</span>'
    return (
        f'<tr role="row"><th scope="row" role="rowheader">{escape(role.name)}</th>'
        f'<td role="cell" class="version"><span class="label">version </span>{role.version}</td>'
        f'<td role="cell" class="keys">{keys} {of}</td>'
        f'<td role="cell" class="expires">{_expiry(role.expires, now, role.period_seconds)}</td></tr>'
    )


def _expiry(expires: float, now: float, period: float) -> str:
    """Time left, in words and as a bar; its colour is told by a word, too."""
    left, at = expires - now, format_utc(moment(expires))
    kind = level(left, period)
    warned = {"low": ", renew soon", "last": ", renew now"}.get(kind, "")
    words = f'<time datetime="{at}" title="{at}">{escape(time_left(left))}{warned}</time>'
    return f'<span class="left {kind}">{words}{_bar(left / period) if period > 0 else ""}</span>'


def _bar(share: float) -> str:
    width = max(0.0, min(1.0, share)) * 100
    return (
        '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="all" width="100" height="4"/><rect class="share" width="{width:.1f}" height="4"/></svg>'
    )


def _decisions(board: Board) -> str:
    if not board.decisions:
        return '<p class="none">Nothing was asked for yet.</p>'
    rows = "".join(_decision(number, decided) for number, decided in board.decisions)
    heads = "".join(
        f'<th scope="col" role="columnheader">{head}</th>'
        for head in ("Time", "Outcome", "Image", "Why", "Client")
    )
    return (
        f'<table role="table" class="decisions"><caption>The latest {len(board.decisions)}, newest first</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table>'
    )


def _decision(number: int, decided: Decided) -> str:
    mark, words = OUTCOMES[decided.outcome]
    digest = _short(short_digest(decided.digest), decided.digest) if decided.digest else ""
    why = escape(sentence(decided.reason))
    if decided.detail:
        why += f'<span class="detail">{escape(decided.detail)}</span>'
    at = format_utc(moment(decided.at))
    return (
        f'<tr role="row" class="{decided.outcome}" data-number="{number}">'
        f'<td role="cell" class="at"><time datetime="{at}" title="{at}">{_clock_time(decided.at)}</time></td>'
        f'<td role="cell" class="outcome">{mark} {words}</td>'
        f'<td role="cell" class="image"><span class="name">{_image(decided.image)}</span>'
        f'<span class="kind">{escape(decided.method)} {escape(decided.kind)} {digest}</span></td>'
        f'<td role="cell" class="why">{why}</td>'
        f'<td role="cell" class="client">{escape(decided.client)}</td></tr>'
    )


def _image(image: str) -> str:
    """The name, whole; of the digest in it the beginning."""
    name, at, digest = image.rpartition("@")
    return f"{escape(name + at)}{_short(short_digest(digest), digest)}" if at else escape(image)


def _short(shown: str, whole: str) -> str:
    return f'<abbr title="{escape(whole)}">{escape(shown)}</abbr>'


def _clock_time(at: float) -> str:
    return f"{moment(at):%H:%M:%S}"
