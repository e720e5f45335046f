"""Owns the facts on which a snapshot depends: machine, kernel, CRIU, engine; and whether they are the same here.

A process keeps what it learnt of its processor when it started, and CRIU's images are for one version of it and
one kernel: a restore under others fails half-way, or worse, much later. There is no way to insist.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trust.errors import InputError
from trust.runtime.engine import ask
from trust.strict_json import strict_json
from trust.value import dataclass

# What programs choose their code by; of the others (mitigations, the hypervisor's) no process depends.
_FLAGS = re.compile(
    r"3dnow.*|abm|adx|aes|amx_.*|arat|avx.*|bmi[12]|clflushopt|clwb|cmov|cx16|cx8|erms|f16c|fma4?|fpu|fsgsbase|fsrm"
    r"|fxsr.*|gfni|invpcid|la57|lzcnt|mmx.*|movbe|movdir.*|ospke|pclmulqdq|pku|pni|popcnt|prefetchwt1|rdpid|rdrand"
    r"|rdseed|rdtscp|serialize|sha.*|sse.*|ssse3|tbm|tsc|vaes|vpclmulqdq|waitpkg|xop|xsave.*"
)
_CPUINFO = Path("/proc/cpuinfo")
_WORDS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a snapshot was made with, or what is here."""

    architecture: str
    kernel: str
    criu: str
    engine: str
    engine_version: str
    cpu_vendor: str
    cpu_flags: frozenset[str]


def local_facts(name: str, program: Path, environment: Mapping[str, str], *, criu: str) -> Facts:
    """Return the facts of this machine with an engine and a version of CRIU.

    Raises:
        UnavailableError: as ``engine_version``.
    """
    vendor, flags = processor()
    return Facts(
        architecture=os.uname().machine,
        kernel=os.uname().release,
        criu=criu,
        engine=name,
        engine_version=engine_version(name, program, environment),
        cpu_vendor=vendor,
        cpu_flags=flags,
    )


def facts_of(document: Mapping[str, Any]) -> Facts:
    """Return the facts of a snapshot's document.

    Raises:
        InputError: malformed.
    """
    words = ("architecture", "kernel", "criu", "engine", "engine_version", "cpu_vendor")
    flags = document.get("cpu_flags")
    if not all(isinstance(document.get(word), str) for word in words) or not isinstance(flags, list):
        raise InputError("checkpoint is malformed: its facts are not complete")
    if len(flags) > _WORDS_MAX or not all(isinstance(flag, str) for flag in flags):
        raise InputError("checkpoint is malformed: its processor's features are no words")
    return Facts(cpu_flags=frozenset(flags), **{word: document[word] for word in words})


def facts_document(facts: Facts) -> dict[str, Any]:
    """Return the facts as a snapshot's document has them."""
    return {
        "architecture": facts.architecture,
        "kernel": facts.kernel,
        "criu": facts.criu,
        "engine": facts.engine,
        "engine_version": facts.engine_version,
        "cpu_vendor": facts.cpu_vendor,
        "cpu_flags": sorted(facts.cpu_flags),
    }


def engine_version(name: str, program: Path, environment: Mapping[str, str]) -> str:
    """Return what an engine says of its version, and of the library that makes its filters.

    Raises:
        UnavailableError: it does not start.
    """
    said = ask([str(program), "--version"], environment, what=f"{name} --version").decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    kept = [line for line in lines if line.startswith((f"{name} version", "libseccomp"))]
    return ", ".join(kept or lines[:1])[:200].removeprefix(f"{name} version ")


def processor(cpuinfo: Path = _CPUINFO) -> tuple[str, frozenset[str]]:
    """Return the vendor and the features of this machine's processor, by the kernel's word."""
    vendor, flags = "", frozenset[str]()
    for line in cpuinfo.read_text("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        match name.strip():
            case "vendor_id" | "CPU implementer" if not vendor:
                vendor = value.strip()
            case "flags" if not flags:
                flags = frozenset(flag for flag in value.split() if _FLAGS.fullmatch(flag))
            case "Features" if not flags:
                flags = frozenset(value.split())
    return vendor, flags


def require_same(snapshot: Facts, here: Facts) -> None:
    """Return if a snapshot can be resumed where ``here`` holds.

    Raises:
        InputError: it cannot; the message names the first fact that differs.
    """
    pairs = (
        ("architecture", snapshot.architecture, here.architecture),
        ("kernel", snapshot.kernel, here.kernel),
        ("CRIU", snapshot.criu, here.criu),
        ("engine", f"{snapshot.engine} {snapshot.engine_version}", f"{here.engine} {here.engine_version}"),
        ("processor", snapshot.cpu_vendor, here.cpu_vendor),
    )
    for what, expected, got in pairs:
        if expected != got:
            raise InputError(
                f"checkpoint was made with another {what}: expected {expected[:200]}, here is {got[:200]}",
                hint="restore it on a machine like the one it was made on",
            )
    lacking = sorted(snapshot.cpu_flags - here.cpu_flags)
    if lacking:
        raise InputError(
            f"checkpoint was made on a processor with more features: this one lacks {', '.join(lacking)[:200]}",
            hint="restore it on a machine like the one it was made on",
        )


def read_json(data: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Return the JSON object that ``data`` is.

    Raises:
        InputError: it is none.
    """
    document = strict_json(data, max_bytes=max_bytes, what="checkpoint")
    if not isinstance(document, dict):
        raise InputError("checkpoint is malformed: expected a JSON object")
    return document
