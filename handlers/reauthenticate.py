"""The page on which users prove once more who they are, before something sensitive."""

from tornado.web import HTTPError, authenticated

from app.accounts import Account, AccountsUnavailable, Proof, account_key
from app.limits import in_words, subscriber
from app.sign_in import SignInRefused
from app.web.errors import TooManyRequests
from app.web.user_only import check_user
from handlers.kept_form import Fields, fields_beside_proof, kept_fields
from handlers.session import BaseHandler
from handlers.sign_in import safe_target

_ANOTHER_WAY = "Your account has no password. Sign out, and sign in again the way you did before."


class ReauthenticateHandler(BaseHandler):
    """Asks for the password of the user, gives the session a new id, and leads back."""

    @authenticated
    async def get(self) -> None:
        check_user(self.session)
        await self._show()

    async def post(self) -> None:
        if self.session.user_id is None:
            self._refuse_visitor()
            return
        check_user(self.session)
        if self.get_query_argument("form", ""):  # `recent_sign_in` has sent a form here
            await self._show(kept=kept_fields(self.request))
            return
        try:
            await self._prove()
        except TooManyRequests as error:
            self.set_header("Retry-After", str(error.wait))
            sentence = f"Too many wrong passwords; wait {in_words(error.wait)} and try again."
            await self._refuse(429, sentence)
        except AccountsUnavailable as error:
            self.set_header("Retry-After", str(error.wait))
            await self._refuse(error.status, str(error))
        except SignInRefused as error:
            await self._refuse(error.status_code, error.sentence)
        except HTTPError as error:
            await self._refuse(error.status_code, error.log_message or "")
        else:
            self._lead_back()

    # -- the proof --

    async def _prove(self) -> None:
        """Check the password and renew the session; raises HTTPError with a sentence."""
        username, password = self.fields("username", "password")
        user_id, accounts = self.session.user_id or "", self.services.accounts
        if wait := await self.services.limits.account_page(user_id):
            raise TooManyRequests(wait, "too many requests")
        account = await self._account()
        if username and account_key(username) != account_key(account.name):
            raise HTTPError(403, f"You are signed in as {account.name}; enter your own password.")
        proof = await accounts.prove(
            account.name,
            password,
            check_limits=lambda: self._check_limits(user_id),
            address=subscriber(self.remote_address),
        )
        if not self._is_of_user(proof):
            await self.services.limits.password_failed(user_id)
            self.services.audit.add(
                "failure",
                user=account.name,
                address=self.remote_address,
                reason="wrong password: reauthentication",
                user_id=user_id,
            )
            raise HTTPError(403, "Wrong password.")
        if not await self.services.sign_in.again(
            self, method="password", confirm=lambda: accounts.still_valid(proof, password)
        ):
            raise HTTPError(403, "Your password was changed just now; sign in again.")

    async def _account(self) -> Account:
        account = await self.services.accounts.by_id(self.session.user_id or "")
        if account is None or not account.has_password:
            raise HTTPError(409, _ANOTHER_WAY)
        return account

    def _is_of_user(self, proof: Proof) -> bool:
        return (
            bool(proof) and proof.account is not None and (proof.account.id == self.session.user_id)
        )

    async def _check_limits(self, user_id: str) -> None:
        wait = await self.services.limits.password_wait(user_id)
        if wait:
            raise TooManyRequests(wait, "too many wrong passwords")

    # -- answers --

    async def _show(self, *, sentence: str = "", kept: Fields | None = None) -> None:
        """Show the form. `kept` are fields of another one that is sent after the proof."""
        self.set_header("Cache-Control", "no-store")
        account = await self.services.accounts.by_id(self.session.user_id or "")
        query = {"next": self._target()}
        if kept is not None:
            query["again"] = "1"
        elif page := self.get_query_argument("form", ""):
            query["next"] = self._safe(page)  # a form that cannot be kept: back to its page
        self.render(
            "reauthenticate.html",
            action=self.url("/reauthenticate", **query),
            sentence=sentence,
            username=self.session.user if account is None else account.name,
            has_password=account is not None and account.has_password,
            why=_ANOTHER_WAY,
            kept=kept or [],
            lost=kept is None and bool(self.get_query_argument("form", "")),
        )

    async def _refuse(self, status: int, sentence: str) -> None:
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
        elif self.session.user_id is None:  # ended meanwhile
            self.redirect(self.url("/login", next=self._target()), status=303)
        else:
            await self._show(sentence=sentence, kept=self._sent_again())

    def _refuse_visitor(self) -> None:
        """Answer a request whose session has ended, or got a new id by another tab just now."""
        if self.wants_json:
            self.set_status(401)
            self.write({"error": "sign in first"})
        else:  # with the cookie that the browser has by then, which may be of the new id
            self.redirect(self._target(), status=303)

    def _lead_back(self) -> None:
        """Go on with what asked for the proof."""
        kept = self._sent_again()
        if kept is None or self.wants_json:
            self.answer_done(self._target())
            return
        self.set_header("Cache-Control", "no-store")
        self.render("send_again.html", action=self._target(), kept=kept)

    def _sent_again(self) -> Fields | None:
        """Return the fields of the form that waits for this proof; None if there is none."""
        return fields_beside_proof(self.request) if self.get_query_argument("again", "") else None

    def _target(self) -> str:
        return self._safe(self.get_query_argument("next", self.url("/"), strip=False))

    def _safe(self, address: str) -> str:
        return safe_target(address, self.url("/"))


routes = [(r"/reauthenticate", ReauthenticateHandler)]
