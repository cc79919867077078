"""An administrator signs in as another user, and stops."""

from app.sessions.session import SessionEnded
from app.web.recent_sign_in import recent_sign_in
from handlers.proof_again import PROOF_MINUTES
from handlers.session import BaseHandler


class SignInAsHandler(BaseHandler):
    """Signs an administrator in as the user with this account id."""

    @recent_sign_in(minutes=PROOF_MINUTES)
    async def post(self, id: str) -> None:
        try:
            await self.services.impersonation.begin(self, id)
        except SessionEnded:
            if self.session.id in self.shown_session_ids():
                # another tab was faster; the answer to that one sets the cookie
                self.answer_done(self.url("/"))
                return
            raise
        self.answer_done(self.url("/"))


class StopHandler(BaseHandler):
    """Gives the browser the administrator's own session back.

    If that has ended, or the administrator may not sign in any more, the browser is a visitor's.
    """

    async def post(self) -> None:
        user_id = self.session.user_id or ""
        own = await self.services.impersonation.stop(self)
        page = self.url(f"/admin/accounts/{user_id}", done="stopped")
        self.answer_done(page if own else self.url("/"))


routes = [
    (r"/admin/accounts/([^/]+)/sign-in-as", SignInAsHandler),
    (r"/impersonation/stop", StopHandler),
]
