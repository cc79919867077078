"""Register, sign in and sign out."""

import re
import string
from typing import ClassVar
from urllib.parse import quote

from tornado.web import HTTPError

from app.accounts import (
    Account,
    AccountsUnavailable,
    InvalidAccount,
    NameTaken,
    Proof,
    account_key,
)
from app.limits import in_words, subscriber
from app.sign_in import SignInRefused
from app.web.errors import TooManyRequests
from handlers.session import BaseHandler


def safe_target(target: str, home: str = "/") -> str:
    """Return the path and query to redirect to, or `home` if they could lead to another site.

    `home` is the path of the start page; below a base path, other paths are other sites. Browsers
    read "//host" and "/\\host" as another site, and drop tabs and line ends first.
    """
    if not target.startswith(home) or target[1:2] in ("/", "\\"):
        return home
    if any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in target):
        return home
    if home != "/" and _leaves(target):
        return home
    return quote(target, safe=string.punctuation)


def _leaves(target: str) -> bool:
    """Whether a path has a segment "..", which browsers resolve; they read "%2e" as "."."""
    path = re.split(r"[?#]", target)[0].lower().replace("%2e", ".").replace("\\", "/")
    return ".." in path.split("/")


class CredentialsHandler(BaseHandler):
    """A form for a name and a password; it takes JSON as well."""

    template: ClassVar[str]
    _password_hash = ""  # part of the key that signs the device cookie

    def get(self) -> None:
        self._page("", "")

    async def post(self) -> None:
        username, password = self.fields("username", "password")
        try:
            entered = await self.enter(username, password)
        except InvalidAccount as error:
            self._refuse(422, str(error), username)
        except TooManyRequests as error:
            self.set_header("Retry-After", str(error.wait))
            sentence = f"Too many tries; wait {in_words(error.wait)} and try again."
            self._refuse(429, sentence, username)
        except SignInRefused as error:
            self._refuse(403, error.sentence, username)
        except AccountsUnavailable as error:
            self.set_header("Retry-After", str(error.wait))
            self._refuse(error.status, str(error), username)
        else:
            if not entered:
                self._refuse(401, "Wrong name or wrong password.", username)
                return
            cookie = self.web.device_cookie.issue(
                account_key(username), self._password_hash, secure=self.secure
            )
            self.add_header("Set-Cookie", cookie)
            if self.wants_json:
                self.set_status(204)
            else:
                self.redirect(self._target(), status=303)

    async def enter(self, username: str, password: str) -> bool:
        """Sign in and return whether it succeeded; raises the errors that `post` answers."""
        raise NotImplementedError

    async def enter_with(self, proof: Proof, password: str) -> bool:
        """Sign in with a right password, unless it has changed meanwhile."""
        accounts = self.services.accounts
        assert proof.account is not None
        self._password_hash = proof.password_hash or ""
        return await self.services.sign_in(
            self,
            proof.account,
            method="password",
            confirm=lambda: accounts.still_valid(proof, password),
        )

    async def check_limits(self, username: str) -> None:
        """Raise TooManyRequests while this address, account or device may not try."""
        limits = self.services.limits
        if not self.session and (wait := await limits.new_session_wait(self.remote_address)):
            self.services.counters.limits["handshakes_per_minute"] += 1
            raise TooManyRequests(wait, "too many new sessions")
        wait = await limits.login_wait(*self._limit_keys(username))
        if wait:
            self.services.counters.limits["failed_logins_per_minute"] += 1
            address = self.remote_address
            # without the name: a user may have typed a password into the wrong field
            self.services.audit.refused("failure", address=address, reason="too many tries")
            raise TooManyRequests(wait, "too many tries")

    async def failed(self, username: str, account: Account | None, reason: str) -> None:
        """Count and log a failure that revealed something about an account."""
        await self.services.limits.login_failed(*self._limit_keys(username))
        self.services.audit.add(
            "failure",
            user=account.name if account else None,
            address=self.remote_address,
            reason=reason,
            user_id=account.id if account else None,
        )

    def _limit_keys(self, username: str) -> tuple[str, str, str]:
        account, headers = account_key(username), self.request.headers.get_list("Cookie")
        device = self.web.device_cookie.recognise(
            headers, account, self._password_hash, secure=self.secure
        )
        return self.remote_address, account, device

    def _sent_device_cookie(self) -> bool:
        """Whether this browser sent a device cookie, and so may have a count of its own."""
        headers = self.request.headers.get_list("Cookie")
        return self.web.device_cookie.shown(headers, secure=self.secure)

    def _refuse(self, status: int, sentence: str, username: str) -> None:
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
        else:
            self._page(sentence, username)

    def _page(self, sentence: str, username: str) -> None:
        self.set_header("Cache-Control", "no-store")
        self.render(self.template, sentence=sentence, username=username, next=self._target())

    def _target(self) -> str:
        home = self.url("/")
        return safe_target(self.get_argument("next", home, strip=False), home)


class LoginHandler(CredentialsHandler):
    """Signs a user in."""

    template = "login.html"

    async def enter(self, username: str, password: str) -> bool:
        if not username or not password:
            raise InvalidAccount("Enter your name and your password.")
        accounts, address = self.services.accounts, subscriber(self.remote_address)
        if not self._sent_device_cookie():
            await self.check_limits(username)  # before the database call
        self._password_hash = await accounts.password_hash(username, address=address)
        proof = await accounts.prove(
            username, password, check_limits=lambda: self.check_limits(username), address=address
        )
        if proof.account is None:
            await self.failed(username, None, "unknown name")
        elif not proof:
            await self.failed(username, proof.account, "wrong password")
        else:
            return await self.enter_with(proof, password)
        return False


class RegisterHandler(CredentialsHandler):
    """Creates an account and signs in with it, if --registration is open."""

    template = "register.html"

    async def prepare(self) -> None:
        await super().prepare()
        if self.services.settings.registration == "closed":
            raise HTTPError(
                403, "Registration is closed. Ask the operator of this site for an account."
            )

    async def enter(self, username: str, password: str) -> bool:
        accounts = self.services.accounts
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
        return await self.enter_with(proof, password)


class LogoutHandler(BaseHandler):
    """Ends the session if there is one."""

    async def post(self) -> None:
        await self.sign_out()
        self.answer_done(self.url("/"))


routes = [(r"/login", LoginHandler), (r"/register", RegisterHandler), (r"/logout", LogoutHandler)]
