"""Register, sign in and sign out."""

from tornado.web import HTTPError

from app.accounts import Account, InvalidAccount, NameTaken, Proof, account_key
from app.rate_limits import subscriber
from app.sessions.authentication import TRUSTED_DEVICE
from app.sign_in import SignInRefused
from handlers.login_code import LoginCodeHandler
from handlers.login_limit import check_login_limit
from handlers.next_page import safe_target as safe_target
from handlers.password_limit import check_password_limit
from handlers.session import BaseHandler
from handlers.sign_in_form import CodeRequired, SignInForm


class CredentialsHandler(SignInForm):
    """A form for a name and a password."""

    wrong = "Wrong name or wrong password."

    def get(self) -> None:
        self.show()

    async def enter(self) -> bool:
        self._username, password = self.fields("username", "password")
        return await self.enter_as(self._username, password)

    async def enter_as(self, username: str, password: str) -> bool:
        """Sign in by this name and password; see `enter`."""
        raise NotImplementedError

    async def enter_with(self, proof: Proof, password: str, *, method: str) -> bool:
        """Sign in with a right password, unless it has changed meanwhile."""
        accounts = self.services.accounts
        assert proof.account is not None
        return await self.services.sign_in(
            self,
            proof.account,
            method=method,
            confirm=lambda: accounts.still_valid(proof, password),
        )

    async def check_limits(self, username: str) -> None:
        """Raise TooManyRequests while this address, account or device may not try."""
        await self.check_new_session()
        await check_login_limit(self, account_key(username), self.known_device())

    async def failed(self, username: str, account: Account | None, reason: str) -> None:
        """Count and log a failure that revealed something about an account."""
        account_and_device = account_key(username), self.known_device()
        await self.services.limits.login_failed(self.remote_address, *account_and_device)
        self.services.audit.add(
            "failure",
            user=account.name if account else None,
            address=self.remote_address,
            reason=reason,
            user_id=account.id if account else None,
        )


class LoginHandler(CredentialsHandler):
    """Signs a user in."""

    template = "login.html"

    async def enter_as(self, username: str, password: str) -> bool:
        if not username or not password:
            raise InvalidAccount("Enter your name and your password.")
        accounts, address = self.services.accounts, subscriber(self.remote_address)
        if not self.web.device_cookie.shown(self.cookies_sent, secure=self.secure):
            await self.check_limits(username)  # before the database call
        self._password_hash = await accounts.password_hash(username, address=address)
        proof = await accounts.prove(
            username, password, check_limits=lambda: self.check_limits(username), address=address
        )
        if proof.account is None:
            self.services.counters.sign_in_failed("password")
            await self.failed(username, None, "unknown name")
        elif not proof:
            self.services.counters.sign_in_failed("password")
            await self.failed(username, proof.account, "wrong password")
        else:
            self._password_hash = proof.password_hash or ""
            return await self.enter_with(proof, password, method=await self._method(proof))
        return False

    async def _method(self, proof: Proof) -> str:
        """Return how the user has signed in; raises CodeRequired if a code is to be asked for."""
        account = proof.account
        assert account is not None
        if not await self.services.totp.is_on(account.id):
            return "password"
        token = self.web.login_cookies.trusted(self.cookies_sent, account.id, secure=self.secure)
        if await self.services.trusted_devices.knows(proof, token):
            return TRUSTED_DEVICE
        raise CodeRequired(proof)


class RegisterHandler(CredentialsHandler):
    """Creates an account and signs in with it, if --registration is open."""

    template = "register.html"

    async def prepare(self) -> None:
        await super().prepare()
        if self.services.settings.registration == "closed":
            raise HTTPError(
                403, "Registration is closed. Ask the operator of this site for an account."
            )

    async def enter_as(self, username: str, password: str) -> bool:
        # before an account is made for nobody
        if (sentence := self.services.sign_in.stop_first(self.session)) is not None:
            raise SignInRefused(sentence)
        accounts = self.services.accounts
        await check_password_limit(self)
        try:
            proof = await accounts.create(
                username,
                password,
                check_limits=lambda: self.check_limits(username),
                address=subscriber(self.remote_address),
            )
        except NameTaken:
            # counted, or this page would reveal any number of names
            await self.failed(username, None, "registration of a taken name")
            raise
        assert proof.account is not None
        self.services.audit.add(
            "registration",
            user=proof.account.name,
            address=self.remote_address,
            user_id=proof.account.id,
        )
        self._password_hash = proof.password_hash or ""
        return await self.enter_with(proof, password, method="password")


class LogoutHandler(BaseHandler):
    """Ends the session if there is one."""

    async def post(self) -> None:
        await self.sign_out()
        self.answer_done(self.url("/"))


routes = [
    (r"/login", LoginHandler),
    (r"/login/code", LoginCodeHandler),
    (r"/register", RegisterHandler),
    (r"/logout", LogoutHandler),
]
