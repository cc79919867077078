"""Names that stand for ids, in what a release without ids has stored."""

from __future__ import annotations

import asyncio

from app.accounts.accounts import Accounts
from app.accounts.calls import AccountsUnavailable


class OldNames:
    """Asks whether names are ids, in one query at a time however many ask.

    After an upgrade the sockets of all users come back at once.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._waiting: dict[str, asyncio.Future[bool | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def is_id(self, name: str) -> bool | None:
        """Whether the account with this name has it as id; None if the database is down.

        True too if no account has the name: it is that of a user whom a fork keeps elsewhere.
        """
        loop = asyncio.get_running_loop()
        answer = self._waiting.get(name)
        if answer is None:
            answer = self._waiting[name] = loop.create_future()
        if self._asking is None:
            self._asking = loop.create_task(self._ask())
        return await asyncio.shield(answer)

    async def _ask(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                others = await self._names_of_others(list(waiting))
                for name, answer in waiting.items():
                    answer.set_result(None if others is None else name not in others)
        finally:
            self._asking = None

    async def _names_of_others(self, names: list[str]) -> set[str] | None:
        try:
            return await self._accounts.names_of_other_ids(names)
        except AccountsUnavailable:
            return None
