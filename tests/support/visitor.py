"""A browser made of aiohttp and python-socketio: one cookie jar for pages and sockets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import aiohttp
import socketio


class Visitor:
    """A browser's cookie jar with an HTTP client; `async with` closes it."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        # a loopback address is an IP, which aiohttp's jar refuses unless it is told otherwise
        self.jar = aiohttp.CookieJar(unsafe=True)
        self.http = aiohttp.ClientSession(cookie_jar=self.jar, headers=headers)

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.close()

    @property
    def cookie(self) -> str:
        """Return the session's part of the Cookie header that this visitor sends."""
        return "; ".join(
            f"{cookie.key}={cookie.value}"
            for cookie in self.jar
            if not cookie.key.endswith("-device")
        )

    async def get(self, path: str, **options: Any) -> tuple[int, str]:
        async with self.http.get(self.url + path, allow_redirects=False, **options) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **options: Any) -> tuple[int, str]:
        async with self.http.post(self.url + path, allow_redirects=False, **options) as answer:
            return answer.status, await answer.text()

    async def incr(self) -> int:
        status, text = await self.post("/incr")
        assert status == 200, text
        return int(text)

    async def sign_up(self, name: str, password: str = "correct horse battery") -> None:
        """Register a user and be signed in as that user."""
        status, text = await self.post("/register", json={"username": name, "password": password})
        assert status == 204, text

    async def sign_in(self, name: str, password: str = "correct horse battery") -> None:
        status, text = await self.post("/login", json={"username": name, "password": password})
        assert status == 204, text

    async def socket(
        self, *transports: str, namespaces: tuple[str, ...] = ("/",), **options: Any
    ) -> Socket:
        """Connect python-socketio's client with this visitor's cookie jar."""
        socket = Socket(self.http, **options)
        await socket.client.connect(
            self.url,
            socketio_path=urlsplit(self.url).path.lstrip("/") + "/socket.io",
            transports=list(transports) or None,
            namespaces=list(namespaces),
            wait_timeout=15,
        )
        return socket


class Socket:
    """python-socketio's AsyncClient with a log of the events that it received."""

    def __init__(self, http: aiohttp.ClientSession, *, reconnection: bool = False) -> None:
        self.client = socketio.AsyncClient(
            http_session=http,
            reconnection=reconnection,
            reconnection_delay=0.1,
            reconnection_delay_max=0.2,
        )
        self.received: list[tuple[str, tuple[Any, ...]]] = []
        self.connects = 0
        self.elsewhere: list[tuple[str, tuple[Any, ...]]] = []  # in other namespaces than "/"
        self.client.on("*", self._receive)
        self.client.on("*", self._receive_elsewhere, namespace="*")
        self.client.on("connect", self._connected)

    async def _receive(self, event: str, *args: Any) -> None:
        self.received.append((event, args))

    async def _receive_elsewhere(self, event: str, namespace: str, *args: Any) -> None:
        self.elsewhere.append((event, args))

    async def _connected(self) -> None:
        self.connects += 1

    async def call(self, event: str, *args: Any, namespace: str = "/") -> Any:
        return await self.client.call(
            event, args if len(args) != 1 else args[0], namespace=namespace, timeout=15
        )

    async def close(self) -> None:
        await self.client.disconnect()
