"""Trusted devices: a user lets them be asked for a code again."""

from tornado.web import authenticated

from app.web.user_only import user_only
from handlers.account.sign_in_methods import SignInMethodsSection


class ForgetHandler(SignInMethodsSection):
    """Forgets one trusted device, or all of them.

    It takes no proof, so that an owner in a hurry is quicker than a thief.
    """

    @authenticated
    @user_only
    async def post(self) -> None:
        (device,) = self.fields("device")
        if await self.services.trusted_devices.forget(self.user_id, device):
            await self.changed("trusted devices forgotten")
        self.done("forgotten")


routes = [(r"/account/sign-in/trusted-devices/forget", ForgetHandler)]
