"""Register, sign in and sign out."""

import string
from typing import ClassVar
from urllib.parse import quote

from tornado.web import HTTPError

from app.accounts import AccountsUnavailable, InvalidAccount, NameTaken, account_key
from handlers.session import BaseHandler

_RETRY_AFTER = 2  # seconds


class TooManyFailures(Exception):
    """This address or account has to wait; `args[0]` is for how many seconds."""


def safe_target(target: str) -> str:
    """Return the path and query to go on to, or "/" where it could lead to another site.

    Browsers read "//host" and "/\\host" as another site, and drop tabs and line ends first.
    """
    if not target.startswith("/") or target[1:2] in ("/", "\\"):
        return "/"
    if any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in target):
        return "/"
    return quote(target, safe=string.punctuation)


class CredentialsHandler(BaseHandler):
    """A form for a name and a password, which takes JSON as well."""

    template: ClassVar[str]

    def get(self) -> None:
        self._page("", "")

    async def post(self) -> None:
        username, password = self.fields("username", "password")
        try:
            user = await self.user(username, password)
        except InvalidAccount as error:
            self._refuse(422, str(error), username)
        except TooManyFailures as error:
            self.set_header("Retry-After", str(error.args[0]))
            self._refuse(429, "Too many failed tries; wait a minute and try again.", username)
        except AccountsUnavailable as error:
            self.set_header("Retry-After", str(_RETRY_AFTER))
            self._refuse(503, str(error), username)
        else:
            if user is None:
                self._refuse(401, "Wrong name or wrong password.", username)
            else:
                await self._enter(user)

    async def user(self, username: str, password: str) -> str | None:
        """Return who it is that signs in, or None; raises what `post` answers."""
        raise NotImplementedError

    def admit(self, username: str) -> None:
        """Raise TooManyFailures while this address or account may not try."""
        wait = self.services.limits.login_wait(self.remote_address, account_key(username))
        if wait:
            self.services.metrics.limits["failed_logins_per_minute"] += 1
            raise TooManyFailures(wait)

    def failed(self, username: str) -> None:
        """Count a try that told its sender something about an account."""
        self.services.limits.login_failed(self.remote_address, account_key(username))

    async def _enter(self, user: str) -> None:
        await self.sign_in(user)
        if self.wants_json:
            self.set_status(204)
        else:
            self.redirect(self._target(), status=303)

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
        return safe_target(self.get_argument("next", "/", strip=False))


class LoginHandler(CredentialsHandler):
    """Signs in who has an account."""

    template = "login.html"

    async def user(self, username: str, password: str) -> str | None:
        if not username or not password:
            raise InvalidAccount("Enter your name and your password.")
        user = await self.services.accounts.verify(
            username, password, admit=lambda: self.admit(username)
        )
        if user is None:
            self.failed(username)
        return user


class RegisterHandler(CredentialsHandler):
    """Makes an account and signs in with it, where --registration is open."""

    template = "register.html"

    async def prepare(self) -> None:
        await super().prepare()
        if self.services.settings.registration == "closed":
            raise HTTPError(
                403, "Registration is closed; ask whoever runs this site for an account."
            )

    async def user(self, username: str, password: str) -> str:
        try:
            return await self.services.accounts.register(
                username, password, admit=lambda: self.admit(username)
            )
        except NameTaken:
            # or else this page would tell a list of names as fast as one can ask
            self.failed(username)
            raise


class LogoutHandler(BaseHandler):
    """Ends the session, if there is one."""

    async def post(self) -> None:
        await self.sign_out()
        if "text/html" in self.request.headers.get("Accept", "") and not self.wants_json:
            self.redirect("/", status=303)
        else:
            self.set_status(204)


routes = [(r"/login", LoginHandler), (r"/register", RegisterHandler), (r"/logout", LogoutHandler)]
