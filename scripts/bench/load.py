"""Owns the load on a server: sockets that stay open, requests made beforehand, answers told by their length.

  1. one answer is read whole: it must be 200, and its length is that of every answer after it
  2. each connection sends its request again as soon as its answer has come whole
  3. an answer that is longer, or that breaks off, is an error: nothing else of it is looked at

What is received is dropped in the kernel (``MSG_TRUNC``), and a connection costs three calls for each answer: the
time that is measured is the server's.
"""

from __future__ import annotations

import hashlib
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from scripts.bench.setting import BenchError

CONNECTIONS = 8
_ANSWER_SECONDS = 60.0
_BUFFER_BYTES = 4 * 1024 * 1024
_END_OF_HEAD = b"\r\n\r\n"
_ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request to the server on ``port`` of the loopback device, and how long its answer is, head and body."""

    port: int
    path: str
    request: bytes
    answer_bytes: int
    content_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many answers came in ``seconds``, and the processor time that asking for them took."""

    answers: int
    seconds: float
    own_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return self.answers / self.seconds


def question(port: int, path: str) -> Question:
    """Return what asks for ``path``, after it was answered once.

    Raises:
        BenchError: the answer was not 200 with a length.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {_ACCEPT}\r\n\r\n".encode()
    with _connected(port) as connection:
        connection.sendall(request)
        got = b""
        while _END_OF_HEAD not in got:
            got += _received(connection, path)
        head, _, content = got.partition(_END_OF_HEAD)
        size = _length(head, path)
        digest, count = hashlib.sha256(content), len(content)
        while count < size:
            more = _received(connection, path)
            digest.update(more)
            count += len(more)
    return Question(
        port=port,
        path=path,
        request=request,
        answer_bytes=len(head) + len(_END_OF_HEAD) + size,
        content_sha256=digest.hexdigest(),
    )


def loaded(asked: Question, *, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Return how many answers ``connections`` clients at once get within ``seconds``.

    Raises:
        BenchError: an answer was not like the first.
    """
    end = time.monotonic() + seconds
    return _asking(asked, connections, lambda: time.monotonic() < end)


def answered(asked: Question, *, connections: int = 1) -> Load:
    """Return how long it takes until each of ``connections`` clients, all at once, has its one answer.

    Raises:
        BenchError: an answer was not like the first.
    """
    return _asking(asked, connections, lambda: False)


def _asking(asked: Question, count: int, goes_on: Callable[[], bool]) -> Load:
    with ExitStack() as stack:
        connections = [stack.enter_context(_connected(asked.port)) for _ in range(count)]
        epoll = stack.enter_context(select.epoll())
        by_fd = {one.fileno(): one for one in connections}
        for fd in by_fd:
            epoll.register(fd, select.EPOLLIN)
        cpu, began = _cpu_seconds(), time.perf_counter()
        for one in connections:
            one.sendall(asked.request)
        answers = _answers(asked, by_fd, epoll, goes_on)
        return Load(answers=answers, seconds=time.perf_counter() - began, own_cpu_seconds=_cpu_seconds() - cpu)


def _answers(
    asked: Question, by_fd: dict[int, socket.socket], epoll: select.epoll, goes_on: Callable[[], bool]
) -> int:
    """Return how many answers came until none is asked for any more."""
    buffer, answers = bytearray(_BUFFER_BYTES), 0
    left = dict.fromkeys(by_fd, asked.answer_bytes)
    while left:
        ready = epoll.poll(_ANSWER_SECONDS)
        if not ready:
            raise BenchError(f"{asked.path}: no byte came for {_ANSWER_SECONDS:.0f} s")
        for fd, _ in ready:
            rest = left[fd] - by_fd[fd].recv_into(buffer, 0, socket.MSG_TRUNC)
            if rest == left[fd] or rest < 0:
                raise BenchError(f"{asked.path}: an answer is not like the first: {rest} bytes are missing")
            left[fd] = rest
            if rest:
                continue
            answers += 1
            if goes_on():
                left[fd] = asked.answer_bytes
                by_fd[fd].send(asked.request)
            else:
                epoll.unregister(fd)
                del left[fd]
    return answers


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _received(connection: socket.socket, path: str) -> bytes:
    data = connection.recv(_BUFFER_BYTES)
    if not data:
        raise BenchError(f"{path}: the answer broke off")
    return data


def _length(head: bytes, path: str) -> int:
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if status.split(" ")[1] != "200" or "content-length" not in fields:
        raise BenchError(f"{path}: expected an answer of 200 with its length, got {status!r}")
    return int(fields["content-length"])


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
