"""Owns the fetching of an allowed image into the content store: by digest, each byte hashed, nothing twice.

  1. the manifest that the verdict names; of an index, then, the child for the platform, named by the index
  2. its configuration, which must be for the platform too
  3. its layers, several at a time

What is in the store already is not asked for again: a whole image needs no network. Descriptors' ``urls`` are
never followed.
"""

from __future__ import annotations

from collections.abc import Callable

from trust.deadline import Deadline, deadline_in
from trust.digest import Digest
from trust.errors import AmbiguousManifestError, InputError, LimitError, RefusedError, StateError
from trust.manifest import MANIFEST_MAX_BYTES, Descriptor, Index, Manifest, Platform, parse_manifest
from trust.oci.layout import Layout
from trust.runtime.image import CONFIG_MAX_BYTES, CONFIG_TYPES, ImageConfig, parse_image_config
from trust.runtime.progress import UNTOLD, Progress
from trust.runtime.source import Source
from trust.value import dataclass
from trust.verdict import Allowed

LAYER_TYPES = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)
LAYERS_AT_ONCE = 3
IMAGE_MAX_BYTES = 64 * 1024**3  # of its blobs together
INDEX_DEPTH_MAX = 3
BLOB_FREE_SECONDS = 60.0
BLOB_MIN_BYTES_PER_SECOND = 32 * 1024  # a server that drips more slowly is not waited for

# What uname calls a machine, in the words of the image specification.
_ARCHITECTURES = {
    "x86_64": ("amd64", None),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", None),
    "ppc64le": ("ppc64le", None),
    "riscv64": ("riscv64", None),
    "s390x": ("s390x", None),
}


Vet = Callable[[Digest], None]
"""Takes the child of an allowed index, and raises a ``RefusedError`` where it is denied itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that is in the content store whole, for one platform; ``digest`` is of its manifest."""

    digest: Digest
    manifest: Manifest
    config: ImageConfig


def machine_platform(machine: str) -> Platform:
    """Return the platform of a Linux machine by the name that ``uname -m`` gives it."""
    architecture, variant = _ARCHITECTURES.get(machine, (machine, None))
    return Platform(os="linux", architecture=architecture, variant=variant)


def parse_platform(text: str) -> Platform:
    """Return the platform ``linux/ARCHITECTURE[/VARIANT]``.

    Raises:
        InputError: it is another system, or spelled otherwise.
    """
    os, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    if os != "linux" or not architecture or "/" in variant:
        raise InputError(f"platform is malformed: expected linux/ARCHITECTURE[/VARIANT], got {text[:80]!r}")
    return Platform(os=os, architecture=architecture, variant=variant or None)


def pull(
    allowed: Allowed,
    *,
    platform: Platform,
    source: Source,
    store: Layout,
    deadline: Deadline,
    vet: Vet,
    progress: Progress = UNTOLD,
) -> Image:
    """Have the allowed image in ``store``; return what is needed to run it on ``platform``.

    ``deadline`` is for the manifest and configuration; each layer may take as long as its size allows.
    ``vet`` is asked about the child of an allowed index: to sign an index is not to sign what was revoked.

    Raises:
        InputError: it is no image for the platform.
        RefusedError: ``tampered``, ``ambiguous``, or the reason why the child is denied.
        UnreachableError, LimitError: it could not be fetched whole.
    """
    pulling = _Pulling(source=source, store=store, deadline=deadline, progress=progress)
    digest, manifest = pulling.manifest(allowed.digest, allowed.size_bytes, platform)
    if digest != allowed.digest:
        vet(digest)
    if manifest.artifact_type is not None or manifest.config.media_type not in CONFIG_TYPES:
        raise InputError(
            f"not an image that can be run: its configuration is of type {manifest.config.media_type[:100]!r}"
        )
    if manifest.config.size_bytes > CONFIG_MAX_BYTES:
        raise InputError(f"image configuration is too large: expected at most {CONFIG_MAX_BYTES} bytes")
    config = parse_image_config(pulling.small(manifest.config.digest, manifest.config.size_bytes))
    if not _fits(config.platform, platform):
        raise InputError(
            f"image is for {config.platform}, expected {platform}", hint=f"--platform {config.platform}"
        )
    pulling.layers(manifest, config)
    return Image(digest=digest, manifest=manifest, config=config)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pulling:
    source: Source
    store: Layout
    deadline: Deadline
    progress: Progress

    def manifest(self, digest: Digest, size_bytes: int, platform: Platform) -> tuple[Digest, Manifest]:
        """Return the manifest under ``digest``, or its child for the platform."""
        for _ in range(INDEX_DEPTH_MAX):
            if size_bytes > MANIFEST_MAX_BYTES:
                raise InputError(f"manifest is too large: expected at most {MANIFEST_MAX_BYTES} bytes")
            if not self.store.has(digest, size_bytes):
                self.store.add_blob([self.source.manifest(digest, deadline=self.deadline)], digest, size_bytes)
            try:
                parsed = parse_manifest(self._stored(digest, size_bytes))
            except AmbiguousManifestError as err:
                raise RefusedError(str(err), reason=err.reason) from err
            if isinstance(parsed, Manifest):
                return digest, parsed
            child = choose_child(parsed, platform)
            digest, size_bytes = child.digest, child.size_bytes
        raise InputError(f"indexes are nested: expected at most {INDEX_DEPTH_MAX} levels")

    def small(self, digest: Digest, size_bytes: int) -> bytes:
        """Return content that fits into memory."""
        self._fetch(digest, size_bytes)
        return self._stored(digest, size_bytes)

    def layers(self, manifest: Manifest, config: ImageConfig) -> None:
        """Have every layer in the store; of several failures the first in the manifest's order is raised."""
        if len(config.diff_ids) != len(manifest.layers):
            raise InputError(
                f"image is malformed: it has {len(manifest.layers)} layers,"
                f" its configuration names {len(config.diff_ids)}"
            )
        for layer in manifest.layers:
            if layer.media_type not in LAYER_TYPES:
                raise InputError(f"layer type unsupported: got {layer.media_type[:100]!r}")
        total = sum(layer.size_bytes for layer in manifest.layers)
        if total > IMAGE_MAX_BYTES:
            raise LimitError(
                f"image is too large: expected at most {IMAGE_MAX_BYTES} bytes of layers, got {total}"
            )
        missing = {
            layer.digest: layer for layer in manifest.layers if not self.store.has(layer.digest, layer.size_bytes)
        }
        if not missing:
            return
        self.progress.begin("pulling", sum(layer.size_bytes for layer in missing.values()))
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - an image that is here needs none

        with ThreadPoolExecutor(LAYERS_AT_ONCE, thread_name_prefix="pull") as pool:
            tell = self.progress.advance
            fetching = [pool.submit(self._fetch, one.digest, one.size_bytes, tell) for one in missing.values()]
            try:
                for one in fetching:
                    one.result()
            finally:
                for one in fetching:
                    one.cancel()

    def _fetch(self, digest: Digest, size_bytes: int, tell: Callable[[int], None] = UNTOLD.advance) -> None:
        if self.store.has(digest, size_bytes):
            return
        clock = self.deadline.clock
        deadline = deadline_in(BLOB_FREE_SECONDS + size_bytes / BLOB_MIN_BYTES_PER_SECOND, clock)
        chunks = self.source.blob(digest, size_bytes, deadline=deadline).watched(tell)
        self.store.add_blob(chunks, digest, size_bytes)

    def _stored(self, digest: Digest, size_bytes: int) -> bytes:
        try:
            return self.store.blob_bytes(digest, size_bytes)
        except RefusedError as err:
            raise damaged(digest) from err


def damaged(digest: Digest) -> StateError:
    """Return the error for content that is no longer what was stored."""
    return StateError(
        f"content store is damaged: {digest} is not what was stored",
        hint="remove the content directory of TRUST_HOME; the next run fetches it anew",
    )


def choose_child(index: Index, platform: Platform) -> Descriptor:
    """Return the child of ``index`` that runs on ``platform``: the first that fits best.

    Raises:
        InputError: none does.
    """
    fitting = [child for child in index.manifests if child.platform and _fits(child.platform, platform)]
    exact = [child for child in fitting if child.platform and child.platform.variant == platform.variant]
    unnamed = [child for child in index.manifests if child.platform is None]
    if exact or fitting:
        return (exact or fitting)[0]
    if len(index.manifests) == 1 and unnamed:
        return unnamed[0]  # its configuration has the last word
    offered = ", ".join(sorted({str(child.platform) for child in index.manifests if child.platform})[:10])
    raise InputError(f"image is not for {platform}: it is for {offered or 'no platform'}")


def _fits(has: Platform, wanted: Platform) -> bool:
    """Tell whether what runs on ``has`` runs on ``wanted``; a variant that one of them leaves open is any.

    64-bit ARM has one baseline, and older ARM variants run on newer machines.
    """
    if (has.os, has.architecture) != (wanted.os, wanted.architecture):
        return False
    if has.variant is None or wanted.variant is None or has.variant == wanted.variant:
        return True
    return has.architecture == "arm" and has.variant < wanted.variant
