"""Administrators who sign in as another user, until they stop or something ends it."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

import msgspec

from app.accounts import ADMIN, DELETED, Account, Accounts
from app.common.listeners import Listeners
from app.ops.audit import Audit
from app.sessions.authentication import Actor, Authentication, of_record
from app.sessions.end_reason import EndReason
from app.sessions.manager import Sessions
from app.sessions.session import Session, SessionEnded
from app.sign_in import Browser as SigningIn
from app.sign_in import SignIn, SignInRefused
from app.stores import Record

METHOD = "impersonation"  # in the audit log
MAX_AGE = 3600.0  # seconds, however active the administrator is
_MAX_SESSIONS = 1000  # of one account that are looked at when it changes

_NESTED = "You are signed in as another user already. Press “Stop” first."
_NO_ADMIN = "Only an administrator may sign in as another user."
_IS_ADMIN = "This account is an administrator's. Nobody may sign in as an administrator."
_CHANGED = "This account, or yours, was changed just now, so you are not signed in to it."


class ImpersonationRefused(SignInRefused):
    """403: this administrator may not sign in as this user; the sentence is for them."""


class Browser(SigningIn, Protocol):
    """The handler of a request."""

    @property
    def user_agent(self) -> str:
        """Return the header User-Agent."""
        ...

    def replace_session(self, session: Session[Any]) -> None:
        """Give the browser another stored session."""


class Impersonation:
    """Lets an administrator use the site as another user; `services.impersonation`.

    The browser gets a session of that user whose `actor` is the administrator. The administrator's
    own session goes on meanwhile with a new id that no browser has, and ends with the other one
    unless they stop.
    """

    def __init__(
        self,
        sessions: Sessions[Any],
        accounts: Accounts,
        sign_in: SignIn,
        audit: Audit,
    ) -> None:
        self._sessions = sessions
        self._accounts = accounts
        self._sign_in = sign_in
        self._audit = audit
        #: Told of each session that an administrator gets, as `on_login` is of a user's own.
        self.on_begin: Listeners[[Session[Any]]] = Listeners("an administrator's sign-in as a user")

    async def begin(self, browser: Browser, account_id: str) -> None:
        """Sign in an administrator as another user.

        The hooks `may_sign_in` are asked; `on_login` is not told. Raises ImpersonationRefused and
        SignInRefused, which are 403, SessionEnded, StoreError and AccountsUnavailable.
        """
        own = browser.session
        administrator, account = await self._check(browser, own, account_id)
        await self._sign_in.check(browser, account, METHOD)
        proof = msgspec.structs.replace(own.authentication, acting_as=account.id)
        parked = await self._renewed(browser, own, administrator, proof)
        browser.replace_session(parked)
        until = self._sessions.clock() + MAX_AGE
        actor = Actor(
            id=administrator.id, name=administrator.name, session_id=parked.id, until=until
        )
        session = await self._sessions.create(
            remote_address=browser.remote_address,
            user_agent=browser.user_agent,
            user_id=account.id,
            user_name=account.name,
            authentication=Authentication(method=METHOD, actor=actor),
        )
        browser.replace_session(session)
        # a change of an account ends the sessions that it finds, which this one was not among
        if not await self.may_go_on(session):
            browser.become_visitor()
            self._refuse(browser, account, administrator, _CHANGED)
        self._audit.signed_in(session, METHOD)
        await self.on_begin.tell(session)

    async def stop(self, browser: Browser) -> bool:
        """End it and give the browser the administrator's own session, with a new id.

        Returns whether it has that. If the own session has ended, or the administrator may not
        sign in any more, the browser is a visitor's. If another tab stops at the same time, that
        one gets the session, and this returns False and leaves the cookie alone.
        """
        session, actor = browser.session, browser.session.actor
        parked = None if actor is None else await self._sessions.load(actor.session_id)
        if actor is None or parked is None:
            return False
        own = await self._own_session(browser, session, actor, parked)
        if own is None:
            return False
        browser.replace_session(own)
        await self._sessions.withdraw(session.id)
        await self._sessions.announce_end(parked.id, "regenerated", parked.record)
        return True

    async def may_go_on(self, session: Session[Any]) -> bool:
        """Whether an administrator may still use this session; if not, it has ended on return.

        True for the session of a user who has signed in themself. Raises AccountsUnavailable.
        """
        actor = session.actor
        if actor is None:
            return True
        found = await self._accounts.by_ids([actor.id, session.user_id or ""])
        administrator, account = found.get(actor.id), found.get(session.user_id or "")
        if _is_administrator(administrator) and _may_be_used(account):
            return True
        await self._sessions.end(session.id)
        return False

    # -- listeners --

    async def session_ended(
        self, session_id: str, reason: EndReason, record: Record | None
    ) -> None:
        """End the session that an administrator uses with their own one, and the other way round.

        The process that removed the record does it for all.
        """
        if record is None:
            return
        proof = of_record(record)
        if proof.acting_as:
            await self._end_used(session_id, proof.acting_as)
        elif proof.actor is not None and reason != "regenerated":
            await self._sessions.end(proof.actor.session_id)

    async def account_changed(self, account_id: str) -> None:
        """End the sessions that this change no longer allows."""
        for record in await self._sessions.store.of_user(account_id, _MAX_SESSIONS):
            proof = of_record(record)
            if proof.actor is not None:
                await self.may_go_on(Session(self._sessions.records, record))
            elif proof.acting_as and not _is_administrator(await self._accounts.by_id(account_id)):
                await self._sessions.end(record.id)

    # -- parts --

    async def _check(
        self, browser: Browser, own: Session[Any], account_id: str
    ) -> tuple[Account, Account]:
        """Return both accounts; raises ImpersonationRefused."""
        found = await self._accounts.by_ids([own.user_id or "", account_id])
        administrator, account = found.get(own.user_id or ""), found.get(account_id)
        if own.actor is not None:
            self._refuse(browser, account, own.actor, _NESTED)
        if administrator is None or not _is_administrator(administrator):
            self._refuse(browser, account, administrator, _NO_ADMIN)
        if account is None:
            raise ImpersonationRefused(DELETED)
        if ADMIN in account.roles:
            self._refuse(browser, account, administrator, _IS_ADMIN)
        return administrator, account

    def _refuse(
        self, browser: Browser, account: Account | None, actor: Account | Actor | None, why: str
    ) -> NoReturn:
        self._audit.add(
            "failure",
            user=account.name if account else None,
            address=browser.remote_address,
            reason=f"refused: {why}",
            user_id=account.id if account else None,
            method=METHOD,
            actor=actor,
        )
        raise ImpersonationRefused(why)

    async def _own_session(
        self, browser: Browser, session: Session[Any], actor: Actor, parked: Session[Any]
    ) -> Session[Any] | None:
        """Return the own session of an administrator under a new id (OWASP ASVS 5.0, 7.2.4).

        None if they may not sign in any more, and then both sessions have ended; and if another
        tab has got it.
        """
        administrator, proof = await self._accounts.by_id(actor.id), parked.authentication
        theirs = parked.user_id == actor.id and proof.acting_as == session.user_id
        try:
            if administrator is None or not theirs or not _is_administrator(administrator):
                raise ImpersonationRefused(_NO_ADMIN)
            await self._sign_in.check(browser, administrator, METHOD)
            proof = msgspec.structs.replace(proof, acting_as="")
            return await self._renewed(browser, parked, administrator, proof)
        except SignInRefused:
            await self._sessions.end(session.id)
        except SessionEnded:
            pass  # the cookie stays as it is, since the answer to the other tab sets it
        return None

    async def _renewed(
        self, browser: Browser, own: Session[Any], account: Account, proof: Authentication
    ) -> Session[Any]:
        """Move the own session of an administrator to a new id; the old one is dead on return."""
        return await self._sessions.sign_in(
            own,
            account.id,
            user_name=account.name,
            authentication=proof,
            remote_address=browser.remote_address,
            user_agent=browser.user_agent,
        )

    async def _end_used(self, own_id: str, user_id: str) -> None:
        """End the sessions of this user that belong to an own session of an administrator."""
        for record in await self._sessions.store.of_user(user_id, _MAX_SESSIONS):
            actor = of_record(record).actor
            if actor is not None and actor.session_id == own_id:
                await self._sessions.end(record.id)


def _is_administrator(account: Account | None) -> bool:
    return account is not None and account.disabled is None and ADMIN in account.roles


def _may_be_used(account: Account | None) -> bool:
    return account is not None and account.disabled is None and ADMIN not in account.roles
