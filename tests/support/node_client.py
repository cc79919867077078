"""The official socket.io-client under Node, driven from Python through tests/node/client.mjs."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from app.testing import Answer
from tests.support.helper_process import HelperProcess
from tests.support.requirements import skip
from tests.support.visitor import Visitor

FOLDER = Path(__file__).resolve().parent.parent / "node"
_LONGEST_LINE = 8_000_000  # bytes; a 2 MB message may come back


def _installed(package: str) -> str:
    """Return the version of a package that is installed, or an empty string."""
    file = FOLDER / "node_modules" / package / "package.json"
    return str(json.loads(file.read_text())["version"]) if file.exists() else ""


@functools.cache
def install() -> str:
    """Install the pinned packages unless they are there; return the path of node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        skip("the official Socket.IO client needs node and npm: apt-get install nodejs npm")
    manifest = FOLDER / "package.json"
    wanted = json.loads(manifest.read_text())["dependencies"]
    with manifest.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of the test processes installs for all
        if not all(_installed(package) == version for package, version in wanted.items()):
            _npm_install(npm, wanted)
    return node


def _npm_install(npm: str, wanted: dict[str, str]) -> None:
    done = subprocess.run(
        [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        skip(f"npm could not install {wanted}: {done.stderr.strip()[-500:]}")


def axe() -> str:
    """Return the source of axe-core, which checks the accessibility of a page."""
    install()
    return (FOLDER / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


class NodeSocket:
    """One connection of the official client, its namespaces and its log."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver = driver
        self._name = name
        self.log: list[tuple[str, str, tuple[Any, ...]]] = []

    def _args(self, what: str, namespace: str) -> list[tuple[Any, ...]]:
        return [args for n, w, args in self.log if w == what and n == namespace]

    def events(self, namespace: str = "/") -> list[tuple[str, tuple[Any, ...]]]:
        """Return the events that this namespace received: (name, arguments)."""
        return [(args[0], args[1:]) for args in self._args("event", namespace)]

    @property
    def received(self) -> list[tuple[str, tuple[Any, ...]]]:
        return self.events()

    @property
    def connects(self) -> int:
        return len(self._args("connect", "/"))

    def ends(self, namespace: str = "/") -> list[str]:
        """Return the reasons of this namespace's disconnects, as the client gives them."""
        return [args[0] for args in self._args("disconnect", namespace)]

    def errors(self, namespace: str = "/") -> list[str]:
        """Return the messages of this namespace's connect errors."""
        return [args[0] for args in self._args("connect_error", namespace)]

    def connect_errors(self, namespace: str = "/") -> list[tuple[Any, ...]]:
        """Return (message, data) of this namespace's connect errors."""
        return self._args("connect_error", namespace)

    @property
    def transports(self) -> list[str]:
        """Return the transports of this connection in the order in which it took them."""
        return [args[0] for _, what, args in self.log if what in ("open", "upgrade")]

    @property
    def attempts(self) -> int:
        """Return how often the client has tried to reconnect."""
        return len(self._args("reconnect_attempt", ""))

    async def call(self, event: str, *args: Any, namespace: str = "/", seconds: float = 15) -> Any:
        """Emit and return the ack."""
        return await self._do("call", namespace=namespace, event=event, args=args, seconds=seconds)

    async def emit(self, event: str, *args: Any, namespace: str = "/", size: int = 0) -> None:
        """Emit; `size` adds a string of so many bytes."""
        await self._do("emit", namespace=namespace, event=event, args=args, size=size)

    async def packet(self, text: str) -> None:
        """Send the text of a Socket.IO packet, unchecked by the client."""
        await self._do("packet", text=text)

    async def join(self, namespace: str, auth: Any = None) -> None:
        """Join a namespace that this connection has not joined, or was disconnected from.

        Returns when it is joined or refused.
        """
        await self._do("join", namespace=namespace, auth=auth)

    async def engine(self) -> tuple[str, str]:
        """Return the id of the connection, empty while there is none, and its transport."""
        eio_sid, transport = await self._do("engine")
        return str(eio_sid), str(transport)

    async def close(self) -> None:
        await self._do("close")

    async def _do(self, command: str, **options: Any) -> Any:
        return await self._driver.do(command, name=self._name, **options)


_nodes: dict[Path | None, HelperProcess] = {}  # by the certificate that each trusts


def _node(certificate: Path | None) -> HelperProcess:
    """Return the Node process that trusts this certificate; another one if it has crashed."""
    node = _nodes.get(certificate)
    if node is None or not node.runs:
        trust = {} if certificate is None else {"NODE_EXTRA_CA_CERTS": str(certificate)}
        # the official client's own warnings go to stderr and are shown with a failing test
        node = HelperProcess(install(), str(FOLDER / "client.mjs"), environ={**os.environ, **trust})
        _nodes[certificate] = node
    return node


class Driver:
    """A browser in the Node process; a command goes in as a line of JSON."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._sockets: dict[str, NodeSocket] = {}
        self._last = 0
        self._reader = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    async def start(cls, certificate: Path | None = None) -> Driver:
        """Start a browser; `certificate` is that of an authority to trust."""
        path = _node(certificate).path
        return cls(*await asyncio.open_unix_connection(path, limit=_LONGEST_LINE))

    async def do(self, command: str, **options: Any) -> Any:
        """Run one command and return its answer; raises RuntimeError with the client's error."""
        self._last += 1
        self._waiting[self._last] = answer = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": self._last, "do": command, **options})
        self._writer.write(line.encode() + b"\n")
        return await answer

    async def connect(
        self, url: str, *transports: str, namespaces: tuple[str, ...] = ("/",), **options: Any
    ) -> NodeSocket:
        """Connect and join; options are the official client's, and `jar` for the shared one."""
        name = f"{len(self._sockets)}"
        socket = self._sockets[name] = NodeSocket(self, name)
        if transports:
            options["transports"] = transports
        options.setdefault("reconnection", False)
        await self.do("connect", name=name, url=url, namespaces=namespaces, options=options)
        return socket

    async def own_cookie(self, socket: NodeSocket) -> str:
        """Return the Cookie header of the jar that the official client keeps per connection."""
        return str(await self.do("cookie", name=socket._name))

    async def stop(self) -> None:
        """Close all connections of this browser."""
        self._writer.write_eof()
        await asyncio.wait_for(self._reader, 5)
        self._writer.close()
        await self._writer.wait_closed()

    async def _read(self) -> None:
        async for line in self._lines:
            message = json.loads(line)
            if "id" not in message:
                self._sockets[message["name"]].log.append(
                    (message["namespace"], message["what"], tuple(message["args"]))
                )
                continue
            answer = self._waiting.pop(message["id"])
            if answer.done():  # the test gave up: it cancelled `do`, by a timeout for example
                continue
            if "error" in message:
                answer.set_exception(RuntimeError(message["error"]))
            else:
                answer.set_result(message["answer"])
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(RuntimeError("the Node process has ended"))


class NodeVisitor(Visitor):
    """A browser: the official client and page requests that share one cookie jar."""

    def __init__(self, url: str, certificate: Path | None = None) -> None:
        self.url = url
        self._certificate = certificate
        self._cookie = ""

    async def __aenter__(self) -> NodeVisitor:
        self.driver = await Driver.start(self._certificate)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.driver.stop()

    @property
    def cookie(self) -> str:
        return self._cookie

    async def refresh(self) -> str:
        """Read the Cookie header of the jar; `cookie` returns it from then on."""
        self._cookie = await self.driver.do("cookie")
        return self._cookie

    async def get(self, path: str, **options: Any) -> Answer:
        return await self._fetch("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self._fetch("POST", path, **options)

    async def _fetch(
        self, method: str, path: str, json: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        sent = dict(headers or {})
        body = None
        if json is not None:
            sent["Content-Type"] = "application/json"
            body = _text(json)
        status, text = await self.driver.do(
            "fetch", url=self.url + path, method=method, headers=sent, body=body
        )
        await self.refresh()
        return Answer(status, text)

    async def socket(  # type: ignore[override]
        self, *transports: str, namespaces: tuple[str, ...] = ("/",), **options: Any
    ) -> NodeSocket:
        socket = await self.driver.connect(
            self.url, *transports, namespaces=namespaces, jar=True, **options
        )
        await self.refresh()
        return socket


def _text(value: Any) -> str:
    return json.dumps(value)
