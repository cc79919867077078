"""Where the process listens: several addresses, a Unix socket, sockets that systemd passes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from app.common import unix_socket
from app.ops import systemd
from app.settings import parse_settings
from app.transport.http.server import HttpServer
from app.web.security_headers import SecurityHeaders
from tests.support.fork import fork
from tests.support.http_site import HttpSite
from tests.support.paths import ROOT
from tests.support.plain_nginx import plain_nginx
from tests.support.ports import free_port
from tests.support.process import run
from tests.support.requirements import find_program
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until


class Client(SecurityHeaders):
    """Says how the server sees its client."""

    def get(self) -> None:
        self.write({"address": self.remote_address, "secure": self.secure})


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder that nginx's worker can enter."""
    with tempfile.TemporaryDirectory(prefix="latchkey-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.asynccontextmanager
async def over(path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as http:
        yield http


async def test_it_listens_on_several_addresses_and_a_unix_socket(tmp_path: Path) -> None:
    """An address that is named twice counts once; port 0 is one port for all."""
    hosts = ("127.0.0.1", "localhost", "127.0.0.2", "127.0.0.1")
    path = tmp_path / "x.sock"
    async with serve(tmp_path, host=hosts, unix_socket=path) as site:
        port = site.url.rpartition(":")[2]
        urls = site.app.addresses
        assert {f"http://127.0.0.1:{port}", f"http://127.0.0.2:{port}"} <= set(urls)
        assert len(urls) == len(set(urls))
        assert urls[-1] == f"unix:{path}"
        for url in urls[:-1]:
            async with Visitor(url) as visitor:
                assert (await visitor.get("/healthz"))[0] == 200


def test_hosts_come_from_flags_and_the_environment() -> None:
    """One --host for each, or commas; a Unix socket replaces the default address only."""
    assert parse_settings(["--host=::1", "--host", "127.0.0.1"], {}).host == ("::1", "127.0.0.1")
    assert parse_settings([], {"LATCHKEY_HOST": "::1, 127.0.0.1"}).host == ("::1", "127.0.0.1")
    assert parse_settings(["--unix-socket=x"], {}).host == ()
    assert parse_settings(["--unix-socket=x", "--host=::1"], {}).host == ("::1",)


async def test_a_unix_sockets_file_has_its_permissions_and_is_removed(tmp_path: Path) -> None:
    """One of a dead process is replaced, one of a living process and another file are not."""
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serve(tmp_path, unix_socket=path, unix_socket_mode=0o640):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        code, _, wrong = await run(f"--unix-socket={path}", f"--data-dir={tmp_path}/other")
        assert code == 1
        assert f"cannot listen on {path} (another program listens there)" in wrong
        async with over(path) as http, http.get("http://localhost/healthz") as answer:
            assert answer.status == 200
    assert [entry.name for entry in tmp_path.iterdir() if "sock" in entry.name] == []
    path.write_text("precious")
    with pytest.raises(OSError, match="it is there and is no socket"):
        async with serve(tmp_path, unix_socket=path):
            pass
    assert path.read_text() == "precious"


async def test_a_file_that_another_program_has_replaced_stays(tmp_path: Path) -> None:
    """Two programs that were given the same path do not delete each other's socket."""
    path = tmp_path / "x.sock"
    async with serve(tmp_path, unix_socket=path):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


async def test_a_path_may_be_long(tmp_path: Path) -> None:
    """Longer than the 107 bytes of an address."""
    path = tmp_path / ("x" * 120) / "x.sock"
    path.parent.mkdir()
    made = unix_socket.listen(path, 0o600)
    try:
        unix_socket.connect(path, timeout=1).close()
        with pytest.raises(unix_socket.SocketInUse):
            unix_socket.listen(path, 0o600)
    finally:
        made.sock.close()
        made.remove()
    assert list(path.parent.iterdir()) == []


async def test_the_proxy_behind_a_unix_socket_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its X-Forwarded-* count, those of a client by TCP do not; without any it is this machine."""
    path = tmp_path / "x.sock"
    forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    modules = fork(monkeypatch, routes=[("/client", Client)])

    async def client(http: aiohttp.ClientSession, url: str, **headers: str) -> object:
        async with http.get(url + "/client", headers=headers) as answer:
            return await answer.json()

    async with serve(tmp_path, unix_socket=path, modules=modules) as site, over(path) as http:
        there = await client(http, "http://localhost", **forwarded)
        assert there == {"address": "192.0.2.7", "secure": True}
        here = {"address": "127.0.0.1", "secure": False}
        assert await client(http, "http://localhost") == here
        async with Visitor(site.url) as visitor:
            assert await client(visitor.http, site.url, **forwarded) == here


async def test_nginx_reaches_pages_and_sockets_by_a_unix_socket(tmp_path: Path) -> None:
    """Both transports, with deploy/nginx-base-path.conf."""
    with short_folder() as folder:
        path = folder / "x.sock"
        async with serve(tmp_path, unix_socket=path, unix_socket_mode=0o666, base_path="/app"):
            with plain_nginx("nginx-base-path.conf", f"http://unix:{path}") as url:
                async with Visitor(url + "/app") as ann:
                    await ann.sign_up("ann")
                    for number, transport in enumerate(("polling", "websocket")):
                        socket_ = await ann.socket(transport)
                        assert await socket_.call("incr") == number + 1
                        await socket_.close()


# -- sockets that systemd passes --


class Manager:
    """Keeps a listening socket open, as systemd does, and starts the program with it."""

    def __init__(self, folder: Path) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        self._folder = folder

    async def start(self) -> asyncio.subprocess.Process:
        # the shell gives descriptor 3 to the program and keeps its own process id
        script = f'exec 3<&{self.sock.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        command = [sys.executable, "-m", "tests.support.demo", f"--data-dir={self._folder}/data"]
        child = await asyncio.create_subprocess_exec(
            *("/bin/bash", "-c", script, "bash", *command, "--store=memory", "--drain-time=0"),
            cwd=ROOT,
            pass_fds=(self.sock.fileno(),),
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        line = await asyncio.wait_for(child.stdout.readline(), 25)
        assert f"serves {self.url} (" in line.decode()
        return child


@pytest.mark.limit(90)
async def test_a_restart_under_systemd_loses_no_connection(tmp_path: Path) -> None:
    """Clients that connect while no process runs are served by the next one."""
    manager = Manager(tmp_path)
    with manager.sock:
        first = await manager.start()
        async with Visitor(manager.url) as visitor:
            assert (await visitor.get("/healthz"))[0] == 200
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), 20) == 0
            requests = [asyncio.create_task(visitor.get("/healthz")) for _ in range(20)]
            second = await manager.start()
            assert [status for status, _ in await asyncio.gather(*requests)] == [200] * 20
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), 20) == 0


async def test_a_client_that_waits_when_the_process_stops_is_served_by_the_next_one() -> None:
    """The socket stays open elsewhere, so what it has queued is left there."""
    kept = socket.create_server(("127.0.0.1", 0))
    kept.setblocking(False)
    first, second = HttpSite(), HttpSite()
    with kept, socket.create_connection(kept.getsockname()) as client:
        first.server = HttpServer(first.app, max_body_size=1000)
        listening = first.server.listen([kept.dup()], kept=True)
        await listening
        # the client is queued before the loop may accept it, and has sent nothing yet
        await first.server.close(0.1)
        second.server = HttpServer(second.app, max_body_size=1000)
        await second.server.listen([kept.dup()], kept=True)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        client.setblocking(False)
        answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), 10)
        assert answer.startswith(b"HTTP/1.1 200 ")
        await second.server.close(0.1)


@pytest.mark.limit(60)
async def test_systemd_socket_activate_starts_the_program(tmp_path: Path) -> None:
    """The real one, at the first connection; the flags --host and --port do not count then."""
    program = find_program("systemd-socket-activate")
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        *(program, "-l", f"127.0.0.1:{port}", sys.executable, "-m", "app", "--port=1"),
        *("--store=memory", f"--data-dir={tmp_path}/data"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.DEVNULL,
    )

    def listens() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False

    try:
        await until(listens)
        async with Visitor(f"http://127.0.0.1:{port}") as visitor:
            assert (await visitor.get("/healthz"))[0] == 200
        child.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(child.wait(), 20) == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def test_a_socket_that_does_not_listen_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket unit with Accept=yes passes a connection."""
    one, other = socket.socketpair()
    with one, other:
        monkeypatch.setattr(systemd, "_FIRST", os.dup(one.fileno()))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        with pytest.raises(OSError, match="needs ListenStream= and Accept=no"):
            systemd.inherited_sockets()
        assert "LISTEN_FDS" not in os.environ
        monkeypatch.setenv("LISTEN_PID", "1")
        monkeypatch.setenv("LISTEN_FDS", "1")
        assert systemd.inherited_sockets() == []


def test_a_link_in_place_of_the_lock_of_a_unix_socket_is_refused(tmp_path: Path) -> None:
    """Another user may have put it into a shared folder: it is not followed, nor waited for."""
    (tmp_path / "x.sock.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        unix_socket.listen(tmp_path / "x.sock", 0o600)
    assert not (tmp_path / "elsewhere").exists()
