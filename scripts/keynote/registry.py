"""Owns the registry of the play: docker-registry with basic authentication, and what its log says was asked."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from scripts.keynote.lab import Lab, NotReadyError
from scripts.keynote.password import htpasswd
from scripts.keynote.process import Server, answers, wait_until
from scripts.ports import free_port

_ATTEMPTS = 3  # a port that was free may be taken a moment later
_LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as the registry logged it: ``body_bytes`` were sent in answer."""

    method: str
    path: str
    status: int
    body_bytes: int


def bytes_served(asked: Iterable[Asked], names: Iterable[str]) -> int:
    """The bytes that went out in answer to a GET of one of ``names``: digests or tags."""
    wanted = tuple(f"/{name}" for name in names)
    return sum(each.body_bytes for each in asked if each.method == "GET" and each.path.endswith(wanted))


class RealRegistry:
    """A running docker-registry on a loopback port, for ``users`` (name → password); it allows deletion."""

    def __init__(self, lab: Lab, home: Path, users: dict[str, str]) -> None:
        self._users = users
        self._log = home / "registry.log"
        self._marks = 0
        (home / "htpasswd").write_text(htpasswd(users), "utf-8")
        for _ in range(_ATTEMPTS):
            port = free_port()
            configuration = home / "registry.json"  # YAML is a superset of JSON
            configuration.write_text(json.dumps(_configuration(home, port)), "utf-8")
            self._server = Server([lab.docker_registry, "serve", configuration], log=self._log)
            wait_until(lambda port=port: answers(port) or not self._server.is_alive)  # type: ignore[misc]
            if self._server.is_alive and answers(port):
                self.host = f"127.0.0.1:{port}"
                return
            self._server.stop()
        raise NotReadyError(f"docker-registry did not start: {_last_line(self._log)}", "see what else it says")

    def stop(self) -> None:
        """The registry is gone."""
        self._server.stop()

    def mark(self) -> int:
        """A place in the log behind everything that was asked until now."""
        self._marks += 1
        path = f"/v2/?mark={self._marks}"
        requests.get(f"http://{self.host}{path}", auth=next(iter(self._users.items())), timeout=10)
        wait_until(lambda: path.encode() in self._log.read_bytes(), seconds=_LOG_SECONDS)
        return self._log.stat().st_size

    def asked_between(self, start: int, end: int) -> tuple[Asked, ...]:
        """What anybody asked between two marks."""
        text = self._log.read_bytes()[start:end].decode("utf-8", "replace")
        found = (_asked(line) for line in text.splitlines())
        return tuple(each for each in found if each is not None and "?mark=" not in each.path)


def _configuration(home: Path, port: int) -> dict[str, Any]:
    return {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(home / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        "auth": {"htpasswd": {"realm": "acme", "path": str(home / "htpasswd")}},
    }


def _asked(line: str) -> Asked | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not str(entry.get("msg", "")).startswith("response completed"):
        return None
    return Asked(
        method=entry["http.request.method"],
        path=entry["http.request.uri"],
        status=entry["http.response.status"],
        body_bytes=entry["http.response.written"],
    )


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    return lines[-1][:300] if lines else "it said nothing"
