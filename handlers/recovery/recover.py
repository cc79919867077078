"""A new password by a recovery code."""

from app.accounts import AccountsUnavailable, InvalidAccount, account_key
from app.limits import in_words
from app.web.errors import TooManyRequests
from handlers.session import BaseHandler

_WRONG = "Wrong name or wrong recovery code."


class RecoverHandler(BaseHandler):
    """The ways back into an account."""

    def get(self) -> None:
        self.show()

    def show(self, sentence: str = "", username: str = "") -> None:
        """Write the page."""
        self.set_header("Cache-Control", "no-store")
        self.render("recover.html", sentence=sentence, username=username)


class CodeHandler(RecoverHandler):
    """Takes a name, a recovery code and the new password."""

    async def post(self) -> None:
        username, code, password = self.fields("username", "code", "new_password")
        try:
            changed = await self._reset(username, code, password)
        except InvalidAccount as error:
            self._refuse(422, str(error), username)
        except AccountsUnavailable as error:
            self.set_header("Retry-After", str(error.wait))
            self._refuse(error.status, str(error), username)
        except TooManyRequests as error:
            self.set_header("Retry-After", str(error.wait))
            sentence = f"Too many tries; wait {in_words(error.wait)} and try again."
            self._refuse(429, sentence, username)
        else:
            if changed:
                self.answer_done(self.url("/reset/done"))
            else:
                self._refuse(401, _WRONG, username)

    async def _reset(self, username: str, code: str, password: str) -> bool:
        if not username or not code:
            raise InvalidAccount("Enter your name and a recovery code.")
        account = await self.services.recovery.reset_by_code(
            username,
            code,
            password,
            check_limits=lambda: self._check_limits(username),
            remote_address=self.remote_address,
        )
        if account is None:
            await self._failed(username)
        return account is not None

    async def _failed(self, username: str) -> None:
        """Count and log a wrong name or code."""
        await self.services.limits.login_failed(self.remote_address, account_key(username))
        account = await self.services.accounts.by_name(username)
        self.services.audit.add(
            "failure",
            # no name that no account has: a user may have typed a code there
            user=account.name if account else None,
            address=self.remote_address,
            reason="wrong recovery code",
            user_id=account.id if account else None,
        )

    async def _check_limits(self, username: str) -> None:
        """Raise TooManyRequests while this address or this account may not be tried."""
        wait = await self.services.limits.login_wait(self.remote_address, account_key(username))
        if wait:
            self.services.counters.limits["failed_logins_per_minute"] += 1
            address = self.remote_address
            self.services.audit.refused("failure", address=address, reason="too many tries")
            raise TooManyRequests(wait, "too many tries")

    def _refuse(self, status: int, sentence: str, username: str) -> None:
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
        else:
            self.show(sentence, username)


routes = [(r"/recover", RecoverHandler), (r"/recover/code", CodeHandler)]
