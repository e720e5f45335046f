"""Who holds keys or the store of a collection that is not his: he forges, replaces, restores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile

from trust.digest import sha256

_ABOVE = {"targets": "snapshot", "snapshot": "timestamp"}
Edit = Callable[[Any], object]
Keys = list[CryptoSigner]


class Attacker:
    """Whoever can write to the store's directory. ``keys`` are those that were stolen, by role."""

    def __init__(self, directory: Path, keys: Mapping[str, Keys]) -> None:
        self.directory = directory
        self.keys = keys

    def files(self) -> dict[str, bytes]:
        """Return a copy of the store."""
        return {path.name: path.read_bytes() for path in self.directory.glob("*.json")}

    def restore(self, files: Mapping[str, bytes]) -> None:
        """Set the store back to ``files``, and nothing else."""
        for path in self.directory.glob("*.json"):
            path.unlink()
        for name, data in files.items():
            self.put(name, data)

    def put(self, name: str, data: bytes) -> None:
        """Write one file, over what is there."""
        (self.directory / name).write_bytes(data)

    def edit_bytes(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change the bytes of one file; they must change."""
        before = (self.directory / name).read_bytes()
        after = change(before)
        assert after != before
        self.put(name, after)

    def file_of(self, role: str) -> str:
        """Return the name of the file that holds ``role`` now."""
        if role == "timestamp":
            return "timestamp.json"
        if role == "root":
            return f"{max(int(path.name.split('.')[0]) for path in self.directory.glob('*.root.json'))}.root.json"
        above = self.current(_ABOVE[role]).signed
        link = above.snapshot_meta if role == "snapshot" else above.meta["targets.json"]
        return f"{link.version}.{role}.json"

    def current(self, role: str) -> Metadata[Any]:
        """Return ``role`` as the store shows it now."""
        metadata: Metadata[Any] = Metadata.from_bytes((self.directory / self.file_of(role)).read_bytes())
        return metadata

    def metadata(self, file_name: str) -> Metadata[Any]:
        """Return what a file of the store says."""
        found: Metadata[Any] = Metadata.from_bytes((self.directory / file_name).read_bytes())
        return found

    def delegate_file(self, name: str) -> str:
        """Return the name of the file that holds a delegated role now."""
        return f"{self.current('snapshot').signed.meta[f'{name}.json'].version}.{name}.json"

    def forge_delegate(self, name: str, edit: Edit, *, signers: Keys | None = None) -> None:
        """Publish a delegated role after ``edit`` as its next version, signed by ``signers``."""
        metadata = self.metadata(self.delegate_file(name))
        metadata.signed.version += 1
        edit(metadata.signed)
        data = signed(metadata, self.keys[name] if signers is None else signers)
        self.name_delegate(name, metadata.signed.version, data)

    def name_delegate(self, name: str, version: int, data: bytes) -> None:
        """Write ``data`` as a delegated role and let the roles above name it."""
        self.put(f"{version}.{name}.json", data)
        self.forge("snapshot", lambda snapshot: snapshot.meta.update({f"{name}.json": link_of(version, data)}))

    def forge(
        self,
        role: str,
        edit: Edit | None = None,
        *,
        signers: Keys | None = None,
        bump: bool = True,
    ) -> None:
        """Publish ``role`` after ``edit`` as its next version, signed by ``signers``.

        The roles above name it and are signed with the stolen keys. Without ``bump`` the version stays, so that
        it has two contents.
        """
        metadata = self.current(role)
        metadata.signed.version += bump
        if edit is not None:
            edit(metadata.signed)
        self.place(
            role, metadata.signed.version, signed(metadata, self.keys[role] if signers is None else signers)
        )

    def place(self, role: str, version: int, data: bytes) -> None:
        """Write ``data`` as ``role`` and let the roles above name it."""
        self.put("timestamp.json" if role == "timestamp" else f"{version}.{role}.json", data)
        if role in _ABOVE:
            self.forge(_ABOVE[role], lambda above: name_it(above, link_of(version, data)))


def signed(metadata: Metadata[Any], signers: Keys) -> bytes:
    """Return the bytes of ``metadata`` signed by exactly ``signers``."""
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def link_of(version: int, data: bytes) -> MetaFile:
    """Return how the role above names ``data``."""
    return MetaFile(version=version, length=len(data), hashes={"sha256": sha256(data).hex})


def name_it(above: Any, link: MetaFile) -> None:
    """Let a snapshot name its targets, or a timestamp its snapshot, by ``link``."""
    if above.type == "timestamp":
        above.snapshot_meta = link
    else:
        above.meta["targets.json"] = link


def strangers(count: int = 1) -> Keys:
    """Return new keys, which no root names yet."""
    return [CryptoSigner.generate_ed25519() for _ in range(count)]
