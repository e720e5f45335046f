"""Owns what stands before a registry in the shim's figures: the real shim, and nginx as its peer.

nginx caches (``proxy_cache``) on one port and only passes on (``proxy_pass``) on another, with two workers as the
shim has, connections to the registry kept, no log, no temporary files: as quick as it goes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scripts.bench.collection import BuiltCollection
from scripts.bench.server import Server, serving
from scripts.bench.setting import BenchError, Setting, launcher
from scripts.ports import free_port

WORKERS = 2
AUTHS: tuple[Literal["own", "forward"], ...] = ("own", "forward")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """A running shim and its cache."""

    server: Server
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """A running nginx: ``caching`` and ``passing`` are two ports of one server."""

    caching: Server
    passing: Server


@contextmanager
def shims(setting: Setting, name: str, built: BuiltCollection) -> Iterator[dict[str, Shim]]:
    """Yield a shim before the registry of ``built`` for each way to log in: its own, and the client's.

    Raises:
        BenchError: one does not serve.
    """
    with ExitStack() as stack:
        yield {auth: stack.enter_context(shim(setting, f"{name}.{auth}", built, auth=auth)) for auth in AUTHS}


@contextmanager
def shim(
    setting: Setting, name: str, built: BuiltCollection, *, auth: Literal["own", "forward"], max_age: str = "60s"
) -> Iterator[Shim]:
    """Yield a shim of two workers before the registry of ``built``, under its policy.

    ``max_age`` is how old what it knows may be.

    Raises:
        BenchError: it does not serve.
    """
    directory, port = setting.fresh(name), free_port()
    cache = directory / "cache"
    settings = {
        "listen": f"127.0.0.1:{port}",
        "home": str(directory / "home"),
        "policy": str(built.policy),
        "default": built.host,
        "max_age": max_age,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]  # JSON's strings are TOML's
    lines += [f"workers = {WORKERS}", f"cache = {{ directory = {json.dumps(str(cache))} }}", "[[upstream]]"]
    lines += [f'name = "{built.host}"', f'url = "http://{built.host}"', f'auth = "{auth}"', ""]
    (directory / "shim.toml").write_text("\n".join(lines), "utf-8")
    argv = (_program(), "serve", "--config", str(directory / "shim.toml"))
    with serving(*argv, port=port, log=directory / "log", environ=built.environ) as process_id:
        yield Shim(server=Server(port=port, process_id=process_id), cache=cache)


@contextmanager
def nginx(setting: Setting, name: str, registry_port: int) -> Iterator[Nginx]:
    """Yield an nginx before the registry on ``registry_port``.

    Raises:
        BenchError: there is none, or it does not serve.
    """
    directory, caching, passing = setting.fresh(name), free_port(), free_port()
    places = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    user = "user root; " if os.geteuid() == 0 else ""  # else it is nobody, who cannot write here
    (directory / "nginx.conf").write_text(
        f"""{user}worker_processes {WORKERS}; daemon off; pid {directory}/pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  {" ".join(f"{place}_temp_path {directory}/{place};" for place in places)}
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  proxy_cache_path {directory}/cache keys_zone=all:10m max_size=1g;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
  upstream registry {{ server 127.0.0.1:{registry_port}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{caching};
    location / {{ proxy_pass http://registry; proxy_cache all; proxy_cache_valid 200 10m; }}
  }}
  server {{
    listen 127.0.0.1:{passing};
    location / {{ proxy_pass http://registry; proxy_max_temp_file_size 0; }}
  }}
}}
""",
        "utf-8",
    )
    program = launcher(setting, "nginx", is_needed=True)
    argv = (program or "", "-c", str(directory / "nginx.conf"), "-p", str(directory))
    with serving(*argv, port=caching, log=directory / "log", environ=setting.environ) as process_id:
        yield Nginx(
            caching=Server(port=caching, process_id=process_id),
            passing=Server(port=passing, process_id=process_id),
        )


def _program() -> str:
    found = Path(sys.executable).with_name("trust-shim")
    if not found.exists():
        raise BenchError(f"no command trust-shim beside {sys.executable}: expected scripts/setup to have made it")
    return str(found)
