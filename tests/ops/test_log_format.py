"""The log as text and as JSON, its levels, access lines, and the id of the request in each line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import process
from tests.support.visitor import Visitor
from tests.support.waiting import until

PROGRAM = "tests.support.failing"
PROXY = "--trusted-proxies=127.0.0.1"


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def wait_for(log: Path, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first line that fits, as soon as it is written."""
    await until(lambda: any(map(wanted, lines(log))))
    return next(filter(wanted, lines(log)))


async def test_json_lines_have_time_level_logger_message_and_exception(tmp_path: Path) -> None:
    """Also a message with half a character, which a client may have sent."""
    log = tmp_path / "log"
    async with (
        process(tmp_path / "data", "--log-format=json", program=PROGRAM, log=log) as site,
        Visitor(site.url) as visitor,
    ):
        assert (await visitor.get("/fail"))[0] == 500
        line = await wait_for(log, lambda line: "exception" in line)
    assert line["level"] == "error"
    assert line["logger"] == "tornado.application"
    assert "/fail" in line["message"]
    assert "LookupError: no such page \\udcff" in line["exception"]
    assert line["time"].endswith("+00:00")


async def test_the_response_and_each_line_of_a_request_have_its_id(tmp_path: Path) -> None:
    """In lines of text too. Two requests have two ids."""
    log = tmp_path / "log"
    async with (
        process(tmp_path / "data", program=PROGRAM, log=log) as site,
        Visitor(site.url) as visitor,
    ):
        first, second = await visitor.get("/fail"), await visitor.get("/fail")
        ids = [answer.headers["X-Request-ID"] for answer in (first, second)]
        await until(lambda: all(f"request_id={id}\n" in log.read_text() for id in ids))
    assert len(set(ids)) == 2


async def test_an_id_of_a_trusted_proxy_is_kept(tmp_path: Path) -> None:
    """One that could forge a pair of the log is replaced."""
    log = tmp_path / "log"
    async with (
        process(tmp_path / "data", PROXY, "--log-format=json", program=PROGRAM, log=log) as site,
        Visitor(site.url) as visitor,
    ):
        answer = await visitor.get("/fail", headers={"X-Request-ID": "nginx-0123/ab=="})
        assert answer.headers["X-Request-ID"] == "nginx-0123/ab=="
        assert (await wait_for(log, lambda line: "exception" in line))["request_id"] == (
            "nginx-0123/ab=="
        )
        for forged in ("a b", "a,b", "x" * 129, ""):
            answer = await visitor.get("/fail", headers={"X-Request-ID": forged})
            assert answer.headers["X-Request-ID"] != forged


async def test_an_id_of_any_other_client_is_replaced(tmp_path: Path) -> None:
    async with process(tmp_path / "data", program=PROGRAM) as site, Visitor(site.url) as visitor:
        answer = await visitor.get("/fail", headers={"X-Request-ID": "mine"})
        assert answer.headers["X-Request-ID"] != "mine"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_lines_of_an_event_have_the_id_of_its_handshake(
    tmp_path: Path, transport: str
) -> None:
    log = tmp_path / "log"
    async with (
        process(tmp_path / "data", PROXY, "--log-format=json", program=PROGRAM, log=log) as site,
        Visitor(site.url, **{"X-Request-ID": f"the-{transport}"}) as visitor,
    ):
        socket = await visitor.socket(transport)
        assert await socket.call("fail") == {"error": "internal error"}
        line = await wait_for(log, lambda line: "exception" in line)
    assert line["request_id"] == f"the-{transport}"


async def test_access_lines_are_logged_on_demand_without_the_query(tmp_path: Path) -> None:
    """A query may hold a token or the id of a connection."""
    log = tmp_path / "log"
    flags = ("--log-format=json", "--access-log=yes")
    async with (
        process(tmp_path / "data", *flags, program=PROGRAM, log=log) as site,
        Visitor(site.url) as visitor,
    ):
        await visitor.get("/unknown?token=secret")
        line = await wait_for(log, lambda line: line["logger"] == "latchkey.access")
    assert line["message"].startswith("GET '/unknown' status=404 seconds=0.")
    assert line["message"].endswith(" address=127.0.0.1")
    assert "secret" not in log.read_text()


async def test_lines_below_the_level_are_left_out(tmp_path: Path) -> None:
    """No access line at `warning`, but the error."""
    log = tmp_path / "log"
    flags = ("--log-level=warning", "--access-log=yes")
    async with (
        process(tmp_path / "data", *flags, program=PROGRAM, log=log) as site,
        Visitor(site.url) as visitor,
    ):
        await visitor.get("/fail")
        await until(lambda: "LookupError" in log.read_text())
    assert " INFO " not in log.read_text()
