"""The confirmed address: forms of the section "Recovery"."""

from typing import NoReturn

from tornado.web import HTTPError

from app.accounts import InvalidAccount
from app.mail import InvalidAddress, clean_address
from app.rate_limits import in_words
from app.web.errors import TooManyRequests
from app.web.recent_sign_in import recent_sign_in
from handlers.account.recovery import RecoverySection
from handlers.proof_again import PROOF_MINUTES


class AddressHandler(RecoverySection):
    """Sends a link to an address; the account has the address when the link is opened."""

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def post(self) -> None:
        if not self.services.mail.enabled:
            raise HTTPError(409, "This site sends no mails, so it keeps no addresses.")
        (typed,) = self.fields("email")
        try:
            email = clean_address(typed)
            await self._check_limits(email)
            await self.services.account_mail.ask_to_confirm(self.user_id, email)
        except (InvalidAddress, InvalidAccount) as error:
            await self._refuse(422, str(error))
        except TooManyRequests as error:
            self.set_header("Retry-After", str(error.wait))
            sentence = f"Too many mails; wait {in_words(error.wait)} and try again."
            await self._refuse(429, sentence)
        else:
            self.audit("address", reason="link sent")
            self.done("address sent")

    async def _check_limits(self, email: str) -> None:
        if wait := await self.services.limits.confirmation(self.user_id, email):
            raise TooManyRequests(wait, "too many mails")

    async def _refuse(self, status: int, sentence: str) -> None:
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
        else:
            await self.show(form="address", wrong=sentence)


class RemoveAddressHandler(RecoverySection):
    """Removes the address, and tells it so."""

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def post(self) -> None:
        account = await self.services.accounts.by_id(self.user_id)
        if account is None or account.email is None:
            self._refuse()
        change = await self.services.emails.remove(account)
        self.audit("address", reason="removed")
        self.services.account_mail.address_changed(change)
        self.done("address removed")

    def _refuse(self) -> NoReturn:
        raise HTTPError(409, "Your account has no address.")


routes = [
    (r"/account/recovery/address", AddressHandler),
    (r"/account/recovery/address/remove", RemoveAddressHandler),
]
