"""Where password managers find the page that changes the password (W3C, well-known URL)."""

from handlers.account.sections import SIGN_IN
from handlers.session import BaseHandler


class ChangePasswordHandler(BaseHandler):
    """Leads to the page; with --base-path too, this address is at the root of the host."""

    is_activity = False

    def get(self) -> None:
        self.redirect(self.url(SIGN_IN.path), status=303)


routes = [(r"/\.well-known/change-password", ChangePasswordHandler)]
