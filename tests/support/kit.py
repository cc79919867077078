"""What tests share: an application in this process, `python -m app` beside it, and clients."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import socketio

from app.application import Application, make_app
from app.settings import PREFIX, Settings
from app.stores import SessionStore
from app.stores.memory import MemoryStore

ROOT = Path(__file__).resolve().parent.parent.parent


class Clock:
    """A clock that tests move; it begins at the real time, for cookies' sake."""

    def __init__(self) -> None:
        import time

        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Site:
    """An application that serves on a free loopback port of this process."""

    def __init__(self, app: Application, url: str) -> None:
        self.app = app
        self.services = app.services
        self.url = url


@contextlib.asynccontextmanager
async def serve(
    tmp_path: Path,
    *,
    store: SessionStore | str | None = None,
    clock: Any = None,
    modules: tuple[str, ...] | None = None,
    data_type: type[msgspec.Struct] | None = None,
    **settings: Any,
) -> AsyncIterator[Site]:
    """Serve an application with these settings; the store is a MemoryStore unless given.

    A store that is a text is a setting, such as "sqlite".
    """
    options: dict[str, Any] = {}
    if clock is not None:
        options["clock"] = clock
    if modules is not None:
        options["modules"] = modules
    if data_type is not None:
        options["data_type"] = data_type
    if isinstance(store, str):
        settings["store"] = store
    else:
        options["store"] = store if store is not None else MemoryStore()
    # handlers that still run at the end of a test are not worth waiting for
    settings.setdefault("drain_time", 0.0)
    app = make_app(Settings(port=0, data_dir=tmp_path / "data", **settings), **options)
    url = await app.start()
    try:
        yield Site(app, url)
    finally:
        await app.stop()


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
            transports=list(transports) or None,
            namespaces=list(namespaces),
            wait_timeout=5,
        )
        return socket


class Socket:
    """python-socketio's AsyncClient that remembers what it received."""

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
            event, args if len(args) != 1 else args[0], namespace=namespace, timeout=5
        )

    async def close(self) -> None:
        await self.client.disconnect()


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait until `condition()`, or what it awaits, is true; fail when that takes too long."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (await met if inspect.isawaitable(met := condition()) else met):
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


class Process:
    """`python -m app` in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code; a process that hangs is killed and fails."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
            raise
        return self.process.returncode or 0


@contextlib.asynccontextmanager
async def process(
    data_dir: Path, *flags: str, log: Path | None = None, root: Path = ROOT, **environ: str
) -> AsyncIterator[Process]:
    """Start `python -m app` of a folder on a free port and wait until it says that it serves."""
    stderr = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app",
        "--port=0",
        f"--data-dir={data_dir}",
        *flags,
        cwd=root,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    assert child.stdout is not None
    try:
        line = (await asyncio.wait_for(child.stdout.readline(), 15)).decode()
        assert "http://" in line, f"python -m app said {line!r}"
        url = "http://" + line.partition("http://")[2].split()[0]
        yield Process(child, url)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def run(*flags: str, **environ: str) -> tuple[int, str, str]:
    """Run `python -m app` until it ends by itself; return its code, output and errors.

    Settings of the environment that the tests run in are left out.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app",
        *flags,
        cwd=ROOT,
        env={**clean, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(), 15)
    except TimeoutError:
        child.kill()
        await child.wait()
        raise
    return child.returncode or 0, out.decode(), err.decode()
