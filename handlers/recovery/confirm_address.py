"""The page behind the link that confirms an address."""

from app.mail import shown_address
from app.rate_limits import subscriber
from handlers.recovery.link_page import LinkPage
from handlers.session import BaseHandler


class ConfirmAddressHandler(LinkPage):
    """Asks whether the address belongs to the account that it names, and sets it.

    No sign-in is asked for: users open mails on other devices, too. Whoever has the link reads the
    mails to this address.
    """

    path = "/confirm-address"
    purposes = ("email",)
    template = "confirm_address.html"

    async def post(self) -> None:
        (token,) = self.fields("token")
        await self.check_limits()
        share = subscriber(self.remote_address)
        change = await self.services.emails.confirm(token, address=share)
        if change is None:
            await self.failed()
            await self.show(token, None)
            return
        self.services.audit.add(
            "address",
            user=change.account.name,
            address=self.remote_address,
            reason="confirmed",
            user_id=change.account.id,
        )
        self.services.account_mail.address_changed(change)
        self.keep("")
        self.answer_done(self.url("/confirm-address/done"))

    def shown(self, email: str) -> str:
        """Return an address for people."""
        return shown_address(email)


class DoneHandler(BaseHandler):
    """Says that the address is confirmed."""

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.render("address_confirmed.html")


routes = [
    (r"/confirm-address", ConfirmAddressHandler),
    (r"/confirm-address/done", DoneHandler),
]
