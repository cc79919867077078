"""The audit log: one line for each security event, and no secret in it."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path

import pytest

from app.stores import public_id
from tests.support.accounts import account_id
from tests.support.browsers import session_id
from tests.support.clock import Clock
from tests.support.devices import NEW
from tests.support.forms import PASSWORD, send
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

EVIL = "ann'\r\n2026 INFO latchkey.audit: sign-in user='root\u2028\u202e\x1b[31m\x7f"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines so far, which grow; each is checked for what it may not hold."""
    caplog.set_level(logging.INFO, logger="latchkey.audit")

    class Lines(list[str]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            return iter([r.getMessage() for r in caplog.records if r.name == "latchkey.audit"])

    return Lines()


async def test_the_audit_log_of_an_account(site: Site, ann: Visitor, lines: list[str]) -> None:
    """Registrations, sign-ins, failures, ends, changes and deletions, with user and address."""
    async with Visitor(site.url) as two:
        await ann.sign_up("Ann")
        user_id = f"user_id={await account_id(site, 'ann')!r}"
        await two.sign_in("ann")
        for name, word in (("ANN", "wrong wrong"), ("my password by mistake", PASSWORD)):
            await send(two, "json", "/login", username=name, password=word)
        await send(ann, "json", f"/account/sessions/{public_id(session_id(two.cookie))}/revoke")
        await send(ann, "json", "/account/password", password="wrong wrong", new_password=NEW)
        await send(ann, "json", "/account/password", password=PASSWORD, new_password=NEW)
        await send(ann, "json", "/account/delete", password=NEW)
        who = "user='Ann' address='127.0.0.1'"
        await until(lambda: len(list(lines)) == 12)
        assert sorted(lines) == sorted(
            [
                f"registration {who} {user_id}",
                f"sign-in {who} {user_id} method='password'",
                f"sign-in {who} {user_id} method='password'",
                f"failure {who} reason='wrong password' {user_id}",
                "failure address='127.0.0.1' reason='unknown name'",
                f"end {who} reason='revoked' {user_id}",
                f"session end {who} reason='one device' {user_id}",
                f"failure {who} reason='wrong password: password' {user_id}",
                f"password change {who} {user_id}",
                f"end {who} reason='regenerated' {user_id}",
                f"end {who} reason='logout' {user_id}",
                f"deletion {who} {user_id}",
            ]
        )


async def test_no_line_holds_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither passwords nor cookies nor ids, public or not, in any log at all."""
    caplog.set_level(logging.DEBUG)
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        secrets = [PASSWORD, NEW, "guessed by nobody"]
        cookies = [ann.cookie]
        socket = await ann.socket("websocket")
        await socket.close()
        await send(ann, "json", "/login", username="ann", password="guessed by nobody")
        await send(ann, "json", "/login", username="guessed by nobody", password="x" * 9)
        await send(ann, "json", "/account/password", password=PASSWORD, new_password=NEW)
        cookies.append(ann.cookie)
        await ann.post("/logout")
        for cookie in cookies:
            id = session_id(cookie)
            secrets += [cookie, id, public_id(id)]
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("aiohttp", "asyncio"))]
    assert any("failure" in line for line in ours)
    for line in ours:
        assert not [secret for secret in secrets if secret in line], line


async def test_a_name_cannot_forge_a_line(tmp_path: Path, lines: list[str]) -> None:
    """Line ends, bidirectional marks and quotes are escaped as in Python."""
    async with serve(tmp_path) as site:
        site.services.audit.add("sign-in", user=EVIL, address="127.0.0.1", reason="x\ny")
        (line,) = lines
        assert line.isascii()
        assert line.isprintable()
        found = re.fullmatch(r"sign-in user=(.*) address='127.0.0.1' reason='x\\ny'", line)
        assert found is not None
        assert ast.literal_eval(found[1]) == EVIL
        site.services.audit.add("sign-in", user="x" * 10_000, address="127.0.0.1")
        assert len(list(lines)[-1]) < 200


async def test_refusals_do_not_flood_the_log(tmp_path: Path, lines: list[str]) -> None:
    """Sign-ins beyond the limit are logged, but only a few a second."""
    async with (
        serve(tmp_path, failed_logins_per_minute=1) as site,
        Visitor(site.url) as visitor,
    ):
        for _ in range(40):
            await send(visitor, "json", "/login", username="ann", password="wrong wrong")
        refused = [line for line in lines if "too many tries" in line]
        assert 1 <= len(refused) < 30
        assert all("ann" not in line for line in refused)


async def test_an_expired_session_of_a_user_is_logged_and_a_visitors_is_not(
    tmp_path: Path, lines: list[str]
) -> None:
    """With its reason."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as visitor,
    ):
        await ann.sign_up("ann")
        user_id = await account_id(site, "ann")
        await visitor.incr()
        clock.now += 86_401
        store, ids = (
            site.services.sessions.store,
            [session_id(ann.cookie), session_id(visitor.cookie)],
        )

        async def gone() -> bool:
            return not await store.load_many(ids)

        await until(gone)
        await until(lambda: any(line.startswith("end") for line in lines))
        ends = [line for line in lines if line.startswith("end")]
        assert ends == [f"end user='ann' address='127.0.0.1' reason='idle' user_id={user_id!r}"]
