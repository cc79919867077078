"""The load generator: many clients on one epoll, each with one active request."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from bench.clients import Client, LoadError, SocketClient

AT_ONCE = 50  # handshakes in hand, well below every server's listen backlog
ANSWER_TIMEOUT = 20.0  # seconds without any answer until a server counts as stuck

C = TypeVar("C", bound=Client)


@dataclass(frozen=True)
class Slice:
    """The outcome of one stretch of load: operations, wall seconds, seconds of each operation."""

    ops: int
    seconds: float
    latencies: Sequence[float]


def sources(how_many: int, each: int = 400, first: int = 0) -> list[str]:
    """Return loopback addresses from the `first` on, one for each `each` connections."""
    numbers = range(first, first + math.ceil(how_many / each))
    return [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in numbers]


class Crowd(Generic[C]):
    """Clients of one server, driven together."""

    def __init__(self) -> None:
        self.clients: list[C] = []
        self._poll = select.epoll()
        self._by_fd: dict[int, C] = {}

    def __enter__(self) -> Crowd[C]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self.clients:
            client.close()
        self._poll.close()

    def add(self, client: C) -> C:
        self.clients.append(client)
        self._by_fd[client.fd] = client
        self._poll.register(client.fd, select.EPOLLIN)
        return client

    def remove(self, clients: Iterable[C]) -> None:
        """Close and forget these clients."""
        leaving = set(clients)
        self.clients = [client for client in self.clients if client not in leaving]
        for client in leaving:
            self._drop(client)

    def _drop(self, client: C) -> None:
        self._by_fd.pop(client.fd, None)
        client.close()

    def ready(self, timeout: float) -> list[tuple[C, int]]:
        """Return the clients that received something within `timeout` seconds, each with the number
        of its answers.
        """
        answered = []
        for fd, _ in self._poll.poll(timeout):
            client = self._by_fd[fd]
            answers = client.receive()
            if client.closed:
                self._drop(client)
            answered.append((client, answers))
        return answered

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Answer heartbeats and receive until `done()`; raise LoadError if nothing comes."""
        silent_since = time.monotonic()
        while not done():
            if self.ready(0.5):
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > ANSWER_TIMEOUT:
                raise LoadError(
                    f"Nothing came for {ANSWER_TIMEOUT:.0f} s while waiting for {what}."
                )

    def rest(self, seconds: float) -> None:
        """Answer heartbeats and send nothing else."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.ready(left)

    def closed(self) -> int:
        return sum(client.closed for client in self.clients)

    def repeat(self, seconds: float) -> Slice:
        """Run a closed loop: each client sends its request again as soon as it has the answer."""
        latencies: list[float] = []
        clock = time.perf_counter
        start = clock()
        end = start + seconds
        for client in self.clients:
            client.sent_at = clock()
            client.send(client.request)
        in_hand = len(self.clients)
        while in_hand:
            if clock() - end > ANSWER_TIMEOUT:
                raise LoadError(
                    f"{in_hand} requests had no answer {ANSWER_TIMEOUT:.0f} s after the end."
                )
            for client, answers in self.ready(1.0):
                if client.closed:
                    raise LoadError("A server closed a connection under load.")
                if answers:
                    now = clock()
                    latencies.append(now - client.sent_at)
                    if now < end:
                        client.sent_at = now
                        client.send(client.request)
                    else:
                        in_hand -= 1
        return Slice(len(latencies), clock() - start, latencies)


def open_sockets(
    crowd: Crowd[SocketClient],
    port: int,
    how_many: int,
    cookies: Sequence[bytes] = (),
    addresses: Sequence[str] = (),
) -> list[SocketClient]:
    """Open and join that many, `AT_ONCE` at a time; without cookies each has its own session."""
    addresses = addresses or sources(how_many)
    opened: list[SocketClient] = []
    waiting: set[SocketClient] = set()
    for number in range(how_many):
        cookie = cookies[number % len(cookies)] if cookies else b""
        client = SocketClient(port, addresses[number % len(addresses)], cookie)
        opened.append(crowd.add(client))
        waiting.add(client)
        if len(waiting) >= AT_ONCE:
            _join(crowd, waiting, AT_ONCE // 2)
    _join(crowd, waiting, 0)
    return opened


def _join(crowd: Crowd[SocketClient], waiting: set[SocketClient], left: int) -> None:
    def joined() -> bool:
        waiting.difference_update([client for client in waiting if client.joined])
        if any(client.closed for client in waiting):
            raise LoadError("A server closed a connection before it had joined.")
        return len(waiting) <= left

    crowd.until(joined, "sockets to join")
