"""Two-step sign-in: a user turns it on with an authenticator app, and off again."""

from typing import Any

import segno
from tornado.web import HTTPError

from app.accounts import Account, TotpOn, TotpState
from app.web.recent_sign_in import recent_sign_in
from handlers.account.sign_in_methods import SignInMethodsSection
from handlers.proof_again import PROOF_MINUTES

_SCALE = 5  # pixels of a module of the QR code
_NONE_BEGUN = "Begin to turn on two-step sign-in first."
_WRONG = "Wrong code. Compare the clock of your device with the time here, and use a new code."


class TotpHandler(SignInMethodsSection):
    """Begins, and shows the secret until its first code has come."""

    template = "account_totp.html"

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def get(self) -> None:
        state = await self.services.totp.state(self.user_id)
        if state is None or state.confirmed is not None:
            if self.wants_json:
                raise HTTPError(404, _NONE_BEGUN)
            self.redirect(self.url(self.section.path), status=303)
            return
        await self.show()

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def post(self) -> None:
        try:
            await self.services.totp.begin(self.user_id)
        except TotpOn as error:
            raise HTTPError(409, str(error)) from None
        if self.wants_json:
            await self.show()
        else:
            self.redirect(self.url("/account/sign-in/totp"), status=303)

    async def content(self) -> dict[str, Any]:
        state = await self.services.totp.state(self.user_id)
        if state is None or state.confirmed is not None:  # by another tab just now
            raise HTTPError(409, _NONE_BEGUN)
        return {"secret": state.secret, "uri": self._uri(state), "groups": _groups, "qr": _qr}

    def as_json(self, content: dict[str, Any]) -> dict[str, Any]:
        return {"secret": content["secret"], "uri": content["uri"]}

    def _uri(self, state: TotpState) -> str:
        account = Account(id=self.user_id, name=self.user, created=0.0)
        return state.uri(account, self.request.host_name)


class ConfirmHandler(TotpHandler):
    """Turns two-step sign-in on, if the app shows the right code."""

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def get(self) -> None:
        self.redirect(self.url("/account/sign-in/totp"), status=303)

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def post(self) -> None:
        (code,) = self.fields("code")
        if await self.services.totp.confirm(self.user_id, code):
            await self.changed("two-step sign-in on")
            self.services.account_mail.two_step_changed(self.user_id, "on")
            # 307 repeats the POST: the section of recovery makes codes, and shows them
            codes = self.url("/account/recovery/codes", done="totp-on")
            self.redirect(codes, status=307)
            return
        self.set_status(403)
        if self.wants_json:
            self.write({"error": _WRONG})
        else:
            await self.show(form="confirm", wrong=_WRONG)


class OffHandler(SignInMethodsSection):
    """Turns two-step sign-in off, and forgets the trusted devices."""

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def post(self) -> None:
        if await self.services.totp.remove(self.user_id):
            await self.changed("two-step sign-in off")
            self.services.account_mail.two_step_changed(self.user_id, "off")
        self.done("totp-off")


def _groups(secret: str) -> str:
    """Return a secret in groups of four, which are easier to type."""
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))


def _qr(uri: str) -> str:
    """Return the address of a picture: the page holds it, so that no cache keeps the secret."""
    code = segno.make(uri, error="m", micro=False)
    return code.svg_data_uri(scale=_SCALE, border=4, light="#fff", dark="#000")


routes = [
    (r"/account/sign-in/totp", TotpHandler),
    (r"/account/sign-in/totp/confirm", ConfirmHandler),
    (r"/account/sign-in/totp/off", OffHandler),
]
