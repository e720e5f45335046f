"""A token in software: SoftHSM 2 with a configuration, and so with tokens, of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

from tests.simulators.command_line import CHECKOUT, CommandLine

LAB = CHECKOUT / ".lab/root/usr/lib"
PIN, OFFICER_PIN = "1234", "12345678"


def module() -> Path:
    """Return SoftHSM's library, unpacked or the machine's own, in a process that can load it."""
    folders = [*LAB.glob("*-linux-gnu"), *Path("/usr/lib").glob("*-linux-gnu"), Path("/usr/lib")]
    found = next((file for folder in folders if (file := folder / "softhsm/libsofthsm2.so").is_file()), None)
    assert found is not None, "no softhsm: run the tests through scripts/test"
    return found


def load_libraries() -> None:
    """Load into this process what the module needs and the machine may lack; what it has, it uses."""
    for name in ("libcrypto.so.3", "libstdc++.so.6"):
        try:
            ctypes.CDLL(name)
        except OSError:  # noqa: PERF203 - two of them
            ctypes.CDLL(str(next(LAB.glob(f"*-linux-gnu/{name}"))), mode=ctypes.RTLD_GLOBAL)


class Tokens:
    """The tokens below ``folder``; ``environment`` is what a process needs to see them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tokens"
        self.folder.mkdir(parents=True)
        self.configuration = folder / "softhsm2.conf"
        self.configuration.write_text(f"directories.tokendir = {self.folder}\nobjectstore.backend = file\n")
        self.environment = {"SOFTHSM2_CONF": str(self.configuration)}
        # Only where the machine lacks them: another process's libraries are not ours to bend.
        if not any(Path("/").glob("lib/*-linux-gnu/libcrypto.so.3")):
            self.environment["LD_LIBRARY_PATH"] = ":".join(map(str, LAB.glob("*-linux-gnu")))

    def add(self, label: str) -> None:
        """Make a new token."""
        self._tool("--init-token", "--free", "--label", label, "--so-pin", OFFICER_PIN, "--pin", PIN)

    def put(self, label: str, name: str, pkcs8_pem: bytes, *, key_id: str = "01") -> None:
        """Put a private key, and its public half, on the token ``label``, as its own tool does."""
        file = self.folder.parent / f"{name}.pem"
        file.write_bytes(pkcs8_pem)
        self._tool("--import", str(file), "--token", label, "--label", name, "--id", key_id, "--pin", PIN)

    def unplug(self) -> None:
        """Take all tokens out."""
        self.folder.rename(self.folder.with_name("unplugged"))
        self.folder.mkdir()

    def plug_in(self) -> None:
        """Put them back."""
        self.folder.rmdir()
        self.folder.with_name("unplugged").rename(self.folder)

    def _tool(self, *arguments: str) -> None:
        command = ["softhsm2-util", "--module", str(module()), *arguments]
        subprocess.run(command, env={**os.environ, **self.environment}, check=True, capture_output=True)


class TokenUser(CommandLine):
    """A user with tokens, and with ``more`` in his environment."""

    def __init__(self, user: CommandLine, tokens: Tokens) -> None:
        super().__init__(user.folder, user.zygote)
        self.tokens = tokens
        self.more = {"TRUST_PIN": PIN}

    @property
    def environment(self) -> dict[str, str]:
        """What every command of this user finds."""
        return {**super().environment, **self.tokens.environment, **self.more}

    def uri(self, name: str, *, label: str = "T") -> str:
        """Return the URI of the key ``name``."""
        return f"pkcs11:token={label};object={name}?module-path={module()}"
