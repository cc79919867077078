"""A form of the account page that asks for the password."""

import contextlib
from typing import ClassVar

from tornado.web import HTTPError, authenticated

from app.accounts import AccountsUnavailable, InvalidAccount, Proof
from app.rate_limits import subscriber
from app.stores import StoreError
from app.web.errors import TooManyRequests
from app.web.recent_sign_in import recent_sign_in
from app.web.user_only import user_only
from handlers.account.section import AccountSection
from handlers.proof_again import PROOF_MINUTES
from handlers.refusal import refusal


class PasswordFormHandler(AccountSection):
    """A form that asks for the password again, because a session alone may be stolen.

    With two-step sign-in on, it also needs a recent proof, of which a code is a part.
    """

    form: ClassVar[str]

    @authenticated
    @user_only
    async def post(self) -> None:
        try:
            # with two-step sign-in the password alone proves too little
            if await self.services.totp.is_on(self.user_id):
                await self._act_with_recent_proof()
            else:
                await self.act()
        except (InvalidAccount, AccountsUnavailable, HTTPError) as error:
            await self._refuse(*refusal(self, error))

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def _act_with_recent_proof(self) -> None:
        await self.act()

    async def act(self) -> None:
        """Do the change and answer; the message of an error is shown beside the form."""
        raise NotImplementedError

    async def prove(self, password: str) -> Proof:
        """Check the password of this user; raises HTTPError 403 or TooManyRequests."""
        user_id = self.user_id
        proof = await self.services.accounts.prove(
            self.user,
            password,
            check_limits=lambda: self._check_limits(user_id),
            address=subscriber(self.remote_address),
        )
        if proof.account and proof.account.id == user_id and not proof.account.has_password:
            raise HTTPError(409, "Your account has no password: you sign in to it another way.")
        if not proof or proof.account is None or proof.account.id != user_id:
            await self.services.limits.password_failed(user_id)
            self.audit("failure", reason=f"wrong password: {self.form}")
            raise HTTPError(403, "Wrong password.")
        return proof

    async def _check_limits(self, user_id: str) -> None:
        wait = await self.services.limits.password_wait(user_id)
        if wait:
            raise TooManyRequests(wait, "too many wrong passwords")

    async def _refuse(self, status: int, sentence: str) -> None:
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
            return
        if self.session:  # a user who was signed out meanwhile cannot see the account page
            with contextlib.suppress(StoreError):
                await self.show(form=self.form, wrong=sentence)
                return
        self.set_header("Cache-Control", "no-store")
        self.render("error.html", status=status, sentence=sentence)
