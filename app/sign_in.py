"""Signing in: what happens between the proof of an account and its session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Protocol

from tornado.web import HTTPError

from app.accounts import DELETED, Account, Accounts, is_account_id
from app.common.listeners import Listeners
from app.common.rate_limited_log import RateLimitedLog
from app.ops.audit import Audit
from app.sessions.authentication import Authentication
from app.sessions.manager import Sessions
from app.sessions.session import Session
from app.stores import StoreError

#: Tells, after a new session was stored, whether it may stay.
Confirm = Callable[[], Awaitable[bool]]
#: Returns a sentence that refuses a sign-in, or None.
Check = Callable[[Account], Awaitable[str | None] | str | None]

_DISABLED = "This account is disabled. Ask the operator of this site."
_STOP_FIRST = "You are signed in as {user}, as administrator {actor}. Press “Stop” first."
_RENAMED = "This account was renamed just now. Sign in again with the new name."
_ACTING = "Only the user may do this, not an administrator who is signed in as the user."
_NO_NAME = "This is an account id, not a user name."


class SignInRefused(HTTPError):
    """403: the account may not sign in; the sentence is for the user."""

    def __init__(self, sentence: str) -> None:
        super().__init__(403, "%s", sentence)
        self.sentence = sentence


class Browser(Protocol):
    """The handler of the request that signs in."""

    session: Session[Any]

    @property
    def remote_address(self) -> str:
        """Address of the client."""
        ...

    async def renew_session(
        self, user_id: str, user_name: str, authentication: Authentication
    ) -> None:
        """Give the browser a session with a new id for this user; raises TooManyRequests."""

    async def prove_again(self, authentication: Authentication) -> None:
        """Give the session of this user a new id; its sockets stay; raises SessionEnded."""

    def become_visitor(self) -> None:
        """Make the browser forget its session."""


class SignIn:
    """The one way from a proven account to its session; handlers call it as `services.sign_in`."""

    def __init__(
        self,
        sessions: Sessions[Any],
        accounts: Accounts,
        audit: Audit,
        outage_log: RateLimitedLog,
        on_login: Listeners[[Session[Any]]],
        *,
        max_sessions_per_user: int,
    ) -> None:
        """`max_sessions_per_user` is 0 for any number."""
        self._sessions = sessions
        self._accounts = accounts
        self._audit = audit
        self._outage_log = outage_log
        self._maximum = max_sessions_per_user
        self._on_login = on_login
        #: Asked in this order; the hooks `may_sign_in` of modules.
        self.may_sign_in: list[Check] = []
        #: Called with the method of a sign-in that is refused.
        self.on_refused: list[Callable[[str], None]] = []

    async def __call__(
        self,
        handler: Browser,
        account: Account | str,
        *,
        method: str,
        confirm: Confirm | None = None,
    ) -> bool:
        """Sign in an account that the caller has proven; return whether the session may stay.

        `method` names the proof in the audit log: "password", "oidc". `confirm` is called after
        the new session was stored; if it returns False or raises, the session is ended, and the
        browser is a visitor. By default it is whether the account still exists.

        In this order:

        1. The account must not be disabled, and the hooks `may_sign_in` are asked.
        2. The session gets a new id: a visitor's data is kept, another user's is not.
        3. `confirm` is called, and the questions of step 1 are asked once more.
        4. Sessions beyond --max-sessions-per-user end.
        5. The audit log gets a line, and `on_login` is called.

        Sockets of the old id are closed when the response with the new cookie is on its way.

        Raises SignInRefused, a 403 that the page shows (also to an administrator who is signed in
        as another user: they have to stop first), TooManyRequests if the address has too
        many new sessions, StoreError and AccountsUnavailable. A fork that keeps its accounts
        elsewhere passes a string, which is both id and name if no account here has that name; the
        id of an account is refused, since users may choose their names elsewhere.
        """
        if isinstance(account, str):
            account, confirm = await self._of_name(handler, account, method, confirm)
        sentence = self.stop_first(handler.session)
        if sentence is not None:
            self._refuse(handler, account, method, sentence)
        account = await self._accounts.announce(account)
        await self.check(handler, account, method)
        proof = Authentication(time=self._sessions.clock(), method=method)
        await handler.renew_session(account.id, account.name, proof)
        if not await self._confirmed(handler, account, method, confirm):
            return False
        await self._end_oldest(handler, account)
        self._audit.signed_in(handler.session, method)
        await self._on_login.tell(handler.session)
        return True

    async def again(self, handler: Browser, *, method: str, confirm: Confirm | None = None) -> bool:
        """Note that the user of this session has proven once more who they are: a step-up.

        The caller has checked the proof, which `method` names. The session gets a new id (OWASP
        ASVS 5.0, 7.2.4), the time of this proof, and keeps its data. Its sockets go on under the
        new id. `confirm` is called after that, as for a sign-in; if it returns False or raises,
        the session is ended. Returns whether the session may stay.

        Raises SignInRefused for an account that is disabled or deleted, that a hook `may_sign_in`
        refuses, or that an administrator uses; SessionEnded if the session ended meanwhile; and
        StoreError and AccountsUnavailable.
        """
        session = handler.session
        if session.user_id is None or session.user is None:
            raise RuntimeError("only a user proves again who they are; a visitor signs in")
        user_id, named = session.user_id, Account(id=session.user_id, name=session.user, created=0)
        if session.actor is not None:
            self._refuse(handler, named, method, _ACTING)

        async def check() -> bool:
            account = await self._accounts.by_id(user_id)
            if account is None and is_account_id(user_id):
                self._refuse(handler, named, method, DELETED)
            await self.check(handler, account or named, method)
            return True

        async def check_all() -> bool:
            return (confirm is None or await confirm()) and await check()

        await check()
        await handler.prove_again(Authentication(time=self._sessions.clock(), method=method))
        if not await self._confirmed_by(handler, check_all):
            return False
        self._audit.proven_again(handler.session, method)
        return True

    async def regenerated(self, handler: Browser, confirm: Confirm) -> bool:
        """Return whether a session with a new id for the same user may stay, else end it.

        Besides `confirm`, the hooks `may_sign_in` are asked: the old session may have been ended
        by a ban. Raises SignInRefused.
        """
        user_id, name = handler.session.user_id or "", handler.session.user or ""

        async def check() -> bool:
            if not await confirm():
                return False
            account = await self._accounts.by_id(user_id)
            account = account or Account(id=user_id, name=name, created=0.0)
            await self.check(handler, account, "regeneration")
            return True

        return await self._confirmed_by(handler, check)

    def stop_first(self, session: Session[Any]) -> str | None:
        """Return what to tell an administrator who is signed in as this user, else None."""
        if session.actor is None:
            return None
        return _STOP_FIRST.format(user=session.user, actor=session.actor.name)

    async def check(self, handler: Browser, account: Account, method: str) -> None:
        """Raise SignInRefused if the account is disabled, or if a hook `may_sign_in` refuses it."""
        if account.disabled is not None:
            self._refuse(handler, account, method, _DISABLED)
        for hook in self.may_sign_in:
            answer = hook(account)
            sentence = answer if answer is None or isinstance(answer, str) else await answer
            if sentence is not None:
                self._refuse(handler, account, method, sentence)

    async def _confirmed_by(self, handler: Browser, confirm: Confirm) -> bool:
        """Call `confirm`; end the session that was just stored unless it returns True."""
        confirmed = False
        try:
            confirmed = await confirm()
        finally:
            if not confirmed:
                session_id = handler.session.id
                handler.become_visitor()
                await self._sessions.end(session_id, "revoked")
        return confirmed

    async def _of_name(
        self, handler: Browser, name: str, method: str, confirm: Confirm | None
    ) -> tuple[Account, Confirm | None]:
        """Return the account of a name; one that is not in the database if there is none.

        Raises SignInRefused for the id of an account, or of one that was deleted.
        """
        account = await self._accounts.by_name(name)
        if account is not None:
            return account, confirm
        account = Account(id=name, name=name, created=0.0)
        if is_account_id(name) or await self._accounts.by_id(name) is not None:
            self._refuse(handler, account, method, _NO_NAME)
        return account, confirm or _always

    def _refuse(self, handler: Browser, account: Account, method: str, sentence: str) -> NoReturn:
        self._audit.add(
            "failure",
            user=account.name,
            address=handler.remote_address,
            reason=f"refused: {sentence}",
            user_id=account.id,
            method=method,
            actor=handler.session.actor,
        )
        for listener in self.on_refused:
            listener(method)
        raise SignInRefused(sentence)

    async def _confirmed(
        self, handler: Browser, account: Account, method: str, confirm: Confirm | None
    ) -> bool:
        async def check() -> bool:
            if confirm is not None and not await confirm():
                return False
            now = await self._accounts.by_id(account.id)
            if now is None and confirm is None:
                raise SignInRefused(DELETED)
            if now is not None and now.name != account.name:
                raise SignInRefused(_RENAMED)
            # a ban ends the sessions that it finds, which this one may not have been among
            await self.check(handler, now or account, method)
            return True

        return await self._confirmed_by(handler, check)

    async def _end_oldest(self, handler: Browser, account: Account) -> None:
        """End the least recently seen sessions of this user beyond --max-sessions-per-user."""
        if not self._maximum:
            return
        try:
            await self._sessions.end_oldest(account.id, self._maximum, keep=handler.session.id)
        except StoreError as error:  # the next sign-in ends them
            self._outage_log.add(handler.remote_address, error)


async def _always() -> bool:
    return True
