"""What the meter beside a new password asks the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.forms import PASSWORD, send, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

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
    """For one address; the form is not."""
    for _ in range(120):
        answer = await send(visitor, "json", "/password-strength", password="x")
        assert answer.status == 200
    answer = await send(visitor, "json", "/password-strength", password="x")
    assert answer.status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    await visitor.sign_up("ann")


async def test_another_site_cannot_ask(site: Site, visitor: Visitor) -> None:
    """It would use up the limit of its visitors."""
    headers = {"Origin": "https://evil.example"}
    answer = await send(visitor, "json", "/password-strength", headers, password="x")
    assert answer.status == 403
