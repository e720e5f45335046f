"""Owns how a trusted chain is written into the rows of the database, inside a transaction of its caller's."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

from trust.chain import TrustedRole
from trust.rows import ROLE_COLUMNS, delegations_text, role_row
from trust.targets import Content, target_custom, tombstone_json


def insert_roots(connection: sqlite3.Connection, pin: str, roots: Mapping[int, bytes]) -> None:
    """Write ``roots``, over those of the same version."""
    connection.executemany(
        "INSERT OR REPLACE INTO root VALUES (?, ?, ?)", [(pin, version, body) for version, body in roots.items()]
    )


def replace_roles(connection: sqlite3.Connection, pin: str, roles: Iterable[TrustedRole]) -> None:
    """Write ``roles``, and drop every other; a role without a body keeps the one that is there."""
    kept = []
    for role in roles:
        kept.append(role.facts.name)
        columns = ", ".join(f"{name} = excluded.{name}" for name in ROLE_COLUMNS.split(", ")[1:])
        body = ", body = excluded.body" if role.body is not None else ""
        connection.execute(
            f"INSERT INTO role (pin, {ROLE_COLUMNS}, body) VALUES (?{', ?' * 10})"  # noqa: S608 - our own columns
            f" ON CONFLICT (pin, name) DO UPDATE SET {columns}, refusal = NULL{body}",
            (pin, *role_row(role), role.body),
        )
    there = {name for (name,) in connection.execute("SELECT name FROM role WHERE pin = ?", (pin,))}
    for name in there.difference(kept):
        for table, column in (("role", "name"), ("target", "role"), ("tombstone", "role")):
            connection.execute(f"DELETE FROM {table} WHERE pin = ? AND {column} = ?", (pin, name))  # noqa: S608


def replace_links(connection: sqlite3.Connection, pin: str, shared: Iterable[TrustedRole]) -> None:
    """Write how roles were verified under further delegators, and drop all that was there."""
    connection.execute("DELETE FROM link WHERE pin = ?", (pin,))
    connection.executemany(
        f"INSERT INTO link (pin, {ROLE_COLUMNS}) VALUES (?{', ?' * 9})",  # noqa: S608 - our own columns
        [(pin, *role_row(role)) for role in shared],
    )


def replace_table(connection: sqlite3.Connection, pin: str, role: str, what: Content) -> None:
    """Write what ``role`` says, in the place of what it said."""
    connection.execute(
        "UPDATE role SET delegations = ? WHERE pin = ? AND name = ?",
        (delegations_text(what.delegations), pin, role),
    )
    connection.execute("DELETE FROM target WHERE pin = ? AND role = ?", (pin, role))
    connection.execute("DELETE FROM tombstone WHERE pin = ? AND role = ?", (pin, role))
    connection.executemany(
        "INSERT INTO target VALUES (?, ?, ?, ?, ?, ?)",
        [
            (pin, role, path, target.digest.hex, target.size_bytes, json.dumps(target_custom(target)))
            for path, target in what.table.targets.items()
        ],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO tombstone VALUES (?, ?, ?, ?, ?)",
        [
            (pin, role, path, digest, json.dumps(tombstone_json(tombstone)))
            for digest, tombstone in what.table.revoked.items()
            for path in tombstone.paths
        ],
    )
