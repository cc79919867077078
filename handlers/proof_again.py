"""A repeated proof of who the user of a session is, by password, by code, or by both."""

from typing import Literal, NoReturn

from tornado.web import HTTPError

from app.accounts import Account, account_key
from app.rate_limits import subscriber
from app.web.errors import TooManyRequests
from handlers.second_factor import kind_of_code, use_code
from handlers.session import BaseHandler

#: For how long, in minutes, a proof lets the user change what is sensitive.
PROOF_MINUTES = 10
#: What an account has to prove: its password, a code, both with two-step sign-in; "": it cannot.
Kind = Literal["password", "code", "password+code", ""]
_ENTER_CODE = "Enter a code of your authenticator app, or a recovery code."


class CodeRequired(HTTPError):
    """403: the password is right, and the code is missing or wrong."""

    def __init__(self, sentence: str) -> None:
        super().__init__(403, "%s", sentence)


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
        await (self._by_code(account) if kind == "code" else self._by_password(account, kind))

    async def account_and_kind(self) -> tuple[Account | None, Kind]:
        """Return the account of the user, and what it can prove."""
        account = await self.services.accounts.by_id(self.session.user_id or "")
        if account is None:
            return None, ""
        two_steps = await self.services.totp.is_on(account.id)
        if account.has_password:
            return account, "password+code" if two_steps else "password"
        return account, "code" if two_steps else ""

    async def _by_password(self, account: Account, kind: Kind) -> None:
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
        method = "password"
        if kind == "password+code":  # after the password, so that nobody else uses its tries up
            method = await self._check_code(account)
        if not await self.services.sign_in.again(
            self, method=method, confirm=lambda: accounts.still_valid(proof, password)
        ):
            raise HTTPError(403, "Your password was changed just now; sign in again.")

    async def _check_code(self, account: Account) -> str:
        """Use the code up and return the method of the whole proof; raises CodeRequired."""
        (code,) = self.fields("code")
        if not code:
            raise CodeRequired(_ENTER_CODE)
        # the device is not known here: its cookie is for /login only
        if not await use_code(self, account.id, code, lambda: self._check_limits(account)):
            await self.services.limits.code_failed(account.id)
            self._log_failure(account, "code")
            raise CodeRequired("Wrong code. Each code works once; wait for the next one.")
        return f"password+{kind_of_code(code)}"

    async def _by_code(self, account: Account) -> None:
        (code,) = self.fields("code")
        if not await self.services.totp.check(
            account.id, code, check_limits=lambda: self._check_limits(account)
        ):
            await self.services.limits.code_failed(account.id)
            self._fail(account, "code")
        await self.services.sign_in.again(self, method="totp")

    async def _check_limits(self, account: Account) -> None:
        """Raise TooManyRequests while no code of this account may be tried."""
        if wait := await self.services.limits.code_wait(account.id):
            raise TooManyRequests(wait, "too many wrong codes")

    def _fail(self, account: Account, kind: str) -> NoReturn:
        self._log_failure(account, kind)
        raise HTTPError(403, f"Wrong {kind}.")

    def _log_failure(self, account: Account, kind: str) -> None:
        self.services.audit.add(
            "failure",
            user=account.name,
            address=self.remote_address,
            reason=f"wrong {kind}: reauthentication",
            user_id=account.id,
        )
