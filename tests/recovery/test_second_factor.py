"""Recovery codes and second factors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.accounts import calls
from tests.accounts.test_login_code import NEW, Scene, scene, step_one, step_two
from tests.support.accounts import account_id
from tests.support.forms import each_kind, send, who
from tests.support.visitor import Visitor


@pytest.mark.asvs("6.4.4", "6.5.1")
async def test_a_recovery_code_replaces_one_code_of_the_app(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After the password, and once."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:
        codes = here.site.services.recovery_codes
        code, *_ = await codes.create(await account_id(here.site, "Ann"))
        await step_one(ann)
        assert (await step_two(ann, code.upper().replace("-", " "))).status == 204
        assert await who(ann) == "Ann"
        async with Visitor(here.site.url) as other:
            await step_one(other)
            assert (await step_two(other, code)).status == 401
    assert "method='password+recovery code'" in caplog.text


@pytest.mark.asvs("6.3.1")
async def test_guessed_recovery_codes_count_as_wrong_codes(tmp_path: Path) -> None:
    """Ten in an hour, with those of the app."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as eve:
        codes = here.site.services.recovery_codes
        code, *_ = await codes.create(await account_id(here.site, "Ann"))
        await step_one(eve)
        for _ in range(10):
            assert (await step_two(eve, "abcdef-ghjkmn")).status == 401
        assert (await step_two(eve, code)).status == 429


@pytest.mark.asvs("6.4.3")
async def test_a_reset_keeps_the_second_factor(tmp_path: Path) -> None:
    """The new password alone signs nobody in."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:
        links = here.site.services.one_time_links
        token = await links.create(await account_id(here.site, "Ann"), "reset", 60)
        answer = await ann.post("/reset", json={"token": token, "new_password": NEW})
        assert answer.status == 204
        first = await step_one(ann, password=NEW)
        assert (first.status, first.json()["code_required"]) == (401, True)
        assert (await step_two(ann, here.code())).status == 204


@contextlib.asynccontextmanager
async def recovering(tmp_path: Path) -> AsyncIterator[tuple[Scene, Visitor, list[str]]]:
    """Give Ann, whose two-step sign-in is on, recovery codes, and a browser that has one."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as thief:
        codes = here.site.services.recovery_codes
        yield here, thief, await codes.create(await account_id(here.site, "Ann"))


@pytest.mark.asvs("6.4.3")
@each_kind
async def test_with_two_step_sign_in_a_recovery_code_needs_a_code_of_the_app(
    tmp_path: Path, kind: str
) -> None:
    """So that one sheet of paper never replaces both factors; the recovery code stays good."""
    async with recovering(tmp_path) as (here, thief, (code, *_)):
        fields = {"username": "Ann", "code": code, "new_password": NEW}
        for app_code in ("", "000000", code):
            answer = await send(thief, kind, "/recover/code", **fields, app_code=app_code)
            assert (answer.status, "code of your authenticator app" in answer.error) == (401, True)
        assert answer.text.count("code_required") == (kind == "json")
        assert not await here.site.services.accounts.verify("Ann", NEW)
        answer = await send(thief, kind, "/recover/code", **fields, app_code=here.code())
        assert answer.status == (303 if kind == "form" else 204), answer.text
        assert await here.site.services.accounts.verify("Ann", NEW)


@pytest.mark.asvs("6.3.8")
async def test_only_a_right_recovery_code_tells_that_two_step_sign_in_is_on(
    tmp_path: Path,
) -> None:
    async with recovering(tmp_path) as (here, thief, _):
        answers = set()
        for name in ("Ann", "nobody"):
            fields = {"username": name, "code": "wrong-wrong", "new_password": NEW}
            for app_code in ("", here.code()):
                answer = await send(thief, "json", "/recover/code", **fields, app_code=app_code)
                answers.add((answer.status, answer.text))
        assert len(answers) == 1
        assert "code_required" not in str(answers)


@pytest.mark.asvs("6.3.1")
async def test_guessed_codes_of_the_app_are_limited_beside_a_recovery_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with recovering(tmp_path) as (here, thief, (code, *_)):
        fields = {"username": "Ann", "code": code, "new_password": NEW}
        for _ in range(10):
            answer = await send(thief, "json", "/recover/code", **fields, app_code="000")
            assert answer.status == 401
        answer = await send(thief, "json", "/recover/code", **fields, app_code=here.code())
        assert answer.status == 429
    assert caplog.text.count("reason='wrong code'") == 10


@pytest.mark.asvs("6.3.1")
async def test_codes_of_the_app_guessed_at_once_are_limited_as_those_one_by_one(
    tmp_path: Path,
) -> None:
    """A burst gets no more tries than the limit and the few that are being looked up."""
    async with recovering(tmp_path) as (here, thief, (code, *_)):
        fields = {"username": "Ann", "code": code, "new_password": NEW, "app_code": here.wrong()}
        answers = await asyncio.gather(
            *(send(thief, "json", "/recover/code", **fields) for _ in range(40))
        )
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {401, 429}
        assert 10 <= statuses.count(401) < 10 + calls._WORKERS
