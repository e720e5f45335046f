"""What the registry shows to everybody: where the image's tag points, and where the metadata's.

Whoever has a password that may write can look at it, keep it, and put it back on a later day.
"""

from dataclasses import dataclass

from scripts.keynote.image import Image
from scripts.keynote.plain import PlainClient

METADATA_TAG = "_trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """The two manifests that stood under the tags at one time."""

    image: bytes
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The shop's repository ``images`` with its ``tag``, and ``metadata``, where its trust metadata lives."""

    images: PlainClient
    metadata: PlainClient
    tag: str

    @property
    def reference(self) -> str:
        """The image as everybody names it."""
        return f"{self.images.host}/{self.images.repository}:{self.tag}"

    def push(self, image: Image) -> None:
        """The registry has ``image``, and the tag names it."""
        for data in (*(layer.data for layer in image.layers), image.config):
            self.images.push_blob(data)
        self.images.put_manifest(self.tag, image.manifest)

    def put_back(self, image: Image) -> None:
        """The registry has the manifest of ``image`` again, by its digest; the tag stays where it is."""
        self.images.put_manifest(image.digest, image.manifest)

    def delete(self, image: Image) -> None:
        """The registry no longer has the manifest of ``image``."""
        self.images.delete_manifest(image.digest)

    def display(self) -> Display:
        """What is shown now."""
        return Display(image=self.images.manifest(self.tag), metadata=self.metadata.manifest(METADATA_TAG))

    def show(self, display: Display) -> None:
        """Both tags are what they once were."""
        self.images.put_manifest(self.tag, display.image)
        self.metadata.put_manifest(METADATA_TAG, display.metadata)
