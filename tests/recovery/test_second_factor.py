"""Recovery codes and second factors."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.accounts.test_login_code import NEW, scene, step_one, step_two
from tests.support.accounts import account_id
from tests.support.forms import who
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
