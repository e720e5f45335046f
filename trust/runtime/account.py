"""Owns whom a container runs as: the image's words resolved in the image's own ``passwd`` and ``group``.

Pure: the two files come as bytes from the image; lines that are malformed name nobody. Ids are decimal and below
2^31: what wraps around could be root (containerd CVE-2024-40635).
"""

from __future__ import annotations

from collections.abc import Iterator

from trust.errors import InputError
from trust.value import dataclass

ID_MAX = 2**31 - 1
FILE_MAX_BYTES = 4 * 1024 * 1024  # of passwd or group

_PASSWD_FIELDS = 7
_GROUP_FIELDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Ids inside the container; ``additional_gids`` has the primary group too, as login has it.

    A process that gives up its group would else pass for one that never had it (moby CVE-2022-36109).
    """

    uid: int
    gid: int
    additional_gids: tuple[int, ...]
    home: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _User:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    name: str
    gid: int
    members: frozenset[str]


def resolve_account(spelled: str, *, untrusted_passwd: bytes, untrusted_group: bytes) -> Account:
    """Return the account that ``spelled`` names: ``""`` (root), ``USER``, ``USER:GROUP``, names or numbers.

    Raises:
        InputError: a name that the image does not have, or a number out of range.
    """
    user_text, colon, group_text = spelled.partition(":")
    users = list(_users(untrusted_passwd))
    groups = list(_groups(untrusted_group))
    uid = _number(user_text or "0", "user")
    user = next((one for one in users if (one.uid == uid if uid is not None else one.name == user_text)), None)
    if uid is None and user is None:
        raise InputError(f"user is not in the image's passwd: got {user_text[:80]!r}")
    if colon and group_text:
        gid, additional = _group_id(group_text, groups), tuple[int, ...]()
    else:
        gid = user.gid if user else 0
        additional = tuple(one.gid for one in groups if user and user.name in one.members)
    return Account(
        uid=user.uid if user else uid or 0,
        gid=gid,
        additional_gids=tuple(dict.fromkeys((gid, *additional))),
        home=user.home if user and user.home else "/",
    )


def _group_id(text: str, groups: list[_Group]) -> int:
    gid = _number(text, "group")
    if gid is not None:
        return gid
    found = next((one.gid for one in groups if one.name == text), None)
    if found is None:
        raise InputError(f"group is not in the image's group file: got {text[:80]!r}")
    return found


def _users(untrusted_passwd: bytes) -> Iterator[_User]:
    for fields in _lines(untrusted_passwd, _PASSWD_FIELDS):
        name, _, uid, gid, _, home, _ = fields
        if _is_id(uid) and _is_id(gid):
            yield _User(name=name, uid=int(uid), gid=int(gid), home=home if home.startswith("/") else "")


def _groups(untrusted_group: bytes) -> Iterator[_Group]:
    for name, _, gid, members in _lines(untrusted_group, _GROUP_FIELDS):
        if _is_id(gid):
            yield _Group(name=name, gid=int(gid), members=frozenset(members.split(",")))


def _lines(untrusted_bytes: bytes, fields: int) -> Iterator[list[str]]:
    for line in untrusted_bytes.split(b"\n"):
        parts = line.decode("utf-8", "replace").replace("\x00", "").split(":")
        if len(parts) == fields and parts[0]:
            yield parts


def _number(text: str, what: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    if not _is_id(text):
        raise InputError(f"{what} is out of range: expected at most {ID_MAX}, got {text[:40]}")
    return int(text)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(ID_MAX)) and int(text) <= ID_MAX
