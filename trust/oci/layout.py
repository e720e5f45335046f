"""Owns OCI image layouts on disk: read as a source that is not trusted, written as a store of content.

    DIR/oci-layout   DIR/index.json (tags)   DIR/blobs/ALGORITHM/HEX

Only a parsed digest becomes a file name, and no symbolic link is followed below ``DIR``. A blob enters so:
  1. written to a temporary file beside the blobs, hashed on the way, at most as long as it should be
  2. size and hash compared; synced; renamed to its digest; the directory synced
Two writers of one blob write the same bytes: the later rename changes nothing. Source: image-spec 1.1 "Image
Layout".
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from trust.digest import Digest, sha256
from trust.errors import InputError, LimitError, StateError
from trust.manifest import DESCRIPTORS_MAX, MANIFEST_MAX_BYTES, OCI_INDEX, Descriptor, Index, parse_manifest
from trust.oci.content import VerifiedChunks
from trust.oci.errors import tampered
from trust.oci.layout_files import (
    exclusive,
    open_regular,
    read_regular,
    replace_file,
    sweep_temporaries,
    temporary_file,
)
from trust.strict_json import strict_json

REF_NAME = "org.opencontainers.image.ref.name"
_MARKER = "oci-layout"
_INDEX = "index.json"
_MARKER_BYTES = b'{"imageLayoutVersion":"1.0.0"}'
_EMPTY_INDEX = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
_READ_BYTES = 1024 * 1024
_NAME_MAX_LENGTH = 512


class Layout:
    """One layout directory; usable from several threads and processes.

    Every method raises:
        InputError: what is there is no layout, or lacks what was asked for.
        StateError: it cannot be read or written. LimitError: another holds its lock.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def open(cls, directory: Path) -> Layout:
        """Return the layout at ``directory``, which must be one already."""
        layout = cls(directory)
        layout._check_marker()
        return layout

    @classmethod
    def create(cls, directory: Path) -> Layout:
        """Return the layout at ``directory``, made where there is none; what dead writers left is swept up."""
        layout = cls(directory)
        try:
            (directory / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            with exclusive(directory):
                if not (directory / _INDEX).exists():
                    replace_file(directory, _INDEX, json.dumps(_EMPTY_INDEX).encode())
                if not (directory / _MARKER).exists():
                    replace_file(directory, _MARKER, _MARKER_BYTES)
                sweep_temporaries(directory)
        except OSError as err:
            raise StateError(f"layout cannot be made: {directory}: {err.strerror}") from err
        layout._check_marker()
        return layout

    @classmethod
    def preview(cls, directory: Path) -> Layout:
        """Return what ``create`` would, as far as it is there: nothing is made, and it may lack everything."""
        layout = cls(directory)
        if (directory / _MARKER).exists():
            layout._check_marker()
        return layout

    def resolve(self, tag: str | None) -> Descriptor:
        """Return the descriptor that the layout's index has under ``tag``; None asks for the only one."""
        found = [
            descriptor
            for descriptor in self._index().manifests
            if tag is None or descriptor.annotations.get(REF_NAME) == tag
        ]
        if len({descriptor.digest for descriptor in found}) == 1:
            return found[0]
        named = f"tag {tag!r}" if tag is not None else "manifest"
        if found:
            raise InputError(f"layout has more than one {named}: {self.directory}", hint="name one: oci:DIR:TAG")
        raise InputError(f"layout has no {named}: {self.directory}")

    def manifest(self, digest: Digest) -> bytes:
        """Return the bytes of the manifest ``digest``.

        Raises:
            RefusedError: ``tampered``; they do not hash to it.
        """
        data = read_regular(self.directory, _parts(digest), max_bytes=MANIFEST_MAX_BYTES)
        if not digest.matches(data):
            raise tampered(f"manifest in {self.directory}: expected {digest}, got {sha256(data)}")
        return data

    def blob(self, digest: Digest, size_bytes: int) -> VerifiedChunks:
        """Return the blob piece by piece; the reading ends only if it was the whole blob, as from a registry."""

        def pieces() -> Iterator[bytes]:
            with self.open_blob(digest) as file:
                while piece := file.read(_READ_BYTES):
                    yield piece

        return VerifiedChunks(pieces(), digest, size_bytes, what=f"blob in {self.directory}")

    def blob_bytes(self, digest: Digest, size_bytes: int) -> bytes:
        """Return the whole blob; that ``size_bytes`` fit into memory is the caller's judgement.

        Raises:
            RefusedError: ``tampered``; another size or digest.
        """
        return b"".join(self.blob(digest, size_bytes))

    def has(self, digest: Digest, size_bytes: int) -> bool:
        """Tell whether the blob is there with this size; it was hashed when it came, not now."""
        try:
            with self.open_blob(digest) as file:
                return os.fstat(file.fileno()).st_size == size_bytes
        except InputError:
            return False

    def open_blob(self, digest: Digest) -> BinaryIO:
        """Return the blob's file, opened for reading without a buffer; its bytes are not hashed again."""
        return os.fdopen(open_regular(self.directory, _parts(digest)), "rb", buffering=0)

    def blob_path(self, digest: Digest) -> Path:
        """Return where the blob is, a regular file; its bytes are not hashed again."""
        self.open_blob(digest).close()
        return self.directory.joinpath(*_parts(digest))

    def add_blob(self, untrusted_chunks: Iterable[bytes], expected_digest: Digest, expected_size: int) -> bool:
        """Have the blob in the layout after this; tell whether it was new. Nothing is read where it is there.

        What ``Registry.blob`` and ``Layout.blob`` hand out is hashed by them, once.

        Raises:
            RefusedError: ``tampered``; another size or digest. The layout is unchanged.
        """
        if self.has(expected_digest, expected_size):
            return False
        chunks = untrusted_chunks
        if not (isinstance(chunks, VerifiedChunks) and chunks.digest == expected_digest):
            chunks = VerifiedChunks(chunks, expected_digest, expected_size, what=f"blob for {self.directory}")
        with temporary_file(self.directory) as temporary:
            written = 0
            for chunk in chunks:
                temporary.write(chunk)
                written += len(chunk)
            if written != expected_size:  # a reader that was handed over half read
                raise tampered(f"blob for {self.directory}: expected {expected_size} bytes, got {written}")
            temporary.keep_as(_parts(expected_digest))
        return True

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Have ``name`` stand for ``descriptor`` alone after this; other entries stay as they are.

        Raises:
            LimitError: the index cannot name one more; it is as before.
        """
        if not name.isprintable() or not 0 < len(name) <= _NAME_MAX_LENGTH:
            raise InputError(f"layout tag is malformed: expected 1 to {_NAME_MAX_LENGTH} characters, got {name!r}")
        with exclusive(self.directory):
            document = self._index_document()
            kept = [
                entry for entry in document["manifests"] if (entry.get("annotations") or {}).get(REF_NAME) != name
            ]
            document["manifests"] = [*kept, _entry(name, descriptor)]
            self._replace_index(document)

    def nameless(self) -> tuple[Digest, ...]:
        """Return the manifests of the index that no tag names: referrers, as other tools keep them."""
        return tuple(each.digest for each in self._index().manifests if REF_NAME not in each.annotations)

    def add_referrers(self, manifests: Iterable[bytes]) -> bool:
        """Have ``manifests``, which are there, in the index without a tag; tell whether one was not.

        The index is read and written once, however many they are.

        Raises:
            LimitError: the index cannot name so many; it is as before.
        """
        from trust.oci.referrers import referrer_entry  # noqa: PLC0415 - a verification adds none

        entries = {
            digest: referrer_entry(digest, data) for digest, data in ((sha256(each), each) for each in manifests)
        }
        with exclusive(self.directory):
            known = set(self.nameless())
            new = [entry for digest, entry in entries.items() if digest not in known]
            if new:
                document = self._index_document()
                document["manifests"] = [*document["manifests"], *new]
                self._replace_index(document)
        return bool(new)

    def _index(self) -> Index:
        data = read_regular(self.directory, (_INDEX,), max_bytes=MANIFEST_MAX_BYTES)
        index = parse_manifest(data)
        if not isinstance(index, Index):
            raise InputError(f"layout is malformed: index.json is no index: {self.directory}")
        return index

    def _index_document(self) -> dict[str, Any]:
        self._index()
        data = read_regular(self.directory, (_INDEX,), max_bytes=MANIFEST_MAX_BYTES)
        document: dict[str, Any] = strict_json(data, max_bytes=MANIFEST_MAX_BYTES, what="index.json")
        return document

    def _replace_index(self, document: dict[str, Any]) -> None:
        """Have ``document`` as the index, unless nobody could read it any more."""
        data = json.dumps(document, separators=(",", ":")).encode()
        count = len(document["manifests"])
        if len(data) > MANIFEST_MAX_BYTES or count > DESCRIPTORS_MAX:
            raise LimitError(
                f"layout is full: {self.directory}: expected an index.json of at most {MANIFEST_MAX_BYTES} bytes "
                f"and {DESCRIPTORS_MAX} manifests, got {len(data)} and {count}",
                hint="take another directory",
            )
        replace_file(self.directory, _INDEX, data)

    def _check_marker(self) -> None:
        try:
            data = read_regular(self.directory, (_MARKER,), max_bytes=4096)
            version = strict_json(data, max_bytes=4096, what=_MARKER)["imageLayoutVersion"]
        except (InputError, KeyError, TypeError) as err:
            raise InputError(f"not an OCI layout: {self.directory}: {err}") from err
        if version != "1.0.0":
            raise InputError(f"layout version unsupported: expected 1.0.0, got {str(version)[:40]}")


def _parts(digest: Digest) -> tuple[str, ...]:
    return ("blobs", digest.algorithm, digest.hex)


def _entry(name: str, descriptor: Descriptor) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size_bytes,
        "annotations": {**descriptor.annotations, REF_NAME: name},
    }
    platform = descriptor.platform
    if platform is not None:
        entry["platform"] = {"os": platform.os, "architecture": platform.architecture}
        if platform.variant is not None:
            entry["platform"]["variant"] = platform.variant
    return entry
