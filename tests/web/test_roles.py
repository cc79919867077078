"""Pages that need a role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.accounts import AccountsUnavailable
from app.testing.visitor import PAGE
from app.web import base_handler
from app.web.require_role import require_role
from tests.support.demo.session import BaseHandler
from tests.support.fork import fork
from tests.support.site import serve
from tests.support.users import user_id
from tests.support.visitor import Visitor

SENTENCE = "Only users with the role moderator may do that."


class MethodHandler(BaseHandler):
    """One method is for everybody."""

    @require_role("moderator")
    async def get(self) -> None:
        self.write("moderators")

    @require_role("admin", "moderator")
    def post(self, word: str = "") -> None:  # not async
        self.write("either")

    async def put(self) -> None:
        self.write("moderator" if await self.has_role("moderator", "admin") else "user")


class ClassHandler(BaseHandler):
    """All methods are for moderators."""

    role_required = "moderator"
    page = "/class"

    def get(self) -> None:
        self.write("moderators")

    def post(self) -> None:
        self.write("moderators")


class QuietHandler(ClassHandler):
    """A subclass needs the same role."""

    is_activity = False


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    routes = [("/method", MethodHandler), ("/class", ClassHandler), ("/quiet", QuietHandler)]
    return fork(monkeypatch, routes=routes)


each_page = pytest.mark.parametrize("path", ["/method", "/class", "/quiet"])


@each_page
@pytest.mark.asvs("8.2.1", "8.3.1")
async def test_only_a_user_with_the_role_gets_the_page(
    tmp_path: Path, modules: tuple[str, ...], path: str
) -> None:
    """Others get 403 with a sentence, as a page and as JSON; HEAD is no way round."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        answer = await ann.page(path)
        assert answer.status == 403
        assert SENTENCE in answer.text
        assert "<html" in answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        answer = await ann.get(path, headers={"Accept": "application/json"})
        assert (answer.status, answer.json()) == (403, {"error": SENTENCE})
        assert (await ann.request("HEAD", path)).status == 403
        assert (await ann.post(path)).status == 403
        await site.services.roles.set(await user_id(site, ann), add=["moderator"])
        assert (await ann.get(path)) == (200, "moderators")
        assert (await ann.post(path)).status == 200


@each_page
async def test_a_visitor_is_asked_to_sign_in(
    tmp_path: Path, modules: tuple[str, ...], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A browser comes back afterwards; a script gets 401, and the log has a line of it."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as guest:
        answer = await guest.page(f"{path}?a=1")
        assert answer.status == 303
        next_page = path.replace("/", "%2F") + "%3Fa%3D1"
        assert answer.headers["Location"] == f"/login?next={next_page}"
        answer = await guest.submit(path, {})
        assert answer.status == 303
        assert answer.headers["Location"].startswith("/login?next=")
        assert "sign in first" not in caplog.text
        answer = await guest.post(path, json={})
        assert (answer.status, answer.json()) == (401, {"error": "sign in first"})
        assert f"POST {path!r}: HTTP 401: Unauthorized (sign in first)" in caplog.text
        assert guest.cookies == {}


@pytest.mark.asvs("8.3.2")
@each_page
async def test_a_lost_role_counts_at_the_next_request(
    tmp_path: Path, modules: tuple[str, ...], path: str
) -> None:
    """A page remembers nothing."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        ann_id, roles = await user_id(site, ann), site.services.roles
        for _ in range(2):
            await roles.set(ann_id, add=["moderator"])
            assert (await ann.get(path)).status == 200
            await roles.set(ann_id, remove=["moderator"])
            assert (await ann.get(path)).status == 403


async def test_one_of_several_roles_is_enough(tmp_path: Path, modules: tuple[str, ...]) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        answer = await ann.post("/method")
        assert answer.error == "Only users with the role admin or moderator may do that."
        assert await ann.request("PUT", "/method") == (200, "user")
        await site.services.roles.set(await user_id(site, ann), add=["admin", "other"])
        assert await ann.post("/method") == (200, "either")
        assert (await ann.get("/method")).status == 403
        assert await ann.request("PUT", "/method") == (200, "moderator")


async def test_a_database_that_is_away_refuses_with_503(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets the page by that, and nobody is signed out."""

    async def no_answer(*_: object) -> Any:
        raise AccountsUnavailable("The database of accounts does not answer.")

    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await site.services.roles.set(await user_id(site, ann), add=["moderator"])
        monkeypatch.setattr(site.services.roles, "of", no_answer)
        for path in ("/method", "/class"):
            answer = await ann.get(path, headers={"Accept": "application/json"})
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert answer.error == "The database of accounts does not answer."
        monkeypatch.undo()
        assert (await ann.get("/class")).status == 200


async def test_a_refused_request_is_activity_as_any_other(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        touched: list[Any] = []
        site.services.sessions.touch = touched.append
        assert (await ann.get("/class", headers=PAGE)).status == 403
        assert len(touched) == 1
        assert (await ann.get("/quiet", headers=PAGE)).status == 403
        assert len(touched) == 1


def test_a_name_that_is_no_role_is_refused_when_the_class_is_made() -> None:
    """No request has to come for that."""
    with pytest.raises(ValueError, match="'Moderator' is no name of a role"):
        require_role("Moderator")
    with pytest.raises(ValueError, match="require_role\\(\\) needs a role"):
        require_role()
    with pytest.raises(ValueError, match="'the boss' is no name of a role"):
        type("Wrong", (base_handler.BaseHandler,), {"role_required": "the boss"})
