"""The account page: devices, password, and deletion of the account."""

import contextlib
from typing import Any, ClassVar

import msgspec
from tornado.web import HTTPError, authenticated

from app.accounts import AccountInUse, AccountsUnavailable, InvalidAccount, Proof, account_key
from app.devices import Device
from app.limits import in_words, subscriber
from app.sessions.session import SessionEnded
from app.sign_in import SignInRefused
from app.stores import StoreError, public_id
from app.web.errors import TooManyRequests
from handlers.account_page import AccountPage
from handlers.session import BaseNamespace

_REVOKE_COST = 10  # events that a `revoke` counts as
_NOTICES = {
    "device": "That device is signed out.",
    "others": "You are signed out everywhere else.",
    "password": "Your password is changed, and you are signed out everywhere else.",
}


class AccountHandler(AccountPage):
    """The page."""

    @authenticated
    async def get(self) -> None:
        await self.show(notice=_NOTICES.get(self.get_query_argument("done", ""), ""))


class RevokeHandler(AccountPage):
    """Signs out one device of this user."""

    @authenticated
    async def post(self, id: str) -> None:
        if id == public_id(self.session.id):
            await self.sign_out()
            self.answer_done(self.url("/login", next=self.url("/account")))
        elif await self.services.devices.revoke(self.user_id, id):
            self.done("device")
        else:
            raise HTTPError(404, "unknown session")


class RevokeOthersHandler(AccountPage):
    """Signs out all devices of this user but this one."""

    @authenticated
    async def post(self) -> None:
        await self.services.sessions.end_user(self.user_id, keep=self.session.id)
        self.done("others")


class PasswordFormHandler(AccountPage):
    """A form that asks for the password again, because a session alone may be stolen."""

    form: ClassVar[str]

    @authenticated
    async def post(self) -> None:
        try:
            await self.act()
        except AccountInUse as error:
            await self._refuse(409, str(error))
        except InvalidAccount as error:
            await self._refuse(422, str(error))
        except AccountsUnavailable as error:
            self.set_header("Retry-After", str(error.wait))
            await self._refuse(error.status, str(error))
        except TooManyRequests as error:
            self.set_header("Retry-After", str(error.wait))
            sentence = f"Too many wrong passwords; wait {in_words(error.wait)} and try again."
            await self._refuse(429, sentence)
        except SignInRefused as error:
            await self._refuse(error.status_code, error.sentence)
        except HTTPError as error:
            await self._refuse(error.status_code, error.log_message or error.reason or "")

    async def act(self) -> None:
        """Do the change and answer; the message of an error is shown beside the form."""
        raise NotImplementedError

    async def prove(self, password: str) -> Proof:
        """Check the password of this user; raises HTTPError 403 or TooManyRequests."""
        user_id = self.user_id
        proof = await self.services.accounts.prove(
            self.user,
            password,
            check_limits=lambda: self._check_limits(user_id),
            address=subscriber(self.remote_address),
        )
        if proof.account and proof.account.id == user_id and not proof.account.has_password:
            raise HTTPError(409, "Your account has no password: you sign in to it another way.")
        if not proof or proof.account is None or proof.account.id != user_id:
            await self.services.limits.password_failed(user_id)
            self.audit("failure", reason=f"wrong password: {self.form}")
            raise HTTPError(403, "Wrong password.")
        return proof

    async def _check_limits(self, user_id: str) -> None:
        wait = await self.services.limits.password_wait(user_id)
        if wait:
            raise TooManyRequests(wait, "too many wrong passwords")

    def audit(self, event: str, *, reason: str = "") -> None:
        """Add an event of this user to the audit log."""
        self.services.audit.add(
            event,
            user=self.user,
            address=self.remote_address,
            reason=reason,
            user_id=self.user_id,
        )

    async def _refuse(self, status: int, sentence: str) -> None:
        self.set_status(status)
        if self.wants_json:
            self.write({"error": sentence})
            return
        if self.session:  # a user who was signed out meanwhile cannot see the account page
            with contextlib.suppress(StoreError):
                await self.show(form=self.form, wrong=sentence)
                return
        self.set_header("Cache-Control", "no-store")
        self.render("error.html", status=status, sentence=sentence)


class PasswordHandler(PasswordFormHandler):
    """Changes the password, signs out all other devices, and gives this session a new id."""

    form = "password"

    async def act(self) -> None:
        password, new = self.fields("password", "new_password")
        accounts = self.services.accounts
        proof = await self.prove(password)
        # before the change, because the other sessions could not be ended without the store
        await self.services.sessions.store.ping()
        address = subscriber(self.remote_address)
        changed = await accounts.change_password(proof, new, address=address)
        if not changed:
            raise HTTPError(409, "Your password was changed just now, so it was not changed again.")
        self.audit("password change")
        try:
            # another device may have changed the password again and ended this session
            if not await self.regenerate(confirm=lambda: accounts.still_valid(changed, new)):
                raise HTTPError(409, "Your password was changed once more just now; sign in again.")
            await self.services.sessions.end_user(self.user_id, keep=self.session.id)
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


class DeleteHandler(PasswordFormHandler):
    """Deletes the account and ends all of its sessions; anyone may register the name again."""

    form = "delete"

    async def act(self) -> None:
        (password,) = self.fields("password")
        proof, user, user_id = await self.prove(password), self.user, self.user_id
        # sessions end first, so that none outlives its account if a later step fails
        await self.services.sessions.end_user(user_id, keep=self.session.id)
        await self.sign_out()
        if await self.services.accounts.delete(proof):
            self.services.audit.add(
                "deletion", user=user, address=self.remote_address, user_id=user_id
            )
        elif await self.services.accounts.by_id(user_id):
            raise HTTPError(409, "Your password was changed just now; the account is still there.")
        # again, for sign-ins meanwhile
        await self.services.sessions.end_user(user_id)
        self.answer_done(self.url("/"))


class AccountNamespace(BaseNamespace):
    """The sockets of the page; a visitor gets the connect error `unauthorized`."""

    login_required = True

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self._users: dict[str, str] = {}  # account ids by sid

    async def on_connect(self, sid: str) -> bool:
        try:
            session = await self.session_for(sid)
        except SessionEnded:
            return False
        assert session.user_id is not None
        self._users[sid] = session.user_id
        self.services.device_watchers.watch(session.user_id, sid, session.id, self._send)
        return True

    def on_disconnect(self, sid: str) -> None:
        user = self._users.pop(sid, None)
        if user is not None:
            self.services.device_watchers.unwatch(user, sid)

    async def on_revoke(self, sid: str, id: Any) -> bool | dict[str, str]:
        """Sign out the device with this public id and ack true."""
        user = self._users.get(sid)
        if user is None:  # the client has disconnected
            raise SessionEnded("")
        self.charge(sid, _REVOKE_COST)
        if await self.services.devices.revoke(user, str(id)):
            return True
        return {"error": "unknown session"}

    async def _send(self, sid: str, devices: list[Device]) -> None:
        await self.emit("sessions", msgspec.to_builtins(devices), to=sid)


routes = [
    (r"/account", AccountHandler),
    (r"/account/sessions/revoke-others", RevokeOthersHandler),
    (r"/account/sessions/([^/]+)/revoke", RevokeHandler),
    (r"/account/password", PasswordHandler),
    (r"/account/delete", DeleteHandler),
]
namespaces = [("/account", AccountNamespace)]
