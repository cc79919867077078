"""The account ids of visitors."""

from __future__ import annotations

from typing import Any

from tests.support.browsers import session_id
from tests.support.site import Site


async def user_id(site: Site, visitor: Any) -> str:
    """Return the account id of a visitor who has signed in."""
    session = await site.services.sessions.load(session_id(visitor.cookie))
    id: str = session.user_id
    return id
