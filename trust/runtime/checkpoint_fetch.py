"""Owns how a snapshot's blobs come here: each hashed whole, then decrypted, decompressed, and put in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trust.deadline import Deadline, deadline_in
from trust.manifest import Descriptor
from trust.oci.content import VerifiedChunks
from trust.runtime.checkpoint_archive import unpack_images
from trust.runtime.checkpoint_blobs import Seal, content_of
from trust.runtime.checkpoint_document import Snapshot
from trust.runtime.checkpoint_pages import Chunk, write_pages
from trust.runtime.content import BLOB_FREE_SECONDS, BLOB_MIN_BYTES_PER_SECOND
from trust.runtime.source import Source
from trust.value import dataclass

IMAGES_MAX_BYTES = 4 * 1024**3  # of all that is no memory: mostly what lies in /dev/shm
BLOBS_AT_ONCE = 3
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Thawing:
    """What a container is resumed from: CRIU's ``images``, and what unpacks the layer it had written."""

    images: Path
    upper: Callable[[], Iterator[bytes]]
    streams: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """Fetches snapshots from where they lie; ``seal`` decrypts them."""

    source: Source
    deadline: Deadline
    seal: Seal | None

    def everything(self, snapshot: Snapshot, place: Path) -> Thawing:
        """Have every blob of a snapshot here, each hashed whole before it is decompressed (step 3)."""
        images = place / "images"
        images.mkdir(mode=0o700)
        upper = self._kept(snapshot.upper, place / "upper.blob")
        archive = self._kept(snapshot.images, place / "images.blob")
        unpack_images(self._content(pieces_of(archive)), images)
        with ThreadPoolExecutor(BLOBS_AT_ONCE, thread_name_prefix="fetch") as pool:
            for file in snapshot.pages:
                write_pages(images / file.name, zip(file.chunks, pool.map(self._chunk, file.chunks), strict=True))
        return Thawing(images=images, upper=lambda: self._content(pieces_of(upper)), streams=snapshot.streams)

    def _chunk(self, chunk: Chunk) -> list[bytes]:
        stored = b"".join(self._blob(chunk.blob))
        return list(content_of([stored], bytes_max=chunk.bytes, seal=self.seal))

    def _kept(self, blob: Descriptor, path: Path) -> Path:
        with path.open("xb") as file:
            for piece in self._blob(blob):
                file.write(piece)
        return path

    def _content(self, stored: Iterator[bytes]) -> Iterator[bytes]:
        return content_of(stored, bytes_max=IMAGES_MAX_BYTES, seal=self.seal)

    def _blob(self, blob: Descriptor) -> VerifiedChunks:
        seconds = BLOB_FREE_SECONDS + blob.size_bytes / BLOB_MIN_BYTES_PER_SECOND
        return self.source.blob(blob.digest, blob.size_bytes, deadline=deadline_in(seconds, self.deadline.clock))


def pieces_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a file."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
