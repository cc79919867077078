"""How the user signs in: a section of the account page."""

from tornado.web import authenticated

from handlers.account.section import AccountSection
from handlers.account.sections import SIGN_IN


class SignInMethodsSection(AccountSection):
    """Base class of the section and of its forms."""

    section = SIGN_IN
    template = "account_sign_in.html"


class SignInMethodsHandler(SignInMethodsSection):
    """The section."""

    @authenticated
    async def get(self) -> None:
        await self.show()


routes = [(r"/account/sign-in", SignInMethodsHandler)]
