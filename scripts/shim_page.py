"""Takes a picture of the shim's page for the documents: python -m scripts.shim_page docs/shim-page.png."""

import asyncio
import sys
from pathlib import Path

from aiohttp import web

from registry_shim.operations import Operations
from registry_shim.status import CollectionStatus, Decided, Outcome, RoleStatus
from scripts.browser import tab

_NOW = 1_790_000_000.0
_HOUR, _DAY = 3_600.0, 86_400.0
_SIGNED = "sha256:7794b48e5008fbe8423696d466a0b2c46dde49b01266671bccc90a54860153e1"
_OTHER = "sha256:15bd7413e9a2a4f0a0f2e57e0c1cf1a4c9a33b4cf0d9a7bb1a5fd0a8e6a1c9d2"
_KEYS = ["5c9f21ab", "77aa10de", "e03b64c8", "19d2f7a0"]


def _role(name: str, version: int, left: float, period: float, keys: list[str]) -> RoleStatus:
    return RoleStatus(
        name=name,
        version=version,
        expires=_NOW + left,
        signers=[key * 8 for key in keys],
        threshold=len(keys),
        period_seconds=period,
    )


def _collections() -> list[CollectionStatus]:
    acme = CollectionStatus(
        name="registry.example.com/acme/",
        pin="sha256:372e6d08e70208a80d570867f0f11810e4e77feef865c6f9250f484b934b715c",
        freshness="fresh",
        mode="enforce",
        max_age_seconds=60,
        checked_at=_NOW - 14,
        valid_until=_NOW + 20 * _HOUR,
        targets=1_284,
        roles=[
            _role("root", 3, 281 * _DAY, 365 * _DAY, _KEYS[:2]),
            _role("timestamp", 4_117, 20 * _HOUR, _DAY, _KEYS[3:]),
            _role("snapshot", 872, 5.2 * _DAY, 7 * _DAY, _KEYS[3:]),
            _role("targets", 12, 17 * _DAY, 90 * _DAY, _KEYS[:2]),
            _role("web", 341, 78 * _DAY, 90 * _DAY, _KEYS[2:3]),
        ],
    )
    tools = CollectionStatus(
        name="registry.example.com/tools/",
        pin=_OTHER,
        freshness="stale",
        mode="enforce",
        max_age_seconds=60,
        checked_at=_NOW - 95 * 60,
        valid_until=_NOW + 1.8 * _HOUR,
        detail="registry.example.com/tools/trust-metadata:_trust: no answer within 10 seconds",
        targets=37,
        roles=[
            _role("root", 1, 340 * _DAY, 365 * _DAY, _KEYS[1:2]),
            _role("timestamp", 90, 1.8 * _HOUR, _DAY, _KEYS[1:2]),
            _role("snapshot", 90, 1.8 * _HOUR, 7 * _DAY, _KEYS[1:2]),
            _role("targets", 8, 61 * _DAY, 90 * _DAY, _KEYS[1:2]),
        ],
    )
    return [acme, tools]


def _decisions() -> list[Decided]:
    acme, tools = "registry.example.com/acme/", "registry.example.com/tools/"
    made: list[tuple[Outcome, str, str, str, str, str]] = [
        ("allowed", f"{acme}web:1.4", "", "", _SIGNED, acme),
        ("allowed", f"{acme}web@{_SIGNED}", "", "", _SIGNED, acme),
        ("denied", "docker.io/library/redis:7", "no-policy", "", "", ""),
        ("allowed", f"{tools}buildkit:v0.20", "", "", _OTHER, tools),
        ("denied", f"{acme}web:1.3", "revoked", "by targets 12, on 2026-09-19", "", acme),
        ("undecided", f"{tools}lint:nightly", "unreachable", "no answer within 10 seconds", "", tools),
        ("denied", f"{acme}web:<script>alert(1)</script>", "unsigned", "", "", acme),
        ("allowed", f"{acme}api:2.0.1", "", "", _OTHER, acme),
    ]
    return [
        Decided(
            at=_NOW - 9 * (len(made) - number),
            client=f"10.1.4.{17 + number % 3}",
            method="GET",
            image=image,
            kind="manifest",
            outcome=outcome,
            reason=reason,
            detail=detail,
            digest=digest,
            collection=collection,
        )
        for number, (outcome, image, reason, detail, digest, collection) in enumerate(made)
    ]


async def _served(path: Path, width: int, *, dark: bool) -> None:
    operations = Operations(lambda: _NOW, version="0.1.0")
    operations.collections(_collections())
    operations.ready(is_ready=True)
    for decided in _decisions():
        operations.decided(decided)
    runner = web.AppRunner(operations.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await asyncio.to_thread(_taken, url, path, width, dark=dark)
    await runner.cleanup()


def _taken(url: str, path: Path, width: int, *, dark: bool) -> None:
    with tab() as page:
        page.open(url, width=width, dark=dark)
        page.wait_for("document.getElementById('link').textContent === 'live'")
        page.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        height = page.value("document.documentElement.scrollHeight")
        page.open(url, width=width, height=height, dark=dark)
        page.wait_for("document.getElementById('link').textContent === 'live'")
        path.write_bytes(page.picture())
        print(f"{path}: {width} x {height}")


if __name__ == "__main__":
    asyncio.run(_served(Path(sys.argv[1]), int((sys.argv[2:] or ["1200"])[0]), dark="dark" in sys.argv))
