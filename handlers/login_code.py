"""The second step of a sign-in: the code of an authenticator app."""

import contextlib

from app.accounts import Account, AccountsUnavailable, Proof, TotpState
from app.sign_in import SignInRefused
from app.web.errors import TooManyRequests
from handlers.second_factor import kind_of_code, use_code
from handlers.sign_in_form import SignInForm

_AGAIN = "Enter your name and your password again."


class LoginCodeHandler(SignInForm):
    """Signs a user in who has shown the password at /login in the last ten minutes."""

    template = "login_code.html"
    wrong = "Wrong code. Each code works once; wait for the next one."
    asks_for_code = True
    _next = ""
    _proof: Proof | None = None

    async def get(self) -> None:
        if await self._find() is None:
            self._begin_again()
        else:
            self.show()

    async def post(self) -> None:
        self._proof = await self._find()
        if self._proof is None:
            self._begin_again()
        else:
            await super().post()

    async def enter(self) -> bool:
        code, trust = self.fields("code", "trust")
        proof = self._proof
        assert proof is not None
        assert proof.account is not None
        # before the code is checked, which proves no later factor
        factor = await self.services.totp.state(proof.account.id) if trust else None
        method = await self._check(proof.account, code)
        if not method:
            return False
        if not await self.services.sign_in(self, proof.account, method=method, confirm=self._fits):
            raise SignInRefused("Your password was changed just now; sign in again.")
        self._forget_proven()
        if factor is not None:
            with contextlib.suppress(AccountsUnavailable):  # the next sign-in asks for a code
                await self._trust(proof, proof.account, factor)
        return True

    def target(self) -> str:
        """Return the address that /login was asked for."""
        return self._next or self.url("/")

    async def _find(self) -> Proof | None:
        """Return whose password this browser has shown; None if it has to show one again."""
        now = self.services.sessions.clock()
        proven = self.web.login_cookies.proven(self.cookies_sent, now, secure=self.secure)
        if proven is None:
            return None
        self._next = proven.next
        account = await self.services.accounts.by_id(proven.account_id)
        if account is None or not await self.services.totp.is_on(account.id):
            return None
        self._username = account.name
        self._password_hash = await self.services.accounts.password_hash(account.name)
        return Proof(account, self._password_hash) if proven.fits(self._password_hash) else None

    async def _fits(self) -> bool:
        """Return whether the password that was shown is still that of the account."""
        return await self._find() is not None

    async def _check(self, account: Account, code: str) -> str:
        """Return how the user has signed in; "" for a wrong code, which is counted and logged."""
        device = self.known_device()

        async def check_limits() -> None:
            await self.check_new_session()
            if wait := await self.services.limits.code_wait(account.id, device):
                self.services.counters.limits["failed_logins_per_minute"] += 1
                raise TooManyRequests(wait, "too many wrong codes")

        method = f"password+{kind_of_code(code)}"
        if await use_code(self, account.id, code, check_limits):
            return method
        await self.services.limits.code_failed(account.id, device)
        self.services.counters.sign_in_failed(method)
        self.services.audit.add(
            "failure",
            user=account.name,
            address=self.remote_address,
            reason="wrong code",
            user_id=account.id,
        )
        return ""

    async def _trust(self, proof: Proof, account: Account, factor: TotpState) -> None:
        token = await self.services.trusted_devices.trust(proof, factor, self.user_agent)
        if token:
            cookie = self.web.login_cookies.set_trusted(account.id, token, secure=self.secure)
            self.add_header("Set-Cookie", cookie)

    def _forget_proven(self) -> None:
        self.add_header("Set-Cookie", self.web.login_cookies.forget_proven(secure=self.secure))

    def _begin_again(self) -> None:
        if self.wants_json:
            self.set_status(401)
            self.write({"error": _AGAIN})
        else:
            self.redirect(self.url("/login", next=self.target()), status=303)
