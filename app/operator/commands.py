"""The commands of the control socket on accounts and sessions, with JSON arguments and results."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from app.accounts import Account, InvalidAccount
from app.database import DatabaseUnavailable
from app.operator import arguments as given
from app.operator.actor import COMMAND_LINE
from app.operator.event_names import EVENT_NAMES, unknown_event
from app.operator.operator import Operator
from app.operator.rows import AccountRow, EventRow
from app.operator.session_list import MIN_ID, Ambiguous
from app.ops.control import Command, CommandFailed
from app.stores import StoreError

A = TypeVar("A")
_SHOWN = 10  # audit events of one account
_ALL_OF_USER = 1000  # sessions of one user


def operator_commands(operator: Operator) -> dict[str, Command]:
    """Return the commands by name; `app/operator/arguments.py` says what each takes."""
    commands = _Commands(operator)
    methods: dict[str, tuple[type[Any], Callable[[Any], Awaitable[Any]]]] = {
        "accounts.list": (given.ListAccounts, commands.list_accounts),
        "accounts.show": (given.Named, commands.show),
        "accounts.add": (given.Named, commands.add),
        "accounts.rename": (given.Rename, commands.rename),
        "accounts.disable": (given.Named, commands.disable),
        "accounts.enable": (given.Named, commands.enable),
        "accounts.role": (given.ChangeRoles, commands.role),
        "accounts.reset": (given.Named, commands.reset),
        "accounts.two_step_off": (given.Named, commands.two_step_off),
        "accounts.delete": (given.Named, commands.delete),
        "accounts.export": (given.Named, commands.export),
        "accounts.audit": (given.Audit, commands.audit),
        "sessions.list": (given.ListSessions, commands.list_sessions),
        "sessions.show": (given.SessionId, commands.show_session),
        "sessions.end": (given.SessionId, commands.end_session),
        "sessions.end_user": (given.Named, commands.end_user),
        "sessions.end_many": (given.EndMany, commands.end_many),
        "sessions.stats": (given.Nothing, commands.stats),
    }
    return {name: _command(kind, method) for name, (kind, method) in methods.items()}


def _command(kind: type[A], method: Callable[[A], Awaitable[Any]]) -> Command:
    """Return a command that checks its arguments, and whose failures have sentences."""

    @functools.wraps(method)
    async def run(arguments: Mapping[str, Any]) -> Any:
        try:
            result = await method(msgspec.convert(arguments, kind))
        except msgspec.ValidationError as error:
            raise CommandFailed(f"the arguments are not valid: {error}") from None
        except (InvalidAccount, Ambiguous, StoreError, DatabaseUnavailable) as error:
            raise CommandFailed(str(error)) from None
        return msgspec.to_builtins(result)

    return run


class _Commands:
    """What each command does."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    # -- accounts --

    async def list_accounts(self, asked: given.ListAccounts) -> Any:
        which: dict[str, Any] = {
            "search": asked.search,
            "role": asked.role,
            "disabled": asked.disabled,
        }
        accounts = self._operator.list
        page = await accounts.page(**which, after=asked.after, limit=asked.limit)
        total = await accounts.count(**which) if asked.count else None
        after = page[-1].name if len(page) == asked.limit else None
        return {
            "accounts": [AccountRow.of(account) for account in page],
            "total": total,
            "after": after,
        }

    async def show(self, asked: given.Named) -> Any:
        account = await self._find(asked.name)
        events = await self._operator.trail.of(account.id, _SHOWN)
        return {
            "account": AccountRow.of(account),
            "sign_in": await self._operator.sign_in(account),
            "sessions": await self._operator.sessions(account.id),
            "audit": [EventRow.of(event) for event in events],
        }

    async def add(self, asked: given.Named) -> Any:
        return {"account": AccountRow.of(await self._operator.add(asked.name, COMMAND_LINE))}

    async def rename(self, asked: given.Rename) -> Any:
        account = await self._find(asked.name)
        renamed = await self._operator.rename(account, asked.new_name, COMMAND_LINE)
        if renamed is None:
            raise CommandFailed(await self._unknown(asked.name))
        return {"account": AccountRow.of(renamed)}

    async def disable(self, asked: given.Named) -> Any:
        account = await self._find(asked.name)
        ended = await self._operator.disable(account, COMMAND_LINE)
        return {"account": await self._now(account), "ended": ended}

    async def enable(self, asked: given.Named) -> Any:
        account = await self._find(asked.name)
        changed = await self._operator.enable(account, COMMAND_LINE)
        return {"account": await self._now(account), "changed": changed}

    async def role(self, asked: given.ChangeRoles) -> Any:
        account = await self._find(asked.name)
        await self._operator.set_roles(account, COMMAND_LINE, add=asked.add, remove=asked.remove)
        return {"account": await self._now(account)}

    async def reset(self, asked: given.Named) -> Any:
        account = await self._find(asked.name)
        link = await self._operator.reset_link(account, COMMAND_LINE)
        return {"account": AccountRow.of(account), "link": link.url, "lifetime": link.lifetime}

    async def two_step_off(self, asked: given.Named) -> Any:
        account = await self._find(asked.name)
        changed = await self._operator.two_step_off(account, COMMAND_LINE)
        return {"account": AccountRow.of(account), "changed": changed}

    async def delete(self, asked: given.Named) -> Any:
        account = await self._find(asked.name)
        if not await self._operator.delete(account, COMMAND_LINE):
            raise CommandFailed(await self._unknown(asked.name))
        return {"account": AccountRow.of(account)}

    async def export(self, asked: given.Named) -> Any:
        return await self._operator.export(await self._find(asked.name))

    async def audit(self, asked: given.Audit) -> Any:
        for name in asked.events:
            # modules of a fork have events of their own
            if name not in EVENT_NAMES and not await self._operator.trail.search(
                events=(name,), limit=1
            ):
                raise CommandFailed(unknown_event(name))
        found = await self._operator.trail.search(
            since=asked.since,
            until=asked.until,
            events=asked.events,
            account_id=await self._id(asked.name),
            actor_id=await self._id(asked.by),
            limit=asked.limit,
            before=asked.before,
        )
        more = len(found) == asked.limit
        return {
            "events": [EventRow.of(event) for event in found],
            "before": found[-1].position if more else None,
        }

    # -- sessions --

    async def list_sessions(self, asked: given.ListSessions) -> Any:
        sessions = self._operator.session_list
        if not asked.user:
            rows, total = await sessions.latest(asked.limit, seen_before=asked.seen_before)
        else:
            rows = await sessions.of_user(await self._user_id(asked.user), _ALL_OF_USER)
            if asked.seen_before is not None:
                rows = [row for row in rows if row.seen < asked.seen_before]
            rows, total = rows[: asked.limit], len(rows)
        return {"sessions": rows, "total": total}

    async def show_session(self, asked: given.SessionId) -> Any:
        (row,) = await self._operator.session_list.rows([await self._record(asked.id)])
        return {"session": row}

    async def end_session(self, asked: given.SessionId) -> Any:
        record = await self._record(asked.id)
        (row,) = await self._operator.session_list.rows([record])
        if not await self._operator.end_record(record, COMMAND_LINE):
            raise CommandFailed(f"the session {asked.id} has ended already")
        return {"session": row}

    async def end_user(self, asked: given.Named) -> Any:
        user_id = await self._user_id(asked.name)
        return {"ended": await self._operator.end_user_id(user_id, COMMAND_LINE)}

    async def end_many(self, asked: given.EndMany) -> Any:
        ended = await self._operator.end_many(
            COMMAND_LINE, seen_before=asked.seen_before, orphaned=asked.orphaned
        )
        return {"ended": ended}

    async def stats(self, asked: given.Nothing) -> Any:
        return await self._operator.stats.read()

    # -- private --

    async def _find(self, name: str) -> Account:
        account = await self._operator.find(name)
        if account is None:
            raise CommandFailed(await self._unknown(name))
        return account

    async def _id(self, name: str) -> str:
        """Return the id of an account, or one that a deleted account had; "" for no name."""
        if not name:
            return ""
        account = await self._operator.find(name)
        if account is not None:
            return account.id
        if await self._operator.trail.of(name, 1):
            return name
        unknown = await self._unknown(name)
        raise CommandFailed(f"{unknown}. Ask for a deleted account by its id, which --json shows.")

    async def _user_id(self, name: str) -> str:
        """Return the id of an account, or of a user whose account is elsewhere."""
        account = await self._operator.find(name)
        if account is None and not await self._operator.sessions(name, 1):
            raise CommandFailed(await self._unknown(name))
        return name if account is None else account.id

    async def _now(self, account: Account) -> AccountRow:
        return AccountRow.of(await self._operator.find(account.id) or account)

    async def _record(self, id: str) -> Any:
        if len(id) < MIN_ID:
            raise CommandFailed(f"write at least six characters of a session's id, not {id!r}")
        record = await self._operator.session_list.find(id)
        if record is None:
            raise CommandFailed(
                f"no session has the id {id}; python -m app.sessions list shows them"
            )
        return record

    async def _unknown(self, name: str) -> str:
        """Return a sentence about a name that no account has."""
        near = await self._operator.list.similar(name)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"no account has the name or the id {name[:100]!r}{hint}"
