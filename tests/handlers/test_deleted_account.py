"""The start page after the deletion of an account."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handlers.site import MODULES
from tests.support.forms import PASSWORD, ask, send
from tests.support.visitor import Visitor


@pytest.fixture
def latchkey_options(latchkey_options: dict[str, Any]) -> dict[str, Any]:
    """Serve the modules of upstream."""
    return {**latchkey_options, "modules": MODULES}


async def test_a_deleted_account_is_told_of(ann: Visitor) -> None:
    """On the start page."""
    await ann.sign_up("bob")
    answer = await send(ann, "form", "/account/delete", password=PASSWORD)
    assert "Your account is deleted." in (await ask(ann, answer.headers["Location"])).text
