"""A dpkg status that lists only what every Debian with apt has, whatever else this machine has. Pure.

apt resolves against it instead of the machine's own, so the same packages are fetched on a minimal root and on
a developer's machine, and neither a held, broken nor conflicting package of the machine gets in the way.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FIELD = re.compile(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_NAME = re.compile(r"^\s*([a-z0-9][a-z0-9+.-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Package:
    stanza: str
    name: str
    provides: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...]  # of each inner tuple one must be there
    is_seed: bool


def _names(text: str, separator: str) -> tuple[str, ...]:
    return tuple(found[1] for part in text.split(separator) if (found := _NAME.match(part)))


def _installed(status: str, architecture: str) -> Iterator[_Package]:
    for stanza in status.split("\n\n"):
        field = dict(_FIELD.findall(stanza))
        if field.get("Status", "").split()[-1:] != ["installed"]:
            continue
        if field.get("Architecture") not in {architecture, "all"}:
            continue
        depends = ", ".join(field[key] for key in ("Depends", "Pre-Depends") if key in field)
        name = field["Package"]
        yield _Package(
            stanza=stanza.strip("\n"),
            name=name,
            provides=_names(field.get("Provides", ""), ","),
            needs=tuple(_names(group, "|") for group in depends.split(",") if group.strip()),
            is_seed=field.get("Essential") == "yes" or field.get("Priority") == "required" or name == "apt",
        )


def base_status(status: str, architecture: str) -> str:
    """The stanzas of ``status`` for the essential and required packages, for apt, and for what those need.

    ``status`` is the text of dpkg's status file, ``architecture`` the native one (``amd64``). Of alternatives
    every installed one is kept. An empty text gives an empty one.
    """
    packages = list(_installed(status, architecture))
    by_name: dict[str, list[_Package]] = {}
    for package in packages:
        for name in (package.name, *package.provides):
            by_name.setdefault(name, []).append(package)
    kept: set[str] = set()
    todo = [package for package in packages if package.is_seed]
    while todo:
        package = todo.pop()
        if package.name in kept:
            continue
        kept.add(package.name)
        for alternatives in package.needs:
            todo.extend(found for name in alternatives for found in by_name.get(name, ()))
    return "".join(package.stanza + "\n\n" for package in packages if package.name in kept)
