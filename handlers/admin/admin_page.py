"""The base class of the operator's pages."""

from typing import Any, ClassVar

from tornado.web import HTTPError

from app.accounts import ADMIN, Account
from app.operator import Actor
from app.sessions.session import SessionEnded
from handlers.session import BaseHandler
from handlers.times import iso, when


class AdminPage(BaseHandler):
    """A page for administrators: a visitor is asked to sign in, other users get 403."""

    role_required = ADMIN
    page = "/admin"
    #: Which part of the navigation this page is in: "overview" or "accounts".
    part: ClassVar[str] = "accounts"

    @property
    def actor(self) -> Actor:
        """The administrator of this request, as the audit log names them."""
        session = self.session
        if session.user_id is None or session.user is None:
            raise SessionEnded(session.id)
        return Actor(id=session.user_id, name=session.user, address=self.remote_address)

    async def account(self, id: str) -> Account:
        """Return the account with this id; raises HTTPError 404."""
        account = await self.services.accounts.by_id(id)
        if account is None:
            raise HTTPError(404, "There is no account with this id; it may have been deleted.")
        return account

    def account_url(self, account_id: str, path: str = "", **query: str) -> str:
        """Return the address of an account's page, or of something on it."""
        return self.url(f"/admin/accounts/{account_id}{path}", **query)

    def show(self, template: str, **names: Any) -> None:
        """Write a page that no cache keeps."""
        self.set_header("Cache-Control", "no-store")
        self.render(
            template, part=self.part, account_url=self.account_url, iso=iso, when=when, **names
        )
