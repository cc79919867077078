"""The decorator of a handler's method that needs a role."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from app.accounts import required_roles
from app.web.base_handler import BaseHandler

H = TypeVar("H", bound=BaseHandler[Any])
P = ParamSpec("P")
R = TypeVar("R")


def require_role(
    *roles: str,
) -> Callable[[Callable[Concatenate[H, P], R]], Callable[Concatenate[H, P], R]]:
    """Let a method of a handler serve only users who have this role, or one of several.

        @require_role("moderator")
        async def post(self, user_id: str) -> None: ...

    A visitor is sent to the login page, a script gets 401. A user without the role gets 403. Each
    request reads the roles from the database. For all methods of a class say
    `role_required = "moderator"` in it. Raises ValueError for what is no name of a role.
    """
    needed = required_roles(roles)
    if not needed:
        raise ValueError('require_role() needs a role, as in @require_role("moderator")')

    def decorate(method: Callable[Concatenate[H, P], R]) -> Callable[Concatenate[H, P], R]:
        @functools.wraps(method)
        async def checked(handler: H, /, *args: P.args, **options: P.kwargs) -> Any:
            await handler.check_role(needed)
            result = method(handler, *args, **options)
            return await result if inspect.isawaitable(result) else result

        return cast(Callable[Concatenate[H, P], R], checked)

    return decorate
