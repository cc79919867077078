"""A new password by a recovery code."""

from tornado.web import HTTPError

from app.accounts import (
    Account,
    AccountsUnavailable,
    AppCodeRequired,
    InvalidAccount,
    account_key,
    refuse_long_name,
)
from app.mail import InvalidAddress, clean_address
from app.rate_limits import in_words
from app.web.errors import TooManyRequests
from handlers.login_limit import check_login_limit
from handlers.password_limit import check_password_limit
from handlers.refusal import refusal
from handlers.session import BaseHandler

_WRONG = "Wrong name or wrong recovery code."
_APP_CODE = (
    "Two-step sign-in is on for this account: enter a new code of your authenticator app as well."
)


class RecoverHandler(BaseHandler):
    """The ways back into an account."""

    def get(self) -> None:
        self.show()

    async def post(self) -> None:
        """Send a link by mail; nothing is looked up before the answer.

        So neither the answer nor its time tells whether there is such an account.
        """
        if not self.services.mail.enabled:
            raise HTTPError(409, "This site sends no mails. Ask its operator for a link.")
        (account,) = self.fields("account")
        address = self.remote_address
        if not account.strip():
            self.refuse(422, "Enter your name or your address.")
        elif wait := await self.services.limits.reset_request(address, _limit_key(account)):
            self.set_header("Retry-After", str(wait))
            self.refuse(429, f"Too many requests; wait {in_words(wait)} and try again.")
        else:
            self.services.account_mail.request_reset(account, remote_address=address)
            self.answer_done(self.url("/recover/sent"))

    def refuse(self, status: int, sentence: str, username: str = "") -> None:
        """Answer what is wrong."""
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
        else:
            self.show(sentence, username)

    def show(self, sentence: str = "", username: str = "") -> None:
        """Write the page."""
        self.set_header("Cache-Control", "no-store")
        self.render("recover.html", sentence=sentence, username=username)


class CodeHandler(RecoverHandler):
    """Takes a name, a recovery code, the new password, and with two-step sign-in a second code."""

    async def post(self) -> None:
        username, code, password = self.fields("username", "code", "new_password")
        try:
            changed = await self._reset(username, code, password)
        except AppCodeRequired as required:
            await self._ask_for_app_code(required.account, username)
        except (InvalidAccount, AccountsUnavailable, TooManyRequests) as error:
            self.refuse(*refusal(self, error), username)
        else:
            if changed:
                self.answer_done(self.url("/reset/done"))
            else:
                self.refuse(401, _WRONG, username)

    async def _reset(self, username: str, code: str, password: str) -> bool:
        if not username or not code:
            raise InvalidAccount("Enter your name and a recovery code.")
        refuse_long_name(username)
        await check_password_limit(self)
        (app_code,) = self.fields("app_code")
        account = await self.services.recovery.reset_by_code(
            username,
            code,
            password,
            app_code=app_code,
            check_limits=lambda: check_login_limit(self, account_key(username)),
            check_app_codes=self._check_app_codes,
            remote_address=self.remote_address,
        )
        if account is None:
            await self._failed(username)
        return account is not None

    async def _failed(self, username: str) -> None:
        """Count and log a wrong name or code."""
        await self.services.limits.login_failed(self.remote_address, account_key(username))
        account = await self.services.accounts.by_name(username)
        self._log_failure(account, "wrong recovery code")

    async def _ask_for_app_code(self, account: Account, username: str) -> None:
        """Answer somebody whose recovery code is right; a wrong code of the app is counted."""
        if any(self.fields("app_code")):
            await self.services.limits.code_failed(account.id)
            self._log_failure(account, "wrong code")
        self.set_status(401)
        if self.wants_json:
            self.write({"error": _APP_CODE, "code_required": True})
        else:
            self.show(_APP_CODE, username)

    def _log_failure(self, account: Account | None, reason: str) -> None:
        self.services.audit.add(
            "failure",
            # no name that no account has: a user may have typed a code there
            user=account.name if account else None,
            address=self.remote_address,
            reason=reason,
            user_id=account.id if account else None,
            actor=self.session.actor,
        )

    async def _check_app_codes(self, account_id: str) -> None:
        """Raise TooManyRequests while no code of this account's app may be tried."""
        if wait := await self.services.limits.code_wait(account_id):
            self.services.counters.limits["failed_logins_per_minute"] += 1
            raise TooManyRequests(wait, "too many wrong codes")


class SentHandler(BaseHandler):
    """Says that a link is on its way, if there is such an account."""

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.render("recover_sent.html")


def _limit_key(typed: str) -> str:
    """Return by what requests for one account are counted: its name or its address."""
    try:
        return "to " + clean_address(typed)
    except InvalidAddress:
        return "account " + account_key(typed)


routes = [
    (r"/recover", RecoverHandler),
    (r"/recover/sent", SentHandler),
    (r"/recover/code", CodeHandler),
]
