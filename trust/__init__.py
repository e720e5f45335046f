"""Content trust for container images: sign, verify and run what the publisher wants a tag to be *now*."""

__version__ = "0.1.0"
