"""A handler with a session: it loads the session, sends its cookie, signs in and signs out."""

from __future__ import annotations

from typing import Any, ClassVar, Generic

import msgspec

from app.accounts import Account
from app.rate_limits import subscriber
from app.sessions.authentication import Authentication
from app.sessions.codec import D
from app.sessions.session import Session, SessionEnded
from app.sign_in import Confirm
from app.stores import Record
from app.transport.tornado_private import response_begun
from app.web.security_headers import SecurityHeaders
from app.web.session_lookup import SessionLookup


class SessionHandler(SecurityHeaders, SessionLookup[D], Generic[D]):
    """Loads the session of a request, and sends the cookie of a new session or id."""

    #: Whether a request for this page keeps the session from being idle.
    is_activity: ClassVar[bool] = True

    session: Session[D]
    _sent_id = ""  # id that the browser's cookie has, or is about to have
    _replaced: Record | None = None  # old record of a session that got a new id

    async def prepare(self) -> None:
        """Load the session; a visitor without one gets it with the first edit."""
        found = await self.find_session()
        if found is None:
            self.session = self.visitor()
        else:
            self.session = found
            self._sent_id = found.id
            if self.is_activity:
                self.services.sessions.touch(found)

    def get_current_user(self) -> str | None:
        """Return the user who signed in, or None (`@tornado.web.authenticated` asks)."""
        session = self._loaded_session
        return None if session is None else session.user

    @property
    def _loaded_session(self) -> Session[D] | None:
        """The session; None if the request failed before `prepare` loaded it."""
        session: Session[D] | None = getattr(self, "session", None)
        return session

    # -- sign-in and sign-out --

    async def sign_in(
        self, account: Account | str, *, method: str = "own", confirm: Confirm | None = None
    ) -> bool:
        """Sign in an account, or a user without one: see `services.sign_in`."""
        return await self.services.sign_in(self, account, method=method, confirm=confirm)

    async def regenerate(self, *, confirm: Confirm | None = None, whole: bool = True) -> bool:
        """Give this browser a new session id for the same user; return whether it has one.

        `confirm`: as for `services.sign_in`. It stands for a proof of the user just now, so sockets
        stay, and go on under the new id; without it they are closed, and come back. It is not
        `whole` if it is the password of a user with two-step sign-in: the time of the last proof
        stays as it is.

        If the session has ended meanwhile, the browser gets a new one only if a whole `confirm`
        proves the user; otherwise raises SessionEnded. Raises SignInRefused if a hook `may_sign_in`
        refuses.
        """
        user_id, user_name = self.session.user_id, self.session.user
        if user_id is None or user_name is None:
            raise RuntimeError("only the session of a user is regenerated; a visitor signs in")
        proof = None
        if confirm is not None and whole:  # it stands for a proof just now, as the old password
            now = self.services.sessions.clock()
            proof = msgspec.structs.replace(self.session.authentication, time=now)
        await self._renew(user_id, user_name, proof, keep_sockets=confirm is not None)
        return confirm is None or await self.services.sign_in.regenerated(self, confirm)

    async def sign_out(self) -> None:
        """End the session; its connections at this process are closed when this returns."""
        if self.session:
            await self.services.sessions.end(self.session.id, "logout")
        self.become_visitor()

    def become_visitor(self) -> None:
        """Make the browser forget its cookie, and go on with a visitor's session."""
        self.forget_cookie()
        self.session = self.visitor()
        self._sent_id = ""

    async def renew_session(
        self, user_id: str, user_name: str, authentication: Authentication
    ) -> None:
        """Give this browser a session with a new id for a user; `services.sign_in` calls it.

        Sockets of the old id are closed when the response with the new cookie is on its way.
        """
        await self._renew(user_id, user_name, authentication)

    async def prove_again(self, authentication: Authentication) -> None:
        """Give the session of this user a new id; `services.sign_in.again` calls it.

        Its sockets stay, and go on under the new id. Raises SessionEnded.
        """
        old = self.session.record
        if old is None or old.user_id is None:
            raise SessionEnded(self.session.id)
        try:
            self.session = await self._signed_in(
                old.user_id, old.user or "", authentication, keep_sockets=True
            )
        except SessionEnded:
            # another tab may have proven it at the same time: both get the cookie of one new id
            renewed = await self.services.sessions.renewed(self.session)
            if renewed is None:
                raise
            self.session = renewed
        else:
            self._replaced = old

    async def _renew(
        self,
        user_id: str,
        user_name: str,
        proof: Authentication | None,
        *,
        keep_sockets: bool = False,
    ) -> None:
        """Renew the session; one that has ended meanwhile does not come back without a proof."""
        old = self.session.record
        if old is None:
            await self._may_create()
        try:
            self.session = await self._signed_in(
                user_id, user_name, proof, keep_sockets=keep_sockets
            )
        except SessionEnded:
            if proof is None:
                raise
            # the old session ended meanwhile, but the user is authenticated
            self.session = self.visitor()
            self.session = await self._signed_in(user_id, user_name, proof)
        if old is not None:
            self._replaced = old

    async def _signed_in(
        self,
        user_id: str,
        user_name: str,
        authentication: Authentication | None,
        *,
        keep_sockets: bool = False,
    ) -> Session[D]:
        return await self.services.sessions.sign_in(
            self.session,
            user_id,
            user_name=user_name,
            authentication=authentication,
            remote_address=self.remote_address,
            user_agent=self.user_agent,
            network=subscriber(self.remote_address) if keep_sockets else "",
        )

    def replace_session(self, session: Session[D]) -> None:
        """Give this browser another stored session, whose cookie is sent with the response.

        The one before must be removed; its sockets are closed when that cookie is on its way.
        """
        if self._replaced is None:
            self._replaced = self.session.record
        self.session = session

    # -- called by Tornado --

    def flush(self, include_footers: bool = False) -> Any:
        """Send the output so far; the first time, with the cookie if the session id is new."""
        session = self._loaded_session
        if session is not None and not response_begun(self):
            # an error page is sent even if the handler changed data outside of a block
            if self.get_status() < 500:
                session.check_unchanged()
            if session.id not in ("", self._sent_id):
                self._sent_id = session.id
                self.send_cookie(session)
        return super().flush(include_footers)

    def on_finish(self) -> None:
        """Close the sockets of an id that this response has replaced, unless they go on."""
        old = self._replaced
        if old is not None:
            self.services.background(
                self.services.sessions.announce_end(old.id, "regenerated", old)
            )
