"""--tracing: spans of pages, events and calls of stores, at a real collector."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from app.optional_tracing import open_tracing
from app.settings import Settings
from app.sockets.base_namespace import BaseNamespace
from app.web.base_handler import BaseHandler
from tests.support.fork import fork
from tests.support.otlp import Collector
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.process import process
from tests.support.redis_server import empty_redis
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

pytestmark = pytest.mark.limit(60)
SERVER, CLIENT, CONSUMER = 2, 3, 5
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("store", ["sqlite", "redis"])
async def test_a_page_and_an_event_are_traces_with_their_calls_of_stores(
    tmp_path: Path, store: str
) -> None:
    """A real process: the page, the event that links to its handshake, and what they stored."""
    flags = ["--store", empty_redis(), "--secret-keys=only-for-this-test"]
    async with Collector() as collector:
        tracing = f"--tracing={collector.url}"
        given = flags if store == "redis" else []
        async with process(tmp_path / "data", tracing, *given) as site:
            async with Visitor(site.url) as ann:
                await ann.incr()
                await ann.sign_up("ann")
                socket = await ann.socket("websocket")
                await socket.call("incr")
                await ann.get("/healthz")
                await socket.close()
            assert await site.stop() == 0
        (page,) = collector.named("POST /incr")
        (event,) = collector.named("incr /")
        (handshake,) = collector.named("GET /socket.io")
        (sign_up,) = collector.named("POST /register")
    assert page.kind == handshake.kind == SERVER
    assert page.attributes["http.response.status_code"] == 200
    assert page.attributes["http.route"] == page.attributes["url.path"] == "/incr"
    assert "create sessions" in collector.below(page)
    assert {"accounts hash", "accounts read"} <= set(collector.below(sign_up))
    assert event.kind == CONSUMER
    assert event.attributes["messaging.destination.name"] == "/"
    assert event.links == [handshake.id]
    assert event.trace_id != handshake.trace_id
    assert "save sessions" in collector.below(event)
    (saved, *_) = collector.named("save sessions")
    assert (saved.kind, saved.attributes["db.system.name"]) == (CLIENT, store)
    assert event.resource["service.name"] == "latchkey"
    assert event.resource["service.version"] == __version__
    assert not any("healthz" in span.name for span in collector.spans)
    assert not any(span.failed for span in collector.spans)


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_trace_is_continued_for_trusted_proxies_only(tmp_path: Path, trusted: bool) -> None:
    """Any other client could join the traces of others, and decide which are kept."""
    proxies = (ip_network("127.0.0.1"),) if trusted else ()
    async with Collector() as collector:
        serving = serve(tmp_path, tracing=collector.url, trusted_proxies=proxies)
        async with serving as site, Visitor(site.url) as ann:
            await ann.get("/", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        (page,) = collector.named("GET /")
    assert (page.trace_id == TRACE) is trusted
    assert page.parent_id == (PARENT if trusted else "")


async def test_log_lines_name_the_trace(tmp_path: Path) -> None:
    """Those of a page, with the id of its request, which the span has too."""
    log = tmp_path / "log"
    async with Collector() as collector:
        flags = (f"--tracing={collector.url}", "--access-log=yes")
        async with process(tmp_path / "data", *flags, log=log) as site, Visitor(site.url) as ann:
            await ann.get("/")
            await site.stop()
        (page,) = collector.named("GET /")
    (line,) = [line for line in log.read_text().splitlines() if "GET '/' status=200" in line]
    assert line.endswith(
        f" request_id={page.attributes['latchkey.request_id']} trace_id={page.trace_id}"
    )


async def test_faults_of_the_server_mark_spans_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that raises; what a client does wrong does not, and its words name no span."""

    class Faulty(BaseNamespace[Any]):
        async def on_boom(self, sid: str) -> None:
            raise ValueError("on purpose")

    class FaultyPage(BaseHandler[Any]):
        async def get(self) -> None:
            raise ValueError("on purpose")

    modules = fork(monkeypatch, namespaces=[("/faulty", Faulty)], routes=[("/boom", FaultyPage)])
    async with Collector() as collector:
        serving = serve(tmp_path, modules=modules, tracing=collector.url)
        async with serving as site, Visitor(site.url) as ann:
            assert (await ann.get("/boom"))[0] == 500
            socket = await ann.socket(namespaces=("/faulty",))
            await socket.call("boom", namespace="/faulty")
            await socket.call("secret words", namespace="/faulty")
            await socket.close()
        (page,), (event,) = collector.named("GET /boom"), collector.named("boom /faulty")
        (wrong,) = collector.named("unknown /faulty")
    assert page.failed
    assert page.attributes["error.type"] == "500"
    assert event.failed
    assert event.attributes["error.type"] == "internal"
    assert not wrong.failed
    assert "secret" not in str(collector.spans)


async def test_a_collector_that_is_away_costs_nothing_but_its_traces(tmp_path: Path) -> None:
    """Pages are served, the log has one sentence, and traces are sent when it is back."""
    log, port = tmp_path / "log", free_port()
    flags = (f"--tracing=http://user:secret@127.0.0.1:{port}", "--stop-timeout=5")
    async with process(tmp_path / "data", *flags, log=log) as site, Visitor(site.url) as ann:
        for _ in range(600):
            await ann.get("/")
        await until(lambda: "traces cannot be sent and are lost; start the" in log.read_text(), 30)
        async with Collector(port) as collector:
            await ann.incr()
            await until(lambda: collector.named("POST /incr"), 30)
            await until(lambda: "traces are sent again" in log.read_text())
        assert await site.stop() == 0
    assert log.read_text().count("traces cannot be sent") == 1
    assert "secret" not in log.read_text()
    assert "Traceback" not in log.read_text()


async def test_an_outage_of_the_collector_is_logged_once_a_minute(tmp_path: Path) -> None:
    """However many batches fail."""
    log = tmp_path / "log"
    async with Collector(refuses=True) as collector:
        tracing = f"--tracing={collector.url}"
        async with process(tmp_path / "data", tracing, log=log) as site, Visitor(site.url) as ann:

            async def third_batch() -> bool:
                await ann.get("/")
                return collector.asked >= 3

            await until(third_batch)
            await site.stop()
    assert log.read_text().count("traces cannot be sent") == 1


async def test_a_collector_that_hangs_neither_delays_pages_nor_the_stop(tmp_path: Path) -> None:
    """The process ends when --stop-timeout is over, and says what is lost."""
    log = tmp_path / "log"
    async with Collector(hangs=True) as collector:
        flags = (f"--tracing={collector.url}", "--stop-timeout=0.2")
        async with process(tmp_path / "data", *flags, log=log) as site, Visitor(site.url) as ann:
            await ann.incr()
            await until(lambda: collector.asked)
            await ann.incr()
            assert await site.stop() == 0
    assert "the last traces are lost, the collector was too slow seconds=0.2" in log.read_text()
    assert "the event loop stalls" not in log.read_text()


async def test_without_the_setting_nothing_of_it_is_imported(tmp_path: Path) -> None:
    """A process that serves a page has no module of OpenTelemetry, nor ours around it."""
    code = (
        "import asyncio, sys\n"
        "sys.modules['redis'] = None\n"  # which imports OpenTelemetry where it is installed
        "from app.testing import serve\n"
        "async def main():\n"
        "    async with serve(): pass\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'app.tracing'))])"
    )
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert out.decode().strip() == "[]"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    for name in [name for name in sys.modules if name.startswith("app.tracing.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ValueError, match=r"run pip install -e '\.\[tracing\]'"):
        open_tracing(Settings(tracing="http://127.0.0.1:4318"))
