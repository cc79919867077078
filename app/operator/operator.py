"""The operations on accounts and sessions that the command line and the admin page share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import msgspec

from app.accounts import (
    Account,
    AccountChanges,
    AccountList,
    Accounts,
    AuditTrail,
    InvalidAccount,
    OneTimeLinks,
    RecoveryCodes,
    Roles,
    Totp,
    without_orphans,
)
from app.database import Database
from app.devices import Devices
from app.operator.actor import Actor
from app.operator.rows import AccountRow, EventRow, SessionRow, SignInRow
from app.operator.session_list import SessionList
from app.operator.site_stats import SiteStats
from app.ops.audit import Audit
from app.sessions.manager import Sessions
from app.stores import MAX_LISTED, Record, StoreError, StoreUnavailable

_MAX_EXPORTED = 10_000  # audit events
_BATCH = 2000  # sessions
_LINK_LIFETIME = 3600  # seconds


class ResetLink(NamedTuple):
    """An address with a secret that works once."""

    url: str
    lifetime: int  # seconds


class Operator:
    """Acts on accounts and sessions for an operator; each change has a line in the audit log.

    What is changed tells `accounts.on_changed`, and so all processes. Methods raise
    DatabaseUnavailable, StoreUnavailable, and InvalidAccount with a sentence for the operator.
    With `keep_an_admin` they raise LastAdministrator instead of leaving no administrator who may
    sign in; the admin page asks for that, the command line can make a new administrator.
    """

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        roles: Roles,
        sessions: Sessions[Any],
        devices: Devices,
        audit: Audit,
        audit_trail: AuditTrail,
        links: OneTimeLinks,
        totp: Totp,
        codes: RecoveryCodes,
        public_link: Callable[[str], str],
        tell_two_step: Callable[[str, str], None],
    ) -> None:
        """`public_link` returns the address of a path of the site.

        `tell_two_step` tells the user with this id that two-step sign-in is "on" or "off" now.
        """
        self._totp = totp
        self._codes = codes
        self._tell_two_step = tell_two_step
        self._links = links
        self._public_link = public_link
        self._accounts = accounts
        self._roles = roles
        self._sessions = sessions
        self._audit = audit
        #: The events of accounts.
        self.trail = audit_trail
        self._changes = AccountChanges(database, accounts)
        #: All accounts, page by page.
        self.list = AccountList(database)
        #: All sessions, by scans of the store.
        self.session_list = SessionList(sessions, devices)
        #: The numbers of the site.
        self.stats = SiteStats(self.list, self.session_list, devices, audit_trail)

    # -- find --

    async def find(self, name: str) -> Account | None:
        """Return the account with this name, in any spelling, or with this id; None if none."""
        return await self._accounts.by_name(name) or await self._accounts.by_id(name)

    async def sessions(self, user_id: str, limit: int = MAX_LISTED) -> list[SessionRow]:
        """Return the living sessions of a user, the last seen first."""
        return await self.session_list.of_user(user_id, limit)

    async def sign_in(self, account: Account) -> SignInRow:
        """Return whether two-step sign-in is on, and how many recovery codes are left."""
        return SignInRow(
            two_step=await self._totp.is_on(account.id),
            recovery_codes_left=await self._codes.left(account.id),
        )

    async def export(self, account: Account) -> dict[str, Any]:
        """Return what the site keeps about an account, for JSON.

        The data that a fork keeps in sessions and in tables of its own is not included.
        """
        events = await self.trail.latest(account.id, _MAX_EXPORTED)
        return {
            "account": msgspec.to_builtins(AccountRow.of(account)),
            "sign_in": msgspec.to_builtins(await self.sign_in(account)),
            "sessions": msgspec.to_builtins(await self.sessions(account.id, 10 * MAX_LISTED)),
            "audit": [msgspec.to_builtins(EventRow.of(event)) for event in events],
        }

    # -- accounts --

    async def disable(self, account: Account, actor: Actor, *, keep_an_admin: bool = False) -> int:
        """Refuse all sign-ins of an account and end its sessions; return how many were ended.

        If the session store is down, nothing is changed. May be repeated.
        """
        await self._sessions.store.ping()
        changed = await self._changes.set_disabled(account, True, keep_an_admin=keep_an_admin)
        # sign-ins under way see that it is disabled, once their session is stored
        ended = await self._end_all(account, f"{account.name} is disabled")
        if changed or ended:
            self._log("disable", account, actor, _count(ended))
        return ended

    async def enable(self, account: Account, actor: Actor) -> bool:
        """Let a disabled account sign in again; return False if it was not disabled."""
        changed = await self._changes.set_disabled(account, False)
        if changed:
            self._log("enable", account, actor)
        return changed

    async def add(self, name: str, actor: Actor) -> Account:
        """Make an account without a password, for `reset_link`; raises InvalidAccount."""
        account = await self._accounts.add(name)
        self._log("registration", account, actor)
        return account

    async def reset_link(self, account: Account, actor: Actor) -> ResetLink:
        """Make a link by which the user, once, chooses a password; earlier ones are invalid.

        The link is a secret: give it to nobody but the user. Raises InvalidAccount.
        """
        if account.disabled is not None:
            raise InvalidAccount(f"{account.name} is disabled; enable the account first.")
        token = await self._links.create(account.id, "reset", _LINK_LIFETIME)
        self._log("reset link", account, actor)
        return ResetLink(self._public_link(f"/reset?token={token}"), _LINK_LIFETIME)

    async def two_step_off(self, account: Account, actor: Actor) -> bool:
        """Turn two-step sign-in off and forget trusted devices; return False if it was off.

        For a user who has lost the phone and the recovery codes. The user is told by mail.
        """
        if not await self._totp.remove(account.id):
            return False
        self._log("two-step sign-in off", account, actor)
        await self._accounts.on_changed.tell(account.id)
        self._tell_two_step(account.id, "off")
        return True

    async def rename(self, account: Account, name: str, actor: Actor) -> Account | None:
        """Give an account another name; its sessions, which show the old one, are ended.

        Returns the account as it is then; None if it is deleted. Raises NameTaken or another
        InvalidAccount.
        """
        await self._sessions.store.ping()
        renamed = await self._changes.rename(account, name)
        if renamed is not None:
            self._log("rename", renamed, actor, f"from {account.name}")
            await self._end_all(renamed, f"{account.name} is {renamed.name} now")
        return renamed

    async def set_roles(
        self,
        account: Account,
        actor: Actor,
        *,
        add: Collection[str] = (),
        remove: Collection[str] = (),
        keep_an_admin: bool = False,
    ) -> frozenset[str]:
        """Give an account roles and take others; return those that it has then.

        Sockets that need a role which it lost leave their namespace. Raises InvalidRole.
        """
        before = await self._roles.of(account.id)
        after = await self._roles.set(
            account.id, add=add, remove=remove, keep_an_admin=keep_an_admin
        )
        changes = [f"+{role}" for role in sorted(after - before)]
        changes += [f"-{role}" for role in sorted(before - after)]
        if changes:
            self._log("role change", account, actor, " ".join(changes))
        return after

    async def delete(self, account: Account, actor: Actor, *, keep_an_admin: bool = False) -> bool:
        """End the sessions of an account and delete it; return False if it was deleted already.

        Raises AccountInUse if rows of a fork's table refer to it, and may not.
        """
        await self._accounts.check_deletable(account, keep_an_admin=keep_an_admin)
        await self._sessions.end_user(account.id)
        deleted = await self._accounts.remove(account, keep_an_admin=keep_an_admin)
        if deleted:
            self._log("deletion", account, actor)
            await self._end_all(account, f"{account.name} is deleted")
        return deleted

    # -- sessions --

    async def end_session(self, user_id: str, id: str, actor: Actor) -> bool:
        """End the session of a user with this public id; return False if there is none."""
        record = await self._sessions.store.find(user_id, id)
        return record is not None and await self.end_record(record, actor)

    async def end_user(self, account: Account, actor: Actor) -> int:
        """End all sessions of an account; return how many."""
        ended = await self._sessions.end_user(account.id)
        if ended:
            self._log("session end", account, actor, _count(ended))
        return ended

    async def end_user_id(self, user_id: str, actor: Actor) -> int:
        """End all sessions of a user, whose account may be elsewhere; return how many."""
        account = await self._accounts.by_id(user_id)
        return await self.end_user(account or Account(id=user_id, name=user_id, created=0), actor)

    async def end_record(self, record: Record, actor: Actor) -> bool:
        """End a session that `session_list` has found; return False if it has ended already."""
        if not await self._sessions.end(record.id, "revoked"):
            return False
        self._audit.add(
            "session end",
            user=record.user,
            user_id=record.user_id,
            address=actor.address,
            reason=_count(1),
            actor=actor,
        )
        return True

    async def end_many(
        self,
        actor: Actor,
        *,
        seen_before: float | None = None,
        orphaned: bool = False,
        limit: int = _BATCH,
    ) -> int:
        """End all sessions, or those last seen before a time, at most `limit`; return how many.

        If `orphaned`, only those end that no account may have, since the database was restored.
        Call it until it returns 0.
        """
        ended = 0
        async for page in self.session_list.all(seen_before=seen_before):
            if orphaned:
                stay = {each.id for each in await without_orphans(self._accounts, page)}
                page = [each for each in page if each.id not in stay]
            ends = (self._sessions.end(each.id, "revoked") for each in page[: limit - ended])
            ended += sum(await asyncio.gather(*ends))
            if ended >= limit:
                break
        if ended:
            self._audit.add(
                "session end", user=None, address=actor.address, reason=_count(ended), actor=actor
            )
        return ended

    # -- private --

    async def _end_all(self, account: Account, done: str) -> int:
        """End the sessions of an account that was changed; `done` says how."""
        try:
            return await self._sessions.end_user(account.id)
        except StoreError as error:
            raise StoreUnavailable(
                f"{done}, but the session store does not answer, so sessions may be open; "
                "do it once more"
            ) from error

    def _log(self, event: str, account: Account, actor: Actor, reason: str = "") -> None:
        self._audit.add(
            event,
            user=account.name,
            user_id=account.id,
            address=actor.address,
            reason=reason,
            actor=actor,
        )


def _count(sessions: int) -> str:
    return f"{sessions} session{'' if sessions == 1 else 's'}"
