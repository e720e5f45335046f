"""Owns the words for what a change of metadata changes: what a person reads before signing it.

Every signed field that differs is named, be it known here or not, so that nothing is signed unseen: a field that
no sentence was written for is shown as it is spelled. Pure: no IO, no clock, no TUF library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trust.delegations import Bins, Delegation, Delegations
from trust.instant import format_utc
from trust.targets import Content, Table, Target
from trust.value import dataclass

Who = Callable[[str], str]
"""Takes a key id, returns how its owner is called here."""

_NOTHING = Content(table=Table(targets={}, revoked={}))
_SAID = frozenset({"keys", "roles"})  # of a root: in sentences of their own
_SPELLED = frozenset({"targets", "delegations", "x-revoked", "x-signers"})  # of a targets role: by its content


_WORDED = frozenset({
    "digest", "size_bytes", "media_type", "signed_at", "signed_by", "tags", "inside", "annotations",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changes in one role, one sentence for each thing."""

    role: str
    words: tuple[str, ...]


def targets_words(before: Content | None, after: Content, who: Who) -> tuple[str, ...]:
    """Return what differs in the content of a targets role."""
    was = before or _NOTHING
    return (
        *_target_words(was.table.targets, after.table.targets, who),
        *_tombstone_words(was.table, after.table, who),
        *_delegation_words(was.delegations, after.delegations, who),
    )


def root_words(before: Mapping[str, Any], after: Mapping[str, Any], who: Who) -> tuple[str, ...]:
    """Return what differs in the signed fields of a root, as TUF spells them."""
    words: list[str] = []
    for name in sorted(before["roles"].keys() | after["roles"].keys()):
        was, now = before["roles"].get(name, {}), after["roles"].get(name, {})
        words += _key_words(name, was.get("keyids", ()), now.get("keyids", ()), who)
        if was.get("threshold") != now.get("threshold"):
            before_it = f", not {was['threshold']} of {len(was['keyids'])}" if was else ""
            words.append(
                f"role {name} needs {now.get('threshold')} of {len(now.get('keyids', ()))} keys{before_it}"
            )
    return (*words, *_spelling_words(before["keys"], after["keys"]), *field_words(before, after, without=_SAID))


def field_words(
    before: Mapping[str, Any], after: Mapping[str, Any], *, without: frozenset[str] = _SPELLED
) -> tuple[str, ...]:
    """Return what differs in the other signed fields: version, expiry, and whatever else there is."""
    return tuple(_fields(before, after, without))


def _fields(before: Mapping[str, Any], after: Mapping[str, Any], without: frozenset[str]) -> Iterator[str]:
    for key in sorted((before.keys() | after.keys()) - without):
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from (f"{key} {words}" for words in _fields(was, now, frozenset()))
        elif was is None:
            yield f"{key} is {now}"
        elif now is None:
            yield f"{key} goes; it was {was}"
        else:
            yield f"{key} moves from {was} to {now}"


def _target_words(before: Mapping[str, Target], after: Mapping[str, Target], who: Who) -> Iterator[str]:
    names = before.keys() | after.keys()
    for name in sorted(names, key=lambda each: ("@" in each, each)):  # tags first: the rest follows from them
        was, now = before.get(name), after.get(name)
        label = f"digest {name}" if "@" in name else f"tag {name}"
        if was == now:
            continue
        if was is None and now is not None:
            yield f"{label} is new{'' if '@' in name else f': {now.digest}'} ({_described(now, who)})"
        elif was is not None and now is None:
            yield f"{label} goes{'' if '@' in name else f'; it was {was.digest}'}"
        elif was is not None and now is not None and was.digest != now.digest:
            yield f"{label} moves from {was.digest} to {now.digest} ({_described(now, who)})"
        elif was is not None and now is not None:
            changed = _fields(_facts(was, who), _facts(now, who), frozenset())
            yield f"{label} keeps its digest: {'; '.join(changed)}"


def _facts(target: Target, who: Who) -> dict[str, Any]:
    return {
        "size": f"{target.size_bytes} bytes",
        "type": target.media_type,
        "date": format_utc(target.signed_at),
        "signed by": ", ".join(map(who, target.signed_by)) or "nobody",
        "tags": ", ".join(target.tags) or "none",
        "in": ", ".join(map(str, target.inside)) or "none",
        "annotations": dict(target.annotations),
        **{name: _spelled(value) for name in _further() if (value := getattr(target, name))},
    }


def _further() -> Iterator[str]:
    """Yield the fields of a target that no word above was written for: they are shown as they are."""
    return (name for name in Target.__annotations__ if name not in _WORDED)


def _spelled(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_spelled(each)}" for key, each in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _described(target: Target, who: Who) -> str:
    facts = _facts(target, who)
    notes = [f"{key}={value}" for key, value in sorted(target.annotations.items())]
    said = [facts["size"], facts["type"], f"signed {facts['date']} by {facts['signed by']}"]
    said += [f"tags {facts['tags']}"] if target.tags else []
    said += [f"in {facts['in']}"] if target.inside else []
    said += [f"{name} {facts[name]}" for name in _further() if name in facts]
    return ", ".join([*said, *(["annotations " + " ".join(notes)] if notes else [])])


def _tombstone_words(before: Table, after: Table, who: Who) -> Iterator[str]:
    for text in sorted(before.revoked.keys() | after.revoked.keys()):
        was, now = before.revoked.get(text), after.revoked.get(text)
        if was == now:
            continue
        if now is None:
            yield f"digest {text} is no longer revoked"
        else:
            by = ", ".join(map(who, now.revoked_by)) or "nobody"
            word = "is revoked" if was is None else "stays revoked, otherwise"
            yield f"digest {text} {word}: {', '.join(now.paths)} (on {format_utc(now.revoked_at)} by {by})"


def _delegation_words(before: Delegations, after: Delegations, who: Who) -> Iterator[str]:
    for name in dict.fromkeys(role.name for role in (*before.roles, *after.roles)):
        was, now = before.named(name), after.named(name)
        if now is None:
            yield f"role {name} is delegated no more"
        elif was is None:
            yield f"role {name} is delegated: {', '.join(f'{k} {v}' for k, v in _terms(now).items())}"
            yield from _place_words(name, [role.name for role in after.roles])
            yield from _key_words(name, (), now.keyids, who)
        else:
            yield from (f"role {name}: {words}" for words in _fields(_terms(was), _terms(now), frozenset()))
            yield from _key_words(name, was.keyids, now.keyids, who)
    kept = [role.name for role in before.roles if after.named(role.name)]
    order = [role.name for role in after.roles if before.named(role.name)]
    if kept != order:
        yield f"roles are searched in another order: {', '.join(role.name for role in after.roles)}"
    yield from _bins_words(before.bins, after.bins, who)
    yield from _spelling_words(before.keys, after.keys)


def _place_words(name: str, order: Sequence[str]) -> Iterator[str]:
    """Yield where a new role stands among others: of two that cover a path, the first one answers."""
    place = order.index(name)
    around = [f"after {each}" for each in order[max(place - 1, 0) : place]]
    around += [f"before {each}" for each in order[place + 1 : place + 2]]
    if around:
        yield f"role {name} is searched as number {place + 1} of {len(order)}, {' and '.join(around)}"


def _bins_words(before: Bins | None, after: Bins | None, who: Who) -> Iterator[str]:
    if before == after:
        return
    if after is None:
        yield "bins go"
        return
    terms = {
        "prefix": after.prefix,
        "bins": after.count,
        "threshold": after.threshold,
        "expiry": _span(after.period),
    }
    yield f"bins: {', '.join(f'{key} {value}' for key, value in terms.items())}"
    yield from _key_words("bins", before.keyids if before else (), after.keyids, who)


def _terms(role: Delegation) -> dict[str, Any]:
    return {
        "paths": " ".join(role.patterns),
        "threshold": f"{role.threshold} of {len(role.keyids)}",
        "search": "ends there" if role.terminating else "goes on behind it",
        "expiry": _span(role.period),
    }


def _span(period: object) -> str:
    return "as usual" if period is None else str(period)


def _key_words(role: str, before: Any, after: Any, who: Who) -> list[str]:  # noqa: ANN401 - any sequence of ids
    added = [f"role {role} gets key {who(key)} ({key})" for key in after if key not in before]
    gone = [f"role {role} loses key {who(key)} ({key})" for key in before if key not in after]
    moved = [key for key in before if key in after] != [key for key in after if key in before]
    return [*added, *gone, *([f"role {role} names its keys in another order"] if moved else [])]


def _spelling_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was is not None and now is not None and was != now:
            yield f"key {key} is spelled in another way: {now}"
        elif now is not None and was is None:
            yield f"key {key} is written down: {now.get('keytype')} {now.get('scheme')}"
        elif now is None:
            yield f"key {key} is written down no more"
