"""Raw clients: plain sockets, pre-encoded requests, and enough parsing to recognise an answer."""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Callable

IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; ports of one source address serve many destinations
MASK = b"\x5a\xa5\x3c\xc3"


class LoadError(Exception):
    """A server gave a wrong answer or closed a connection, so the figures are not valid."""


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """Return a masked WebSocket frame (RFC 6455, 5.2) of up to 125 bytes; by default of text."""
    masked = bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))
    return bytes((first, 0x80 | len(payload))) + MASK + masked


HEARTBEAT = frame(b"3")
JOIN = frame(b"40")
PASSWORD = b"a password of the bench"
INCREMENT = frame(b'420["incr"]')


def cookies_of(head: bytes) -> bytes:
    """Return a Cookie header with the cookies that a response sets."""
    lines = [line for line in head.split(b"\r\n") if line[:11].lower() == b"set-cookie:"]
    return b"; ".join(line[11:].split(b";")[0].strip() for line in lines)


class Client:
    """A connected socket with one request to repeat; `receive` counts the answers that came."""

    request = b""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((source, 0))
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.fd = self.socket.fileno()
        self.sent_at = 0.0
        self.cookie = b""
        self.closed = False
        self._host = b"127.0.0.1:%d" % port
        self._buffer = b""

    def send(self, data: bytes) -> None:
        if self.socket.send(data) != len(data):
            raise LoadError(
                "A server does not read: a few hundred bytes did not fit into its socket."
            )

    def read(self) -> bytes:
        """Return the bytes that are not parsed yet; at the end of the stream mark it closed."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return self._buffer
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
        return self._buffer + data if self._buffer else data

    def receive(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True
        self.socket.close()


class HttpClient(Client):
    """A client that posts on one HTTP/1.1 connection, as the script of a page does."""

    def __init__(self, port: int, source: str = "127.0.0.1", cookie: bytes = b"") -> None:
        super().__init__(port, source)
        self.status = self.body = b""
        self.ask(b"/incr", cookie)

    def ask(self, path: bytes, cookie: bytes) -> None:
        """Post to that path from now on; without a cookie, use the one of the first answer."""
        self.cookie = cookie
        self.request = (
            b"POST %b HTTP/1.1\r\nHost: %b\r\nOrigin: http://%b\r\nSec-Fetch-Site: same-origin\r\n"
            b"Sec-Fetch-Mode: cors\r\nAccept: */*\r\nContent-Length: 0\r\n%b\r\n"
        ) % (path, self._host, self._host, b"Cookie: %b\r\n" % cookie if cookie else b"")

    def receive(self) -> int:
        data = self.read()
        head, end, body = data.partition(b"\r\n\r\n")
        length = _content_length(head) if end else 0
        if not end or len(body) < length:
            if self.closed:
                raise LoadError(f"The server closed a page's connection after {data[:200]!r}.")
            self._buffer = data
            return 0
        self._buffer = b""
        self.status, self.body = head[9:12], body
        if self.status[:1] not in b"23":
            raise LoadError(f"{self.request[:20]!r} was answered {head.splitlines()[0]!r}")
        if not self.cookie and b"et-cookie:" in head.lower():
            self.ask(b"/incr", cookies_of(head))
        return 1


class SignInClient(HttpClient):
    """A client that registers a user, or signs in as one, each time as another browser."""

    def __init__(self, port: int, path: bytes, name: bytes) -> None:
        super().__init__(port, cookie=b"another=cookie")
        body = b'{"username": "%b", "password": "%b"}' % (name, PASSWORD)
        self.request = (
            b"POST %b HTTP/1.1\r\nHost: %b\r\nOrigin: http://%b\r\nAccept: application/json\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        ) % (path, self._host, self._host, len(body), body)


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n")[0]) if found else 0


class SocketClient(Client):
    """A Socket.IO client in the namespace `/` over WebSocket only; answers every heartbeat."""

    request = INCREMENT

    def __init__(self, port: int, source: str = "127.0.0.1", cookie: bytes = b"") -> None:
        super().__init__(port, source)
        self.cookie = cookie
        self.joined = False
        self.events = 0  # what the server emitted to this client
        self.heartbeats = 0
        self.last = b""  # the newest ack or event
        self._take: Callable[[bytes], int] = self._take_head
        key = base64.b64encode(os.urandom(16))
        self.send(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %b\r\n"
            b"Origin: http://%b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n%b\r\n"
            % (self._host, self._host, key, b"Cookie: %b\r\n" % cookie if cookie else b"")
        )

    def receive(self) -> int:
        """Parse what has arrived; return the number of acks in it."""
        return self._take(self.read())

    def _take_head(self, data: bytes) -> int:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end and not self.closed:
            self._buffer = data
            return 0
        if head[9:12] != b"101":
            raise LoadError(f"A WebSocket handshake was answered {head.splitlines()[0]!r}")
        self.cookie = cookies_of(head) or self.cookie
        self._buffer = b""
        self._take = self._take_frames
        return self._take_frames(rest)

    def _take_frames(self, data: bytes) -> int:
        acks = 0
        while len(data) > 1:
            start, length = 2, data[1]
            if length > 125:
                start, length = (4, 126) if length == 126 else (10, 127)
                if len(data) < start:
                    break
                length = int.from_bytes(data[2:start], "big")
            end = start + length
            if len(data) < end:
                break
            acks += self._packet(data[0], data[start:end])
            data = data[end:]
        self._buffer = data
        return acks

    def _packet(self, first: int, payload: bytes) -> int:
        if first == 0x89:
            self.send(frame(payload, 0x8A))  # of the WebSocket layer
        elif first == 0x88:
            self.closed = True
        elif payload[:2] == b"43":
            self.last = payload
            return 1
        elif payload[:2] == b"42":
            self.last = payload
            self.events += 1
        elif payload == b"2":
            self.heartbeats += 1
            self.send(HEARTBEAT)
        elif payload[:1] == b"0":
            self.send(JOIN)
        elif payload[:2] == b"40":
            self.joined = True
        elif payload not in (b"1", b"41", b"6"):  # the close frame follows, or no-op
            raise LoadError(f"A server sent an unexpected packet: {payload[:200]!r}")
        return 0
