"""Several devices of one user: their browsers, their rows on the page, and their lists."""

from __future__ import annotations

import re
from typing import Any

from app import testing
from app.stores import public_id
from tests.support.browsers import session_id
from tests.support.forms import Answer, send
from tests.support.visitor import Visitor
from tests.support.waiting import until

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
NEW = "a quite new password"


def id_of(visitor: testing.Visitor) -> str:
    """Return the public id of this visitor's session."""
    return public_id(session_id(visitor.cookie))


def ids(page: str) -> list[str]:
    """Return the public ids in the rows of a page, from top to bottom."""
    return [id for id in re.findall(r'data-id="([^"]*)"', page) if id]


def text(page: str) -> str:
    """Return the visible text of a page."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


async def revoke(visitor: Visitor, kind: str, id: str) -> Answer:
    return await send(visitor, kind, f"/account/sessions/{id}/revoke")


def lists(socket: Any) -> list[list[dict[str, Any]]]:
    """Return the lists of devices that this socket has received."""
    return [args[0] for name, args in socket.events("/account") if name == "sessions"]


async def shown(socket: Any, condition: Any) -> list[dict[str, Any]]:
    """Wait until the latest list meets a condition, and return it."""
    await until(lambda: lists(socket) and condition(lists(socket)[-1]))
    return lists(socket)[-1]


async def watching(visitor: Visitor) -> Any:
    return await visitor.socket("websocket", namespaces=("/account",))
