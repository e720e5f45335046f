"""Owns the gate and the upstreams it stands before, as values. Pure.

The shim serves each upstream under a path prefix, ``/v2/HOST/…``; a host with a port is spelled there with ``_``
for the colon, which is no repository path character (``registry.example.com_5000``). No host holds a ``_``, so
that no two are spelled alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from trust.errors import InputError
from trust.oci.url import parse_url
from trust.policy import Policy
from trust.reference import parse_collection
from trust.value import dataclass

RuntimeName = Literal["containerd", "podman", "docker"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
MARK = "# Written by `trust gate install`, and again by the next one; `trust gate remove` takes it away.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Where the shim is reached: ``url`` without a path, ``host`` as an image name has it."""

    url: str
    host: str
    is_plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be installed; ``ca`` is the PEM of the gate's authority where the system does not know it."""

    runtime: RuntimeName
    gate: Gate
    upstreams: tuple[str, ...]
    ca: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that is wholly ours; ``path`` is below the root of the machine (``etc/…``)."""

    path: str
    data: bytes


def parse_gate(text: str) -> Gate:
    """Return the gate at the address ``text``: ``https://HOST[:PORT]``, or ``http://`` on this machine.

    Raises:
        InputError: no such address, one with a path, or plain HTTP across a network.
    """
    url = parse_url(text)
    if url.target != "/":
        raise InputError(f"a gate has no path: expected http(s)://HOST[:PORT], got {text[:120]!r}")
    is_plain = url.scheme == "http"
    if is_plain and not url.names_loopback:
        raise InputError(
            f"a gate elsewhere is reached by https alone: got {text[:120]!r}",
            hint="give the gate a certificate; --ca FILE names an authority of your own",
        )
    return Gate(url=url.origin, host=url.authority, is_plain=is_plain)


def parse_upstream(text: str) -> str:
    """Return the registry host that ``text`` spells, as image names spell it.

    Raises:
        InputError: it is no ``HOST[:PORT]``, or an IPv6 literal, which no path prefix can spell.
    """
    found = parse_collection(f"{text}/") if "." in text or ":" in text or text == "localhost" else None
    if found is None or found.path or found.host != text:
        raise InputError(f"upstream is malformed: expected HOST[:PORT], got {text[:120]!r}")
    if "[" in text:
        raise InputError(f"upstream is an IPv6 literal, which no image name can hold: got {text!r}")
    return text


def upstreams_of(policy: Policy) -> tuple[str, ...]:
    """Return every host from which the policy admits images, in order."""
    hosts = {host for stanza in policy.stanzas for host in (stanza.collection.host, *stanza.registries)}
    hosts |= {pin.reference.repository.host for pin in policy.pinned}
    return tuple(sorted(hosts))


def checked_plan(runtime: RuntimeName, gate: Gate, upstreams: Iterable[str], ca: bytes | None) -> Plan:
    """Return the plan.

    Raises:
        InputError: no upstream, a malformed one, the gate itself among them, or a CA that is no PEM certificate.
    """
    hosts = tuple(dict.fromkeys(parse_upstream(host) for host in upstreams))
    if not hosts:
        raise InputError(
            "nothing to stand before: the policy names no registry", hint="trust policy add, or --upstream HOST"
        )
    if gate.host in hosts:
        raise InputError(f"the gate cannot be its own upstream: {gate.host}")
    if ca is not None and b"-----BEGIN CERTIFICATE-----" not in ca:
        raise InputError("the CA file is no PEM certificate: expected -----BEGIN CERTIFICATE-----")
    return Plan(runtime=runtime, gate=gate, upstreams=hosts, ca=ca)


def path_prefix(host: str) -> str:
    """Return how the gate's paths spell the upstream ``host``."""
    return host.lower().replace(":", "_")


def gated_name(gate: Gate, host: str) -> str:
    """Return what stands before a repository's path where an image is named by the gate."""
    return f"{gate.host}/{path_prefix(host)}"
