"""A repeated proof of who the user of a session is, by password or by code."""

from typing import Literal, NoReturn

from tornado.web import HTTPError

from app.accounts import Account, account_key
from app.limits import subscriber
from app.web.errors import TooManyRequests
from handlers.session import BaseHandler

#: What an account can prove: its password; a code, if it has no password; or neither here.
Kind = Literal["password", "code", ""]


class ProofAgain(BaseHandler):
    """A handler that checks the proof, and gives the session a new id."""

    another_way = (
        "Your account has no password. Sign out, and sign in again the way you did before."
    )

    async def prove(self) -> None:
        """Check what was sent and renew the session; raises HTTPError with a sentence."""
        (username,) = self.fields("username")
        if wait := await self.services.limits.account_page(self.session.user_id or ""):
            raise TooManyRequests(wait, "too many requests")
        account, kind = await self.account_and_kind()
        if account is None or not kind:
            raise HTTPError(409, self.another_way)
        if username and account_key(username) != account_key(account.name):
            raise HTTPError(403, f"You are signed in as {account.name}; enter your own password.")
        await (self._by_password(account) if kind == "password" else self._by_code(account))

    async def account_and_kind(self) -> tuple[Account | None, Kind]:
        """Return the account of the user, and what it can prove."""
        account = await self.services.accounts.by_id(self.session.user_id or "")
        if account is None:
            return None, ""
        if account.has_password:
            return account, "password"
        return account, "code" if await self.services.totp.is_on(account.id) else ""

    async def _by_password(self, account: Account) -> None:
        (password,) = self.fields("password")
        accounts, limits = self.services.accounts, self.services.limits

        async def check_limits() -> None:
            if wait := await limits.password_wait(account.id):
                raise TooManyRequests(wait, "too many wrong passwords")

        address = subscriber(self.remote_address)
        proof = await accounts.prove(
            account.name, password, check_limits=check_limits, address=address
        )
        if not proof or proof.account is None or proof.account.id != account.id:
            await limits.password_failed(account.id)
            self._fail(account, "password")
        if not await self.services.sign_in.again(
            self, method="password", confirm=lambda: accounts.still_valid(proof, password)
        ):
            raise HTTPError(403, "Your password was changed just now; sign in again.")

    async def _by_code(self, account: Account) -> None:
        (code,) = self.fields("code")
        limits = self.services.limits

        async def check_limits() -> None:
            if wait := await limits.code_wait(account.id):
                raise TooManyRequests(wait, "too many wrong codes")

        if not await self.services.totp.check(account.id, code, check_limits=check_limits):
            await limits.code_failed(account.id)
            self._fail(account, "code")
        await self.services.sign_in.again(self, method="totp")

    def _fail(self, account: Account, kind: str) -> NoReturn:
        self.services.audit.add(
            "failure",
            user=account.name,
            address=self.remote_address,
            reason=f"wrong {kind}: reauthentication",
            user_id=account.id,
        )
        raise HTTPError(403, f"Wrong {kind}.")
