"""What pages offer to an administrator who is signed in as a user, and to the user."""

from __future__ import annotations

import pytest

from tests.support.admins import acting
from tests.support.forms import ask
from tests.support.site import Site
from tests.support.visitor import Visitor

FORMS = (
    ("/account/recovery", 'action="/account/recovery/codes"'),
    ("/account/sign-in", 'action="/account/password"'),
    ("/account/sign-in", 'action="/account/sign-in/totp"'),
    ("/account/delete", 'action="/account/delete"'),
)


@pytest.mark.parametrize(("path", "form"), FORMS)
async def test_forms_that_are_refused_are_not_offered(
    site: Site, visitor: Visitor, ann: Visitor, path: str, form: str
) -> None:
    """The user has the form, an administrator a sentence in its place."""
    await ann.sign_up("bob")
    assert form in (await ask(ann, path)).text
    await acting(site, visitor, "eve")
    page = (await ask(visitor, path)).text
    assert (form in page, "Only the user may do this." in page) == (False, True)
