"""Two processes behind a real nginx with deploy/nginx.conf, on one Redis and one PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.support.cluster import two
from tests.support.dead_process import first_process_dies
from tests.support.paths import ROOT
from tests.support.postgres import Postgres
from tests.support.raw import POLLING, Raw
from tests.support.visitor import Socket
from tests.support.waiting import until

pytestmark = pytest.mark.limit(90)


@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")])
async def test_pages_and_sockets_share_a_session_through_nginx(
    tmp_path: Path, postgres: Postgres, transports: tuple[str, ...]
) -> None:
    """Every transport, the upgrade too, by TLS, and whichever process has the socket."""
    async with two(tmp_path, postgres) as site, site.visitor() as ann:
        await ann.sign_up("ann")
        names = [cookie.key for cookie in ann.jar]
        assert "__Host-latchkey" in names
        assert all(name.startswith(("__Host-", "__Secure-")) for name in names)
        sockets: list[Socket] = []
        numbers: set[str] = set()
        while len(sockets) < 4 or numbers != {"0-", "1-"}:  # nginx chooses at random
            sockets.append(await ann.socket(*transports))
            numbers.add(str(sockets[-1].client.eio.sid)[:2])
        for number, socket in enumerate(sockets):
            assert await socket.call("incr") == 2 * number + 1
            assert await ann.incr() == 2 * number + 2
            assert await socket.call("whoami") == "ann"
        for socket in sockets:
            assert socket.client.transport() == transports[-1]
        await ann.post("/logout")
        await until(lambda: not any(socket.client.connected for socket in sockets))


async def test_an_id_leads_to_the_process_that_made_it(tmp_path: Path, postgres: Postgres) -> None:
    """Polls and POSTs of connections at both, each on a TCP connection of its own."""
    async with two(tmp_path, postgres) as site:
        numbers: set[str] = set()
        while numbers != {"0", "1"}:
            async with site.raw() as raw:
                sid, cookie = await site.open_sid(raw)
            numbers.add(sid.partition("-")[0])
            for body in (b"40", b"3"):
                async with site.raw() as raw:
                    sent = await raw.ask(
                        f"{POLLING}&sid={sid}", method="POST", body=body, Cookie=cookie
                    )
                    assert (sent.status, sent.body) == (200, "ok")
            async with site.raw() as raw:
                assert (await raw.ask(f"{POLLING}&sid={sid}", Cookie=cookie)).status == 200
        assert "sid=" not in site.proxy.log("access.log")


@pytest.mark.attack("A22")
async def test_nginx_overwrites_forwarded_headers_of_clients(
    tmp_path: Path, postgres: Postgres
) -> None:
    """The address and the host are those that nginx sees."""
    async with two(tmp_path, postgres, "--handshakes-per-minute=2") as site:
        forged = {"X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}
        async with site.raw() as raw:
            assert (await raw.websocket(*forged.items())).status == 403
        statuses = []
        for number in range(8):
            async with site.raw() as raw:
                claim = ("X-Forwarded-For", f"192.0.2.{number}")
                statuses.append((await raw.websocket(claim)).status)
        # two at each process
        assert statuses.count(101) <= 4
        assert 429 in statuses
        async with site.raw(source="127.0.0.3") as raw:
            assert (await raw.websocket()).status == 101


async def test_nginx_refuses_what_is_not_public(tmp_path: Path, postgres: Postgres) -> None:
    """No metrics, no plain http, no certificate for another name, no body beyond the limit."""
    async with two(tmp_path, postgres) as site, site.visitor() as ann:
        assert (await ann.get("/metrics"))[0] == 403
        assert (await ann.get("/healthz"))[0] == 200
        async with Raw(f"http://localhost:{site.proxy.plain_port}") as raw:
            moved = await raw.ask("/login?next=/x")
        assert (moved.status, moved.all("Location")) == (301, [site.url + "/login?next=/x"])
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(
                "127.0.0.1", site.proxy.port, ssl=site.trust, server_hostname="evil.example"
            )
        assert (await ann.post("/login", data=b"x" * 1_000_001))[0] == 413
        assert (await ann.post("/login", data=b"x" * 990_000))[0] != 413


async def test_pages_of_trusted_origins_may_read_what_nginx_answers_itself(
    tmp_path: Path, postgres: Postgres
) -> None:
    """Files, 413, 429 and 503 have one Access-Control-Allow-Origin each, for others none."""
    trusted, evil = "https://app.example.org", "https://evil.example"
    too_large = ("Content-Length", "1000001")
    async with two(tmp_path, postgres, f"--trusted-origins={trusted}") as site:

        async def ask(method: str, path: str, *headers: tuple[str, str]) -> int:
            """Ask from both origins, and return the status."""
            for origin, shared in ((trusted, [trusted]), (evil, [])):
                async with site.raw(source="127.0.0.3") as raw:
                    raw.write(path, ("Origin", origin), *headers, method=method)
                    answer = await raw.answer()
                assert answer.all("Access-Control-Allow-Origin") == shared
                assert answer.all("Access-Control-Allow-Credentials") == ["true"][: len(shared)]
                assert "Origin" in answer.all("Vary")
            return answer.status

        assert await ask("GET", "/static/style.css") == 200
        assert await ask("GET", "/") == 200
        assert await ask("POST", "/login", too_large) == 413
        assert await ask("POST", "/socket.io/?sid=0-a", too_large) == 413
        async with site.raw(source="127.0.0.3") as raw:
            for _ in range(500):
                raw.write("/healthz", ("Origin", trusted), method="HEAD")
            limited = ""
            while " 429 " not in limited:
                limited = (await raw.reader.readuntil(b"\r\n\r\n")).decode()
            assert limited.count(f"\r\nAccess-Control-Allow-Origin: {trusted}\r\n") == 1
        for one in site.processes:
            one.process.kill()
            await one.process.wait()
        assert await ask("GET", "/static/style.css") == 200
        assert await ask("GET", POLLING) == 503


async def test_it_speaks_http_2_and_tls_of_today(tmp_path: Path, postgres: Postgres) -> None:
    """ALPN offers h2; TLS 1.1 is refused."""
    async with two(tmp_path, postgres) as site:
        trust = site.proxy.trust
        trust.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("localhost", site.proxy.port, ssl=trust)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()
        old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-servername", "localhost"]
        tried = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{site.proxy.port}", *old],
            input=b"",
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert tried.returncode != 0


async def test_static_files_come_from_nginx(tmp_path: Path, postgres: Postgres) -> None:
    """With a Cache-Control for their hash, and also while no process runs."""
    async with two(tmp_path, postgres) as site, site.visitor() as ann:
        _, page = await ann.get("/")
        hashed = page.partition('href="/static/style.css?v=')[2].partition('"')[0]
        assert hashed
        for one in site.processes:
            await one.stop(signal.SIGKILL)
        for path, age in ((f"style.css?v={hashed}", "31536000"), ("style.css", "3600")):
            async with ann.http.get(f"{site.url}/static/{path}") as answer:
                assert answer.status == 200
                assert await answer.text() == (ROOT / "static" / "style.css").read_text()
                assert answer.headers["Cache-Control"] == f"max-age={age}"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for path in ("/", POLLING, *(f"{POLLING}&sid={number}-x" for number in (0, 1, 7))):
            async with ann.http.get(site.url + path) as answer:
                assert answer.status == 503, path
                assert "try once more" in await answer.text()
                assert int(answer.headers["Retry-After"]) >= 1


async def test_nginx_limits_one_address(tmp_path: Path, postgres: Postgres) -> None:
    """Requests and open connections of one address are limited; other addresses are served."""
    async with two(tmp_path, postgres, "--handshakes-per-minute=0") as site:
        async with site.raw(source="127.0.0.2") as raw:
            statuses = [(await raw.ask("/healthz")).status for _ in range(400)]
        assert 429 in statuses
        assert statuses[:200] == [200] * 200
        async with contextlib.AsyncExitStack() as stack:
            statuses = []
            for _ in range(205):
                raw = await stack.enter_async_context(site.raw(source="127.0.0.2"))
                statuses.append((await raw.websocket()).status)
            assert statuses.count(101) == 200
            async with site.raw(source="127.0.0.3") as other:
                assert (await other.websocket()).status == 101


async def test_a_process_that_died_is_not_asked_again(tmp_path: Path, postgres: Postgres) -> None:
    """The other process serves pages, and answers that the connection is unknown."""
    async with two(tmp_path, postgres) as site, site.visitor() as ann:
        await first_process_dies(site, ann)


async def test_a_process_that_drains_gets_no_handshakes(tmp_path: Path, postgres: Postgres) -> None:
    """nginx asks the other one, and goes on asking both for pages."""
    flags = ("--drain-time=3600", "--handshakes-per-minute=0")
    async with two(tmp_path, postgres, *flags) as site, contextlib.AsyncExitStack() as stack:
        for _ in range(60):
            raw = await stack.enter_async_context(site.raw())
            assert (await raw.websocket()).status == 101
        site.processes[0].process.send_signal(signal.SIGTERM)
        ready = aiohttp.ClientSession()
        await stack.enter_async_context(ready)
        async with site.visitor() as ann:
            for number in range(10):
                async with site.raw() as raw:
                    assert (await site.open_sid(raw))[0].startswith("1-")
                assert await ann.incr() == number + 1
        async with ready.get(f"http://127.0.0.1:{site.ports[0]}/readyz") as answer:
            assert (answer.status, (await answer.json())["failed"]) == (503, ["draining"])
