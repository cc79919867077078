"""Behaviours that the tests of express-session check; docs/express-session.md lists them."""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest

from app.web.base_handler import BaseHandler
from tests.support.browsers import session_id
from tests.support.clock import Clock
from tests.support.fork import fork
from tests.support.raw import Answer, Raw
from tests.support.site import serve
from tests.support.watched_store import WatchedStore


async def click(raw: Raw, cookie: str = "", path: str = "/incr") -> Answer:
    """Count once, with this cookie if it is not empty."""
    headers = [("Cookie", cookie)] if cookie else []
    return await raw.ask(path, *headers, method="POST", body=b"")


# -- A, C, F, G: a session begins --


@pytest.mark.express("A5", "H5", "J4")
async def test_a_first_edit_makes_one_session_and_one_cookie(tmp_path: Path) -> None:
    """A visitor's first change is stored under one id, which is in its one Set-Cookie."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        answer = await click(raw)
        assert store.ids == {session_id(answer.cookie)}


@pytest.mark.express("A6", "N1")
async def test_a_second_request_finds_the_data(tmp_path: Path) -> None:
    """With the cookie the next request goes on where the first one ended."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        cookie = (await click(raw)).cookie
        assert [(await click(raw, cookie)).body for _ in range(2)] == ["2", "3"]


@pytest.mark.express("A9")
async def test_two_first_requests_at_once_make_two_sessions(tmp_path: Path) -> None:
    """Nothing joins two visitors without cookie."""
    store = WatchedStore(save_takes=0.05)
    async with serve(tmp_path, store=store) as site, Raw(site.url) as one, Raw(site.url) as two:
        answers = await asyncio.gather(click(one), click(two))
        assert [answer.body for answer in answers] == ["1", "1"]
        assert len({session_id(answer.cookie) for answer in answers} & store.ids) == 2


@pytest.mark.asvs("7.2.1")
@pytest.mark.express("C1")
@pytest.mark.attack("A2")
async def test_an_unknown_id_is_never_adopted(tmp_path: Path) -> None:
    """A well-signed cookie whose record is gone gets a new session with a new id."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        cookie = (await click(raw)).cookie
        store.lose(session_id(cookie))
        answer = await click(raw, cookie)
        assert answer.body == "1"
        assert store.ids == {session_id(answer.cookie)}
        assert session_id(answer.cookie) != session_id(cookie)


@pytest.mark.express("C3")
@pytest.mark.attack("A1")
async def test_a_tampered_cookie_asks_no_store(tmp_path: Path) -> None:
    """A page that comes with a wrong signature is answered without a look into the store."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        cookie = (await click(raw)).cookie
        asked = store.asked
        assert (await raw.ask("/", Cookie=cookie[:-3] + "AAA")).status == 200
        assert store.asked == asked


@pytest.mark.express("C4")
async def test_an_expired_id_is_a_new_visitors_and_its_record_is_gone(tmp_path: Path) -> None:
    """The client gets a new id, and the old record is removed."""
    store, clock = WatchedStore(), Clock()
    async with (
        serve(tmp_path, store=store, clock=clock, expiry_interval=3600) as site,
        Raw(site.url) as raw,
    ):
        cookie = (await click(raw)).cookie
        clock.now += 86_401
        answer = await click(raw, cookie)
        assert answer.body == "1"
        assert store.ids == {session_id(answer.cookie)}


@pytest.mark.express("F2")
async def test_the_cookies_name_is_a_setting(tmp_path: Path) -> None:
    """--cookie-name is what is set, and what is read."""
    async with serve(tmp_path, cookie_name="other") as site, Raw(site.url) as raw:
        cookie = (await click(raw)).cookie
        assert cookie.startswith("other=")
        assert (await click(raw, cookie)).body == "2"
        assert (await click(raw, cookie.replace("other", "latchkey"))).body == "1"


@pytest.mark.express("A10")
async def test_a_request_without_path_is_a_clients_error(tmp_path: Path) -> None:
    """Tornado answers a request line without a path by 400 or 404, not by a failure."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        assert (await raw.ask("?x=1")).status in (400, 404)


@pytest.mark.express("G1", "G3")
async def test_ids_are_long_and_fit_a_url(tmp_path: Path) -> None:
    """256 bits, as 43 letters of the URL-safe alphabet, different each time."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        for _ in range(20):
            await click(raw)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", id) for id in store.made)
    assert len(store.made) == 20


class OddData(msgspec.Struct):
    """Fields with the names of a session's own methods and attributes."""

    id: str = ""
    save: str = ""
    record: str = ""
    data: str = ""


class OddHandler(BaseHandler[OddData]):
    """Stores odd fields and shows them."""

    async def post(self) -> None:
        async with self.session as data:
            data.id, data.save, data.record, data.data = "a", "b", "c", "d"

    def get(self) -> None:
        data = self.session.data
        self.write(data.id + data.save + data.record + data.data)


@pytest.mark.express("A13")
async def test_a_field_may_have_the_name_of_a_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data called `save` or `id` neither shadows nor loses anything."""
    modules = fork(monkeypatch, routes=[("/odd", OddHandler)])[-1:]
    async with (
        serve(tmp_path, modules=modules, data_type=OddData) as site,
        Raw(site.url) as raw,
    ):
        answer = await click(raw, path="/odd")
        assert (await raw.ask("/odd", Cookie=answer.cookie)).body == "abcd"


# -- H, I, J, N: when it is written, and when its cookie is sent --


@pytest.mark.express("H1", "N2", "O3")
async def test_the_cookie_is_sent_once(tmp_path: Path) -> None:
    """Neither reading nor editing a known session sets its cookie again."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        cookie = (await click(raw)).cookie
        assert (await raw.ask("/", Cookie=cookie)).all("Set-Cookie") == []
        assert (await click(raw, cookie)).all("Set-Cookie") == []


@pytest.mark.express("H3", "J3", "J6", "N4")
async def test_a_visitor_who_reads_costs_nothing(tmp_path: Path) -> None:
    """No cookie, no record, and no question to the store."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        assert (await raw.ask("/")).all("Set-Cookie") == []
        assert (store.ids, store.asked) == (set(), 0)


@pytest.mark.express("J5")
async def test_a_first_edit_that_cannot_be_stored_sets_no_cookie(tmp_path: Path) -> None:
    """Where the store fails the visitor gets a 503 and stays without session."""
    store = WatchedStore()
    store.down = True
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        answer = await click(raw)
        assert (answer.status, answer.cookie) == (503, "")
        store.down = False
        assert (await click(raw)).body == "1"


# -- K, O: keys and lifetimes --


@pytest.mark.express("K4", "K5", "K6")
async def test_a_cookie_of_an_older_key_is_signed_anew(tmp_path: Path) -> None:
    """Every key verifies, the last one signs, and the browser gets the new signature."""
    keys = ("the first key of all", "another, newer key")
    store = WatchedStore()
    async with (
        serve(tmp_path, secret_keys=keys[:1], store=store) as old,
        serve(tmp_path / "new", secret_keys=keys, store=store) as new,
        Raw(old.url) as before,
        Raw(new.url) as after,
    ):
        cookie = (await click(before)).cookie
        answer = await click(after, cookie)
        assert answer.body == "2"
        assert session_id(answer.cookie) == session_id(cookie)
        assert answer.cookie != cookie
        again = await click(after, answer.cookie)
        assert (again.body, again.all("Set-Cookie")) == ("3", [])
        # and the older process does not know the newer key
        assert (await click(before, answer.cookie)).body == "1"


@pytest.mark.express("O9")
async def test_max_age_may_be_a_century(tmp_path: Path) -> None:
    """A lifetime beyond 2^31 ms, and beyond 2^31 s, is sent as it is."""
    century = 100 * 365 * 86_400
    async with serve(tmp_path, session_max_age=float(century)) as site, Raw(site.url) as raw:
        (value,) = (await click(raw)).all("Set-Cookie")
        age = int(value.partition("Max-Age=")[2].partition(";")[0])
        assert century - 5 <= age <= century


@pytest.mark.express("D1", "O8")
async def test_a_secure_cookie_is_read_where_it_was_set(tmp_path: Path) -> None:
    """A browser that came by https at the proxy is known when it comes so again."""
    networks = (ip_network("127.0.0.1"),)
    https = ("X-Forwarded-Proto", "https")
    async with serve(tmp_path, trusted_proxies=networks) as site, Raw(site.url) as raw:
        first = await raw.ask("/incr", https, method="POST", body=b"")
        cookie = ("Cookie", first.cookie)
        assert (await raw.ask("/incr", https, cookie, method="POST", body=b"")).body == "2"
