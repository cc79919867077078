"""The deletion of the account: a section of the account page."""

from collections.abc import Awaitable, Callable
from typing import Any

from tornado.web import HTTPError, authenticated

from app.accounts import Account
from app.web.recent_sign_in import is_recent, recent_sign_in
from handlers.account.clear_site_data import clear_site_data
from handlers.account.password_form import PasswordFormHandler
from handlers.account.sections import DELETE
from handlers.proof_again import PROOF_MINUTES


class DeleteHandler(PasswordFormHandler):
    """Deletes the account and ends all of its sessions; anyone may register the name again."""

    section = DELETE
    template = "account_delete.html"
    page = DELETE.path
    form = "delete"

    @authenticated
    async def get(self) -> None:
        await self.show()

    async def content(self) -> dict[str, Any]:
        account = await self.services.accounts.by_id(self.user_id)
        acting = self.session.actor is not None
        return {
            "has_password": account is None or account.has_password,
            "recent": not acting and is_recent(self, PROOF_MINUTES),
        }

    def as_json(self, content: dict[str, Any]) -> dict[str, Any]:
        return content

    async def act(self) -> None:
        accounts = self.services.accounts
        account = await accounts.by_id(self.user_id)
        if account is not None and not account.has_password:
            await self._delete_without_password(account)
            return
        (password,) = self.fields("password")
        proof = await self.prove(password)
        assert proof.account is not None
        await self._delete(proof.account, lambda: accounts.delete(proof))

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def _delete_without_password(self, account: Account) -> None:
        await self._delete(account, lambda: self.services.accounts.remove(account))

    async def _delete(self, account: Account, delete: Callable[[], Awaitable[bool]]) -> None:
        accounts, sessions = self.services.accounts, self.services.sessions
        # before the sessions end, because an account that is kept keeps its sessions
        await accounts.check_deletable(account)
        # sessions end first, so that none outlives its account if a later step fails
        await sessions.end_user(account.id, keep=self.session.id)
        await self.sign_out()
        if await delete():
            self.services.audit.add(
                "deletion", user=account.name, address=self.remote_address, user_id=account.id
            )
        elif await accounts.by_id(account.id):
            raise HTTPError(409, "Your password was changed just now; the account is still there.")
        # again, for sign-ins meanwhile
        await sessions.end_user(account.id)
        clear_site_data(self)
        self.answer_done(self.url("/", done="account-deleted"))


routes = [(r"/account/delete", DeleteHandler)]
