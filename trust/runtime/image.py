"""Owns the reading of image configurations: what an image says about how it wants to be run.

Pure: bytes in, values out. The bytes come from outside; they are capped and read strictly. What a runtime does
not use (labels, exposed ports, volumes) is read by nobody. Source: OCI image-spec 1.1 "Image
Configuration"; Docker's configuration is the same document.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Any

from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.manifest import Platform
from trust.runtime.health import HealthCheck, image_check
from trust.strict_json import fields, one_spelling, strict_json
from trust.value import dataclass

CONFIG_MAX_BYTES = 4 * 1024 * 1024
WORDS_MAX = 4096  # of a command line or an environment; execve takes little more
CONFIG_TYPES = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
SIGNAL_MAX = 64
KERNEL_DIRECTORIES = frozenset({"proc", "dev", "sys"})
_FIELDS = fields("os", "architecture", "variant", "config", "rootfs")
_OF_CONFIG = fields("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "StopSignal", "Healthcheck")
_OF_ROOT = fields("type", "diff_ids")
_OF_HEALTH = fields("Test", "Interval", "Timeout", "Retries", "StartPeriod", "StartInterval")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """How an image wants to be run; ``diff_ids`` are the digests of its layers, unpacked, lowest first.

    ``user`` is as the image spells it (``""``, ``web``, ``101:101``); ``working_directory`` is absolute.
    """

    platform: Platform
    diff_ids: tuple[Digest, ...]
    user: str
    environment: tuple[tuple[str, str], ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    working_directory: str
    stop_signal: int
    health: HealthCheck | None = None


def parse_image_config(untrusted_bytes: bytes) -> ImageConfig:
    """Return the configuration that ``untrusted_bytes`` hold.

    Raises:
        InputError: too large, not JSON, or a field that is used here is malformed, or there in other letters.
    """
    document = strict_json(untrusted_bytes, max_bytes=CONFIG_MAX_BYTES, what="image configuration")
    if not isinstance(document, dict):
        raise InputError("image configuration is malformed: expected a JSON object")
    one_spelling(document, _FIELDS, what="image configuration")
    run = _object(document, "config", _OF_CONFIG)
    return ImageConfig(
        platform=Platform(
            os=_text(document, "os"),
            architecture=_text(document, "architecture"),
            variant=_text(document, "variant") or None,
        ),
        diff_ids=tuple(parse_digest(text) for text in _texts(_object(document, "rootfs", _OF_ROOT), "diff_ids")),
        user=_text(run, "User"),
        environment=tuple(parse_variable(text) for text in _texts(run, "Env")),
        entrypoint=_texts(run, "Entrypoint"),
        command=_texts(run, "Cmd"),
        working_directory=parse_directory(_text(run, "WorkingDir") or "/"),
        stop_signal=parse_signal(_text(run, "StopSignal") or "SIGTERM"),
        health=image_check(_object(run, "Healthcheck", _OF_HEALTH)),
    )


def parse_variable(text: str) -> tuple[str, str]:
    """Return name and value of the environment variable ``NAME=VALUE``.

    Raises:
        InputError: no name, no ``=``, or a NUL byte.
    """
    name, equals, value = text.partition("=")
    if not name or not equals or not is_text(text):
        raise InputError(f"environment variable is malformed: expected NAME=VALUE, got {text[:80]!r}")
    return name, value


def parse_signal(text: str) -> int:
    """Return the number of a signal: ``SIGTERM``, ``TERM``, ``15``, ``SIGRTMIN+3``.

    Raises:
        InputError: Linux has no such signal.
    """
    name, _, above = text.upper().removeprefix("SIG").partition("+")
    if name.isascii() and name.isdigit():
        number = int(name) if len(name) <= 2 else 0  # noqa: PLR2004 - the last is 64
    elif name == "RTMIN" or "SIG" + name in signal.Signals.__members__:
        number = int(signal.Signals["SIG" + name])
    else:
        number = 0
    if above:
        is_number = above.isascii() and above.isdigit() and len(above) <= 2  # noqa: PLR2004 - likewise
        number = number + int(above) if name == "RTMIN" and is_number else 0
    if not 1 <= number <= SIGNAL_MAX:
        raise InputError(f"signal is unknown: got {text[:40]!r}")
    return number


def is_text(value: object) -> bool:
    """Tell whether ``value`` is text that a program can be given: no NUL, no half of a surrogate pair."""
    return isinstance(value, str) and "\x00" not in value and not _SURROGATE.search(value)


def parse_directory(path: str) -> str:
    """Return the absolute path of a directory in a container, without ``.``, ``//`` and a closing ``/``.

    Raises:
        InputError: it is relative, has a ``..``, or lies in ``/proc``, ``/dev`` or ``/sys``: a working directory
            of ``/proc/self/fd/N`` is one of the host's (CVE-2024-21626).
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or ".." in parts or not is_text(path):
        raise InputError(f"directory is malformed: expected an absolute path without '..', got {path[:200]!r}")
    if parts and parts[0] in KERNEL_DIRECTORIES:
        raise InputError(f"directory lies in /{parts[0]}, where the kernel's things are: got {path[:200]!r}")
    return "/" + "/".join(parts)


def _object(document: dict[str, Any], key: str, known: Mapping[str, str]) -> dict[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"image configuration is malformed: {key} is no object")
    return one_spelling(value, known, what="image configuration")


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not is_text(value):
        raise InputError(f"image configuration is malformed: {key} is no text")
    return str(value)


def _texts(document: dict[str, Any], key: str) -> tuple[str, ...]:
    values = document.get(key)
    if values is None:
        return ()
    if not isinstance(values, list) or not all(is_text(value) for value in values):
        raise InputError(f"image configuration is malformed: {key} is no list of texts")
    if len(values) > WORDS_MAX:
        raise InputError(
            f"image configuration has too many values in {key}: expected at most {WORDS_MAX}, got {len(values)}"
        )
    return tuple(values)
