"""Ways back into the account: a section of the account page."""

from typing import Any
from urllib.parse import quote

from tornado.web import authenticated

from app.mail import shown_address
from app.rate_limits import subscriber
from app.web.errors import TooManyRequests
from app.web.recent_sign_in import recent_sign_in
from handlers.account.section import AccountSection
from handlers.account.sections import RECOVERY
from handlers.proof_again import PROOF_MINUTES


class RecoverySection(AccountSection):
    """Base class of the section and of its forms."""

    page = "/account/recovery"
    section = RECOVERY
    template = "account_recovery.html"
    codes: tuple[str, ...] = ()  # new ones, which are shown this once

    async def content(self) -> dict[str, Any]:
        left = await self.services.recovery_codes.left(self.user_id)
        account = await self.services.accounts.by_id(self.user_id)
        email = account.email if account is not None else None
        return {
            "left": left,
            "codes": self.codes,
            "file": _as_file(self.codes),
            "email": shown_address(email) if email else None,
            "mails": self.services.mail.enabled,
        }

    def as_json(self, content: dict[str, Any]) -> dict[str, Any]:
        shown = {"codes": list(self.codes)} if self.codes else {}
        return {"codes_left": content["left"], "email": content["email"], **shown}


class RecoveryHandler(RecoverySection):
    """The section."""

    @authenticated
    async def get(self) -> None:
        await self.show()


class CodesHandler(RecoverySection):
    """Makes new recovery codes, and shows them in its answer only."""

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def post(self) -> None:
        if wait := await self.services.limits.recovery_codes(self.user_id):
            raise TooManyRequests(wait, "too many lists of recovery codes")
        share = subscriber(self.remote_address)
        codes = await self.services.recovery_codes.create(self.user_id, address=share)
        self.audit("recovery codes", reason="made new ones")
        self.services.account_mail.recovery_codes_made(self.user_id)
        self.codes = tuple(codes)
        await self.show()


def _as_file(codes: tuple[str, ...]) -> str:
    """Return the address of a text file with these codes, which browsers can save."""
    return "data:text/plain;charset=utf-8," + quote("\n".join(codes) + "\n")


routes = [(r"/account/recovery", RecoveryHandler), (r"/account/recovery/codes", CodesHandler)]
