"""A new password by a one-time link, which an operator has given or a mail has brought."""

from app.accounts import RESETS, AccountsUnavailable, InvalidAccount
from handlers.password_limit import check_password_limit
from handlers.recovery.link_page import LinkPage
from handlers.refusal import refusal
from handlers.session import BaseHandler


class ResetHandler(LinkPage):
    """Asks for the new password, and sets it."""

    path = "/reset"
    purposes = RESETS
    template = "reset.html"

    async def post(self) -> None:
        token, password = self.fields("token", "new_password")
        await self.check_limits()
        await check_password_limit(self)
        recovery, address = self.services.recovery, self.remote_address
        try:
            account = await recovery.reset_by_link(token, password, remote_address=address)
        except (InvalidAccount, AccountsUnavailable) as error:
            await self._refuse(token, *refusal(self, error))
            return
        if account is None:
            await self.failed()
            await self.show(token, None)
            return
        self.keep("")
        self.answer_done(self.url("/reset/done"))

    async def _refuse(self, token: str, status: int, sentence: str) -> None:
        """Show the form again with what is wrong; the link is still to be used."""
        use = await self.find(token)
        self.set_status(status)
        await self.show(token, use, sentence=sentence)


class DoneHandler(BaseHandler):
    """Says what has happened, and leads to the sign-in."""

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.render("reset_done.html")


routes = [(r"/reset", ResetHandler), (r"/reset/done", DoneHandler)]
