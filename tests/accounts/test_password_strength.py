"""What the meter beside a new password asks the server."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from app.accounts import PasswordRules
from app.accounts.password_strength import guesses
from tests.support.forms import PASSWORD, each_kind, send, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

WEAK = "annabel2024"


async def test_a_visitor_hears_how_strong_a_password_is(site: Site, visitor: Visitor) -> None:
    """In words and from 0 to 4; the visitor gets no session by it."""
    answer = await send(visitor, "json", "/password-strength", password=PASSWORD, username="ann")
    assert answer.json() == {"allowed": True, "score": 4, "sentence": "This is very hard to guess."}
    assert answer.headers["Cache-Control"] == "no-store"
    for password, sentence in (
        ("mxkqpwzv", "This is hard enough to guess. 15 characters or more are better."),
        ("short", "A password has 8 to 128 characters."),
        (WEAK, "This is your user name with a year."),
    ):
        fields = {"password": password, "username": "annabel"}
        answer = await send(visitor, "json", "/password-strength", **fields)
        assert answer.json()["allowed"] is (password == "mxkqpwzv")
        assert answer.json()["sentence"].startswith(sentence)
    assert visitor.cookie == ""


async def test_the_name_of_a_user_who_is_signed_in_counts(site: Site, ann: Visitor) -> None:
    """Also if the script does not send it."""
    await ann.sign_up("annabel")
    answer = await send(ann, "json", "/password-strength", password=WEAK)
    assert answer.json()["sentence"].startswith("This is your user name with a year.")
    assert await who(ann) == "annabel"


async def test_a_password_that_is_judged_is_neither_stored_nor_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even at the level of debugging."""
    caplog.set_level("DEBUG")
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await send(ann, "json", "/password-strength", password="secretsecret", username="ann")
    assert "secretsecret" not in caplog.text
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert found
    assert not any(b"secretsecret" in path.read_bytes() for path in found)


async def test_questions_about_passwords_are_limited(site: Site, visitor: Visitor) -> None:
    """For one address."""
    for _ in range(120):
        answer = await send(visitor, "json", "/password-strength", password="x")
        assert answer.status == 200
    answer = await send(visitor, "json", "/password-strength", password="x")
    assert answer.status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_another_site_cannot_ask(site: Site, visitor: Visitor) -> None:
    """It would use up the limit of its visitors."""
    headers = {"Origin": "https://evil.example"}
    answer = await send(visitor, "json", "/password-strength", headers, password="x")
    assert answer.status == 403


async def test_words_of_any_number_cost_no_more_than_those_of_a_name(
    site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script may send a name that no account can have."""
    seen: list[int] = []

    def noted(password: str, words: list[str]) -> Any:
        seen.append(sum(map(len, words)))
        return guesses(password, words)

    monkeypatch.setattr("app.accounts.password_rules.guesses", noted)
    name = " ".join(f"word{number}" for number in range(7000))
    answer = await send(visitor, "json", "/password-strength", password=PASSWORD, username=name)
    assert (answer.status, len(seen)) == (200, 1)
    assert seen[0] < 1000


async def test_a_busy_meter_delays_no_sign_in(
    site: Site, ann: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a thread of its own; beyond the share of an address the answer is 429."""
    await ann.sign_up("ann")
    judged = threading.Event()
    monkeypatch.setattr(PasswordRules, "judge", lambda *_: judged.wait(20))
    async with Visitor(site.url) as crowd:
        asked = [
            asyncio.ensure_future(send(crowd, "json", "/password-strength", password=PASSWORD))
            for _ in range(10)
        ]
        try:
            await until(lambda: sum(task.done() for task in asked) == 6)
            refused = [task.result() for task in asked if task.done()]
            assert {answer.status for answer in refused} == {429}
            assert refused[0].error.startswith("Too many passwords at once from your network.")
            fields = {"username": "ann", "password": PASSWORD}
            assert (await send(ann, "json", "/login", **fields)).status == 204
        finally:
            judged.set()
        await asyncio.gather(*asked)


@each_kind
@pytest.mark.parametrize("path", ["/register", "/recover/code", "/reset", "/account/password"])
async def test_forms_with_a_new_password_share_the_limit_of_the_meter(
    site: Site, ann: Visitor, kind: str, path: str
) -> None:
    """A weak password costs as much there, and a refused one is a failed sign-in nowhere."""
    await ann.sign_up("ann")
    fields = {
        "/register": {"username": "bob", "password": WEAK},
        "/recover/code": {"username": "ann", "code": "wrong", "new_password": WEAK},
        "/reset": {"token": "wrong", "new_password": WEAK},
        "/account/password": {"password": PASSWORD, "new_password": WEAK},
    }[path]
    while not await site.services.limits.password_strength("127.0.0.1"):
        pass
    answer = await send(ann, kind, path, **fields)
    assert (answer.status, "wait " in answer.text) == (429, True)
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_no_password_is_judged_for_a_name_that_is_too_long(
    site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("judged")

    monkeypatch.setattr(PasswordRules, "clean", refuse)
    name = "word " * 1000
    for path, fields in (
        ("/register", {"password": PASSWORD}),
        ("/recover/code", {"code": "wrong", "new_password": PASSWORD}),
    ):
        answer = await send(visitor, "json", path, username=name, **fields)
        assert (answer.status, answer.error) == (422, "A name has 1 to 64 characters.")
