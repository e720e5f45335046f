"""A keyring whose shelf is a JSON file: what the ``keyring`` library finds where a test names this backend."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class FileKeyring(KeyringBackend):
    """Gives what the file at ``KEYRING_SHELF`` holds, by ``SERVICE/NAME``; one that is no JSON is locked."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        found: dict[str, str] = json.loads(Path(os.environ["KEYRING_SHELF"]).read_text())
        return found.get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError
