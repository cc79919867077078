"""Two processes behind a real HAProxy or Caddy with its configuration of deploy/.

`test_nginx.py` has the same for nginx, `test_frozen_process.py` a process that hangs.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import ssl
from pathlib import Path

import pytest

from tests.support.caddy import Caddy
from tests.support.cluster import two
from tests.support.dead_process import first_process_dies
from tests.support.haproxy import Haproxy
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.raw import POLLING, Raw
from tests.support.visitor import Socket
from tests.support.waiting import until

pytestmark = [
    pytest.mark.limit(90),
    pytest.mark.parametrize("proxy", [Haproxy, Caddy], ids=["haproxy", "caddy"]),
]


async def test_pages_and_sockets_share_a_session(
    tmp_path: Path, postgres: Postgres, proxy: type[Proxy]
) -> None:
    """Every transport, the upgrade too; an id leads to its process; no id is in a log."""
    async with two(tmp_path, postgres, proxy=proxy) as site, site.visitor() as ann:
        await ann.sign_up("ann")
        assert "__Host-latchkey" in [cookie.key for cookie in ann.jar]
        sockets: list[Socket] = []
        numbers: set[str] = set()
        for transports in itertools.cycle((("websocket",), ("polling",), ("polling", "websocket"))):
            sockets.append(await ann.socket(*transports))
            numbers.add(str(sockets[-1].client.eio.sid)[:2])
            if len(sockets) >= 3 and numbers == {"0-", "1-"}:
                break
        for number, socket in enumerate(sockets):
            assert await socket.call("incr") == 2 * number + 1
            assert await ann.incr() == 2 * number + 2
            assert await socket.call("whoami") == "ann"
        await ann.post("/logout")
        await until(lambda: not any(socket.client.connected for socket in sockets))
        for path in site.proxy.folder.glob("*"):
            assert path.is_dir() or "sid=" not in path.read_text()


async def test_clients_cannot_forge_what_processes_believe(
    tmp_path: Path, postgres: Postgres, proxy: type[Proxy]
) -> None:
    """Address, host and request id are the proxy's, and it limits what it passes on."""
    async with two(tmp_path, postgres, "--handshakes-per-minute=2", proxy=proxy) as site:
        forged = {"X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}
        async with site.raw() as raw:
            assert (await raw.websocket(*forged.items())).status == 403
        statuses = []
        for number in range(8):
            async with site.raw() as raw:
                claim = ("X-Forwarded-For", f"192.0.2.{number}")
                statuses.append((await raw.websocket(claim)).status)
        assert statuses.count(101) <= 4
        assert 429 in statuses
        async with site.raw(source="127.0.0.3") as raw:
            assert (await raw.websocket()).status == 101
        async with site.raw() as raw:
            answer = await raw.ask("/healthz", ("X-Request-ID", "forged"))
        assert answer.all("X-Request-ID") != ["forged"]
        async with site.raw() as raw:
            assert (await raw.ask("/metrics")).status == 403
        async with Raw(f"http://localhost:{site.proxy.plain_port}") as raw:
            moved = await raw.ask("/login?next=/x")
        assert moved.status in (301, 308)
        (location,) = moved.all("Location")
        assert location.startswith("https://localhost")
        assert location.endswith("/login?next=/x")
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(
                "127.0.0.1", site.proxy.port, ssl=site.trust, server_hostname="evil.example"
            )
        async with site.visitor() as ann:
            assert (await ann.post("/login", data=b"x" * 1_000_001))[0] == 413
            assert (await ann.post("/login", data=b"x" * 990_000))[0] != 413


async def test_a_process_that_drains_gets_no_handshakes(
    tmp_path: Path, postgres: Postgres, proxy: type[Proxy]
) -> None:
    """The other one gets them; clients of the first stay, and both serve pages."""
    flags = ("--drain-time=3600", "--handshakes-per-minute=0")
    async with (
        two(tmp_path, postgres, *flags, proxy=proxy) as site,
        site.visitor() as ann,
    ):
        old: list[tuple[str, str]] = []

        async def post(sid: str, cookie: str, packet: bytes) -> int:
            path = f"{POLLING}&sid={sid}"
            async with site.raw() as raw:
                return (await raw.ask(path, method="POST", body=packet, Cookie=cookie)).status

        for _ in range(80):
            async with site.raw() as raw:
                sid, cookie = await site.open_sid(raw)
            assert await post(sid, cookie, b"40") == 200
            old.append((sid, cookie))
        site.processes[0].process.send_signal(signal.SIGTERM)

        if proxy is Caddy:  # it passes a 503 on until its check finds that the process is not ready
            await until(lambda: "status code out of tolerances" in site.proxy.log("start"))
        for number in range(8):
            async with site.raw() as raw:
                assert (await site.open_sid(raw))[0].startswith("1-")
            assert await ann.incr() == number + 1
        served = [await post(sid, cookie, b'42["count"]') for sid, cookie in old]
        there = [status for status, (sid, _) in zip(served, old, strict=True) if sid[0] == "0"]
        # the process has closed the first batch of 20
        assert there.count(200) >= len(there) - 20 > 5


async def test_a_process_that_died_is_not_asked_again(
    tmp_path: Path, postgres: Postgres, proxy: type[Proxy]
) -> None:
    """The other one serves pages and refuses the ids; without both the proxy says a sentence."""
    async with two(tmp_path, postgres, proxy=proxy) as site, site.visitor() as ann:
        await first_process_dies(site, ann)
        await site.processes[1].stop(signal.SIGKILL)
        for path in ("/", POLLING, f"{POLLING}&sid=1-x"):
            async with site.raw() as raw:
                away = await raw.ask(path)
            assert away.status == 503, path
            assert "try once more" in away.body
            assert away.all("Retry-After")
