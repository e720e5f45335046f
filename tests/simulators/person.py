"""Somebody of several who publish one collection by the real command line."""

from __future__ import annotations

import json
from typing import Any

from tests.simulators.command_line import CommandLine


class Person(CommandLine):
    """Somebody with a home of his own beside the others' store, policy and images."""

    def __init__(self, of: CommandLine, name: str) -> None:
        super().__init__(of.folder, of.zygote)
        self.home = of.folder / name

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "TRUST_HOME": str(self.home)}

    def said(self, code: int, *argv: str) -> dict[str, Any]:
        """Return the document of a command that ends with ``code``; what goes to stderr is left out."""
        lines = self.expect(code, *argv, "--json").splitlines()
        found: dict[str, Any] = json.loads(next(line for line in lines if line.startswith("{")))
        return found
