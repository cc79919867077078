"""The deletion of the account: a section of the account page."""

from tornado.web import HTTPError, authenticated

from handlers.account.password_form import PasswordFormHandler
from handlers.account.sections import DELETE


class DeleteHandler(PasswordFormHandler):
    """Deletes the account and ends all of its sessions; anyone may register the name again."""

    section = DELETE
    template = "account_delete.html"
    form = "delete"

    @authenticated
    async def get(self) -> None:
        await self.show()

    async def act(self) -> None:
        (password,) = self.fields("password")
        proof, user, user_id = await self.prove(password), self.user, self.user_id
        accounts, sessions = self.services.accounts, self.services.sessions
        assert proof.account is not None
        # before the sessions end, because an account that is kept keeps its sessions
        await accounts.check_deletable(proof.account)
        # sessions end first, so that none outlives its account if a later step fails
        await sessions.end_user(user_id, keep=self.session.id)
        await self.sign_out()
        if await accounts.delete(proof):
            self.services.audit.add(
                "deletion", user=user, address=self.remote_address, user_id=user_id
            )
        elif await accounts.by_id(user_id):
            raise HTTPError(409, "Your password was changed just now; the account is still there.")
        # again, for sign-ins meanwhile
        await sessions.end_user(user_id)
        self.answer_done(self.url("/"))


routes = [(r"/account/delete", DeleteHandler)]
