"""The base class of the forms that sign a user in."""

from typing import ClassVar

from app.accounts import AccountsUnavailable, InvalidAccount, Proof, account_key
from app.sign_in import SignInRefused
from app.web.errors import TooManyRequests
from handlers.next_page import safe_target
from handlers.refusal import refusal
from handlers.session import BaseHandler

_CODE_REQUIRED = "Enter the code that your authenticator app shows."


class CodeRequired(Exception):
    """The password is right, and the account asks for a code as well."""

    def __init__(self, proof: Proof) -> None:
        super().__init__()
        self.proof = proof


class SignInForm(BaseHandler):
    """A form that signs a user in, with what was wrong beside it; it takes JSON as well."""

    template: ClassVar[str]
    #: What a user is told whom `enter` did not sign in.
    wrong: ClassVar[str]
    #: Whether the form asks for a code, as a script is told beside the error.
    asks_for_code: ClassVar[bool] = False
    _username = ""  # as it was typed
    _password_hash = ""  # part of the key that signs the device cookie

    async def post(self) -> None:
        try:
            entered = await self.enter()
        except CodeRequired as required:
            self._ask_for_code(required.proof)
        except (InvalidAccount, TooManyRequests, SignInRefused, AccountsUnavailable) as error:
            self.refuse(*refusal(self, error))
        else:
            if entered:
                self._answer()
            else:
                self.refuse(401, self.wrong)

    async def enter(self) -> bool:
        """Sign in and return whether it succeeded; raises the errors that `post` answers."""
        raise NotImplementedError

    def refuse(self, status: int, sentence: str) -> None:
        """Answer that the user is not signed in, and why."""
        self.set_status(status)
        if self.wants_json:
            more = {"code_required": True} if self.asks_for_code else {}
            self.write({"error": sentence, **more})
        else:
            self.show(sentence)

    def show(self, sentence: str = "") -> None:
        """Write the page with its form."""
        self.set_header("Cache-Control", "no-store")
        self.render(self.template, sentence=sentence, username=self._username, next=self.target())

    def target(self) -> str:
        """Return the address to go to after the sign-in."""
        home = self.url("/")
        return safe_target(self.get_argument("next", home, strip=False), home)

    async def check_new_session(self) -> None:
        """Raise TooManyRequests while this address may begin no session."""
        limits = self.services.limits
        if not self.session and (wait := await limits.new_session_wait(self.remote_address)):
            self.services.counters.limits["handshakes_per_minute"] += 1
            raise TooManyRequests(wait, "too many new sessions")

    @property
    def cookies_sent(self) -> list[str]:
        """The Cookie headers of the request."""
        return self.request.headers.get_list("Cookie")

    def known_device(self) -> str:
        """Return the id under which this browser has signed in to the account; "" if never."""
        return self.web.device_cookie.recognise(
            self.cookies_sent, account_key(self._username), self._password_hash, secure=self.secure
        )

    def _answer(self) -> None:
        """Send the browser on; it is known to the account from now on."""
        if not self.known_device() and self.session.user_id is not None:
            self.services.account_mail.new_device(
                self.session.user_id,
                user_agent=self.user_agent,
                remote_address=self.remote_address,
            )
        cookie = self.web.device_cookie.issue(
            account_key(self._username), self._password_hash, secure=self.secure
        )
        self.add_header("Set-Cookie", cookie)
        if self.wants_json:
            self.set_status(204)
        else:
            self.redirect(self.target(), status=303)

    def _ask_for_code(self, proof: Proof) -> None:
        """Remember in a cookie that this browser has shown the password, and ask for the code."""
        now = self.services.sessions.clock()
        cookie = self.web.login_cookies.set_proven(proof, self.target(), now, secure=self.secure)
        self.add_header("Set-Cookie", cookie)
        self.set_header("Cache-Control", "no-store")
        if self.wants_json:
            self.set_status(401)
            self.write({"error": _CODE_REQUIRED, "code_required": True})
        else:
            self.redirect(self.url("/login/code"), status=303)
