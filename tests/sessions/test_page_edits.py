"""A page's change is stored before its response is sent, however the handler ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.stores import Lease, Record
from app.web.base_handler import BaseHandler
from tests.support.fork import fork
from tests.support.leases import LeaseOver
from tests.support.raw import Answer, Raw
from tests.support.site import serve
from tests.support.watched_store import WatchedStore


async def click(raw: Raw, cookie: str, path: str) -> Answer:
    """Count once, with this cookie if it is not empty."""
    headers = [("Cookie", cookie)] if cookie else []
    return await raw.ask(path, *headers, method="POST", body=b"")


class SlowLease(LeaseOver):
    """A lease whose save takes 0.1 s."""

    async def save(self, data: bytes) -> Record:
        await asyncio.sleep(0.1)
        return await super().save(data)


class SlowStore(WatchedStore):
    """A store whose every write takes 0.1 s."""

    def __init__(self) -> None:
        super().__init__(save_takes=0.1)

    async def lock(self, session_id: str) -> Lease:  # type: ignore[override]
        return SlowLease(await super().lock(session_id))


class WayHandler(BaseHandler[Any]):
    """Edits the session and ends its response in one of several ways."""

    async def post(self, way: str) -> None:
        async with self.session as data:
            data.count += 1
        if way == "nothing":
            self.set_status(204)
        elif way == "null":
            self.finish(None)
        elif way == "length":
            self.set_header("Content-Length", "2")
            self.write("ab")
        elif way == "parts":
            self.set_header("Content-Length", "2")
            self.write("a")
            await self.flush()
            self.write("b")
        elif way == "headers":
            self.set_cookie("theirs", "1")
            self.add_header("Set-Cookie", "other=2")
        elif way == "twice":
            self.finish("ab")
            self.finish("cd")


WAYS = [("/way/(.*)", WayHandler)]


@pytest.mark.express("A12", "B1", "B2", "B3", "B4", "M1")
@pytest.mark.parametrize("way", ["nothing", "null", "length", "parts", "headers", "write"])
async def test_the_change_is_stored_before_the_response(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the response arrives, the slow store has the change, however the handler ended it."""
    store = SlowStore()
    modules = fork(monkeypatch, routes=WAYS)
    async with serve(tmp_path, store=store, modules=modules) as site, Raw(site.url) as raw:
        cookie = ""
        for count in (1, 2):
            answer = await click(raw, cookie, "/way/" + way)
            (record,) = store.records
            assert site.services.sessions.records.codec.draft(record.data).count == count
            cookie = cookie or next(
                value.partition(";")[0]
                for value in answer.all("Set-Cookie")
                if value.startswith("latchkey=")
            )


@pytest.mark.express("O6")
async def test_cookies_of_a_handler_are_kept_beside_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cookies that a handler sets are sent along with the session's cookie."""
    modules = fork(monkeypatch, routes=WAYS)
    async with serve(tmp_path, modules=modules) as site, Raw(site.url) as raw:
        answer = await click(raw, "", "/way/headers")
        names = sorted(value.partition("=")[0] for value in answer.all("Set-Cookie"))
        assert names == ["latchkey", "other", "theirs"]


@pytest.mark.express("A11", "M2")
async def test_a_second_finish_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first response is sent, and the session is as it was stored."""
    modules = fork(monkeypatch, routes=WAYS)
    async with serve(tmp_path, modules=modules) as site, Raw(site.url) as raw:
        answer = await click(raw, "", "/way/twice")
        assert (answer.status, answer.body) == (200, "ab")
        assert (await click(raw, answer.cookie, "/incr")).body == "2"
