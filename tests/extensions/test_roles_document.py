"""The module of docs/roles.md, as it is written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.testing import SocketRefused
from tests.support.fork import STOCK
from tests.support.fork_document import import_from, write
from tests.support.site import serve
from tests.support.users import user_id
from tests.support.visitor import Visitor


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    write(tmp_path / "product", "roles")
    import_from(tmp_path / "product", monkeypatch)
    return ("handlers.desk", *STOCK)


async def test_the_pages_of_the_document_ask_for_roles(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        answer = await ann.post("/news", json={})
        assert (answer.status, answer.error) == (401, "sign in first")
        await ann.sign_up("ann")
        assert await ann.get("/news") == (200, "You may read.")
        assert (await ann.post("/news")).status == 403
        answer = await ann.get("/desk", headers={"Accept": "application/json"})
        assert answer.error == "Only users with the role moderator may do that."
        await site.services.roles.set(await user_id(site, ann), add=["moderator"])
        assert await ann.get("/desk") == (200, "Nothing to do.")
        assert await ann.get("/news") == (200, "You may write.")
        assert await ann.post("/news") == (200, "Written.")


async def test_the_sockets_of_the_document_ask_for_roles(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Each row of the table, and what follows the loss of the role."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        wall = await ann.socket("/wall")
        assert await wall.call("clear") == {"error": "sign in first"}
        with pytest.raises(SocketRefused, match="unauthorized"):
            await ann.socket("/desk")
        await ann.sign_up("ann")
        with pytest.raises(SocketRefused, match="forbidden"):
            await ann.socket("/desk")
        ann_id, roles = await user_id(site, ann), site.services.roles
        await roles.set(ann_id, add=["moderator"])
        both = await ann.socket("/desk", "/wall")
        assert await both.event("reports") == ["spam by eve"]
        assert await both.call("close_report", 3) == "Report 3 is closed."
        refusal = {"error": "Only users with the role admin may do that."}
        assert await both.call("close all") == refusal
        assert await both.call("may_clear", namespace="/wall") is True
        await both.call("clear", namespace="/wall")
        assert await both.event("cleared", namespace="/wall") is None
        await roles.set(ann_id, remove=["moderator"])
        assert await both.ended() == "server disconnect"
        assert await both.call("may_clear", namespace="/wall") is False
