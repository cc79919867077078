"""Invalid input of clients: refused with a sentence, without a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.browsers import PythonVisitor, each_mode, joined, session_id
from tests.support.node_client import NodeVisitor
from tests.support.raw import POLLING, UPGRADE, WEBSOCKET, Raw
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


def broken_cookies(good: str) -> dict[str, str]:
    """Return headers that look like this good one and must not be taken for it."""
    name, _, value = good.partition("=")
    id, _, signature = value.partition(".")
    return {
        "forged": f"{name}={'A' * 43}.{signature}",
        "signature changed": f"{name}={id}.{'A' * len(signature)}",
        "unsigned": f"{name}={id}",
        "cut": good[:-5],
        "cut to nothing": f"{name}=",
        "no value": name,
        "over-long": good + "A" * 4000,
        "not ASCII": f"{name}={id}ü.{signature}",
        "percent-encoded": f"{name}={id}%2E{signature}",
        "another name": f"x{good}",
    }


@pytest.mark.express("C2", "C3", "P3")
@pytest.mark.parametrize("kind", list(broken_cookies("a=b.c")))
@pytest.mark.parametrize("door", ["page", "polling", "websocket"])
async def test_a_broken_cookie_gets_a_new_session(tmp_path: Path, door: str, kind: str) -> None:
    """The client gets a new session; it is no error."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, PythonVisitor(site.url) as visitor:
        await visitor.incr()
        cookie = ("Cookie", broken_cookies(visitor.cookie)[kind])
        async with Raw(site.url) as raw:
            if door == "page":
                answer = await raw.ask("/incr", cookie, method="POST", body=b"")
                assert (answer.status, answer.body) == (200, "1")
            elif door == "polling":
                answer = await raw.ask(POLLING, cookie)
                assert answer.status == 200
            else:
                answer = await raw.websocket(cookie)
                assert answer.status == 101
            ours = session_id(visitor.cookie)
            assert store.ids == {ours, session_id(answer.cookie)}
            assert session_id(answer.cookie) != ours


@pytest.mark.express("P2")
@pytest.mark.parametrize("two_headers", [True, False])
@pytest.mark.parametrize("good_first", [True, False])
@pytest.mark.parametrize("kind", ["forged", "cut", "over-long", "cut to nothing", "not ASCII"])
async def test_a_valid_cookie_counts_beside_a_broken_one(
    site: Site, visitor: Visitor, kind: str, good_first: bool, two_headers: bool
) -> None:
    """In either order."""
    async with Raw(site.url) as raw:
        await visitor.incr()
        good = visitor.cookie
        pair = [good, broken_cookies(good)[kind]]
        if not good_first:
            pair.reverse()
        values = pair if two_headers else ["; ".join(pair)]
        headers = [("Cookie", value) for value in values]
        answer = await raw.ask("/incr", *headers, method="POST", body=b"")
        assert (answer.status, answer.body) == (200, "2")


@pytest.mark.parametrize("path", ["/login", "/register"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b"1e400", 422),
        (b'{"username": 1, "password": 2}', 422),
        (b'{"username": ["ada"], "password": {}}', 422),
        (b'{"username": "ada", "password": null}', 422),
        (b"{}", 422),
    ],
)
async def test_json_of_the_wrong_type_is_refused(
    tmp_path: Path, path: str, body: bytes, status: int
) -> None:
    """With a status and a sentence, and without a new session."""
    store = WatchedStore()
    kind = ("Content-Type", "application/json")
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        answer = await raw.ask(path, kind, method="POST", body=body)
        assert answer.status == status
        assert json.loads(answer.body)["error"]
        assert not store.ids


@pytest.mark.parametrize("path", ["/login", "/register", "/logout", "/incr"])
@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=nonsense",
        "application/octet-stream",
        "nonsense",
        "",
    ],
)
async def test_a_body_of_another_kind_is_no_server_error(
    tmp_path: Path, path: str, kind: str
) -> None:
    """Bytes that are no form get a 4xx."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        body = b"--x\r\n\xff\x00=%ZZ&&&=\r\n"
        answer = await raw.ask(path, ("Content-Type", kind), method="POST", body=body)
        assert answer.status < 500


async def test_a_form_that_is_not_utf_8_gets_400(tmp_path: Path) -> None:
    """Field values that are not UTF-8 get a 400."""
    form = ("Content-Type", "application/x-www-form-urlencoded")
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await raw.ask("/login", form, method="POST", body=b"username=%FF&password=x")
        assert answer.status in (400, 422)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 204),
        ("application/json\t; charset=utf-8", 204),
        ("application/json\xa0", 422),
        ("\x85application/json", 422),
    ],
)
async def test_a_body_is_json_by_its_exact_type(tmp_path: Path, kind: str, status: int) -> None:
    """Only spaces and tabs are removed around it; another type is read as a form."""
    body = json.dumps({"username": "ada", "password": "correct horse battery"}).encode()
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await raw.ask("/register", ("Content-Type", kind), method="POST", body=body)
        assert answer.status == status


async def test_a_page_refuses_a_body_over_the_limit(tmp_path: Path) -> None:
    """A body over --max-message-size is refused before it is read."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        raw.writer.write(
            b"POST /incr HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n"
            + b"x" * 1000
        )
        assert (await raw.answer()).status in (400, 413)


@each_mode
async def test_a_message_over_the_limit_closes_its_own_connection_only(
    tmp_path: Path, mode: str
) -> None:
    """The client reconnects; the session and its other tab go on."""
    async with serve(tmp_path) as site, NodeVisitor(site.url) as visitor:
        bystander = await joined(visitor, mode)
        socket = await joined(visitor, mode, reconnection=True)
        assert await socket.call("incr") == 1
        await socket.emit("incr", size=2_000_000)
        await until(lambda: socket.connects == 2)
        assert await socket.call("incr") == 2
        assert await bystander.call("incr") == 3


async def test_a_websocket_key_that_is_not_ascii_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With 400, as any other invalid key."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        headers = {**UPGRADE, "Sec-WebSocket-Key": "\xff" * 24}
        answer = await raw.ask(WEBSOCKET, *headers.items())
        assert answer.status == 400
        assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("path", ["/static/%00", "/static/session_ended.js%00.css"])
async def test_a_static_path_with_a_nul_gets_404(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """No file has such a name: 404."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        assert (await raw.ask(path)).status in (400, 404)
        assert not [record for record in caplog.records if record.exc_info]


async def test_the_log_has_the_status_that_a_refused_visitor_gets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A script gets 401, and the log says so; a form is sent to the login page without a line."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        assert (await visitor.post("/account/password", json={}))[0] == 401
        form = await visitor.http.post(site.url + "/account/password", allow_redirects=False)
        assert (form.status, form.headers["Location"]) == (303, "/login?next=%2Faccount")
    (line,) = [r.getMessage() for r in caplog.records if r.name == "latchkey.clients"]
    assert line == ("127.0.0.1: POST '/account/password': HTTP 401: Unauthorized (sign in first)")
