"""The change of the password."""

from tornado.web import HTTPError

from app.accounts import AccountsUnavailable, account_key
from app.rate_limits import subscriber
from app.sessions import SessionEnded
from app.stores import StoreError
from handlers.account.password_form import PasswordFormHandler
from handlers.account.sign_in_methods import SignInMethodsSection
from handlers.password_limit import check_password_limit


class PasswordHandler(PasswordFormHandler, SignInMethodsSection):
    """Changes the password, signs out all other devices, and gives this session a new id."""

    form = "password"

    async def act(self) -> None:
        password, new = self.fields("password", "new_password")
        accounts = self.services.accounts
        await check_password_limit(self)
        proof = await self.prove(password)
        # read after the proof: another device may have turned it on since `post` has looked
        two_steps = await self.services.totp.is_on(self.user_id)
        # before the change, because the other sessions could not be ended without the store
        await self.services.sessions.store.ping()
        address = subscriber(self.remote_address)
        changed = await accounts.change_password(proof, new, address=address)
        if not changed:
            raise HTTPError(409, "Your password was changed just now, so it was not changed again.")
        self.audit("password change")
        if changed.account is not None:
            self.services.account_mail.password_changed(changed.account, "on the account page")
        try:
            # another device may have changed the password again and ended this session
            if not await self.regenerate(
                confirm=lambda: accounts.still_valid(changed, new), whole=not two_steps
            ):
                raise HTTPError(409, "Your password was changed once more just now; sign in again.")
            await self.services.sessions.end_user(self.user_id, keep=self.session.id)
        except SessionEnded as error:
            await self.services.sessions.end_user(self.user_id)
            self.become_visitor()
            sentence = "Your password is changed, but you were signed out meanwhile; sign in again."
            raise HTTPError(403, sentence) from error
        except StoreError as error:
            sentence = (
                "Your password is changed, but the session store does not answer. "
                "Use “Sign out everywhere else” when it does."
            )
            raise HTTPError(503, sentence) from error
        except AccountsUnavailable as error:
            sentence = (
                "Your password is changed, but the database of accounts does not answer. "
                "Sign in again when it does, and use “Sign out everywhere else”."
            )
            raise HTTPError(503, sentence) from error
        device_cookie = self.web.device_cookie.issue(
            account_key(self.user), changed.password_hash or "", secure=self.secure
        )
        self.add_header("Set-Cookie", device_cookie)
        self.done("password")


routes = [(r"/account/password", PasswordHandler)]
