"""The page on which users prove once more who they are, before something sensitive."""

from tornado.web import HTTPError, authenticated

from app.accounts import AccountsUnavailable
from app.web.user_only import check_user
from handlers.kept_form import Fields, fields_beside_proof, kept_fields
from handlers.next_page import safe_target
from handlers.proof_again import CodeRequired, ProofAgain
from handlers.refusal import refusal

_WORDS = {  # what the form asks for
    "password": "your password again",
    "code": "a code of your authenticator app",
    "password+code": "your password again, and a code of your authenticator app or a recovery code",
}


class ReauthenticateHandler(ProofAgain):
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
            await self.prove()
        except (AccountsUnavailable, HTTPError) as error:
            code_required = isinstance(error, CodeRequired)
            await self._refuse(*refusal(self, error), code_required=code_required)
        else:
            self._lead_back()

    async def _show(self, *, sentence: str = "", kept: Fields | None = None) -> None:
        """Show the form. `kept` are fields of another one that is sent after the proof."""
        self.set_header("Cache-Control", "no-store")
        account, kind = await self.account_and_kind()
        form_page = self.get_query_argument("form", "")
        query = {"next": self._target()}
        if kept is not None:
            query["again"] = "1"
        elif form_page:  # a form that cannot be kept: back to its page
            query["next"] = self._safe(form_page)
        self.render(
            "reauthenticate.html",
            action=self.url("/reauthenticate", **query),
            sentence=sentence,
            username=self.session.user if account is None else account.name,
            kind=kind,
            what=_WORDS.get(kind, ""),
            why=self.another_way,
            kept=kept or [],
            lost=kept is None and bool(form_page),
        )

    async def _refuse(self, status: int, sentence: str, *, code_required: bool = False) -> None:
        self.set_status(status)
        if self.wants_json:
            more = {"code_required": True} if code_required else {}
            self.write({"error": sentence, **more})
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
