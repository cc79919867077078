"""A browser: one cookie jar for pages and sockets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import aiohttp

from app.testing.answer import Answer
from app.testing.socket import TIMEOUT, Socket

#: The password of `register` and `sign_in` unless a test gives another.
PASSWORD = "correct horse battery"

Transport = Literal["polling", "websocket"]

#: What browsers ask for when a user follows a link or sends a form.
PAGE = MappingProxyType(
    {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
)


_OF_LOGIN = re.compile(r"-(device|proven|trusted-\w+)$")


class FormRefused(AssertionError):
    """The site refused to register, sign in or sign out.

    `answer` has the status, and the sentence as `answer.error`.
    """

    def __init__(self, path: str, answer: Answer) -> None:
        super().__init__(f"POST {path}: {answer.status} {answer.text[:500]}")
        self.answer = answer


class Visitor:
    """A browser with a cookie jar, on a page of the site. `async with` closes it.

    `get`, `post` and `request` are what `fetch` in a page does; `page` and `submit` are what a
    link and a form do. Redirects are not followed unless `follow=True` asks for it.
    """

    def __init__(self, url: str, *, origin: str | None = None, **headers: str) -> None:
        """`url` is that of the site, and `headers` go with every request.

        `origin` is that of the page which sends the requests, such as https://app.example.org,
        if it is another one than the site's.
        """
        self.url = url
        self.origin = origin
        # a loopback address is an IP, which aiohttp's jar refuses unless it is told otherwise
        self.jar = aiohttp.CookieJar(unsafe=True)
        self.http = aiohttp.ClientSession(cookie_jar=self.jar, headers=headers)
        self._sockets: list[Socket] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the browser and all its sockets."""
        for socket in self._sockets:
            await socket.close()
        await self.http.close()

    # -- the cookie jar --

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the jar, by name."""
        return {cookie.key: cookie.value for cookie in self.jar}

    @property
    def cookie(self) -> str:
        """The Cookie header that this browser sends, without the cookies of /login."""
        return "; ".join(
            f"{name}={value}" for name, value in self.cookies.items() if not _OF_LOGIN.search(name)
        )

    def clear_cookies(self) -> None:
        """Forget all cookies."""
        self.jar.clear()

    # -- requests of a script --

    async def get(self, path: str, **options: Any) -> Answer:
        """Fetch a page; options as for `request`."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        """Send JSON (`json=`), or a form or bytes (`data=`); options as for `request`."""
        return await self.request("POST", path, **options)

    async def request(
        self,
        method: str,
        path: str,
        *,
        follow: bool = False,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        """Send a request with the headers that a browser adds; yours replace them.

        `follow` follows redirects; other options are those of `aiohttp.ClientSession.request`.
        """
        sent = {**self._browser_headers(method, headers or {}), **(headers or {})}
        async with self.http.request(
            method, self.url + path, allow_redirects=follow, headers=sent, **options
        ) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)

    # -- requests of the user --

    async def page(
        self, path: str = "/", *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        """Follow a link to a page."""
        return await self.get(path, headers={**PAGE, **(headers or {})}, **options)

    async def submit(
        self, path: str, fields: Mapping[str, str], *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a form with these fields."""
        return await self.post(path, headers={**PAGE, **(headers or {})}, data=fields)

    # -- accounts --

    async def register(self, name: str, password: str = PASSWORD) -> None:
        """Make an account, and be signed in to it; raises FormRefused."""
        await self._done("/register", username=name, password=password)

    async def sign_in(self, name: str, password: str = PASSWORD) -> None:
        """Sign in to an account that exists; raises FormRefused."""
        await self._done("/login", username=name, password=password)

    async def sign_out(self) -> None:
        """End the session."""
        await self._done("/logout")

    async def _done(self, path: str, **fields: str) -> None:
        answer = await self.post(path, json=fields)
        if answer.status != 204:
            raise FormRefused(path, answer)

    # -- sockets --

    async def socket(
        self,
        *namespaces: str,
        transport: Transport | None = None,
        auth: dict[str, Any] | None = None,
        reconnection: bool = False,
        timeout: float = TIMEOUT,
    ) -> Socket:
        """Open a Socket.IO connection with the cookies of this browser, and join namespaces.

        Without namespaces it joins "/". Without `transport` it begins by polling and is upgraded.
        `auth` is what `on_connect` gets. Raises SocketRefused.
        """
        if wrong := [name for name in namespaces if not name.startswith("/")]:
            raise ValueError(f"a namespace begins with /; write transport={wrong[0]!r} for that")
        socket = Socket(self.http, namespaces or ("/",), reconnection=reconnection)
        self._sockets.append(socket)
        await socket.connect(
            self.url,
            headers=self._browser_headers("POST", {}),
            auth=auth,
            transports=None if transport is None else [transport],
            socketio_path=(urlsplit(self.url).path + "/socket.io").strip("/"),
            wait_timeout=timeout,
        )
        return socket

    def _browser_headers(self, method: str, given: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that a browser adds; a page of another origin says so."""
        if self.origin is not None:
            return {"Origin": self.origin, "Sec-Fetch-Site": "cross-site"}
        said = {name.lower() for name in (*self.http.headers, *given)}
        headers = {} if said & {"sec-fetch-site", "origin"} else self._own(method)
        if "_xsrf" in self.cookies:  # of a fork that uses Tornado's
            headers["X-XSRFToken"] = self.cookies["_xsrf"]
        return headers

    def _own(self, method: str) -> dict[str, str]:
        site = urlsplit(self.url)
        origin = {} if method in ("GET", "HEAD") else {"Origin": f"{site.scheme}://{site.netloc}"}
        return {"Sec-Fetch-Site": "same-origin", **origin}
