"""`python -m app` as a process: output, files, signals, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from tests.support.browsers import PythonVisitor, joined
from tests.support.node_client import Driver, NodeVisitor
from tests.support.process import Process, process, run
from tests.support.raw import POLLING, Raw
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until


async def stopped(site: Process, number: signal.Signals) -> float:
    """Send this signal; return after how many seconds it exited with 0."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await site.stop(number) == 0
    return loop.time() - begin


each_signal = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


async def test_the_command_serves_and_prints_one_line(tmp_path: Path) -> None:
    """Standard output has one line, with the URL; the exit code is 0."""
    async with (
        process(tmp_path / "data", program="app", preload=False) as site,
        Visitor(site.url) as visitor,
    ):
        assert (await visitor.get("/"))[0] == 200
        assert await site.stop() == 0
        assert site.process.stdout is not None
        assert await site.process.stdout.read() == b""


async def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """The data folder has mode 0700 and each file in it 0600, whatever the umask."""
    old = os.umask(0)
    try:
        async with process(tmp_path / "data") as site, Visitor(site.url) as visitor:
            await visitor.sign_up("ada")
            await visitor.incr()
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode)
                for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]
            }
    finally:
        os.umask(old)
    assert modes.pop("data") == 0o700
    assert len(modes) >= 3
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o600} == {}


@each_signal
async def test_a_signal_stops_the_process_with_open_sockets(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Sockets of both transports are closed, and the process exits 0 within 5 s."""
    async with process(tmp_path / "data") as site, NodeVisitor(site.url) as visitor:
        tabs = [await joined(visitor, mode) for mode in ("polling", "websocket", "upgraded")]
        assert await stopped(site, number) < 5
        await until(lambda: all(tab.ends() for tab in tabs))
        assert tabs[1].ends() == tabs[2].ends() == ["transport close"]


@each_signal
async def test_connections_are_closed_in_order_at_the_stop(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A WebSocket gets a close frame, and the poll that waits an answer: no connection is cut."""
    async with (
        process(tmp_path / "data") as site,
        Raw(site.url) as websocket,
        Raw(site.url) as poll,
    ):
        await websocket.websocket()
        assert (await websocket.receive() or "").startswith("0{")
        opened = await poll.ask(POLLING)
        sid = opened.body.partition('"sid":"')[2].partition('"')[0]
        poll.write(POLLING + "&sid=" + sid, ("Cookie", opened.cookie))
        await asyncio.sleep(0.05)
        assert await stopped(site, number) < 5
        assert (await poll.answer()).status == 200
        assert (await websocket.reader.read())[:1] == b"\x88"


async def test_sockets_come_back_after_a_restart(tmp_path: Path) -> None:
    """A client reconnects, in its session."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = f"--port={free.getsockname()[1]}"
    async with process(tmp_path / "data", port) as site, NodeVisitor(site.url) as visitor:
        tab = await joined(visitor, "websocket", reconnection=True)
        assert await tab.call("incr") == 1
        assert await site.stop() == 0
        async with process(tmp_path / "data", port):
            await until(lambda: tab.connects == 2)
            assert await tab.call("incr") == 2
            await tab.close()


@each_signal
async def test_a_request_in_progress_is_finished(tmp_path: Path, number: signal.Signals) -> None:
    """A registration at the time of the signal gets its response, and the account is stored."""
    async with process(tmp_path / "data") as site, Visitor(site.url) as visitor:
        await visitor.get("/")
        sign_up = asyncio.ensure_future(visitor.sign_up("ada"))
        await asyncio.sleep(0.03)
        assert await stopped(site, number) < 5
        await sign_up
    async with process(tmp_path / "data") as site, Visitor(site.url) as visitor:
        await visitor.sign_in("ada")


@each_signal
async def test_idle_and_partial_requests_do_not_delay_the_stop(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Connections without a request, or with half a request, do not delay the exit."""
    async with process(tmp_path / "data") as site, contextlib.AsyncExitStack() as stack:
        half, idle, body, poll, silent = [
            await stack.enter_async_context(Raw(site.url)) for _ in range(5)
        ]
        half.writer.write(b"GET / HTTP/1.1\r\nHo")
        assert (await idle.ask("/healthz")).status == 200
        body.writer.write(b"POST /incr HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        opened = await poll.ask(POLLING)
        sid = opened.body.partition('"sid":"')[2].partition('"')[0]
        poll.write(POLLING + "&sid=" + sid, ("Cookie", opened.cookie))
        await silent.websocket()
        await asyncio.sleep(0.05)
        assert await stopped(site, number) < 5


async def test_a_stop_under_load_is_quiet_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """Events in progress end before the store closes."""
    log, acked = tmp_path / "log", 0
    async with process(tmp_path / "data", "--events-per-second=0", log=log) as site:
        async with Raw(site.url) as websocket:
            cookie = (await websocket.websocket()).cookie
            for sent in ["40", *['420["incr"]'] * 40]:
                websocket.send(sent)
            while acked < 200:
                packet = await websocket.receive()
                if packet is not None and packet.startswith("430["):
                    acked = int(packet[4:-1])
                    websocket.send('420["incr"]')
            site.process.send_signal(signal.SIGTERM)
            while packet := await websocket.receive():
                acked = int(packet[4:-1]) if packet.startswith("430[") else acked
            assert websocket.code == 1001
        assert await site.stop() == 0
    assert log.read_text().strip() == ""
    async with process(tmp_path / "data") as site, Raw(site.url) as page:
        stored = int((await page.ask("/incr", Cookie=cookie, method="POST", body=b"")).body) - 1
        assert acked <= stored <= acked + 40


async def test_a_second_signal_still_exits_0(tmp_path: Path) -> None:
    """As when an operator presses Ctrl-C twice."""
    async with process(tmp_path / "data") as site, NodeVisitor(site.url) as visitor:
        await joined(visitor, "websocket")
        site.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.01)
        assert await stopped(site, signal.SIGINT) < 5


async def test_acknowledged_changes_survive_kill_9(tmp_path: Path) -> None:
    """After a crash the counter is at least what was acked, and the cookie still works."""
    acked = 0

    async def count(incr: object) -> None:
        nonlocal acked
        with contextlib.suppress(Exception):
            while True:
                acked = max(acked, await incr())  # type: ignore[operator]

    async with process(tmp_path / "data") as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        tab = await joined(visitor, "websocket")
        clicks = [asyncio.ensure_future(count(visitor.incr)) for _ in range(4)]
        clicks += [asyncio.ensure_future(count(lambda: tab.call("incr"))) for _ in range(4)]
        await until(lambda: acked > 50)
        site.process.kill()
        await site.process.wait()
        for click in clicks:
            click.cancel()
        await asyncio.gather(*clicks, return_exceptions=True)
        cookie = visitor.cookie
    async with process(tmp_path / "data") as site:
        driver = await Driver.start()
        tab2 = await driver.connect(site.url, extraHeaders={"cookie": cookie})
        assert await tab2.call("whoami") == "ada"
        # what was under way and not yet acked may have been stored as well
        assert acked <= await tab2.call("count") <= acked + 8
        await driver.stop()


async def test_a_second_process_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """It exits 1 with a sentence, and the first one goes on."""
    async with process(tmp_path / "data") as site, Visitor(site.url) as visitor:
        assert await visitor.incr() == 1
        code, out, err = await run("--port=0", f"--data-dir={tmp_path / 'data'}")
        assert (code, out) == (1, "")
        assert "in use by another process" in err
        assert "--data-dir" in err
        assert len(err.splitlines()) == 1
        assert await visitor.incr() == 2


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        (["--port=99999"], {}, ["--port", "from 0 to 65535"]),
        (["--store=nonsense"], {}, ["--store", "sqlite"]),
        (["--cookie-samesite=none", "--cookie-secure=no"], {}, ["--cookie-secure"]),
        (["--nonsense"], {}, ["--nonsense"]),
        (["--port"], {}, ["--port: expected one argument; see python -m app --help"]),
        (["--secret-keys", "--port=1"], {}, ["--secret-keys: expected one argument"]),
        (["--help=me"], {}, ["--help"]),
        (["serve"], {}, ["'serve' is no command", "backup FOLDER", "--flag=value"]),
        ([], {"LATCHKEY_PORT": "many"}, ["LATCHKEY_PORT", "whole number"]),
        ([], {"LATCHKEY_PROT": "1"}, ["LATCHKEY_PROT", "LATCHKEY_PORT"]),
    ],
)
async def test_a_wrong_setting_exits_2(
    tmp_path: Path, flags: list[str], environ: dict[str, str], words: list[str]
) -> None:
    """One sentence names the setting; nothing is served and no file is made."""
    code, out, err = await run(*flags, f"--data-dir={tmp_path / 'data'}", **environ)
    assert (code, out) == (2, "")
    assert all(word in err for word in words)
    assert err.startswith("latchkey: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "data").exists()


async def test_a_port_in_use_exits_1(tmp_path: Path) -> None:
    """A sentence names the address and the setting to change."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = await run(f"--port={port}", f"--data-dir={tmp_path / 'data'}")
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert str(port) in err
    assert "--port" in err


@pytest.mark.parametrize("folder", ["file", "file/data", "/proc/data", "/proc", "n" * 300])
async def test_a_data_folder_that_cannot_be_used_exits_1(tmp_path: Path, folder: str) -> None:
    """A sentence names the setting to change."""
    (tmp_path / "file").write_text("")
    code, out, err = await run("--port=0", f"--data-dir={tmp_path / folder}")
    assert (code, out) == (1, "")
    assert err.startswith(f"latchkey: the folder {tmp_path / folder} cannot be made or written (")
    assert "choose another --data-dir" in err
    assert err.count("\n") == 1


async def test_ten_applications_run_beside_each_other(tmp_path: Path) -> None:
    """One process, ten applications: each has its own sessions, keys and sockets."""
    async with contextlib.AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(serve(tmp_path / str(number))) for number in range(10)
        ]
        visitors = [await stack.enter_async_context(PythonVisitor(site.url)) for site in sites]
        sockets = [await joined(visitor, "websocket") for visitor in visitors]
        for number, visitor in enumerate(visitors):
            for count in range(number):
                assert await visitor.incr() == count + 1
        assert [await socket.call("count") for socket in sockets] == list(range(10))
        assert [len(socket.received) for socket in sockets] == list(range(10))
        async with Raw(sites[0].url) as raw:
            stranger = await raw.ask("/incr", Cookie=visitors[1].cookie, method="POST", body=b"")
        assert stranger.body == "1"
